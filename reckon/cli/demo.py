"""`reckon demo`: a month of an invented team, counted by the real thing.

The account is a fake inside this process; everything else is what runs in production: a configuration file, the poll,
the ledger in a SQLite file, the reports, `verify`. Time is the fake's own, so that a month takes seconds.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from reckon.app import App, Poller
    from reckon.core.reports import SpendReport
    from reckon.fakes.month import Month

_QUIET: Final = timedelta(hours=1)
_WATCHFUL: Final = timedelta(minutes=5)


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("demo")(demo)


def demo() -> None:
    """A month of an invented team: no key needed.

    The account is a fake inside this process, and nothing is left behind.
    """
    import asyncio
    import tempfile
    from pathlib import Path

    from httpx import ASGITransport

    from reckon.app import open_poller
    from reckon.config import load
    from reckon.fakes import month, openrouter

    invented = month.build()
    invented.world.recording = False

    async def live(directory: Path) -> None:
        settings = load(_configuration(directory, invented), {})
        transport = ASGITransport(app=openrouter.app(invented.world))
        clock = lambda: invented.world.now  # noqa: E731 - a clock is a function of nothing
        async with open_poller(settings, {}, clock=clock, transport=transport) as poller:
            polls = await _poll_the_month(poller, invented)
            _tell(poller.app, invented, polls)

    with tempfile.TemporaryDirectory(prefix="reckon-demo-") as directory:
        asyncio.run(live(Path(directory)))


def _configuration(directory: "Path", invented: "Month") -> "Path":
    """Write the owner map as a person would, readable by its owner alone since the keys stand in it."""
    lines = ['poll.every = "1h"', 'log.level = "warning"']
    for owner_id, owner in invented.owners.items():
        lines += [f"[owners.{owner_id}]", f'name = "{owner.name}"', f'team = "{owner.team}"', "keys = ["]
        lines += [f'  {{ name = "{name}", key = "{secret}" }},' for name, secret in owner.keys]
        lines += ["]"]
    path = directory / "reckon.toml"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


async def _poll_the_month(poller: "Poller", invented: "Month") -> int:
    """Poll every hour, and on the last day every five minutes; return how many polls that were."""
    from reckon.cli.printing import progress_bar

    world = invented.world
    instants = []
    at = invented.starts_at
    while at <= invented.ends_at:
        instants.append(at)
        at += _QUIET if at < invented.last_day_starts_at else _WATCHFUL
    with progress_bar() as progress:
        for at in progress.track(instants, description="Living a month"):
            world.move_to(at)
            await poller.poll(world.now)
    return len(instants)


def _tell(app: "App", invented: "Month", polls: int) -> None:
    """Print the month as the commands would, and then what happened on its last day."""
    from reckon.cli.ledger import verified
    from reckon.cli.printing import counted
    from reckon.cli.spend_table import show
    from reckon.core.reports import Dimension
    from reckon.core.windows import Window
    from reckon.fakes.month import RUNAWAY_OWNER

    keys = sum(len(owner.keys) for owner in invented.owners.values())
    print(f"An invented team: {len(invented.owners)} owners with {keys} keys, polled {polls:,} times over a month.\n")
    show(app.spend([Dimension.OWNER]))
    print()
    show(app.spend([Dimension.DAY]))

    last_day = app.spend([Dimension.OWNER, Dimension.HOUR], Window(invented.last_day_starts_at, invented.ends_at))
    quiet_days = app.spend([Dimension.OWNER, Dimension.DAY], Window(invented.starts_at, invented.last_day_starts_at))
    print("\n" + _what_happened(invented, last_day, quiet_days) + "\n")
    show(_of_the_runaway(last_day), subject=f"Spend of {RUNAWAY_OWNER}")

    verdict = verified(app)
    found = counted(len(verdict.differences), "difference")
    print(f"\nverify: {counted(verdict.checked, 'snapshot')} read again, {found}.")
    print("\nThis ledger is gone again. For your own keys, start from config.example.toml.")


def _what_happened(invented: "Month", last_day: "SpendReport", quiet_days: "SpendReport") -> str:
    from reckon.core.money import dollars
    from reckon.fakes.month import RUNAWAY_OWNER

    before = _of_the_runaway(quiet_days)
    return (
        f"What made the last day so dear: {RUNAWAY_OWNER} ran away at {invented.runaway_starts_at:%H:%M}.\n"
        f"It spent {dollars(_of_the_runaway(last_day).total.spend_nanos)} that day, and at most "
        f"{dollars(max(row.amounts.spend_nanos for row in before.rows))} on any day before."
    )


def _of_the_runaway(report: "SpendReport") -> "SpendReport":
    """Return the rows of *report* that are about the agent, cut by time alone."""
    from dataclasses import replace

    from reckon.core.records import Amounts
    from reckon.core.reports import Dimension
    from reckon.fakes.month import RUNAWAY_OWNER

    rows = [row for row in report.rows if row.place[Dimension.OWNER] == RUNAWAY_OWNER]
    by = [dimension for dimension in report.by if dimension is not Dimension.OWNER]
    return replace(report, by=by, rows=rows, total=sum((row.amounts for row in rows), Amounts()))
