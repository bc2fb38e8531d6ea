"""One pass over the whole account through one management key: every workspace, page by page.

The pages of one workspace are asked for one after the other, since each begins where the last one ended; different
workspaces may be under way at once. A page of `/keys` says nothing of the next one, so a workspace ends with the first
page that is short. Keys that are made meanwhile push others on to the next page, where they are seen again: that is one
key, and the later answer holds. A full page that brings nothing new comes from a server that does not count.

Trouble with a page ends its workspace and no other, unless it says that the key is refused or asks too often: that is
true of all, and nobody asks on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final, TypeVar

from pydantic import SecretStr

from reckon.core.records import Failure, FailureReason
from reckon.core.sweeps import Sweep, SweptKey, Workspace, WorkspaceSweep
from reckon.core.windows import whole_second
from reckon.sources.openrouter.asking import each, outcome_of
from reckon.sources.openrouter.client import OpenRouterClient
from reckon.sources.openrouter.key_hash import key_hash_of
from reckon.sources.openrouter.keys_wire import Page, keys_page, workspaces_page
from reckon.sources.openrouter.trouble import NoAnswer

_Row = TypeVar("_Row")


async def sweep(
    client: OpenRouterClient,
    management_key: SecretStr,
    clock: Callable[[], datetime],
    concurrency: int,
    workspaces: Sequence[Workspace] | None = None,
) -> Sweep:
    """Return every key of *workspaces*, or of all there are: the disabled and the expired ones too.

    No more than *concurrency* workspaces are under way at once. Raises nothing of the network.
    """
    under_way = _Sweeping(client, management_key, clock)
    if workspaces is None:
        listed = await outcome_of(under_way.workspaces())
        if isinstance(listed, NoAnswer):
            return Sweep(trouble=under_way.failure(listed))
        workspaces = listed
    swept = await each([(workspace,) for workspace in workspaces], under_way.through, concurrency)
    found = under_way.found.values()
    return Sweep(
        keys=tuple(row for row in found if isinstance(row, SweptKey)),
        failures=tuple(row for row in found if isinstance(row, Failure)),
        workspaces=tuple(swept),
        trouble=under_way.halt or next((one.trouble for one in swept if one.trouble), None),
    )


class _Sweeping:
    """One sweep while it lasts."""

    def __init__(self, client: OpenRouterClient, management_key: SecretStr, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._management_key = management_key
        self._clock = clock
        self._halted: NoAnswer | None = None
        self.found: dict[str, SweptKey | Failure] = {}

    @property
    def halt(self) -> Failure | None:
        """Why nobody asks on, if nobody does."""
        return None if self._halted is None else self.failure(self._halted)

    async def workspaces(self) -> Sequence[Workspace]:
        found: dict[str, Workspace] = {}
        async for page in _pages(self._workspaces_page, found.keys()):
            found.update(page.rows)
        if not found:
            raise NoAnswer(FailureReason.UNEXPECTED_ANSWER, "data: no workspace, and every account has one")
        return [*found.values()]

    async def through(self, workspace: Workspace) -> WorkspaceSweep:
        began_at = self._clock().replace(microsecond=0)
        seen: set[str] = set()
        trouble = await outcome_of(self._read(workspace, seen))
        failure = None if trouble is None else self.failure(trouble)
        return WorkspaceSweep(workspace, began_at, len(seen), failure)

    async def _read(self, workspace: Workspace, seen: set[str]) -> NoAnswer | None:
        """Read all pages of *workspace* and add to *seen*. Returns what makes it incomplete even so."""
        nameless = 0
        async for page in _pages(lambda offset: self._keys_page(workspace, offset), seen):
            seen.update(page.rows)
            self.found.update(page.rows)
            nameless += page.nameless
        return NoAnswer(FailureReason.UNEXPECTED_ANSWER, f"data: {nameless} without a hash") if nameless else None

    async def _keys_page(self, workspace: Workspace, offset: int) -> Page[SweptKey | Failure]:
        if self._halted:
            raise self._halted
        params: dict[str, str | int] = {
            "workspace_id": workspace.id,
            "include_disabled": "true",
            "include_expired": "true",
            "offset": offset,
        }
        try:
            value = await self._client.get("/keys", self._management_key, params)
        except NoAnswer as trouble:
            if trouble.status in _TRUE_OF_ALL:
                self._halted = trouble
            raise
        return keys_page(value, workspace_id=workspace.id, at=whole_second(self._clock()))

    async def _workspaces_page(self, offset: int) -> Page[Workspace]:
        params = {"offset": offset, "limit": _PAGE_ROWS}
        return workspaces_page(await self._client.get("/workspaces", self._management_key, params))

    def failure(self, trouble: NoAnswer) -> Failure:
        key_hash = key_hash_of(self._management_key)
        return Failure(key_hash, trouble.reason, trouble.detail, trouble.retry_after_seconds)


async def _pages(ask: Callable[[int], Awaitable[Page[_Row]]], seen: AbstractSet[str]) -> AsyncIterator[Page[_Row]]:
    """Yield page after page until one is short. The reader adds what it was given to *seen*."""
    offset = 0
    for _ in range(_MOST_PAGES):
        page = await ask(offset)
        if page.length >= _PAGE_ROWS and page.rows.keys() <= seen:
            raise NoAnswer(FailureReason.UNEXPECTED_ANSWER, "a whole page without anything new")
        yield page
        offset += page.length
        if page.length < _PAGE_ROWS:
            return
    raise NoAnswer(FailureReason.UNEXPECTED_ANSWER, f"more than {_MOST_PAGES} pages")


_PAGE_ROWS: Final = 100
_MOST_PAGES: Final = 1000
_TRUE_OF_ALL: Final = frozenset({401, 429})
