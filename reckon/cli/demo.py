"""`reckon demo`: a month of an invented team, counted, judged and told by the real thing.

The account is a fake inside this process; everything else is what runs in production: a configuration file, the jobs,
the ledger in a SQLite file, the rule, the messages. Time is the fake's own, so that a month takes seconds, and the jobs
are called as the daemon would call them. With `--serve` the account then goes on living in real time, and it is the
daemon itself that watches it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from httpx import AsyncBaseTransport

    from reckon.app import Clock
    from reckon.core.generations import Handed
    from reckon.core.outbox import Delivery
    from reckon.fakes.month import Month
    from reckon.fakes.world import World
    from reckon.jobs.deliver import Deliverer

_QUIET: Final = timedelta(hours=1)
_WATCHFUL: Final = timedelta(minutes=5)
_TICK_SECONDS: Final = 0.25
_USED_BY_HAND: Final = "lena-playground"

# Digests go out as soon as what they report is over, since the month ends with its last day.
_DIGESTS: Final = 'digest = { daily = "00:00", weekly = "mon 00:00", monthly = "1 00:00" }'
_FOR_THE_MONTH: Final = (_DIGESTS, 'poll.every = "5m"', 'log.level = "error"')
_FOR_THE_DAEMON: Final = (_DIGESTS, 'poll.every = "5s"')


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("demo")(demo)


def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Then let the daemon watch on, until Ctrl-C.")] = False,
) -> None:
    """A month of an invented team: no key and no Slack needed.

    The account is a fake inside this process, and nothing is left behind.
    """
    import asyncio
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="reckon-demo-") as directory:
        asyncio.run(_live(Path(directory), serve=serve))
    print("\nThis ledger is gone again. For your own keys, start from config.example.toml.")


async def _live(directory: "Path", *, serve: bool) -> None:
    from httpx import ASGITransport

    from reckon.fakes import month, openrouter

    invented = month.build()
    invented.world.recording = False
    transport = ASGITransport(app=openrouter.app(invented.world))
    clock = lambda: invented.world.now  # noqa: E731 - a clock is a function of nothing
    await _live_the_month(directory, invented, clock, transport)
    if serve:
        await _watch_on(directory, invented, clock, transport)


# --- The month --------------------------------------------------------------------------------------------------------


async def _live_the_month(
    directory: "Path", invented: "Month", clock: "Clock", transport: "AsyncBaseTransport"
) -> None:
    """Do at each instant of the month what the daemon would do then, and tell what came of it."""
    from io import StringIO

    from reckon.cli.demo_story import tell
    from reckon.cli.printing import progress_bar
    from reckon.config import load
    from reckon.jobs.deliver import Deliverer
    from reckon.sinks.console import ConsoleSink
    from reckon.watch import open_watcher

    settings = load(_written(directory, invented, _FOR_THE_MONTH), {})
    instants = [*_instants(invented)]
    said: list[Delivery] = []
    async with open_watcher(settings, {}, clock=clock, transport=transport) as watcher:
        # What is said is told as a part of the story, and not between its lines.
        unseen = ConsoleSink(StringIO())
        store, lease = watcher.app.store, settings.store.lease
        deliverer = Deliverer(unseen, store, clock=clock, holder=watcher.holder, lease=lease)
        ran = _Ran(invented)
        with progress_bar() as progress:
            for at in progress.track(instants, description="Living a month"):
                invented.world.move_to(at)
                is_midnight = at.hour == at.minute == 0  # no digest is due at any other time
                if is_midnight or at > invented.last_day_starts_at:
                    watcher.hand_in([*ran.until(at)], at)
                    await watcher.settler.settle()
                polled = await watcher.poll(at)
                if (is_midnight and await watcher.digest(at)) or (polled and polled.plan.outgoing):
                    said += await _deliver(deliverer, invented.world)
        await tell(watcher.app, invented, polls=len(instants), said=said)


class _Ran:
    """The generations of the month, handed in by the apps that ran them. One key is used by hand, and nobody tells."""

    def __init__(self, invented: "Month") -> None:
        self._of_key = {
            key.hash: (owner, key.hash)
            for owner in invented.owners
            for key in invented.keys_of(owner)
            if key.name != _USED_BY_HAND
        }
        self._to_come = deque(sorted(invented.world.generations, key=lambda each: each.at))

    def until(self, at: datetime) -> "Iterator[Handed]":
        """Yield those that have run before *at* and were not looked at yet."""
        from reckon.core.generations import Handed

        while self._to_come and self._to_come[0].at < at:
            each = self._to_come.popleft()
            if of_key := self._of_key.get(each.key_hash):
                yield Handed(each.id, *of_key)


def _instants(invented: "Month") -> Iterator[datetime]:
    """Yield when to poll: every two hours, and on the last day every five minutes."""
    at = invented.starts_at
    while at <= invented.ends_at:
        yield at
        at += _QUIET if at < invented.last_day_starts_at else _WATCHFUL


async def _deliver(deliverer: "Deliverer", world: "World") -> "list[Delivery]":
    """Deliver all that waits, letting the world's time pass where the daemon would wait; return what was attempted."""
    attempted = []
    while (turn := await deliverer.take_turn()).next_look:
        if turn.delivery:
            attempted.append(turn.delivery)
        world.move_to(max(world.now, turn.next_look))
    return attempted


def _written(directory: "Path", invented: "Month", settings: Sequence[str]) -> "Path":
    """Write the configuration as a person would, readable by its owner alone since the keys stand in it."""
    lines = [*settings]
    for owner_id, owner in invented.owners.items():
        lines += [f"[owners.{owner_id}]", f'name = "{owner.name}"', f'team = "{owner.team}"']
        lines += [f'slack = "{owner.slack}"', "keys = ["]
        lines += [f'  {{ name = "{name}", key = "{secret}" }},' for name, secret in owner.keys]
        lines += ["]"]
    path = directory / "reckon.toml"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


# --- And after it -----------------------------------------------------------------------------------------------------


async def _watch_on(directory: "Path", invented: "Month", clock: "Clock", transport: "AsyncBaseTransport") -> None:
    """Let the account go on living, and the daemon watch it, until it is told to stop."""
    import asyncio

    from reckon.config import load
    from reckon.daemon import Daemon

    address = _free_address()
    path = _written(directory, invented, [*_FOR_THE_DAEMON, f'http.listen = "{address}"'])
    print(
        "\nThe team goes on spending, and the daemon watches: a poll every five seconds.\n"
        f"http://{address}/metrics shows the figures, /healthz how it is.\n"
        "Ctrl-C ends it.",
        flush=True,
    )
    living = asyncio.create_task(_live_on(invented))
    try:
        await Daemon(lambda: load(path, {}), {}, clock=clock, transport=transport).run()
    finally:
        living.cancel()


async def _live_on(invented: "Month") -> None:
    """Let the team's time pass as fast as ours, and their money with it."""
    import asyncio
    from time import monotonic

    world, began = invented.world, monotonic()
    for charge in invented.onward():
        invented.make(charge)
        while world.now < charge.at:
            await asyncio.sleep(_TICK_SECONDS)
            world.move_to(invented.ends_at + timedelta(seconds=monotonic() - began))


def _free_address() -> str:
    """Return the usual address of the HTTP surface, or one that is free if it is taken."""
    import socket
    from contextlib import suppress

    from reckon.config import Listen, Settings

    usual = Settings().http.listen
    if usual:
        with suppress(OSError), socket.create_server((usual.host, usual.port)):
            return str(usual)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(Listen(*listener.getsockname()))
