"""`reckon poll`: ask every source once, now, and tell what there is to tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reckon.core.outbox import Delivery
    from reckon.core.plans import Plan
    from reckon.core.records import Failure
    from reckon.watch import Watcher


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("poll")(poll)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one `reckon poll` did: one plan, or several where another replica was at work."""

    plans: "Sequence[Plan]"
    deliveries: "Sequence[Delivery]"

    @property
    def polled(self) -> int:
        """How many keys answered."""
        return sum(plan.polled for plan in self.plans)

    @property
    def failures(self) -> "list[Failure]":
        """Why the others did not."""
        return [failure for plan in self.plans for failure in plan.failures]

    @property
    def spend_nanos(self) -> int:
        """Credits counted."""
        return sum(plan.spend_nanos for plan in self.plans)


def poll(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Ask every key for its counters once, now; count, judge and tell.

    Exits with 0 when at least one key answered, and with 69 when none did or while a daemon holds the SQLite file.
    """
    import asyncio
    import os
    import sys

    from reckon.cli.printing import print_json
    from reckon.config import load, unbuilt
    from reckon.watch import open_watcher, require_something_to_watch

    settings = load(context.obj, os.environ)
    require_something_to_watch(settings)
    if sys.stderr.isatty() and ("log", "level") not in settings.given:
        # A person reads the answer; the log would tell them the same a second time.
        settings = settings.model_copy(update={"log": settings.log.model_copy(update={"level": "error"})})
    if later := unbuilt(settings):
        print(f"reckon: not built yet, so without effect: {', '.join(later)}", file=sys.stderr)

    async def once() -> Answer:
        async with open_watcher(settings, os.environ) as watcher:
            plans = await watcher.poll_everything(watcher.app.clock())
            answer = Answer(plans, await watcher.deliver())
            if as_json:
                print_json(document(watcher, answer))
            else:
                _show(watcher, answer)
            return answer

    if asyncio.run(once()).polled == 0:
        raise typer.Exit(69)


def document(watcher: "Watcher", answer: Answer) -> dict[str, Any]:
    """Return what one poll did as `reckon poll --json` prints it."""
    from reckon.core.money import usd_text

    entries = {entry.hash: entry for entry in watcher.watched}
    return {
        "keys_polled": answer.polled,
        "failures": [
            {
                "owner": entries[failure.key_hash].owner,
                "key": entries[failure.key_hash].name,
                "reason": failure.reason.value,
                "detail": failure.detail,
            }
            for failure in answer.failures
        ],
        "spend_usd": usd_text(answer.spend_nanos),
    }


def _show(watcher: "Watcher", answer: Answer) -> None:
    from reckon.cli.printing import Column, clean, counted, table
    from reckon.core.money import dollars
    from reckon.core.outbox import DeliveryState

    entries = {entry.hash: entry for entry in watcher.watched}
    asked = answer.polled + len(answer.failures)
    print(f"{answer.polled:,} of {counted(asked, 'key')} answered; {dollars(answer.spend_nanos)} counted by this poll.")
    if opened := sum(row.n == 1 for plan in answer.plans for _, row in plan.snapshots):
        print(f"{counted(opened, 'key')} seen for the first time: what they spend counts from now on.")
    for balance in (balance for plan in answer.plans for balance in plan.balances):
        entry = entries.get(balance.seen_by)
        by = clean(f"key {entry.name} of {entry.owner}", 200) if entry else "the management key"
        print(f"Account balance {dollars(balance.left_nanos)}, as seen by {by}.")
    if answer.failures:
        lines = [(entries[failure.key_hash], failure) for failure in answer.failures]
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
    states = [delivery.state for delivery in answer.deliveries]
    sink = watcher.deliverer.sink.name
    if told := states.count(DeliveryState.DELIVERED):
        print(f"{counted(told, 'message')} delivered to {sink}.")
    for delivery in answer.deliveries:
        if delivery.state in {DeliveryState.WAITING, DeliveryState.DEAD}:
            ends = "will be tried again" if delivery.state is DeliveryState.WAITING else "will not be tried again"
            print(clean(f"A message did not get to {sink} and {ends}: {delivery.trouble}", 300))
