"""`reckon track`, `settle`, `calls`: single generations, handed in, looked up and listed."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from reckon.config import Settings
    from reckon.core.generations import Call
    from reckon.store import Store

_T = TypeVar("_T")

_BODY_BYTES: Final = 60_000
_ROWS: Final = 50

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("track")(track)
    app.command("settle")(settle)
    app.command("calls")(calls)


# --- Handing in ------------------------------------------------------------------------------------------------------


def track(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Generation ids; - reads lines or JSONL.")],
    key: Annotated[str | None, typer.Option(metavar="NAME", help="By which key they ran.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="ID", help="Whose they are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hand in generation ids, to learn what each cost. Handing in one twice changes nothing.

    Exits with 0 when all were taken, and with 1 when some were not.
    """
    import os

    from reckon.cli.printing import clean, counted, print_json
    from reckon.config import load

    settings = load(context.obj, os.environ)
    lines = [*_lines(ids, {"key": key, "owner": owner})]
    found = _writing(
        settings, lambda store: _hand_in(settings, store, lines), lambda: _through_the_daemon(settings, lines)
    )
    if as_json:
        print_json(found)
    else:
        print(f"{counted(found['accepted'], 'generation')} accepted, {found['duplicates']:,} known before.")
        for refused in found["rejected"]:
            print(clean(f"Not taken: {refused['id'] or 'a line'}: {refused['reason']}", 300))
    if found["rejected"]:
        raise typer.Exit(1)


def _lines(ids: list[str], hints: dict[str, str | None]) -> Iterator[bytes]:
    """Yield what was named on the command line or comes from standard input, a line each, with the hints in it."""
    import json
    import sys

    told = {name: value for name, value in hints.items() if value is not None}
    for each in ids:
        lines = (line.strip() for line in sys.stdin.buffer) if each == "-" else iter([each.encode()])
        for line in lines:
            if line and told and line[:1] != b"{":
                text = line.decode(errors="replace").strip('"')
                yield json.dumps({"id": text, **told}).encode()
            elif line and told:
                yield _with_hints(line, told)
            elif line:
                yield line


def _with_hints(line: bytes, told: dict[str, str]) -> bytes:
    """Return an object with the hints that it does not give itself; what is no object is refused where it is read."""
    import json

    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(members, dict):
        return line
    return json.dumps({**told, **members}).encode()


def _hand_in(settings: "Settings", store: "Store", lines: list[bytes]) -> dict[str, Any]:
    from reckon.app import App, system_clock
    from reckon.config import settle_policy
    from reckon.core.records import WatchedKey
    from reckon.handing_in import Names, Rejected, read_line

    met = App(settings, store).keys()
    names = Names([WatchedKey(key.hash, key.owner, key.name) for key in met if key.watched], settings.owners)
    entries = [entry for line in lines if (entry := read_line(line, names))]
    handed = [entry for entry in entries if not isinstance(entry, Rejected)]
    taken = store.hand_in(handed, settle_policy(settings), system_clock())
    rejected = [{"id": entry.id, "reason": entry.reason} for entry in entries if isinstance(entry, Rejected)]
    return {"accepted": taken.accepted, "duplicates": taken.duplicates, "rejected": rejected}


def _through_the_daemon(settings: "Settings", lines: list[bytes]) -> dict[str, Any]:
    from reckon.cli.daemon_door import ask_daemon

    found: dict[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": []}
    for body in _bodies(lines):
        answer = ask_daemon(settings, "/v1/generations", body, "application/x-ndjson")
        for name in found:
            found[name] += answer[name]
    return found


def _bodies(lines: list[bytes]) -> Iterator[bytes]:
    """Yield *lines* together, as many at once as a body may hold."""
    body = b""
    for line in lines:
        if body and len(body) + len(line) > _BODY_BYTES:
            yield body
            body = b""
        body += line + b"\n"
    if body:
        yield body


def _writing(settings: "Settings", directly: "Callable[[Store], _T]", by_the_daemon: Callable[[], _T]) -> _T:
    """Return what is done to the ledger *directly*, or where a daemon holds it, by that."""
    from reckon.errors import StoreBusy
    from reckon.store import open_store

    try:
        store = open_store(settings.store.url.get_secret_value(), writes=True, creates=False)
    except StoreBusy:
        return by_the_daemon()
    with store:
        return directly(store)


# --- Looking up ------------------------------------------------------------------------------------------------------


def settle(
    context: typer.Context,
    expired: Annotated[bool, typer.Option("--expired", help="Ask again for those that were given up.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look up every generation that is due, once."""
    import asyncio
    import os

    from reckon.cli.daemon_door import ask_daemon
    from reckon.cli.printing import counted, print_json
    from reckon.config import load, settle_policy
    from reckon.documents.calls import settled_document
    from reckon.watch import open_watcher

    settings = load(context.obj, os.environ)

    async def once(store: "Store") -> dict[str, Any]:
        async with open_watcher(settings, os.environ, store=store) as watcher:
            if expired:
                store.ask_again(None, settle_policy(settings), watcher.app.clock())
            done = await watcher.settler.settle()
            return settled_document(done.settled, watcher.app.pending_counts())

    found = _writing(
        settings,
        lambda store: asyncio.run(once(store)),
        lambda: ask_daemon(settings, "/v1/settle", b'{"expired": true}' if expired else b"{}", "application/json"),
    )
    if as_json:
        print_json(found)
    else:
        given_up = f", {found['expired']:,} given up" if found["expired"] else ""
        print(f"{counted(found['settled'], 'generation')} settled; {found['pending']:,} wait for their cost{given_up}.")


# --- Listing ---------------------------------------------------------------------------------------------------------


def calls(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="From this date or instant on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Up to this date or instant.")] = None,
    last: Annotated[str | None, typer.Option(metavar="SPAN", help="7d, or 24h.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="So many at most.")] = None,
    as_json: AsJson = False,
) -> None:
    """Single generations, dearest first, by the model that served."""
    import os

    from reckon.app import open_app
    from reckon.cli.printing import print_json
    from reckon.cli.spans import span_of
    from reckon.config import load
    from reckon.core.reports import ALWAYS
    from reckon.documents.calls import calls_document

    settings = load(context.obj, os.environ)
    with open_app(settings) as app:
        span = None
        if any(edge is not None for edge in (since, until, last)):
            span = span_of(since, until, last, zone=settings.timezone, now=app.clock(), opening=ALWAYS.start)
        found = app.calls(span, limit if as_json or limit else _ROWS + 1)
    if as_json:
        print_json(calls_document(found))
    else:
        _show(found[: limit or _ROWS], settings.timezone, has_more=limit is None and len(found) > _ROWS)


def _show(found: "list[Call]", zone: "ZoneInfo", *, has_more: bool) -> None:
    from reckon.cli.printing import Column, table, when
    from reckon.core.generations import GenerationState
    from reckon.core.money import dollars

    def cost(call: "Call") -> str:
        return "unknown" if call.facts.credits_nanos is None else dollars(call.facts.credits_nanos)

    def model(call: "Call") -> str:
        served, asked = call.facts.model or "unknown", call.facts.requested_model
        return served if asked in {None, served} else f"{asked} > {served}"

    unsettled = [call for call in found if call.state is not GenerationState.SETTLED]
    byok = any(call.facts.byok_nanos for call in found)
    notes = ["Dearest first; --limit shows more."] if has_more else []
    if not found:
        notes.append("No generation was handed in.")
    table(
        [
            Column("Owner", [call.owner for call in found]),
            Column("Asked > served", [model(call) for call in found]),
            Column("Provider", [call.facts.provider or "" for call in found]),
            Column(
                "Made", [when(call.facts.created_at, zone) if call.facts.created_at else "" for call in found], "fixed"
            ),
            *([Column("State", [call.state.value for call in found], "fixed")] if unsettled else []),
            *([Column("BYOK", [dollars(call.facts.byok_nanos or 0) for call in found], "figure")] if byok else []),
            Column("Cost", [cost(call) for call in found], "figure"),
        ],
        title="Generations",
        notes=notes,
    )
