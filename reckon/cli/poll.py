"""`reckon poll`: ask every source once, now."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reckon.app import Poller
    from reckon.core.plans import Plan


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("poll")(poll)


def poll(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Ask every key for its counters once, now, and count.

    Exits with 0 when at least one key answered, and with 69 when none did or while a daemon holds the SQLite file.
    """
    import asyncio
    import os
    import sys

    from reckon.app import open_poller
    from reckon.cli.printing import print_json
    from reckon.config import load, unbuilt
    from reckon.errors import SourceUnavailable

    settings = load(context.obj, os.environ)
    if sys.stderr.isatty() and ("log", "level") not in settings.given:
        # A person reads the answer; the log would tell them the same a second time.
        settings = settings.model_copy(update={"log": settings.log.model_copy(update={"level": "error"})})
    if later := unbuilt(settings):
        print(f"reckon: not built yet, so without effect: {', '.join(later)}", file=sys.stderr)

    async def once() -> "Plan":
        async with open_poller(settings, os.environ) as poller:
            if not poller.watched:
                raise SourceUnavailable("The owner map holds no key to ask. Add one: see config.example.toml.")
            plan = await poller.poll(poller.app.clock(), heed_waits=False)
            if as_json:
                print_json(document(poller, plan))
            else:
                _show(poller, plan)
            return plan

    if asyncio.run(once()).polled == 0:
        raise typer.Exit(69)


def document(poller: "Poller", plan: "Plan") -> dict[str, Any]:
    """Return what one poll did as `reckon poll --json` prints it."""
    from reckon.core.money import usd_text

    entries = {entry.hash: entry for entry in poller.watched}
    return {
        "keys_polled": plan.polled,
        "failures": [
            {
                "owner": entries[failure.key_hash].owner,
                "key": entries[failure.key_hash].name,
                "reason": failure.reason.value,
                "detail": failure.detail,
            }
            for failure in plan.failures
        ],
        "spend_usd": usd_text(plan.spend_nanos),
    }


def _show(poller: "Poller", plan: "Plan") -> None:
    from reckon.cli.printing import Column, clean, counted, table
    from reckon.core.money import dollars

    entries = {entry.hash: entry for entry in poller.watched}
    asked = plan.polled + len(plan.failures)
    print(f"{plan.polled:,} of {counted(asked, 'key')} answered; {dollars(plan.spend_nanos)} counted by this poll.")
    if opened := sum(row.n == 1 for _, row in plan.snapshots):
        print(f"{counted(opened, 'key')} seen for the first time: what they spend counts from now on.")
    for balance in plan.balances:
        entry = entries.get(balance.seen_by)
        by = clean(f"key {entry.name} of {entry.owner}", 200) if entry else "the management key"
        print(f"Account balance {dollars(balance.left_nanos)}, as seen by {by}.")
    if plan.failures:
        lines = [(entries[failure.key_hash], failure) for failure in plan.failures]
        print()
        table(
            [
                Column("Owner", [entry.owner for entry, _ in lines]),
                Column("Key", [entry.name for entry, _ in lines]),
                Column("Reason", [failure.reason.value.replace("_", " ") for _, failure in lines], "fixed"),
                Column("Detail", [failure.detail for _, failure in lines], "prose"),
            ],
            title="Keys that did not answer",
        )
