"""What an alert says: who, how much against what is usual, the rule in numbers, what drives it, how sure we are.

Every figure in a message is one of the finding's own, so the message can be held against the rule. Times are in the
configured zone, with its name.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core.alerts import Alert, Finding, Rule
from reckon.core.detectors.view import AnomalyPolicy
from reckon.core.generations import CallTotal
from reckon.core.messages import Fact, Message, Tone
from reckon.core.money import dollars, usd_text
from reckon.core.records import Balance, FailureReason, KeyState, TotalState
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
    """What is known of an owner's day besides the finding. What nobody knows of a day that is over is None or 0."""

    window: Window
    state: TotalState
    driver: str | None = None
    """The key with most of the day's spend."""
    driver_share: float = 0.0
    hourly_nanos: int = 0
    """What an hour costs, at the pace of the last one."""
    hourly_credits_nanos: int = 0
    """How much of it is paid from OpenRouter credits."""
    guessed_nanos: int = 0
    """What a gap over midnight may have held of this day, and is not counted."""
    byok_nanos: int = 0
    """How much of what is counted went through the team's own upstream keys."""
    calls: Sequence[CallTotal] = ()
    """The day's settled generations, by model, requested model and session."""
    balance: Balance | None = None
    """What is left of the credits of the account they draw on."""


# --- A day that is unusual -----------------------------------------------------------------------------------------


def unusual_day(
    finding: Finding,
    facts: DayFacts,
    policy: AnomalyPolicy,
    person: Person,
    moment: Moment,
    *,
    noticed_at: datetime | None = None,
) -> Message:
    """Return the message that opens an alert about a day, or stands in its place once the figures have grown.

    Args:
        finding: what was seen.
        facts: what else is known of the day.
        policy: the settings of the rule.
        person: whose day it is.
        moment: when this is said.
        noticed_at: when the alert opened, if that was not now.
    """
    runs = moment.now < facts.window.end
    lines = [
        Fact("When", _while_it_runs(facts, moment, noticed_at or moment.now) if runs else _afterwards(facts, moment)),
        Fact("Rule", _rule(finding, policy)),
    ]
    if drivers := [*_drivers(facts, finding.spend_nanos or 0)]:
        lines.append(Fact("Driver", "; ".join(drivers)))
    if facts.byok_nanos:
        lines.append(Fact("BYOK", f"{dollars(facts.byok_nanos)} of it went through your own upstream keys"))
    if facts.hourly_nanos:
        lines.append(Fact("If it goes on", _if_it_goes_on(finding, facts, moment)))
    doubt = f"; up to {dollars(facts.guessed_nanos)} more, from a gap over midnight" if facts.guessed_nanos else ""
    lines.append(data(facts.state, moment, doubt))
    when = "today" if runs else f"on {day_name(finding.day)}"
    return Message(
        headline=f"{person.name} spent {_spent(finding)} {when} - {_usually(finding)}",
        tone=Tone.ALARM,
        facts=tuple(lines),
        mention=person.mention,
    )


def day_is_over(finding: Finding, person: Person, *facts: Fact) -> Message:
    """Return the message that ends an alert about a day with its final figure."""
    headline = f"{person.name}: {day_name(finding.day)} ended at {_spent(finding)} - {_usually(finding)}"
    return Message(headline, Tone.CALM, facts)


def data(state: TotalState, moment: Moment, doubt: str = "") -> Fact:
    """Return how far the figures of a message can be trusted, and as of when."""
    return Fact("Data", f"{state.value}, as of {moment.clock(moment.now)}{doubt}")


def why_unusual(finding: Finding) -> str:
    """Return the reason of the transition that opens an alert about a day."""
    spent, threshold = _apart(finding.spend_nanos or 0, finding.threshold_nanos or 0)
    return (
        f"{spent} is above the threshold of {threshold}; the mean of {finding.history_days} days is {_usual(finding)}"
    )


def why_told_again(finding: Finding, told_nanos: int) -> str:
    """Return the reason of the transition that edits an alert about a day."""
    spent, told = _apart(finding.spend_nanos or 0, told_nanos)
    return f"{spent} is more than a tenth above the {told} told last"


def _spent(finding: Finding) -> str:
    return _apart(finding.spend_nanos or 0, finding.usual_nanos or 0)[0]


def _usual(finding: Finding) -> str:
    return _apart(finding.spend_nanos or 0, finding.usual_nanos or 0)[1]


def _usually(finding: Finding) -> str:
    return f"usually {_usual(finding)} a day" if finding.usual_nanos else "usually nothing"


def _apart(one: int, other: int) -> tuple[str, str]:
    """Return two amounts as a person reads them, or exactly where they would read the same."""
    shown = dollars(one), dollars(other)
    return shown if shown[0] != shown[1] or one == other else (f"${usd_text(one)}", f"${usd_text(other)}")


def _drivers(facts: DayFacts, spent_nanos: int) -> Iterator[str]:
    """Yield what most of the day's spend went through: the key, the model, and in how many sessions.

    A model's share is of all that was spent, and not only of what generations explain.
    """
    if facts.driver:
        yield f"key {_short(facts.driver)} {facts.driver_share:.0%}"
    by_model: defaultdict[tuple[str | None, str | None], int] = defaultdict(int)
    for total in facts.calls:
        by_model[total.place.model, total.place.requested_model] += total.credits_nanos + total.byok_nanos
    if not by_model or not spent_nanos:
        return
    (model, requested), nanos = max(by_model.items(), key=lambda item: (item[1], item[0][0] or ""))
    asked = f" (asked: {_short(requested)})" if requested and requested != model else ""
    # The counters may not have been read since the last generations settled.
    yield f"{_short(model or 'an unknown model')}{asked} {min(nanos / spent_nanos, 1):.0%}"
    number = sum(total.generations for total in facts.calls)
    sessions = {total.place.session for total in facts.calls}
    inside = "" if None in sessions else f" in {len(sessions):,} session{'s' if len(sessions) > 1 else ''}"
    yield f"{number:,} generation{'s' if number > 1 else ''}{inside}"


def _while_it_runs(facts: DayFacts, moment: Moment, noticed_at: datetime) -> str:
    return f"noticed {moment.clock(noticed_at)}; the day ends in {span(facts.window.end - moment.now)}"


def _afterwards(facts: DayFacts, moment: Moment) -> str:
    return f"the day was over at {moment.clock(facts.window.end)}, and its money was seen later"


def _rule(finding: Finding, policy: AnomalyPolicy) -> str:
    rule = (
        f"above mean + {float(policy.sigma):g} sigma = {dollars(finding.threshold_nanos or 0)}"
        f" over {finding.history_days} days"
    )
    return f"{rule}, and more than {dollars(policy.min_nanos)} above the mean" if policy.min_nanos else rule


_HOURS_WORTH_A_WORD: Final = 7 * 24


def _if_it_goes_on(finding: Finding, facts: DayFacts, moment: Moment) -> str:
    left_seconds = int((facts.window.end - moment.now).total_seconds())
    projected = (finding.spend_nanos or 0) + facts.hourly_nanos * left_seconds // 3600
    by_then = f"{dollars(projected)} by the end of the day, at {dollars(facts.hourly_nanos)} an hour"
    return f"{by_then}; {_account(facts.balance, facts.hourly_credits_nanos, moment)}" if facts.balance else by_then


def _account(balance: Balance, hourly_nanos: int, moment: Moment) -> str:
    """Return `account balance $122.00, empty about 04:40 CET`, as if nobody else spent; no time where that is far."""
    left = balance.left_nanos
    said = f"account balance {dollars(left)}"
    if not 0 < left <= hourly_nanos * _HOURS_WORTH_A_WORD:
        return said
    return f"{said}, empty about {moment.clock(balance.at + timedelta(seconds=left * 3600 // hourly_nanos))}"


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
_NAMED_KEYS: Final = 3
_LONGEST_NAME: Final = 32


def silence(finding: Finding, keys: Mapping[str, KeyState], person: Person, moment: Moment) -> Message:
    """Return the message that opens an alert about a silence, or stands in its place once more keys are silent."""
    about = [keys[key_hash] for key_hash in finding.key_hashes]
    by_reason = _by_reason(about)
    since = moment.clock(finding.since or moment.now)
    if finding.owner is None:
        headline = f"Nothing seen of OpenRouter since {since}"
        whose = [Fact("Keys", f"all {len(about)}" if len(about) > 1 else "the only one")]
    else:
        headline = f"{person.name}: {_key_names(about)} unseen since {since}"
        whose = []
    facts = [
        *(Fact("Why", f"{reason}: {_key_names(theirs)}") for reason, theirs in by_reason.items() if len(by_reason) > 1),
        *whose,
        Fact("Meanwhile", "what is spent is counted with the next good answer"),
    ]
    why = f": {next(iter(by_reason))}" if len(by_reason) == 1 else ""
    return Message(headline + why, Tone.ALARM, tuple(facts), mention=person.mention)


def seen_again(alert: Alert, keys: Mapping[str, KeyState], person: Person, moment: Moment) -> Message:
    """Return the message that ends an alert about a silence."""
    finding = alert.finding
    about = [keys[key_hash] for key_hash in finding.key_hashes]
    lasted = span(moment.now - (finding.since or alert.opened_at))
    if finding.owner is None:
        watched = [key for key in keys.values() if key.watched]
        if not watched:
            return Message(f"No key is left to watch; nothing had been seen of OpenRouter for {lasted}", Tone.CALM)
        held = _held(alert, watched)
        failing = [key for key in watched if key.failing_since]
        facts = (Fact("Keys", f"{len(failing)} of {len(watched)} still silent"),) if failing else ()
        return Message(f"OpenRouter answers again after {lasted}{held}", Tone.CALM, facts)
    back = [key for key in about if key.watched and key.owner == finding.owner]
    if not back:
        return Message(f"{person.name}: {_key_names(about)} no longer watched for this owner", Tone.CALM)
    return Message(f"{person.name}: {_key_names(back)} seen again after {lasted}{_held(alert, back)}", Tone.CALM)


def why_silent(finding: Finding, keys: Mapping[str, KeyState]) -> str:
    """Return the reason of the transition that opens an alert about a silence, or lets it be about more keys."""
    by_reason = _by_reason(keys[key_hash] for key_hash in finding.key_hashes)
    many = len(by_reason) > 1
    reasons = [f"{reason} ({len(theirs)})" if many else reason for reason, theirs in by_reason.items()]
    return f"no snapshot of {_counted(len(finding.key_hashes))}: {', '.join(reasons)}"


def _held(alert: Alert, answering: Iterable[KeyState]) -> str:
    """Return what is known of the money of a silence: it came with the first answers, unless they were an opening."""
    if alert.gap_nanos:
        return f"; {dollars(alert.gap_nanos)} was spent meanwhile"
    began = alert.finding.since or alert.opened_at
    known = all(key.counters and key.counters.opened_at < began and not key.failing_since for key in answering)
    return "; nothing was spent meanwhile" if known else ""


def _by_reason(keys: Iterable[KeyState]) -> dict[str, list[KeyState]]:
    """Return the keys by why they are silent, the commonest reason first."""
    found: defaultdict[str, list[KeyState]] = defaultdict(list)
    for key in keys:
        found[_REASONS[key.failure] if key.failure else "not asked"].append(key)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _key_names(keys: Sequence[KeyState]) -> str:
    """Return `key laptop`, `keys laptop and ci`, `keys laptop, ci, build and 2 more`."""
    names = [_short(key.name) for key in keys[:_NAMED_KEYS]]
    if len(keys) > _NAMED_KEYS:
        names.append(f"{len(keys) - _NAMED_KEYS} more")
    *first, last = names
    return f"keys {', '.join(first)} and {last}" if first else f"key {last}"


def _counted(keys: int) -> str:
    return "1 key" if keys == 1 else f"{keys} keys"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


# --- Any alert -----------------------------------------------------------------------------------------------------


def reminder(alert: Alert, person: Person, moment: Moment, silent: Sequence[KeyState] = ()) -> Message:
    """Return the message that reminds of an alert nobody has ended, and names its *silent* keys if they are given."""
    finding = alert.finding
    if finding.rule is Rule.BOOKS:
        what = f"Books of {day_name(finding.day)}: {dollars(abs(finding.spend_nanos or 0))} still without a reason"
    elif finding.rule is Rule.LOW_BALANCE:
        what = f"OpenRouter's credits run out: {dollars(alert.told_nanos or 0)} was left"
    elif finding.rule is Rule.SIGMA:
        what = f"{person.name} is at {_spent(finding)} on {day_name(finding.day)} - {_usually(finding)}"
    elif finding.owner is None:
        what = "Still nothing seen of OpenRouter"
    else:
        what = f"{person.name}: {_key_names(silent) if silent else _counted(len(finding.key_hashes))} still unseen"
    return Message(f"{what}, told first at {moment.clock(alert.opened_at)}", Tone.ALARM, mention=person.mention)


def why_reminded(alert: Alert, moment: Moment) -> str:
    """Return the reason of the transition that repeats an alert."""
    return f"still firing, and told last at {moment.clock(alert.told_at)}"


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
