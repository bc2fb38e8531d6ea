"""How what is handed in over HTTP reaches the ledger: many requests in one commit.

A commit waits for the disk, and costs nearly the same for one id as for a thousand. So one commit is under way at a
time, and whoever comes meanwhile waits for the next one, together with everybody else. Nobody is answered before the
commit that holds what he handed in.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, Protocol

from reckon.core.generations import Handed, Intake
from reckon.handing_in import Names
from reckon.jobs.settle import Tally
from reckon.web.catching_up import CatchingUp

_MOST_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class WaysIn:
    """Where what is handed in goes."""

    names: Callable[[], Names]
    """The owner map that is in force."""
    hand_in: Callable[[Sequence[Handed]], Intake]
    """Writes to the ledger, on *thread*."""
    thread: Executor
    on_handed_in: Callable[[], None]
    """Called after each commit."""
    settle: "Settle"
    """Looks up what is due."""
    catching_up: CatchingUp | None = None
    """Reads everything now; None where nobody does."""


class Settle(Protocol):
    """Looks up what is due now, and tells what came of it."""

    async def __call__(self, *, expired: bool) -> Tally:
        """With *expired*, look up what was given up as well."""
        ...


class IntakeQueue:
    """Those who wait for the next commit. Belongs to one event loop."""

    def __init__(self, ways_in: WaysIn) -> None:
        self._ways_in = ways_in
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    async def hand_in(self, handed: Sequence[Handed]) -> Intake:
        """Return what became of *handed*, once no crash undoes it.

        Raises:
            StoreError: the ledger could not be written. Nothing was.
        """
        if not handed:
            return Intake(accepted=0, duplicates=0)
        waiting = _Waiting(handed, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return await waiting.answer

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._next())
        finally:
            self._committing = None

    def _next(self) -> "list[_Waiting]":
        """Take those who come next: all, unless that is very much, and one at least."""
        together: list[_Waiting] = []
        entries = 0
        while self._waiting and (not together or entries + len(self._waiting[0].handed) <= _MOST_AT_ONCE):
            together.append(self._waiting.pop(0))
            entries += len(together[-1].handed)
        return together

    async def _commit(self, together: "list[_Waiting]") -> None:
        handed = [each for waiting in together for each in waiting.handed]
        loop = asyncio.get_running_loop()
        try:
            intake = await loop.run_in_executor(self._ways_in.thread, self._ways_in.hand_in, handed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
            for waiting in together:
                waiting.fail(error)
            return
        for waiting, answer in zip(together, _shares(together, intake), strict=True):
            waiting.tell(answer)
        self._ways_in.on_handed_in()


@dataclass(frozen=True, slots=True)
class _Waiting:
    handed: Sequence[Handed]
    answer: asyncio.Future[Intake]

    def tell(self, intake: Intake) -> None:
        if not self.answer.done():  # it is, if who asked has gone away
            self.answer.set_result(intake)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def _shares(together: Sequence[_Waiting], intake: Intake) -> list[Intake]:
    """Divide what became of all among those who handed it in: of an id that came twice, the first has it accepted."""
    taken = set(intake.known)
    shares = []
    for waiting in together:
        accepted = 0
        for each in waiting.handed:
            if each.id not in taken:
                taken.add(each.id)
                accepted += 1
        shares.append(Intake(accepted, duplicates=len(waiting.handed) - accepted))
    return shares
