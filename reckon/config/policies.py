"""Settings as the policies of the core: each pure function is handed the few it needs, in its own units."""

from collections.abc import Mapping
from fractions import Fraction

from reckon.config.settings import Settings
from reckon.core.alert_messages import Person
from reckon.core.detectors import AnomalyPolicy
from reckon.core.digest import DigestPolicy
from reckon.core.digest_calendar import DigestKind, DigestTime
from reckon.core.money import nanos_from_usd
from reckon.core.noticing import NoticePolicy
from reckon.core.ownership import OwnerRule
from reckon.core.plans import LedgerPolicy
from reckon.core.reports import OwnerMap
from reckon.core.settlement import SettlePolicy


def ledger_policy(settings: Settings, *, judges_silence: bool) -> LedgerPolicy:
    """Return what a poll needs to count and to judge.

    A poll at the command line does not judge silence: it cannot tell one from its own absence.
    """
    notice = NoticePolicy(
        zone=settings.timezone,
        anomaly=anomaly_policy(settings),
        people=people(settings),
        staleness_after=settings.staleness.after if judges_silence else None,
        repeat_every=settings.alerts.repeat_every or None,
    )
    return LedgerPolicy(
        zone=settings.timezone,
        poll_every=settings.polls_every,
        notice=notice,
        rules=owner_rules(settings),
        sweeps=settings.sweeps,
    )


def owner_rules(settings: Settings) -> tuple[OwnerRule, ...]:
    """Return whose the keys are that a sweep finds and nobody names, in the order of the owner map."""
    return tuple(
        OwnerRule(id_, owner.match.name, owner.match.workspace, owner.match.creator)
        for id_, owner in settings.owners.items()
        if owner.match
    )


def anomaly_policy(settings: Settings) -> AnomalyPolicy:
    """Return what counts as unusual. Deviations are the decimal that was written, not its double."""
    anomaly = settings.anomaly
    return AnomalyPolicy(
        sigma=Fraction(str(anomaly.sigma)),
        min_history=anomaly.min_history,
        min_nanos=nanos_from_usd(anomaly.min_usd),
        byok=anomaly.byok,
    )


def settle_policy(settings: Settings) -> SettlePolicy:
    """Return how patiently the cost of a generation is asked for."""
    return SettlePolicy(settings.settle.schedule)


def digest_policy(settings: Settings) -> DigestPolicy:
    """Return what digests need: when each is due, and about whom."""
    digest = settings.digest
    times = (
        digest.daily and DigestTime(DigestKind.DAILY, digest.daily),
        digest.weekly and DigestTime(DigestKind.WEEKLY, digest.weekly.at, digest.weekly.weekday),
        digest.monthly and DigestTime(DigestKind.MONTHLY, digest.monthly.at, digest.monthly.day),
    )
    return DigestPolicy(
        zone=settings.timezone,
        times=tuple(when for when in times if when),
        people=people(settings),
        owner_map=owner_map(settings),
        byok=settings.anomaly.byok,
    )


def people(settings: Settings) -> Mapping[str, Person]:
    """Return, for each owner of the map, what messages call them, whom they mention and where they go."""
    return {
        owner_id: Person(
            name=_display_name(owner_id, owner.name),
            mention=owner.slack,
            place=_place(settings, owner.team),
        )
        for owner_id, owner in settings.owners.items()
    }


def owner_map(settings: Settings) -> OwnerMap:
    """Return the owner map as reports need it."""
    return OwnerMap(
        teams={owner_id: owner.team for owner_id, owner in settings.owners.items()},
        keys=[(owner_id, key.name) for owner_id, owner in settings.owners.items() for key in owner.keys],
    )


def _place(settings: Settings, team: str | None) -> str | None:
    """Return the channel of a team; None where it is the configured one, so that each channel has one pace."""
    channel = settings.teams[team].channel if team and team in settings.teams else None
    return None if channel == settings.slack.channel else channel


def _display_name(owner_id: str, name: str | None) -> str:
    """Return both names of an owner where they differ: people know the one, commands the other."""
    return owner_id if name is None or name.casefold() == owner_id.casefold() else f"{name} ({owner_id})"
