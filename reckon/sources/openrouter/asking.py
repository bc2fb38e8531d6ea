"""Many asks at once, each with an outcome of its own.

A fixed number of workers pull from one iterator, because a task per ask costs twice the CPU. Trouble with one ask is
its outcome and nothing more; only the end of the whole, a cancellation or an interrupt, passes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, TypeVarTuple

from reckon.core.records import FailureReason
from reckon.sources.openrouter.trouble import NoAnswer

_Out = TypeVar("_Out")
_About = TypeVarTuple("_About")


async def each(asks: Sequence[tuple[*_About]], ask: Callable[[*_About], Awaitable[_Out]], workers: int) -> list[_Out]:
    """Return what *ask* gives for each of *asks*, in their order, with at most *workers* under way."""
    answers: dict[int, _Out] = {}
    waiting = iter(enumerate(asks))

    async def work() -> None:
        for place, about in waiting:
            answers[place] = await ask(*about)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(workers, len(asks))):
            group.create_task(work())
    return [answers[place] for place in range(len(asks))]


async def outcome_of(asking: Awaitable[_Out]) -> _Out | NoAnswer:
    """Return what *asking* brings; whatever goes wrong with it, and with it alone, is a value."""
    try:
        return await asking
    except NoAnswer as trouble:
        return trouble
    except asyncio.CancelledError:
        worker = asyncio.current_task()
        if worker is None or worker.cancelling():
            raise
        return NoAnswer(FailureReason.UNEXPECTED_ANSWER, "CancelledError")
    except Exception as unexpected:  # noqa: BLE001 -- one ask's trouble must not cost another its answer
        return NoAnswer(FailureReason.UNEXPECTED_ANSWER, type(unexpected).__name__)
