"""`reckon sweep`, `reckon backfill`: everything read now, and days gone by."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from datetime import datetime

    from rich.progress import Progress

    from reckon.config import Settings
    from reckon.jobs.activity import Meanwhile
    from reckon.store import Store
    from reckon.watch import Watcher

_ROUNDS_WITHOUT_PROGRESS: Final = 6
"""How often in a row the daemon may have done nothing while we waited: analytics lets nobody ask for a minute."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("sweep")(sweep)
    app.command("backfill")(backfill)


# --- The commands ----------------------------------------------------------------------------------------------------


def sweep(context: typer.Context, as_json: AsJson = False) -> None:
    """Ask for every key's counters and the days gone by once, now.

    Exits with 0 when at least one key answered, and with 69 when none did.
    """
    from reckon.config import load
    from reckon.watch import require_something_to_watch

    settings = _quiet_where_a_person_looks(load(context.obj, os.environ))
    require_something_to_watch(settings)

    async def directly(watcher: "Watcher", since: "datetime", meanwhile: "Meanwhile") -> dict[str, Any]:
        from reckon.documents.activity import days_document, swept_document

        plans = await watcher.poll_everything(watcher.app.clock())
        tally = await watcher.activity_since(since, meanwhile)
        await watcher.deliver()
        keys = watcher.app.keys()
        return {**swept_document(plans, keys), "days": days_document(tally, keys, since)}

    found = _done(settings, directly, "/v1/sweep", {})
    if as_json:
        _print_json(found)
    else:
        _show_sweep(found, has_management_key=settings.sweeps)
    if found["keys_polled"] == 0:
        raise typer.Exit(69)


def backfill(
    context: typer.Context,
    days: Annotated[int, typer.Option(metavar="N", min=1, max=365, help="How far back, up to a year.")],
    as_json: AsJson = False,
) -> None:
    """Read the days gone by, so that the usual is known on day one.

    It takes a management key; without one it exits with 69.
    """
    from reckon.config import load
    from reckon.documents.activity import days_document
    from reckon.errors import SourceUnavailable
    from reckon.watch import NO_DAYS_TOLD

    settings = _quiet_where_a_person_looks(load(context.obj, os.environ))
    if not settings.sweeps:
        raise SourceUnavailable(NO_DAYS_TOLD)

    async def directly(watcher: "Watcher", since: "datetime", meanwhile: "Meanwhile") -> dict[str, Any]:
        tally = await watcher.backfill(days, since, meanwhile)
        return days_document(tally, watcher.app.keys(), since)

    found = _done(settings, directly, "/v1/backfill", {"days": days})
    if as_json:
        _print_json(found)
    else:
        _show_days(found)
    if found["refused"] or found["is_elsewhere"] or (found["keys_failed"] and not found["keys_read"]):
        raise typer.Exit(69)


# --- Doing it --------------------------------------------------------------------------------------------------------


def _done(
    settings: "Settings",
    directly: "Callable[[Watcher, datetime, Meanwhile], Any]",
    path: str,
    wanted: dict[str, Any],
) -> dict[str, Any]:
    """Return what is done to the ledger *directly*, or where a daemon holds it, by that."""
    import asyncio

    from reckon.cli.printing import progress_bar
    from reckon.errors import StoreBusy
    from reckon.jobs.activity import Meanwhile
    from reckon.store import open_store
    from reckon.watch import open_watcher

    async def once(store: "Store", meanwhile: "Meanwhile") -> Any:
        async with open_watcher(settings, os.environ, store=store) as watcher:
            return await directly(watcher, watcher.app.clock().replace(microsecond=0), meanwhile)

    with progress_bar() as bar:
        shown = _shown_in(bar)
        try:
            store = open_store(settings.store.url.get_secret_value(), writes=True, creates=False)
        except StoreBusy:
            return _by_the_daemon(settings, path, wanted, shown)
        with store:
            found: dict[str, Any] = asyncio.run(once(store, Meanwhile(progress=shown)))
            return found


def _by_the_daemon(
    settings: "Settings", path: str, wanted: dict[str, Any], shown: Callable[[int, int], None]
) -> dict[str, Any]:
    """Return what the daemon did, asked once more for as long as it has something left to do."""
    import json

    from reckon.cli.daemon_door import ask_daemon

    def ask(more: dict[str, Any]) -> dict[str, Any]:
        return ask_daemon(settings, path, json.dumps({**wanted, **more}).encode(), "application/json")

    found = ask({})
    days = found.get("days", found)
    rounds = 0
    while days["keys_left"] and not days["refused"] and rounds < _ROUNDS_WITHOUT_PROGRESS:
        before = _moved(days)
        answer = ask({"since": days["since"]})
        more = answer.get("days", answer)
        days.update({name: days[name] + more[name] for name in ("keys_read", "keys_idle", "keys_failed")})
        days.update({name: more[name] for name in ("keys_left", "refused", "is_elsewhere")})
        shown(_moved(days), _moved(days) + days["keys_left"])
        rounds = 0 if _moved(days) > before else rounds + 1
    return found


def _moved(days: dict[str, Any]) -> int:
    moved: int = days["keys_read"] + days["keys_idle"] + len(days["keys_failed"])
    return moved


def _shown_in(bar: "Progress") -> Callable[[int, int], None]:
    task = bar.add_task("Reading days gone by", total=None)
    return lambda done, of: bar.update(task, completed=done, total=of)


def _quiet_where_a_person_looks(settings: "Settings") -> "Settings":
    """Return the settings to go by: a person reads the answer, and the log would tell them the same a second time."""
    import sys

    if not sys.stderr.isatty() or ("log", "level") in settings.given:
        return settings
    return settings.model_copy(update={"log": settings.log.model_copy(update={"level": "error"})})


# --- Showing it ------------------------------------------------------------------------------------------------------


def _print_json(found: dict[str, Any]) -> None:
    from reckon.cli.printing import print_json

    print_json(found)


def _show_sweep(found: dict[str, Any], *, has_management_key: bool) -> None:
    from decimal import Decimal

    from reckon.cli.printing import counted
    from reckon.core.money import dollars, nanos_from_usd

    asked = found["keys_polled"] + len(found["failures"])
    spent = dollars(nanos_from_usd(Decimal(found["spend_usd"])))
    print(f"{found['keys_polled']:,} of {counted(asked, 'key')} answered; {spent} counted.")
    _show_failures(found["failures"], "Keys that did not answer")
    if has_management_key:
        _show_days(found["days"])
    else:
        print("Days gone by are told to management keys alone; none is configured.")


def _show_days(days: dict[str, Any]) -> None:
    from reckon.cli.printing import clean, counted

    if days["refused"]:
        print(clean(f"Days gone by are not told to this management key: {days['refused']}.", 300))
        return
    if days["is_elsewhere"]:
        print("Another replica is reading days gone by at the moment.")
        return
    idle = f", {counted(days['keys_idle'], 'key')} known to be idle" if days["keys_idle"] else ""
    print(f"Days gone by read of {counted(days['keys_read'], 'key')}{idle}.")
    _show_failures(days["keys_failed"], "Keys whose days could not be read")
    if days["keys_left"]:
        print(f"{counted(days['keys_left'], 'key')} left: OpenRouter wants a rest. Ask again later.")


def _show_failures(failures: list[dict[str, str]], title: str) -> None:
    from reckon.cli.printing import Column, table

    if not failures:
        return
    print()
    table(
        [
            Column("Owner", [failure["owner"] for failure in failures]),
            Column("Key", [failure["key"] for failure in failures]),
            Column("Reason", [failure["reason"].replace("_", " ") for failure in failures], "fixed"),
            Column("Detail", [failure["detail"] for failure in failures], "prose"),
        ],
        title=title,
    )
    print()
