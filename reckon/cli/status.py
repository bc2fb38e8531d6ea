"""`reckon status`: what is in force, how fresh it is, and what needs a person.

Each row says how good one thing is. What is well takes a line for all of it; each key, alert or message that is not has
a row of its own, so that nothing wrong hides in a sum.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

if TYPE_CHECKING:
    from reckon.app import App
    from reckon.cli.health import Reply
    from reckon.core.digest import DigestPolicy
    from reckon.core.digest_calendar import DigestKind, DigestTime
    from reckon.core.outbox import Delivery
    from reckon.core.records import KeyState

_MOST_ROWS: Final = 10
_A_MONTH_AHEAD: Final = 32
_REMEMBERED: Final = timedelta(days=30)


State = Literal["ok", "warning", "wrong"]


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("status")(status)


@dataclass(frozen=True, slots=True)
class Row:
    """How one thing stands."""

    what: str
    state: State
    detail: str


def status(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """How fresh everything is, and what needs a person."""
    from reckon.app import open_app
    from reckon.cli.health import ask
    from reckon.cli.printing import print_json
    from reckon.config import find, load

    settings = load(context.obj, os.environ)
    file = find(context.obj, os.environ)
    with open_app(settings) as app:
        listen = settings.http.listen
        rows = [*_rows(app, file, ask(listen) if listen and listen.port else None)]
    if as_json:
        print_json({"rows": [{"what": row.what, "state": row.state, "detail": row.detail} for row in rows]})
    else:
        _show(app, rows)


def _show(app: "App", rows: list[Row]) -> None:
    from reckon.cli.doctor import state_cell
    from reckon.cli.printing import Column, table

    table(
        [
            Column("What", [row.what for row in rows]),
            Column("State", [state_cell(row.state) for row in rows], "fixed"),
            Column("Detail", [row.detail for row in rows], "prose"),
        ],
        title=f"Status ({app.settings.timezone.key})",
    )


def _rows(app: "App", file: Path | None, reply: "Reply | None") -> Iterator[Row]:
    now = app.clock()
    polled_at = app.polled_at()
    yield _daemon(app, reply, now)
    yield _last_poll(app, polled_at, now)
    yield from _sweep(app, now)
    yield from _keys(app, now)
    yield from _balance(app, now)
    yield from _alerts(app, now)
    yield from _messages(app, now)
    yield _digests(app, now)
    yield Row("ledger", "ok", app.store.name)
    yield _configuration(file, reply)


# --- Who watches -----------------------------------------------------------------------------------------------------


def _daemon(app: "App", reply: "Reply | None", now: datetime) -> Row:
    if reply is None:
        return Row("daemon", "ok", "Not asked, since http.listen is off; the last poll tells.")
    if not reply.detail:
        without = "Without a daemon no digest is sent and no silence noticed."
        return Row("daemon", "warning", f"{reply.text[0].upper()}{reply.text[1:]}. {without}")
    detail = reply.detail
    told = f"version {detail.get('version')}, since {_told_instant(app, detail.get('started_at'), now)}"
    if not reply.is_well:
        return Row("daemon", "wrong", f"It does not get on: {detail['status']} ({told}). Restart it.")
    return Row("daemon", "ok", f"Runs at {app.settings.http.listen}, {told}.")


def _told_instant(app: "App", text: object, now: datetime) -> str:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return "unknown"
    return _when(app, at, now) if at.tzinfo else "unknown"


def _last_poll(app: "App", polled_at: datetime | None, now: datetime) -> Row:
    from reckon.cli.health import longest_silence
    from reckon.core.alert_messages import span

    if polled_at is None:
        return Row("last poll", "warning", "Nothing was ever polled.")
    age = now - polled_at
    told = f"{_when(app, polled_at, now)}, {span(age)} ago."
    return Row("last poll", "ok" if age <= longest_silence(app.settings) else "wrong", told)


def _sweep(app: "App", now: datetime) -> Iterator[Row]:
    if app.settings.sweeps and (trouble := app.sweep_trouble()):
        since, why = trouble
        yield Row("sweep", "wrong", f"The account cannot be listed since {_when(app, since, now)}: {why}.")


def _configuration(file: Path | None, reply: "Reply | None") -> Row:
    refused = reply.detail.get("reload_refused") if reply else None
    if refused:
        told = "; ".join(str(refused).splitlines())
        return Row("configuration", "wrong", f"The last reload was refused, and the one before is in force: {told}")
    return Row("configuration", "ok", str(file) if file else "No file: the defaults and the environment.")


# --- What is watched -------------------------------------------------------------------------------------------------


def _keys(app: "App", now: datetime) -> Iterator[Row]:
    from reckon.cli.printing import counted

    known = app.keys()
    watched = [key for key in known if key.watched]
    silent = [key for key in watched if key.failure or key.counters is None]
    answering = len(watched) - len(silent)
    state: State = "ok" if not silent else "warning" if answering else "wrong"
    yield Row("keys", state, f"{answering:,} of {counted(len(watched), 'key')} answer." if watched else "None.")
    for key in silent[:_MOST_ROWS]:
        yield _silent(app, key, now)
    if len(silent) > _MOST_ROWS:
        yield Row("keys", "wrong", f"+ {len(silent) - _MOST_ROWS} more; see `reckon keys`.")


def _silent(app: "App", key: "KeyState", now: datetime) -> Row:
    what = f"key {key.name} of {key.owner}"
    if key.failure is None:
        return Row(what, "warning", "Not asked yet.")
    seen = _when(app, key.counters.last_seen_at, now) if key.counters else "never"
    since = key.failing_since or now
    is_stale = now - since >= app.settings.staleness.after
    reason = key.failure.value.replace("_", " ").capitalize()
    return Row(what, "wrong" if is_stale else "warning", f"{reason} since {_when(app, since, now)}; last seen {seen}.")


def _balance(app: "App", now: datetime) -> Iterator[Row]:
    """Yield how long the account's credits last, where anybody may see them."""
    from reckon.core.alert_messages import span
    from reckon.core.money import dollars

    funds = app.funds()
    if funds is None:
        return
    pace = f" at {dollars(funds.daily_nanos)} in the last 24 hours" if funds.daily_nanos > 0 else ""
    lasts = "" if funds.runway is None or funds.left_nanos <= 0 else f", which lasts {span(funds.runway)}{pace}"
    seen_by = f", as seen by key {funds.seen_by}" if funds.seen_by else ""
    told = f"{dollars(funds.left_nanos)} left{lasts}{seen_by}; as of {_when(app, funds.at, now)}."
    yield Row("balance", "warning" if funds.are_low else "ok", told)


# --- What was noticed, and whether it was told -----------------------------------------------------------------------


def _alerts(app: "App", now: datetime) -> Iterator[Row]:
    from reckon.core.alerts import AlertState
    from reckon.core.money import dollars

    firing = [alert for alert in app.alerts() if alert.state is AlertState.FIRING]
    if not firing:
        yield Row("alerts", "ok", "None fires.")
    for alert in firing[:_MOST_ROWS]:
        finding = alert.finding
        spent = "" if finding.spend_nanos is None else f", {dollars(finding.spend_nanos)}"
        detail = f"{finding.owner or 'all keys'}: {finding.rule.value} since {_when(app, alert.opened_at, now)}{spent}."
        yield Row(f"alert {alert.id}", "warning", detail)
    if len(firing) > _MOST_ROWS:
        yield Row("alerts", "warning", f"+ {len(firing) - _MOST_ROWS} more; see `reckon alerts`.")


def _messages(app: "App", now: datetime) -> Iterator[Row]:
    """Yield what is still to be said, and what never will be until somebody mends what keeps it."""
    from reckon.cli.printing import counted

    waiting, dead = app.unfinished_messages(), app.dead_messages()
    troubled = [delivery for delivery in waiting if delivery.trouble]
    if troubled:
        first = troubled[0]
        yield Row(
            "messages",
            "warning",
            f"{counted(len(waiting), 'message')} waiting, the first since {_when(app, first.created_at, now)}:"
            f" {first.trouble}.",
        )
    else:
        yield Row("messages", "ok", f"{counted(len(waiting), 'message')} waiting.".capitalize())
    yield from _dead(app, [delivery for delivery in dead if now - delivery.created_at < _REMEMBERED], now)


def _dead(app: "App", dead: "list[Delivery]", now: datetime) -> Iterator[Row]:
    """Yield what no repetition would deliver, a row for each reason; it is mended when something else got through."""
    from reckon.cli.printing import counted

    last_attempts = app.store.last_attempts()
    refused = {delivery.to for delivery in dead if delivery.attempted_at == last_attempts.get(delivery.to)}
    newest_by_reason = {(delivery.to, delivery.trouble): delivery for delivery in reversed(dead)}
    numbers = Counter((delivery.to, delivery.trouble) for delivery in dead)
    for (to, trouble), newest in newest_by_reason.items():
        number = numbers[to, trouble]
        of = "of" if number == 1 else "the last of"
        told = f"{counted(number, 'message')} never delivered, {of} {_when(app, newest.created_at, now)}: {trouble}."
        if to in refused:
            yield Row("messages", "wrong", told)
        else:
            yield Row("messages", "warning", f"{told} Nothing was refused there since.")


def _digests(app: "App", now: datetime) -> Row:
    from reckon.config import digest_policy

    found = [f"{kind} {_when(app, at, now)}" for kind, at in next_digests(digest_policy(app.settings), now)]
    return Row("digests", "ok", f"Next: {', '.join(found)}." if found else "All are turned off.")


def next_digests(policy: "DigestPolicy", now: datetime) -> "list[tuple[DigestKind, datetime]]":
    """Return when a digest of each kind goes out next, soonest first."""
    from reckon.core.digest_calendar import first_instant
    from reckon.core.windows import local_date

    today = local_date(now, policy.zone)
    days = [today + timedelta(days=ahead) for ahead in range(_A_MONTH_AHEAD)]
    found = []
    for when in policy.times:
        instants = (first_instant(datetime.combine(day, when.at), policy.zone) for day in days if _is_for(when, day))
        found.append((when.kind, next(at for at in instants if at > now)))
    return sorted(found, key=lambda one: one[1])


def _is_for(when: "DigestTime", day: date) -> bool:
    from reckon.core.digest_calendar import DigestKind

    place = {DigestKind.DAILY: when.day, DigestKind.WEEKLY: day.weekday(), DigestKind.MONTHLY: day.day}
    return place[when.kind] == when.day


def _when(app: "App", at: datetime, now: datetime) -> str:
    from reckon.cli.printing import when

    return when(at, app.settings.timezone, now=now)
