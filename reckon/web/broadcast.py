"""What OpenRouter's Broadcast delivers: traces, as OTLP over HTTP has them in JSON, and the generations they tell of.

Of a request the root span tells everything: id, models, tokens, cost. Its children repeat parts of it, which are not
counted again. The cost is provisional, until `/generation` tells it; of a request that failed none is told.

A delivery holds prompts and answers whatever its settings say. So only what is named here is kept, and everything else
is dropped in the JSON reader, the moment its object is complete. What has a name of the caller's choosing is none of
ours, and an attribute that OpenRouter adds tomorrow cannot bring a prompt in.

Two dialects are about: the one of every delivery seen (`gen_ai.usage.input_tokens`, numbers as numbers), and the one of
OpenRouter's documents (`gen_ai.usage.prompt_tokens`, numbers as strings).
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from reckon.core.generations import Facts, Handed
from reckon.core.money import ImplausibleMoney, nanos_from_usd
from reckon.core.tokens import UNKNOWN, TokenPools, pools
from reckon.handing_in import LONGEST_NAME, LONGEST_SESSION, Names, instant_of, is_id, readable_text
from reckon.strict_json import NotStrictJson, read_json


class NotTraces(ValueError):
    """The body is no delivery of traces. The text says why, and holds nothing of the body."""


def generations_in(body: bytes | bytearray, names: Names) -> list[Handed]:
    """Return the generations that a delivery tells of; none of a test's, and none whose id cannot be one.

    What cannot be believed of a generation is left out: nobody would read a refusal.

    Raises:
        NotTraces: the body is no delivery of traces.
    """
    try:
        delivery = read_json(body or b"{}", made_of=_known_members)
    except NotStrictJson as refusal:
        raise NotTraces(str(refusal)) from None
    if not isinstance(delivery, dict):
        raise NotTraces("not an object")
    spans = [*_spans(delivery)]
    # A root may have a parent too, of the caller's own, which is in no delivery of OpenRouter's.
    delivered = {span.get("spanId") for span in spans} - {None, ""}
    return [
        _generation(told["gen_ai.response.id"], told, span, names)
        for span in spans
        if span.get("parentSpanId") not in delivered
        for told in [_attributes(span)]
        if is_id(told.get("gen_ai.response.id"))
        and not {_text(span, "name"), _text(told, "trace.name")} & _NAMES_OF_TESTS
    ]


def _spans(delivery: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in _objects(delivery, "resourceSpans"):
        for scope in _objects(resource, "scopeSpans"):
            yield from _objects(scope, "spans")


def _objects(members: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = members.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise NotTraces(f"{name}: not a list of objects")
    return found


def _attributes(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return a span's attributes: texts, `bool`s, and numbers in any of their spellings."""
    found: dict[str, Any] = {}
    for attribute in _objects(span, "attributes"):
        value = attribute.get("value")
        if isinstance(value, dict) and isinstance(name := attribute.get("key"), str):
            found[name] = next(iter(value.values()), None)
    return found


def _generation(generation_id: str, told: Mapping[str, Any], span: Mapping[str, Any], names: Names) -> Handed:
    owner, key_hash = names.guessed(_text(told, f"{_ROUTED}api_key_name"))
    began_at_nanos = _number(span.get("startTimeUnixNano"))
    is_byok = str(_first(told, "is_byok")).lower() == "true"
    cost = _nanos(_first(told, "usage"))
    return Handed(
        generation_id,
        owner,
        key_hash,
        Facts(
            created_at=None if began_at_nanos is None else instant_of(began_at_nanos / 10**9),
            model=_text(told, "gen_ai.response.model"),
            requested_model=_text(told, "gen_ai.request.model"),
            provider=_text(told, f"{_ROUTED}provider_name"),
            session=_text(told, "session.id", LONGEST_SESSION),
            credits_nanos=_nanos(told.get("gen_ai.usage.total_cost")) if cost is None else cost,
            byok_nanos=_nanos(_first(told, "byok_usage_inference")) if is_byok else None,
            pools=_pools(told),
        ),
    )


def _first(told: Mapping[str, Any], name: str) -> Any:
    """Return what the metadata of the trace, or of the span, tell of the charge."""
    found = [told.get(f"{place}{name}") for place in _CHARGED]
    return next((value for value in found if value is not None), None)


def _pools(told: Mapping[str, Any]) -> TokenPools:
    prompt, completion, cached, written, audio, reasoning = (
        next((count for name in names if (count := _count(told.get(f"gen_ai.usage.{name}"))) is not None), None)
        for names in _COUNTS
    )
    if prompt is None or completion is None:
        return UNKNOWN
    return pools(
        prompt=prompt,
        completion=completion,
        cache_read=cached,
        cache_write=written,
        # Only told where there was any, unlike the rest.
        audio_input=0 if audio is None and cached is not None else audio,
        reasoning=reasoning,
    )


def _text(told: Mapping[str, Any], name: str, longest: int = LONGEST_NAME) -> str | None:
    value = told.get(name)
    return value if readable_text(value, longest) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _MOST_TOKENS and number == int(number) else None


def _nanos(value: Any) -> int | None:
    number = _number(value)
    try:
        return None if number is None else nanos_from_usd(number)
    except ImplausibleMoney:
        return None


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str) or len(str(value)) > _LONGEST_NUMBER:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


# --- What is kept ----------------------------------------------------------------------------------------------------

_ROUTED: Final = "trace.metadata.openrouter."
_CHARGED: Final = ("trace.metadata.openrouter_generation.", "span.metadata.openrouter_generation.")
_COUNTS: Final = (
    ("input_tokens", "prompt_tokens"),
    ("output_tokens", "completion_tokens"),
    ("input_tokens.cached",),
    ("input_tokens.cache_write",),
    ("input_tokens.audio",),
    ("output_tokens.reasoning",),
)
_NAMES_OF_TESTS: Final = {
    "openrouter-connection-test",
    # What the button "Send Trace" sends, with tokens and a cost that nobody spent.
    "Test Generation",
    "Test Trace - OpenRouter Observability",
}
_LONGEST_NUMBER: Final = 40
_MOST_TOKENS: Final = 10**12

KEPT_ATTRIBUTES: Final = frozenset(
    {
        *("gen_ai.response.id", "gen_ai.response.model", "gen_ai.request.model", "gen_ai.usage.total_cost"),
        *(f"gen_ai.usage.{name}" for names in _COUNTS for name in names),
        *("trace.name", "session.id", f"{_ROUTED}api_key_name", f"{_ROUTED}provider_name"),
        *(f"{place}{name}" for place in _CHARGED for name in ("usage", "byok_usage_inference", "is_byok")),
    }
)
_KEPT_MEMBERS: Final = frozenset(
    {
        *("resourceSpans", "scopeSpans", "spans", "spanId", "parentSpanId", "name", "startTimeUnixNano", "attributes"),
        *("key", "value", "stringValue", "intValue", "doubleValue", "boolValue"),
    }
)


def _known_members(members: dict[str, Any]) -> dict[str, Any]:
    name = members.get("key", "")
    if "key" in members and not (isinstance(name, str) and name in KEPT_ATTRIBUTES):
        return {}
    return {member: value for member, value in members.items() if member in _KEPT_MEMBERS}
