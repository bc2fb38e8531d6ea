"""What people and programs hand in: generation ids, and what they know of each, in whatever form they have it.

Read alike wherever it comes from: a request, a file of the spool, a command, standard input. An entry is an id by
itself or a JSON object about one, which may be the whole body of a completion: of that, what was said in it is dropped
unread. Anything else that is not expected is refused with the nearest name that is, because a misspelt member would be
a fact lost without a word.

What is refused is told by its id and a reason, and no reason repeats what was sent: it may have been a prompt.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from reckon.core.generations import Facts, Handed
from reckon.core.money import ImplausibleMoney, nanos_from_usd
from reckon.core.records import UNOWNED, WatchedKey
from reckon.core.tokens import UNKNOWN, TokenPools, UncountedUsage, UnreadableUsage, from_usage
from reckon.strict_json import NotStrictJson, read_json

LONGEST_ID: Final = 128
LONGEST_NAME: Final = 200
"""Of a model, a provider, a key or an owner."""
LONGEST_SESSION: Final = 128
ID_PATTERN: Final = rf"gen-[A-Za-z0-9._-]{{1,{LONGEST_ID - 4}}}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """One entry that was not taken."""

    id: str | None
    """None where none could be read."""
    reason: str


Entry = Handed | Rejected


class Names:
    """The owner map by the names people use: which owner and which key somebody means."""

    def __init__(self, watched: Sequence[WatchedKey], owners: Collection[str]) -> None:
        self._owners = frozenset(owners)
        self._keys: dict[str, list[WatchedKey]] = {}
        for key in watched:
            self._keys.setdefault(key.name, []).append(key)

    def meant(self, owner: str | None, key: str | None) -> tuple[str, str | None]:
        """Return the owner and the key's hash that are meant by names; without any, nobody's.

        Raises:
            Unreadable: there is no such owner or key, or several keys have that name.
        """
        if owner is not None and owner not in self._owners:
            raise Unreadable("owner", f"not in the owner map; accepts {_listed(self._owners)}")
        if key is None:
            return owner or UNOWNED, None
        found = [one for one in self._keys.get(key, ()) if owner in {None, one.owner}]
        if not found:
            held = {one.name for keys in self._keys.values() for one in keys if owner in {None, one.owner}}
            raise Unreadable("key", f"not in the owner map; accepts {_listed(held)}")
        if len(found) > 1:
            raise Unreadable("key", f"{len(found)} keys have this name; say owner as well")
        return found[0].owner, found[0].hash

    def guessed(self, key: str | None) -> tuple[str, str | None]:
        """Return whom a key's name alone tells of, as far as it does: the key, else its owner, else nobody."""
        found = self._keys.get(key, []) if key else []
        if len(found) == 1:
            return found[0].owner, found[0].hash
        owners = {one.owner for one in found}
        return (owners.pop() if len(owners) == 1 else UNOWNED), None


def read_body(body: bytes | bytearray, names: Names) -> Iterator[Entry]:
    """Yield every entry of *body*: one JSON value (an object, or a list of entries), else one entry a line."""
    try:
        whole = read_json(body)
    except NotStrictJson:
        lines = (read_line(line, names) for line in body.splitlines())
        yield from (entry for entry in lines if entry)
    else:
        yield from (_entry(each, names) for each in (whole if isinstance(whole, list) else [whole]))


def read_line(line: bytes | bytearray, names: Names) -> Entry | None:
    """Return the entry that *line* is: a bare id, or a JSON object or string; None for an empty line."""
    line = line.strip()
    if not line:
        return None
    if is_id(bare := line.decode(errors="replace")):
        return _entry(bare, names)
    try:
        return _entry(read_json(line), names)
    except NotStrictJson as refusal:
        looks_like_json = line[:1] in b'{"['
        return Rejected(None, str(refusal) if looks_like_json else "neither a generation id nor JSON")


def is_id(text: object) -> bool:
    """Return whether *text* has the form of a generation id.

    The form is narrower than it need be: neither a secret nor a word of a prompt that is handed in by mistake has it.
    """
    return isinstance(text, str) and _ID.fullmatch(text) is not None


class Unreadable(ValueError):
    """One member of an entry cannot be believed. The text names it and says why, never what was sent."""

    def __init__(self, member: str, why: str) -> None:
        super().__init__(f"{member}: {why}")


# --- One entry -------------------------------------------------------------------------------------------------------


def _entry(value: Any, names: Names) -> Entry:
    members = {"id": value} if isinstance(value, str) else value
    if not isinstance(members, dict):
        return Rejected(None, "neither a generation id nor an object with one")
    known = members.get("id") if is_id(members.get("id")) else None
    try:
        return _handed(members, names)
    except Unreadable as refusal:
        return Rejected(known, str(refusal))


def _handed(members: Mapping[str, Any], names: Names) -> Handed:
    told = {name: value for name, value in members.items() if name not in UNREAD and value is not None}
    for name in told:
        if name not in _READ:
            raise Unreadable("an unknown member", _meant_perhaps(name))
    if not is_id(told.get("id")):
        raise Unreadable("id", "missing" if "id" not in told else f"accepts gen- and at most {LONGEST_ID} characters")
    found = {name: read(name, told[name]) for name, read in _READ.items() if name in told}
    owner, key_hash = names.meant(found.get("owner"), found.get("key"))
    usage: _Usage = found.get("usage", _Usage())
    return Handed(
        id=found["id"],
        owner=owner,
        key_hash=key_hash,
        facts=Facts(
            created_at=found.get("created_at", found.get("created")),
            model=found.get("model"),
            requested_model=found.get("requested_model"),
            provider=found.get("provider"),
            session=found.get("session"),
            credits_nanos=usage.credits_nanos,
            byok_nanos=usage.byok_nanos,
            pools=usage.pools,
        ),
    )


def _meant_perhaps(name: str) -> str:
    nearest = get_close_matches(name[:LONGEST_NAME], MEMBERS, n=1)
    return f"perhaps {nearest[0]} is meant" if nearest else f"accepts {', '.join(MEMBERS)}"


def _listed(names: Collection[str]) -> str:
    return f"one of {len(names)}: {', '.join(sorted(names))}" if 0 < len(names) <= 10 else f"one of {len(names)} names"


# --- Members ---------------------------------------------------------------------------------------------------------


def readable_text(text: object, longest: int) -> bool:
    """Return whether *text* is a text that may be kept: short, and free of what steers a terminal."""
    return isinstance(text, str) and 0 < len(text) <= longest and text.isprintable()


def _text(longest: int) -> Callable[[str, Any], str]:
    def read(member: str, value: Any) -> str:
        if not readable_text(value, longest):
            raise Unreadable(member, f"accepts 1 to {longest} printable characters")
        return str(value)

    return read


def _model(member: str, value: Any) -> str:
    if not readable_text(value, LONGEST_NAME) or " " in value:
        raise Unreadable(member, f"accepts a model's name of at most {LONGEST_NAME} characters, without spaces")
    return str(value)


def _instant(member: str, value: Any) -> datetime:
    at = instant_of(value) if _is_number(value) else _written_instant(value)
    if at is None:
        raise Unreadable(member, "accepts an instant from 2020 on: RFC 3339, or seconds since 1970")
    return at


def instant_of(epoch_seconds: int | Decimal) -> datetime | None:
    """Return the instant so many seconds after 1970, or None where no generation can have been made."""
    return _EPOCH + timedelta(seconds=int(epoch_seconds)) if _EARLIEST <= epoch_seconds < _LATEST else None


def _written_instant(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return instant_of(int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, TypeError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class _Usage:
    pools: TokenPools = UNKNOWN
    credits_nanos: int | None = None
    byok_nanos: int | None = None


def _usage(member: str, value: Any) -> _Usage:
    usage = _object(member, value)
    try:
        pools = from_usage(usage) if _ELSEWHERE.isdisjoint(usage) else UNKNOWN
    except UncountedUsage:  # the counts of a generation are worth less than the generation
        pools = UNKNOWN
    except UnreadableUsage as refusal:
        raise Unreadable(member, str(refusal)) from None
    details = _object(f"{member}.cost_details", usage.get("cost_details", usage.get("costDetails")) or {})
    upstream = details.get("upstream_inference_cost", details.get("upstreamInferenceCost"))
    is_byok = usage.get("is_byok", usage.get("isByok"))
    return _Usage(
        pools=pools,
        credits_nanos=_nanos(f"{member}.cost", usage.get("cost")),
        byok_nanos=_nanos(f"{member}.cost_details", upstream) if is_byok is True else 0 if is_byok is False else None,
    )


def _nanos(member: str, usd: Any) -> int | None:
    if usd is None:
        return None
    if not _is_number(usd):
        raise Unreadable(member, "not a number")
    try:
        return nanos_from_usd(usd)
    except ImplausibleMoney as refusal:
        raise Unreadable(member, str(refusal)) from None


def _object(member: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unreadable(member, "not an object")
    return value


def _is_number(value: Any) -> bool:
    return type(value) is int or isinstance(value, Decimal)  # `type`, because a bool is an int


_ELSEWHERE: Final = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
"""Names of Anthropic's own usage object, whose input tokens leave out what is cached: not one of the four dialects."""
_ID: Final = re.compile(ID_PATTERN)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST: Final = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
_LATEST: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())

_READ: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "id": lambda _, value: value,
    "key": _text(LONGEST_NAME),
    "owner": _text(LONGEST_NAME),
    "model": _model,
    "requested_model": _model,
    "usage": _usage,
    "session": _text(LONGEST_SESSION),
    "created_at": _instant,
    # What a response's body calls them.
    "created": _instant,
    "provider": _text(LONGEST_NAME),
}
MEMBERS: Final = tuple(name for name in _READ if name not in {"created", "provider"})
"""What an object about a generation may say."""

UNREAD: Final = frozenset(
    {
        *("object", "choices", "system_fingerprint", "service_tier", "openrouter_metadata", "native_finish_reason"),
        # of the responses API
        *("output", "output_text", "status", "error", "incomplete_details", "instructions", "max_output_tokens"),
        *("max_tool_calls", "metadata", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key"),
        *("reasoning", "safety_identifier", "background", "store", "temperature", "text", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "truncation", "user", "completed_at", "frequency_penalty", "presence_penalty"),
        # of the messages API, of embeddings and of pictures
        *("type", "role", "content", "stop_reason", "stop_sequence", "container", "data"),
    }
)
"""Members of a completion's own body that are none of our business."""
