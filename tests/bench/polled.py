"""A process to weigh: `python -m tests.bench.polled CONFIG CERTIFICATE`.

It is the daemon: it polls the keys of a configuration a few times, with its HTTP surface open, and prints what it
weighed at most and at the end, in KiB. It imports nothing but Reckon and what the daemon is built of.
"""

import asyncio
import importlib
import os
import ssl
import sys
from pathlib import Path

SIX_PACKAGES = ("apscheduler.schedulers.asyncio", "httpx", "sqlmodel", "slack_sdk", "pydantic_settings", "structlog")
POLLS = 3


async def _watch(config: Path, certificate: str) -> None:
    from reckon.config import load  # noqa: PLC0415 - the process beside it imports the six packages alone
    from reckon.daemon import Daemon  # noqa: PLC0415 - as above
    from reckon.sources.openrouter import LaneTransport  # noqa: PLC0415 - as above

    settings = load(config, {})
    transport = LaneTransport(settings.poll.concurrency, ssl.create_default_context(cafile=certificate))
    daemon = Daemon(lambda: settings, dict(os.environ), transport=transport)

    async def stop_after_some_polls() -> None:
        while daemon.pulse.polls < POLLS:  # noqa: ASYNC110 - nobody tells when a poll is done
            await asyncio.sleep(0.05)
        assert daemon.pulse.keys_failed == 0
        daemon.stop()

    async with asyncio.TaskGroup() as group:
        group.create_task(stop_after_some_polls())
        group.create_task(daemon.run())


def _resident_kib() -> tuple[int, int]:
    """Return this process's resident memory: at its highest, and now."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]), int(fields["VmRSS"].split()[0])


if __name__ == "__main__":
    for name in SIX_PACKAGES:
        importlib.import_module(name)
    if sys.argv[1:]:
        asyncio.run(_watch(Path(sys.argv[1]), sys.argv[2]))
    print(*_resident_kib())  # noqa: T201 - the answer
