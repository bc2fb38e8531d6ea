"""What a management key is shown: pages of keys with their counters, and the workspaces they lie in.

A key whose row cannot be read is that key's failure and not the page's. A row that does not even tell whose it is might
be any key's; it is counted, so that whoever reads the page knows that it is not whole. A workspace that cannot be read
is the whole list's failure: its keys would be missing without a word.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from reckon.core.records import Failure, Reading, Snapshot
from reckon.core.sweeps import SweptKey, Workspace
from reckon.sources.openrouter.key_wire import KeyData
from reckon.sources.openrouter.trouble import NoAnswer
from reckon.sources.openrouter.wire import Instant, Name, Nanos, Readable, SignedNanos, Wire, read

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """One page of a list: its rows by id, the last one where an id stands twice."""

    rows: Mapping[str, _Row]
    length: int
    """How many rows it had, whatever was in them: the next page begins after them."""
    nameless: int = 0
    """How many of them do not tell whose they are."""


def keys_page(value: Any, *, workspace_id: str, at: datetime) -> Page[SweptKey | Failure]:
    """Return what the answer *value* of `/keys` says of each key: its record, or why that cannot be read.

    Raises:
        NoAnswer: it is no page of rows.
    """
    rows = read(KeysAnswer, value).data
    named = [(key_hash, row) for row in rows if (key_hash := _hash_of(row))]
    return Page(
        rows={key_hash: _swept(key_hash, row, workspace_id, at) for key_hash, row in named},
        length=len(rows),
        nameless=len(rows) - len(named),
    )


def workspaces_page(value: Any) -> Page[Workspace]:
    """Return the workspaces that the answer *value* of `/workspaces` names.

    Raises:
        NoAnswer: it is no such answer, or one of them has no id.
    """
    rows = read(WorkspacesAnswer, value).data
    return Page({row.id: Workspace(row.id, row.name) for row in rows}, len(rows))


class KeyRow(KeyData):
    """One key of the account. The counters are counted; all the rest is shown. What is left may be negative."""

    label: Name = None
    name: Name = None
    workspace_id: Name = None
    disabled: Annotated[bool | None, Readable] = None
    limit: Annotated[Nanos | None, Readable] = None
    limit_remaining: Annotated[SignedNanos | None, Readable] = None
    limit_reset: Name = None
    include_byok_in_limit: Annotated[bool | None, Readable] = None
    created_at: Annotated[Instant | None, Readable] = None
    updated_at: Annotated[Instant | None, Readable] = None
    creator_user_id: Name = None
    expires_at: Annotated[Instant | None, Readable] = None
    last_used_at: Annotated[Instant | None, Readable] = None


class KeysAnswer(Wire):
    """`GET /keys`."""

    data: list[Any]


class WorkspaceRow(Wire):
    """One workspace of the account."""

    id: str
    name: Name = None


class WorkspacesAnswer(Wire):
    """`GET /workspaces`."""

    data: list[WorkspaceRow]


def _hash_of(row: Any) -> str | None:
    key_hash = row.get("hash") if isinstance(row, Mapping) else None
    return key_hash if isinstance(key_hash, str) and _HASH.fullmatch(key_hash) else None


def _swept(key_hash: str, row: Any, workspace_id: str, at: datetime) -> SweptKey | Failure:
    try:
        key = read(KeyRow, row)
    except NoAnswer as trouble:
        return Failure(key_hash, trouble.reason, trouble.detail)
    lies_in = key.workspace_id or workspace_id
    return SweptKey(
        hash=key_hash,
        snapshot=Snapshot(
            key_hash=key_hash,
            at=at,
            credits=Reading(key.usage, key.usage_daily, key.usage_weekly, key.usage_monthly),
            byok=Reading(key.byok_usage, key.byok_usage_daily, key.byok_usage_weekly, key.byok_usage_monthly),
            label=key.label,
            created_at=key.created_at,
            workspace=lies_in,
        ),
        name=key.name,
        label=key.label,
        workspace_id=lies_in,
        disabled=key.disabled,
        limit_nanos=key.limit,
        limit_remaining_nanos=key.limit_remaining,
        limit_reset=key.limit_reset,
        include_byok_in_limit=key.include_byok_in_limit,
        created_at=key.created_at,
        updated_at=key.updated_at,
        creator=key.creator_user_id,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
    )


_HASH: Final = re.compile(r"[0-9a-f]{64}")
