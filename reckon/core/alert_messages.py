"""What an alert says: who, how much against what is usual, the rule in numbers, what drives it, how sure we are.

Every figure in a message is one of the finding's own, so the message can be held against the rule. Times are in the
configured zone, with its name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core.alerts import Alert, Finding, Rule
from reckon.core.detectors.view import AnomalyPolicy
from reckon.core.messages import Fact, Message, Tone
from reckon.core.money import dollars
from reckon.core.records import FailureReason, KeyState
from reckon.core.windows import Window


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a message is about, and where it goes."""

    name: str
    mention: str | None = None
    """Their Slack id."""
    place: str | None = None
    """The channel of their team; None for the configured one."""


NOBODY: Final = Person("OpenRouter")


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is said, and by whose clock."""

    now: datetime
    zone: ZoneInfo

    def clock(self, at: datetime) -> str:
        """Return the time of day of *at*, with the date if that is not today's: `01:52 CET`, `19 Nov 23:10 CET`."""
        local = at.astimezone(self.zone)
        same_day = local.date() == self.now.astimezone(self.zone).date()
        return f"{local:%H:%M %Z}" if same_day else f"{day_of_month(local.date())} {local:%H:%M %Z}"


@dataclass(frozen=True, slots=True)
class DayFacts:
    """What is known of an owner's day besides the finding."""

    day: date
    window: Window
    runs: bool
    """Whether the day is not over yet."""
    driver: str | None
    """The key with most of the day's spend."""
    driver_share: float
    last_hour_nanos: int
    guessed_nanos: int
    """What a gap over midnight may have held of this day, and is not counted."""


# --- A day that is unusual -----------------------------------------------------------------------------------------


def unusual_day(finding: Finding, facts: DayFacts, policy: AnomalyPolicy, person: Person, moment: Moment) -> Message:
    """Return the message that opens an alert about a day, or stands in its place once the figures have grown."""
    spent = dollars(finding.spend_nanos or 0)
    when = "today" if facts.runs else f"on {day_name(facts.day)}"
    lines = [Fact("When", _when(facts, moment)), Fact("Rule", _rule(finding, policy))]
    if facts.driver and facts.runs:
        lines.append(Fact("Driver", f"key {facts.driver} {facts.driver_share:.0%}"))
    if facts.runs and facts.last_hour_nanos:
        lines.append(Fact("If it goes on", _if_it_goes_on(finding, facts, moment)))
    lines.append(Fact("Data", _data(facts, moment)))
    return Message(
        headline=f"{person.name} spent {spent} {when} - usually {_usual(finding)} a day",
        tone=Tone.ALARM,
        facts=tuple(lines),
        mention=person.mention,
    )


def day_is_over(finding: Finding, person: Person) -> Message:
    """Return the message that ends an alert about a day."""
    return Message(
        headline=f"{person.name}: {day_name(finding.day)} ended at {dollars(finding.spend_nanos or 0)}"
        f" - usually {_usual(finding)} a day",
        tone=Tone.CALM,
    )


def why_unusual(finding: Finding) -> str:
    """Return the reason of the transition that opens an alert about a day."""
    return (
        f"{dollars(finding.spend_nanos or 0)} is above {dollars(finding.threshold_nanos or 0)},"
        f" by a mean of {_usual(finding)} over {finding.history_days} days"
    )


def _usual(finding: Finding) -> str:
    return dollars(finding.usual_nanos) if finding.usual_nanos else "nothing"


def _when(facts: DayFacts, moment: Moment) -> str:
    ends = moment.clock(facts.window.end)
    if not facts.runs:
        return f"the day was over at {ends}, and its money was seen later"
    return f"noticed {moment.clock(moment.now)}; the day ends in {span(facts.window.end - moment.now)}"


def _rule(finding: Finding, policy: AnomalyPolicy) -> str:
    rule = (
        f"the day > mean + {float(policy.sigma):g} sigma = {dollars(finding.threshold_nanos or 0)}"
        f" over {finding.history_days} days"
    )
    return f"{rule}, and more than {dollars(policy.min_nanos)} above the mean" if policy.min_nanos else rule


def _if_it_goes_on(finding: Finding, facts: DayFacts, moment: Moment) -> str:
    left = max((facts.window.end - moment.now) / timedelta(hours=1), 0.0)
    projected = (finding.spend_nanos or 0) + round(facts.last_hour_nanos * left)
    return f"{dollars(projected)} by the end of the day, at the last hour's pace of {dollars(facts.last_hour_nanos)}"


def _data(facts: DayFacts, moment: Moment) -> str:
    state = "provisional" if facts.runs else "counted"
    guess = f"; up to {dollars(facts.guessed_nanos)} more, from a gap over midnight" if facts.guessed_nanos else ""
    return f"{state}, as of {moment.clock(moment.now)}{guess}"


# --- A silence -----------------------------------------------------------------------------------------------------

_REASONS: Final = {
    FailureReason.ACCESS_DENIED: "refused (revoked, disabled or expired)",
    FailureReason.RATE_LIMITED: "told to wait",
    FailureReason.UNAVAILABLE: "unavailable",
    FailureReason.TIMED_OUT: "timed out",
    FailureReason.NOT_JSON: "the answer is not JSON",
    FailureReason.TOO_LARGE: "the answer is too large",
    FailureReason.REDIRECTED: "redirected elsewhere",
    FailureReason.UNEXPECTED_ANSWER: "the answer is not as documented",
    FailureReason.IMPLAUSIBLE: "the figures are implausible",
}
_NAMED_KEYS: Final = 5


def silence(finding: Finding, keys: Mapping[str, KeyState], person: Person, moment: Moment) -> Message:
    """Return the message that opens an alert about a silence."""
    about = [keys[key_hash] for key_hash in finding.key_hashes if key_hash in keys]
    since = moment.clock(finding.since or moment.now)
    if finding.owner is None:
        return Message(
            headline=f"Reckon has seen nothing of OpenRouter since {since}",
            tone=Tone.ALARM,
            facts=(
                Fact("Why", _reasons(about)),
                Fact("Keys", f"all {len(about)}" if len(about) > 1 else "the only one"),
                Fact("Meanwhile", "what is spent is counted with the next good answer"),
            ),
        )
    return Message(
        headline=f"{person.name}: {_key_names(about)} unseen since {since}",
        tone=Tone.ALARM,
        facts=(
            *(Fact("Why", f"{key.name}: {_reason(key)}") for key in about[:_NAMED_KEYS]),
            Fact("Meanwhile", "what is spent is counted with the next good answer; other keys answer"),
        ),
        mention=person.mention,
    )


def seen_again(alert: Alert, keys: Mapping[str, KeyState], person: Person, moment: Moment) -> Message:
    """Return the message that ends an alert about a silence."""
    finding = alert.finding
    lasted = span(moment.now - (finding.since or alert.opened_at))
    held = f"; it held {dollars(alert.gap_nanos)}" if alert.gap_nanos else "; nothing was spent in it"
    if finding.owner is None:
        return Message(f"OpenRouter answers again after {lasted}{held}", Tone.CALM)
    about = [keys[key_hash] for key_hash in finding.key_hashes if key_hash in keys]
    if not any(key.watched for key in about):
        return Message(f"{person.name}: {_key_names(about)} no longer watched", Tone.CALM)
    return Message(f"{person.name}: {_key_names(about)} seen again after {lasted}{held}", Tone.CALM)


def why_silent(finding: Finding, keys: Mapping[str, KeyState]) -> str:
    """Return the reason of the transition that opens an alert about a silence."""
    about = [keys[key_hash] for key_hash in finding.key_hashes if key_hash in keys]
    return f"no snapshot of {len(about)} {'key' if len(about) == 1 else 'keys'}: {_reasons(about)}"


def _reason(key: KeyState) -> str:
    return _REASONS[key.failure] if key.failure else "not asked"


def _reasons(keys: Iterable[KeyState]) -> str:
    counted = Counter(_reason(key) for key in keys).most_common()
    if len(counted) == 1:
        return counted[0][0]
    return ", ".join(f"{reason} ({count})" for reason, count in counted)


def _key_names(keys: list[KeyState]) -> str:
    named = [key.name for key in keys[:_NAMED_KEYS]]
    more = [f"{len(keys) - _NAMED_KEYS} more"] if len(keys) > _NAMED_KEYS else []
    listed = [*named, *more]
    text = listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " and " + listed[-1] if listed else "(none)"
    return f"{'key' if len(keys) == 1 else 'keys'} {text}"


# --- Any alert -----------------------------------------------------------------------------------------------------


def reminder(alert: Alert, person: Person, moment: Moment) -> Message:
    """Return the message that reminds of an alert nobody has ended."""
    since = moment.clock(alert.opened_at)
    finding = alert.finding
    if finding.rule is Rule.STALENESS:
        what = "still nothing seen of OpenRouter" if finding.owner is None else f"{person.name}: keys still unseen"
        return Message(f"{what}, told first at {since}", Tone.ALARM, mention=person.mention)
    spent = dollars(finding.spend_nanos or 0)
    headline = f"{person.name} is now at {spent} for {day_name(finding.day)} - usually {_usual(finding)}"
    return Message(f"{headline}, told first at {since}", Tone.ALARM, mention=person.mention)


# --- Time, as people read it ---------------------------------------------------------------------------------------


def day_of_month(day: date) -> str:
    """Return `19 Nov`."""
    return f"{day.day} {day:%b}"


def day_name(day: date) -> str:
    """Return `Thu 19 Nov`."""
    return f"{day:%a} {day_of_month(day)}"


def span(length: timedelta) -> str:
    """Return a length of time in the two units that matter: `21 h 54 min`, `3 d 4 h`, `14 min`, `40 s`."""
    seconds = max(int(length.total_seconds()), 0)
    for unit, name, smaller, smaller_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= unit:
            rest = seconds % unit // smaller
            return f"{seconds // unit} {name} {rest} {smaller_name}" if rest else f"{seconds // unit} {name}"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
