"""Whoever is told: what the token is and may do, whether the channel can be searched, and a sample alert."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from reckon.app import Clock
from reckon.checkup.records import Check, CheckState
from reckon.config import Secrets, Settings, anomaly_policy
from reckon.core.alert_messages import DayFacts, Moment, Person, unusual_day
from reckon.core.alerts import Finding, Rule
from reckon.core.messages import Message
from reckon.core.money import NANOS_PER_USD
from reckon.core.outbox import Delivery, Manner, Receipt
from reckon.core.records import TotalState
from reckon.core.windows import day_window, local_date, whole_second
from reckon.errors import SinkError
from reckon.ports import Sink
from reckon.watch import build_sink

if TYPE_CHECKING:
    from reckon.sinks.slack.sink import SlackSink

EGRESS: Final = frozenset(
    {
        ("POST", "auth.test"),
        ("POST", "chat.postMessage"),
        ("POST", "chat.update"),
        ("GET", "conversations.history"),
        ("GET", "conversations.replies"),
    }
)
"""Every (method, path) that is sent to Slack's API."""

_SLACK: Final = "Slack"
_SAMPLE: Final = "sample alert"
_CHANNEL_ID: Final = re.compile(r"[CGD][A-Z0-9]{2,}")  # a name has no capitals


async def told(settings: Settings, secrets: Secrets, clock: Clock, *, sample: bool) -> list[Check]:
    """Return whether whoever is told can be; with *sample* also whether an alert gets there."""
    sink = build_sink(settings, secrets, clock)
    try:
        checks = await _reach(sink, settings, secrets)
        if sample:
            checks.append(await _try(sink, sample_alert(settings, clock()), clock()))
    finally:
        await sink.close()
    return checks


async def _reach(sink: Sink, settings: Settings, secrets: Secrets) -> list[Check]:
    if secrets.slack_bot_token:
        from reckon.sinks.slack.sink import SlackSink  # noqa: PLC0415 - aiohttp, for those who use Slack

        if isinstance(sink, SlackSink):
            return [await _token(sink), *_channels(settings)]
    if secrets.slack_webhook_url:
        text = "A webhook, which only posts: an alert is not edited as it grows. Whether it works, only a post tells."
        return [Check(_SLACK, CheckState.OK, text, "`reckon doctor --slack` posts a sample alert.")]
    return [Check(_SLACK, CheckState.OK, "Not configured: messages are printed on standard error.")]


# --- The token -------------------------------------------------------------------------------------------------------


async def _token(sink: "SlackSink") -> Check:
    try:
        found = await sink.check()
    except SinkError as error:
        return Check(_SLACK, CheckState.WRONG, f"{error}.")
    told = f"Posts as {found.bot_user} in {found.team}"
    missing = found.missing_scopes
    if found.scopes is None:
        return Check(_SLACK, CheckState.OK, f"{told}. Slack does not say with which scopes.")
    if not missing:
        return Check(_SLACK, CheckState.OK, f"{told}, with every scope of use.")
    return _without(told, missing)


def _without(told: str, missing: Sequence[str]) -> Check:
    text = f"{told}, without {' and '.join(missing)}"
    advice = "Add it to the app under OAuth & Permissions, and install the app anew."
    if "chat:write" in missing:
        return Check(_SLACK, CheckState.WRONG, f"{text}: nothing can be posted.", advice)
    cannot = "a message whose answer was lost cannot be looked for, and is posted again with a mark"
    return Check(_SLACK, CheckState.WARNING, f"{text}: {cannot}.", f"One is enough. {advice}")


def _channels(settings: Settings) -> Iterator[Check]:
    """Yield the channels that are known by name alone."""
    teams = {f"teams.{id_}.channel": team.channel for id_, team in settings.teams.items()}
    for setting, channel in {"slack.channel": settings.slack.channel, **teams}.items():
        if channel is not None and not _CHANNEL_ID.fullmatch(channel):
            yield Check(
                _SLACK,
                CheckState.WARNING,
                f"{setting} is the name of a channel, in which nobody can look for a message whose answer was lost.",
                "Put its id in its place (C012ABCDEF): Slack shows it at the end of the channel's details.",
            )


# --- The sample ------------------------------------------------------------------------------------------------------


def sample_alert(settings: Settings, now: datetime) -> Message:
    """Return an alert as a real one would look now, by figures that are invented, and that says so of itself."""
    day = local_date(now, settings.timezone)
    finding = Finding(
        rule=Rule.SIGMA,
        owner=None,
        day=day,
        spend_nanos=_usd_cents(84_10),
        threshold_nanos=_usd_cents(7_90),
        usual_nanos=_usd_cents(3_10),
        history_days=21,
    )
    facts = DayFacts(
        window=day_window(day, settings.timezone),
        state=TotalState.PROVISIONAL,
        driver="ci-runner",
        driver_share=0.96,
        hourly_nanos=_usd_cents(21_50),
    )
    moment = Moment(whole_second(now), settings.timezone)
    message = unusual_day(finding, facts, anomaly_policy(settings), Person("Sample alert: nobody"), moment)
    return replace(message, notes=("This is a sample, sent by `reckon doctor --slack`. Nobody has spent anything.",))


def _usd_cents(cents: int) -> int:
    return cents * NANOS_PER_USD // 100


async def _try(sink: Sink, message: Message, now: datetime) -> Check:
    delivery = Delivery(
        id=0,
        intent=f"doctor:sample:{now:%Y%m%dT%H%M%S.%fZ}",
        message=message,
        manner=Manner.POST,
        to=None,
        created_at=now,
        due_at=now,
        attempts=1,
    )
    try:
        receipt = await sink.deliver(delivery)
    except SinkError as error:
        return Check(_SAMPLE, CheckState.WRONG, f"It did not get to {sink.name}: {error}.")
    return Check(_SAMPLE, CheckState.OK, _where(sink, receipt))


def _where(sink: Sink, receipt: Receipt) -> str:
    if sink.has_threads:
        return f"Posted to the channel {receipt.place} of {sink.name}. Look how it reads there."
    if receipt.place == sink.name:
        return "Printed on standard error, where real ones go while no Slack is configured."
    return f"Posted through the {sink.name}. Look how it reads there."
