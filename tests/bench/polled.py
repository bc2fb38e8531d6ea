"""A process to weigh: `python -m tests.bench.polled CONFIG CERTIFICATE`.

It polls the keys of a configuration a few times, in no other way than the daemon will, and prints what it weighed at
most and at the end, in KiB. It imports nothing but Reckon and what the daemon is built of.
"""

import asyncio
import importlib
import ssl
import sys
from pathlib import Path

SIX_PACKAGES = ("apscheduler.schedulers.asyncio", "httpx", "sqlmodel", "slack_sdk", "pydantic_settings", "structlog")
POLLS = 3


async def _poll(config: Path, certificate: str) -> None:
    from reckon.app import open_poller  # noqa: PLC0415 - the process beside it imports the six packages alone
    from reckon.config import load  # noqa: PLC0415 - as above
    from reckon.sources.openrouter import LaneTransport  # noqa: PLC0415 - as above

    settings = load(config, {})
    transport = LaneTransport(settings.poll.concurrency, ssl.create_default_context(cafile=certificate))
    async with open_poller(settings, {}, transport=transport) as poller:
        for _ in range(POLLS):
            plan = await poller.poll(poller.app.clock())
            assert plan.polled == len(poller.watched), plan.failures[:1]


def _resident_kib() -> tuple[int, int]:
    """Return this process's resident memory: at its highest, and now."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]), int(fields["VmRSS"].split()[0])


if __name__ == "__main__":
    for name in SIX_PACKAGES:
        importlib.import_module(name)
    if sys.argv[1:]:
        asyncio.run(_poll(Path(sys.argv[1]), sys.argv[2]))
    print(*_resident_kib())  # noqa: T201 - the answer
