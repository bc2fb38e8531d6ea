"""Broadcast: what OpenRouter sends about one completion to an address of the team's own, as OTLP/HTTP JSON.

One delivery holds a trace: a root span that carries everything, and below it a span for each provider that was tried
and one for the answer. Each span comes in a resource of its own. Two dialects are about: what was captured from real
deliveries, and what the documents show, where counts are text and go by other names. Both are made here of the same
completion, so a reader of both finds the same in them.

With *content* the text of the caller stands wherever a prompt or an answer would, and in privacy mode nowhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from reckon.fakes.endpoints.generations import endpoint_id
from reckon.fakes.generations import Generation
from reckon.fakes.world import World

TEST_HEADERS: Final[Mapping[str, str]] = MappingProxyType({"x-test-connection": "true"})
"""What comes with a test of the connection, as the documents say."""

Attributes = Mapping[str, str | int | float | bool]


class Dialect(Enum):
    """How a delivery is written."""

    CAPTURED = auto()
    """As real ones are: a root called `LLM Generation`, `input_tokens` and `output_tokens`, counts as numbers."""
    DOCUMENTED = auto()
    """As the documents show it: a root called `chat`, `prompt_tokens` and `completion_tokens`, counts as text."""


def broadcast(
    world: World,
    generation: Generation,
    *,
    dialect: Dialect = Dialect.CAPTURED,
    content: str | None = None,
    privacy_mode: bool = False,
    cost_metadata: bool = False,
    error: str | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the delivery about *generation*.

    Args:
        world: whose key it ran by.
        generation: what is told of, as it stands.
        dialect: how it is written.
        content: what stands in every attribute that holds a prompt or an answer.
        privacy_mode: whether those attributes are left out.
        cost_metadata: whether the charge is told once more in all its parts.
        error: why it failed, which leaves out the tokens and the cost.
        metadata: what the caller of the completion sent along.
    """
    told = [_about(generation, error), _twice(metadata)]
    if error is None:
        told += [_paid(generation, dialect), _served(world, generation)]
        told += [_twice(_parts_of_the_charge(generation))] if cost_metadata else []
    if content is not None and not privacy_mode:
        told.append(_contents(content))
    attributes = {name: value for each in told for name, value in each.items()}
    root = _Span(generation.id, _ROOT[dialect], 3, attributes, error)
    children = [*_attempts(generation), _answer(generation)] if error is None else []
    span_id, trace_id = _hex(root.of, 16), _hex(generation.id, 32)
    return _delivery(
        _written(root, trace_id, None, generation, dialect),
        *(_written(child, trace_id, span_id, generation, dialect) for child in children),
        about={"openrouter.trace.id": generation.id, "service.version": "1.0.0"},
    )


def connection_test(at: datetime) -> dict[str, Any]:
    """Return what is sent to try an address out: one span that tells nothing."""
    return _delivery(
        {
            "traceId": f"{1:032}",
            "spanId": f"{1:016}",
            "name": "openrouter-connection-test",
            "kind": 1,
            "startTimeUnixNano": _unix_nanos(at),
            "endTimeUnixNano": _unix_nanos(at + timedelta(milliseconds=1)),
            "status": {"code": 1},
            "attributes": [],
        }
    )


def empty_test() -> dict[str, Any]:
    """Return what the documents say is sent to try an address out, together with `TEST_HEADERS`."""
    return _delivery()


def sent_trace(at: datetime) -> dict[str, Any]:
    """Return what the button "Send Trace" sends: tokens and a cost that nobody spent, and no key's name."""
    attributes: Attributes = {
        "trace.name": "Test Trace - OpenRouter Observability",
        "span.type": "generation",
        "span.level": "DEFAULT",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "openai/gpt-4-turbo",
        "gen_ai.response.model": "openai/gpt-4-turbo",
        "gen_ai.response.id": f"gen-{int(at.timestamp())}-TestTraceOfNoCall000",
        "gen_ai.usage.input_tokens": 25,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.total_tokens": 75,
        "gen_ai.usage.total_cost": 0.00175,
        "gen_ai.prompt": '{"messages": [{"role": "user", "content": "Is this thing on?"}]}',
        "gen_ai.completion": '{"completion": "It is."}',
    }
    return _delivery(
        {
            "traceId": _hex(f"send trace {at}", 32),
            "spanId": _hex(f"send trace {at}", 16),
            "name": "Test Generation",
            "kind": 3,
            "startTimeUnixNano": _unix_nanos(at),
            "endTimeUnixNano": _unix_nanos(at + timedelta(seconds=1)),
            "status": {"code": 1},
            "attributes": _typed(attributes, Dialect.CAPTURED),
        }
    )


# --- What the root tells ----------------------------------------------------------------------------------------------

_ROOT: Final = MappingProxyType({Dialect.CAPTURED: "LLM Generation", Dialect.DOCUMENTED: "chat"})
_TOTALS: Final = MappingProxyType(
    {
        Dialect.CAPTURED: ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
        Dialect.DOCUMENTED: ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
    }
)


def _about(generation: Generation, error: str | None) -> Attributes:
    author = generation.model.partition("/")[0]
    return {
        "trace.name": "OpenRouter Request",
        **({"session.id": generation.session} if generation.session else {}),
        "span.type": "generation",
        "span.level": "ERROR" if error else "DEFAULT",
        **({"span.status_message": error} if error else {}),
        "gen_ai.operation.name": "chat",
        "gen_ai.system": author,
        "gen_ai.provider.name": author,
        "gen_ai.request.model": generation.asked or generation.model,
        "gen_ai.response.model": generation.model.partition(":")[0],
        "gen_ai.response.id": generation.id,
    }


def _paid(generation: Generation, dialect: Dialect) -> Attributes:
    tokens = generation.tokens
    prompt, completion = _TOTALS[dialect]
    for_prompt_nanos = generation.cost_nanos * 2 // 3
    return {
        prompt: tokens.prompt,
        completion: tokens.completion,
        "gen_ai.usage.total_tokens": tokens.prompt + tokens.completion,
        "gen_ai.usage.input_cost": _usd(for_prompt_nanos),
        "gen_ai.usage.output_cost": _usd(generation.cost_nanos - for_prompt_nanos),
        "gen_ai.usage.total_cost": _usd(generation.cost_nanos),
        "gen_ai.usage.input_tokens.cached": tokens.cached,
        "gen_ai.usage.input_tokens.cache_write": tokens.cache_write,
        "gen_ai.usage.input_tokens.cache_write_5m": tokens.cache_write,
        "gen_ai.usage.input_tokens.cache_write_1h": 0,
        **({"gen_ai.usage.input_tokens.audio": tokens.audio_input} if tokens.audio_input else {}),
        "gen_ai.usage.output_tokens.reasoning": tokens.reasoning,
        "gen_ai.response.finish_reasons": '["stop"]',
        "gen_ai.response.finish_reason": "stop",
    }


def _served(world: World, generation: Generation) -> Attributes:
    key = world.key_by_hash(generation.key_hash)
    told = {
        "source": "openrouter",
        "api_key_name": "" if key is None else key.name,
        "entity_id": "user_2invented0000000000000000000",
        "creator_user_id": "" if key is None or key.creator is None else key.creator,
        "provider_name": generation.provider,
        "provider_slug": generation.provider.lower().replace(" ", "-"),
        "finish_reason": "end_turn",
    }
    return {
        **{f"trace.metadata.openrouter.{name}": value for name, value in told.items()},
        "trace.metadata.openrouter.router_latency_ms": 167.0,
        "trace.metadata.openrouter.inter_token_latency_ms": 1.2711,
        "trace.metadata.openrouter.input_unit_price": 1e-06,
        "trace.metadata.openrouter.output_unit_price": 5e-06,
    }


def _parts_of_the_charge(generation: Generation) -> Attributes:
    unused = ("usage_cache", "usage_data", "usage_web", "usage_web_fetch", "usage_upstream_web_fetch", "usage_file")
    parts: Attributes = {
        "tokens_prompt": generation.tokens.prompt,
        "tokens_completion": generation.tokens.completion,
        "usage": _usd(generation.cost_nanos),
        "usage_upstream": _usd(generation.cost_nanos),
        **dict.fromkeys(unused, 0.0),
        "byok_usage_inference": _usd(generation.byok_nanos),
        "is_byok": generation.is_byok,
        "streamed": True,
        "model": generation.model,
    }
    return {f"openrouter_generation.{name}": value for name, value in parts.items()}


def _contents(content: str) -> Attributes:
    prompt = json.dumps({"messages": [{"role": "user", "content": content}]})
    answer = json.dumps({"completion": content, "reasoning": content, "rawRequest": {"messages": content}})
    return {
        "span.input": prompt,
        "span.output": answer,
        "trace.input": prompt,
        "trace.output": answer,
        "gen_ai.prompt": prompt,
        "gen_ai.prompt.truncated": content,
        "gen_ai.completion": answer,
        "gen_ai.completion.tools": json.dumps([{"function": {"name": "search", "arguments": content}}]),
    }


def _twice(attributes: Attributes) -> Attributes:
    """Return *attributes* as they are told of the trace, and once more of the span."""
    return {f"{of}.metadata.{name}": value for of in ("trace", "span") for name, value in attributes.items()}


# --- The spans below it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    of: str
    """What its id is made from."""
    name: str
    kind: int
    attributes: Attributes
    error: str | None = None


def _attempts(generation: Generation) -> list[_Span]:
    providers = [*generation.failed_providers, generation.provider]
    return [
        _Span(
            of := f"{generation.id}:attempt-{n}",
            f"provider attempt {n + 1}: {provider}",
            2,
            {
                "span.type": "span",
                "span.level": "DEFAULT",
                "span.metadata.attempt_index": n,
                "span.metadata.status_code": 200 if n + 1 == len(providers) else 503,
                "span.metadata.is_byok": generation.is_byok,
                "span.metadata.endpoint_id": endpoint_id(generation.model, provider),
                "gen_ai.operation.name": "chat",
                "gen_ai.response.id": of,
                "trace.metadata.openrouter.provider_name": provider,
            },
        )
        for n, provider in enumerate(providers)
    ]


def _answer(generation: Generation) -> _Span:
    of = f"{generation.id}:generation"
    told = {"span.type": "span", "span.level": "DEFAULT", "gen_ai.operation.name": "chat", "gen_ai.response.id": of}
    return _Span(of, "generation", 2, told)


# --- The envelope -----------------------------------------------------------------------------------------------------


def _delivery(*spans: Mapping[str, Any], about: Attributes = MappingProxyType({})) -> dict[str, Any]:
    """Return *spans* as they are sent, each in a resource of its own that tells what it is *about*."""
    resource = {"attributes": _typed({"service.name": "openrouter", **about}, Dialect.CAPTURED)}
    scope = {"name": "openrouter"}
    return {
        "resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]} for span in spans]
    }


def _written(
    span: _Span, trace_id: str, parent_id: str | None, generation: Generation, dialect: Dialect
) -> dict[str, Any]:
    return {
        "traceId": trace_id,
        "spanId": _hex(span.of, 16),
        **({"parentSpanId": parent_id} if parent_id else {}),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _unix_nanos(generation.at),
        "endTimeUnixNano": _unix_nanos(generation.at + timedelta(milliseconds=5486)),
        "status": {"code": 2, "message": span.error} if span.error else {"code": 1},
        "attributes": _typed(span.attributes, dialect),
    }


def _typed(attributes: Attributes, dialect: Dialect) -> list[dict[str, Any]]:
    def value(of: str | float | bool) -> dict[str, Any]:
        match of:
            case str():
                return {"stringValue": of}
            case bool():
                return {"boolValue": of}
            case float() if of:
                return {"doubleValue": of}
        # Money that is nothing comes as a whole number.
        return {"intValue": int(of) if dialect is Dialect.CAPTURED else str(int(of))}

    return [{"key": name, "value": value(of)} for name, of in attributes.items()]


def _usd(nanos: int) -> float:
    return nanos / 1_000_000_000


def _hex(of: str, digits: int) -> str:
    return sha256(of.encode()).hexdigest()[:digits]


def _unix_nanos(at: datetime) -> str:
    return f"{int(at.timestamp() * 1_000_000)}000"
