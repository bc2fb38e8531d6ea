"""What a digest says: one headline that says it all, a table by owner, and what is to be known beside it.

Nothing is said that has nothing in it: a day on which nothing was spent and nothing happened is its headline. What
nobody saw is *unknown* and never $0.00. Corrections stand beside spend and are in none of its figures. Where a sink has
no threads, this is where an alert's end is learnt, so every alert that ended since the last digest is told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

from reckon.core import alert_messages as say
from reckon.core.account_messages import books_line
from reckon.core.alert_messages import Moment, Person
from reckon.core.alerts import Alert, Rule
from reckon.core.digest_calendar import DigestKind, last_day
from reckon.core.digest_figures import Digest, Line, MonthToDate
from reckon.core.messages import Fact, Message, Table
from reckon.core.money import dollars, usd_text
from reckon.core.records import Amounts, TotalState

_MOST_LINES: Final = 40
_MOST_FACTS: Final = 5
_UNKNOWN: Final = "unknown"
_NONE: Final = "-"


def compose(digest: Digest, people: Mapping[str, Person]) -> Message:
    """Return the digest as a message."""
    names = _names(digest, people)
    return Message(
        headline=_headline(digest),
        facts=(*_alerts(digest, people), *_silent(digest, names), *_corrections(digest, names), *_books(digest)),
        table=_table(digest, names) if _has_money(digest.total.amounts) else None,
        notes=tuple(_notes(digest, names)),
    )


# --- The headline --------------------------------------------------------------------------------------------------

_HELD_AGAINST: Final = {
    DigestKind.DAILY: "a usual day",
    DigestKind.WEEKLY: "the week before",
    DigestKind.MONTHLY: "the month before",
}


def _headline(digest: Digest) -> str:
    """Return `OpenRouter, Thu 19 Nov: $41.20, up 18 % on a usual day ($34.90). Month to date $612.00`."""
    said = ", ".join([_spent(digest.total), *_compared(digest)])
    month = digest.total.month
    return f"OpenRouter, {_period(digest)}: {said}" + (f". Month to date {_month(month)}" if month else "")


def _period(digest: Digest) -> str:
    first, last = digest.due.first, last_day(digest.due.reported, digest.zone)
    if digest.due.kind is DigestKind.DAILY:
        return say.day_name(first)
    if digest.due.kind is DigestKind.WEEKLY:
        return f"{digest.due.name} ({say.day_of_month(first)} to {say.day_of_month(last)})"
    return f"{first:%B %Y}"


def _spent(total: Line) -> str:
    if total.state is TotalState.UNKNOWN:
        return f"{_UNKNOWN}, no key was read"
    byok = f" + {dollars(total.amounts.byok_nanos)} BYOK" if total.amounts.byok_nanos else ""
    doubt = " (provisional)" if total.state is TotalState.PROVISIONAL else ""
    return f"{dollars(total.amounts.spend_nanos)}{byok}{doubt}"


def _compared(digest: Digest) -> Iterator[str]:
    usual = digest.total.usual_nanos
    if usual is None or digest.total.state is TotalState.UNKNOWN:
        return
    spent, against = digest.spent_nanos, _HELD_AGAINST[digest.due.kind]
    if usual == 0:
        yield f"after nothing on {against}" if spent else f"as on {against}"
        return
    percent = round(Fraction(100 * (spent - usual), usual))
    figure = f"{dollars(usual)} with BYOK" if digest.usual_has_byok else dollars(usual)
    if percent == 0:
        yield f"as on {against} ({figure})"
    elif percent < 900:
        yield f"{'up' if percent > 0 else 'down'} {abs(percent)} % on {against} ({figure})"
    else:
        yield f"{round(Fraction(spent, usual)):,} times {against} ({figure})"


def _month(month: MonthToDate) -> str:
    if month.state is TotalState.UNKNOWN:
        return _UNKNOWN
    before = f" + {dollars(month.before_watching_nanos)} before watching" if month.before_watching_nanos else ""
    return dollars(month.spend_nanos) + before


# --- The table -----------------------------------------------------------------------------------------------------


def _table(digest: Digest, names: Mapping[str, str]) -> Table:
    shown = digest.lines if len(digest.lines) <= _MOST_LINES else digest.lines[: _MOST_LINES - 1]
    rest = digest.lines[len(shown) :]
    labelled = [(names[line.owner or ""], line) for line in shown]
    labelled += [(f"+ {len(rest)} more", _sum(rest))] if rest else []
    labelled += [("Total", digest.total)] if len(labelled) > 1 else []

    columns = ["Owner", *_figure_headings(digest)]
    with_models = any(line.top_model for _, line in labelled)
    mixed = {TotalState.SETTLED, TotalState.PROVISIONAL} <= {line.state for _, line in labelled}
    rows = [
        (
            label,
            *_figures(line, digest),
            *([_top_model(line)] if with_models else []),
            *([line.state.value] if mixed else []),
        )
        for label, line in labelled
    ]
    return Table(
        columns=(*columns, *(["Top model"] if with_models else []), *(["State"] if mixed else [])),
        rows=tuple(rows),
        figures=tuple(range(1, len(columns))),
    )


def _figure_headings(digest: Digest) -> Iterator[str]:
    yield say.day_name(digest.due.first) if digest.due.kind is DigestKind.DAILY else digest.due.name
    if digest.total.amounts.byok_nanos:
        yield "BYOK"
    usual = {DigestKind.DAILY: "Usual", DigestKind.WEEKLY: "Week before", DigestKind.MONTHLY: "Month before"}
    yield usual[digest.due.kind] + (" with BYOK" if digest.usual_has_byok else "")
    if digest.total.month:
        yield "Month to date"


def _figures(line: Line, digest: Digest) -> Iterator[str]:
    """Yield the cells of a line, one for each of `_figure_headings`."""
    unseen = _NONE if line.former else _UNKNOWN
    is_known = line.state is not TotalState.UNKNOWN or _has_money(line.amounts)
    yield dollars(line.amounts.spend_nanos) if is_known else unseen
    if digest.total.amounts.byok_nanos:
        yield dollars(line.amounts.byok_nanos) if is_known else unseen
    yield _NONE if line.usual_nanos is None else dollars(line.usual_nanos)
    if line.month:
        before = line.month.before_watching_nanos
        spent = _UNKNOWN if line.month.state is TotalState.UNKNOWN else dollars(line.month.spend_nanos)
        yield f"{spent} + {dollars(before)}" if before else spent


def _top_model(line: Line) -> str:
    """Return `claude-sonnet (auto 60 %)`: a model without its maker's name, and what it was asked for as."""
    top = line.top_model
    if top is None:
        return ""
    name = _without_maker(top.model)
    if top.requested_model is None or not top.requested_share:
        return name
    return f"{name} ({_without_maker(top.requested_model)} {round(100 * top.requested_share)} %)"


def _without_maker(model: str) -> str:
    return model.rpartition("/")[2] or model


def _sum(lines: Sequence[Line]) -> Line:
    """Return several lines as one; of its states the one that promises least, but unknown only if all of them are."""
    usual = [line.usual_nanos for line in lines if line.usual_nanos is not None]
    months = [line.month for line in lines if line.month]
    return Line(
        owner=None,
        amounts=sum((line.amounts for line in lines), Amounts()),
        state=_least_sure(line.state for line in lines),
        usual_nanos=sum(usual) if usual else None,
        month=MonthToDate(
            spend_nanos=sum(month.spend_nanos for month in months),
            state=_least_sure(month.state for month in months),
            watched_from=None,
            before_watching_nanos=sum(month.before_watching_nanos for month in months),
        )
        if months
        else None,
    )


def _least_sure(states: Iterator[TotalState]) -> TotalState:
    found = {*states}
    return found.pop() if len(found) == 1 else TotalState.PROVISIONAL


# --- Beside it -----------------------------------------------------------------------------------------------------


def _alerts(digest: Digest, people: Mapping[str, Person]) -> Iterator[Fact]:
    moment = Moment(digest.now, digest.zone)
    firing = [say.reminder(alert, _person(alert, people), moment).headline for alert in digest.firing]
    yield from _some("Open", firing, "alerts")
    yield from _some("Resolved", [_end(alert, digest, people) for alert in digest.resolved], "alerts")


def _end(alert: Alert, digest: Digest, people: Mapping[str, Person]) -> str:
    """Return what the alert's own thread was told when it ended."""
    person = _person(alert, people)
    if alert.finding.rule is Rule.STALENESS:
        ended = Moment(alert.resolved_at or digest.now, digest.zone)
        return say.seen_again(alert, digest.keys, person, ended).headline
    return _ENDS[alert.finding.rule](alert, person)


_ENDS: Final[Mapping[Rule, Callable[[Alert, Person], str]]] = {
    Rule.SIGMA: lambda alert, person: say.day_is_over(alert.finding, person).headline,
    Rule.BOOKS: lambda alert, _: f"Books of {say.day_name(alert.finding.day)} balance",
    Rule.LOW_BALANCE: lambda _, __: "OpenRouter's credits suffice again",
}


def _person(alert: Alert, people: Mapping[str, Person]) -> Person:
    owner = alert.finding.owner
    return say.NOBODY if owner is None else people.get(owner) or Person(owner)


def _silent(digest: Digest, names: Mapping[str, str]) -> Iterator[Fact]:
    moment = Moment(digest.now, digest.zone)
    told = []
    for key in digest.silent:
        reason = key.failure.value.replace("_", " ") if key.failure else "not asked"
        since = f" since {moment.clock(key.failing_since)}" if key.failing_since else ""
        told.append(f"{names.get(key.owner, key.owner)}: key {key.name}, {reason}{since}")
    yield from _some("No answer", told, "keys")


def _corrections(digest: Digest, names: Mapping[str, str]) -> Iterator[Fact]:
    def both(amounts: Amounts) -> int:
        return amounts.correction_nanos + amounts.byok_correction_nanos

    theirs = [f"{names[line.owner or '']} {dollars(both(line.amounts))}" for line in digest.lines if both(line.amounts)]
    if theirs:
        yield Fact("Corrections", f"counters fell by {dollars(-both(digest.total.amounts))}: {_listed(theirs)}")


def _books(digest: Digest) -> Iterator[Fact]:
    if line := books_line(digest.books, digest.zone.key):
        yield Fact("Books", line)


def _some(label: str, told: Sequence[str], of_what: str) -> Iterator[Fact]:
    shown = told if len(told) <= _MOST_FACTS else told[: _MOST_FACTS - 1]
    yield from (Fact(label, text) for text in shown)
    if len(told) > len(shown):
        yield Fact(label, f"+ {len(told) - len(shown)} more {of_what}")


def _listed(told: Sequence[str]) -> str:
    more = [f"{len(told) - _MOST_FACTS} more"] if len(told) > _MOST_FACTS else []
    return ", ".join([*told[:_MOST_FACTS], *more])


# --- Small print ---------------------------------------------------------------------------------------------------

_NOUNS: Final = {DigestKind.DAILY: "day", DigestKind.WEEKLY: "week", DigestKind.MONTHLY: "month"}
_TRUST: Final = {
    TotalState.SETTLED: "every figure is settled",
    TotalState.PROVISIONAL: "what is provisional may still change",
    TotalState.UNKNOWN: "no key was read, which does not mean that nothing was spent",
}


def _notes(digest: Digest, names: Mapping[str, str]) -> Iterator[str]:
    moment = Moment(digest.now, digest.zone)
    total = digest.total
    if digest.due.late:
        yield f"Late: due at {moment.clock(digest.due.scheduled_at)}, Reckon was not running."
    if not _has_money(total.amounts) and total.state is TotalState.SETTLED:
        return
    if digest.as_of:
        yield f"As of {moment.clock(digest.as_of)}: {_TRUST[total.state]}. Days are those of {digest.zone.key}."
    else:
        yield "No key has answered yet, which does not mean that nothing was spent."
    yield from _watched_from(digest, names, moment)
    if total.before_watching_nanos:
        earlier = dollars(total.before_watching_nanos)
        yield f"Earlier that {_NOUNS[digest.due.kind]}, before Reckon watched: {earlier} more."
    if total.month and total.month.before_watching_nanos:
        yield "After a +: what OpenRouter's counters show for the same month from before Reckon watched."


def _watched_from(digest: Digest, names: Mapping[str, str], moment: Moment) -> Iterator[str]:
    """Yield since when the figures are counted, where that is not all of their span."""
    total = digest.total
    if total.watched_from:
        yield f"Watched only from {moment.clock(total.watched_from)} on."
    elif total.month and total.month.watched_from:
        yield f"The month is counted from {moment.clock(total.month.watched_from)} on."
    later = [
        f"{names[line.owner or '']} from {moment.clock(line.watched_from)}"
        for line in digest.lines
        if line.watched_from and line.watched_from != total.watched_from
    ]
    if later:
        yield f"Watched only {_listed(later)}."


# --- Names ---------------------------------------------------------------------------------------------------------


def _names(digest: Digest, people: Mapping[str, Person]) -> dict[str, str]:
    """Return what to call each owner."""
    return {
        line.owner: _name(line.owner, people) + (" (former)" if line.former else "")
        for line in digest.lines
        if line.owner is not None
    }


def _name(owner: str, people: Mapping[str, Person]) -> str:
    return people[owner].name if owner in people else owner


def _has_money(amounts: Amounts) -> bool:
    return amounts != Amounts()


# --- For machines --------------------------------------------------------------------------------------------------


def document(digest: Digest, people: Mapping[str, Person]) -> dict[str, Any]:
    """Return the digest as `reckon digest --json` prints it. Money is in dollars as text; what is not known is None."""
    due, total = digest.due, digest.total
    return {
        "title": _headline(digest),
        "digest": due.kind.value,
        "name": due.name,
        "timezone": digest.zone.key,
        "since": _instant(due.reported.start),
        "until": _instant(due.reported.end),
        "as_of": _instant(digest.as_of),
        "late": due.late,
        "usual_is": _HELD_AGAINST[due.kind],
        "usual_includes_byok": digest.usual_has_byok,
        "total": _figures_document(total),
        "rows": [
            {
                "owner": line.owner,
                "name": _name(line.owner or "", people),
                **_figures_document(line),
                "top_model": line.top_model.model if line.top_model else None,
            }
            for line in digest.lines
        ],
        "alerts": [_alert_document(alert) for alert in (*digest.firing, *digest.resolved)],
        "silent": [
            {
                "owner": key.owner,
                "key": key.name,
                "reason": key.failure.value if key.failure else None,
                "since": _instant(key.failing_since),
            }
            for key in digest.silent
        ],
    }


def _figures_document(line: Line) -> dict[str, Any]:
    month = line.month
    return {
        "spend_usd": usd_text(line.amounts.spend_nanos),
        "correction_usd": usd_text(line.amounts.correction_nanos),
        "byok_usd": usd_text(line.amounts.byok_nanos),
        "byok_correction_usd": usd_text(line.amounts.byok_correction_nanos),
        "state": line.state.value,
        "watched_from": _instant(line.watched_from),
        "before_watching_usd": usd_text(line.before_watching_nanos),
        "usual_usd": None if line.usual_nanos is None else usd_text(line.usual_nanos),
        "month_to_date_usd": usd_text(month.spend_nanos) if month else None,
        "month_state": month.state.value if month else None,
        "month_watched_from": _instant(month.watched_from) if month else None,
        "month_before_watching_usd": usd_text(month.before_watching_nanos) if month else None,
    }


def _alert_document(alert: Alert) -> dict[str, Any]:
    finding = alert.finding
    return {
        "id": alert.id,
        "owner": finding.owner,
        "rule": finding.rule.value,
        "state": alert.state.value,
        "opened_at": _instant(alert.opened_at),
        "resolved_at": _instant(alert.resolved_at),
        "spend_usd": None if finding.spend_nanos is None else usd_text(finding.spend_nanos),
        "threshold_usd": None if finding.threshold_nanos is None else usd_text(finding.threshold_nanos),
    }


def _instant(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
