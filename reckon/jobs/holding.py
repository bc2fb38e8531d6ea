"""Holding a lease while the world is asked: renewed now and then, and let go of in time.

A process that was stopped renews nothing. When it goes on, another replica may have taken over; so what it was about to
do is given up as soon as the lease may have run out, before anything more is said to anybody.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

from reckon.errors import StoreError, Superseded
from reckon.store import Store

_RENEWALS_IN_A_LEASE: Final = 3


@asynccontextmanager
async def held(store: Store, renew: Callable[[], object], lease: timedelta, *, since: float) -> AsyncIterator[None]:
    """Renew a lease for as long as a block runs; end the block if it cannot be.

    Args:
        store: whose lease it is.
        renew: asks the store to let it hold for *lease* from now on; returns False if another has it.
        lease: how long it holds each time.
        since: when it was last asked for, by the event loop's clock.

    Raises:
        Superseded: the lease has run out, or another replica has it. Where the block was, nobody knows.
    """
    loop = asyncio.get_running_loop()
    seconds = lease.total_seconds()

    deadline = asyncio.timeout_at(since + seconds)

    async def keep() -> None:
        while True:
            await asyncio.sleep(seconds / _RENEWALS_IN_A_LEASE)
            asked_at = loop.time()
            with suppress(StoreError):  # there is time for another try
                is_ours = await loop.run_in_executor(store.thread, renew)
                deadline.reschedule(loop.time() if is_ours is False else asked_at + seconds)

    try:
        async with deadline:
            keeping = asyncio.create_task(keep())
            try:
                yield
            finally:
                keeping.cancel()
    except TimeoutError:
        if not deadline.expired():
            raise
        raise Superseded("Our lease ran out before we had done: another replica may have taken over.") from None
