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
    from reckon.fakes.month import Month

_QUIET: Final = timedelta(hours=1)
_WATCHFUL: Final = timedelta(minutes=5)


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("demo")(demo)


def demo() -> None:
    """A month of an invented team, from an embedded fake account: no key needed, nothing left behind."""
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
    import sys

    from rich.console import Console
    from rich.progress import Progress

    world = invented.world
    instants = []
    at = invented.starts_at
    while at <= invented.ends_at:
        instants.append(at)
        at += _QUIET if at < invented.last_day_starts_at else _WATCHFUL
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        for at in progress.track(instants, description="Living a month"):
            world.move_to(at)
            await poller.poll(world.now)
    return len(instants)


def _tell(app: "App", invented: "Month", polls: int) -> None:
    from reckon.cli.ledger import verified
    from reckon.cli.spend import show
    from reckon.core.reports import Dimension
    from reckon.core.windows import Window

    print(f"An invented team of {len(invented.owners)}, polled {polls:,} times over a month.\n")
    show(app, app.spend([Dimension.OWNER]))
    print()
    show(app, app.spend([Dimension.DAY]))
    print("\nThe last day, on which an agent ran away at 02:00:")
    show(app, app.spend([Dimension.OWNER], Window(invented.last_day_starts_at, invented.ends_at)))
    verdict = verified(app)
    print(f"\nverify: {verdict.checked:,} snapshots read again, {len(verdict.differences)} differences")
