"""Whether this process lives (`/healthz`) and whether it is ready (`/readyz`), each with the detail a person wants.

That OpenRouter does not answer is in the detail and never in the status: no restart of ours would mend it.
"""

import asyncio
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from reckon import __version__
from reckon.app import App
from reckon.errors import StoreError
from reckon.pulse import Pulse

_PATIENCE_SECONDS: Final = 5.0


async def healthz(request: Request) -> JSONResponse:
    """200 while every worker moves and polls are committed, else 503 with what is wrong."""
    pulse: Pulse = request.app.state.pulse
    troubles = pulse.troubles()
    status = "; ".join(troubles) or "alive"
    return JSONResponse({"status": status, **_detail(pulse)}, _status(not troubles))


async def readyz(request: Request) -> JSONResponse:
    """200 once the first poll is done and while the ledger can be read, else 503."""
    pulse: Pulse = request.app.state.pulse
    app: App = request.app.state.app()
    database = "open"
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.get_running_loop().run_in_executor(app.store.thread, app.polled_at)
    except StoreError as error:
        database = str(error)
    except TimeoutError:
        database = f"no answer within {_PATIENCE_SECONDS:g} s"
    ready = pulse.is_ready and database == "open"
    status = "ready" if ready else "stopping" if pulse.stopping else "not ready"
    return JSONResponse({"status": status, "database": database, **_detail(pulse)}, _status(ready))


def _status(is_well: bool) -> int:
    return 200 if is_well else 503


def _detail(pulse: Pulse) -> dict[str, Any]:
    return {
        "version": __version__,
        "started_at": _utc(pulse.started_at),
        "last_poll_at": _utc(pulse.polled_at),
        "keys_answered": pulse.keys_answered,
        "keys_failed": pulse.keys_failed,
        "clock_skew_seconds": pulse.clock_skew_seconds,
        "reload_refused": pulse.reload_refused,
        "needs_restart": list(pulse.needs_restart),
    }


def _utc(at: Any) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
