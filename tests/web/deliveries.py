"""Broadcast's deliveries, as OpenRouter makes them."""

import json

ID = "gen-1795300000-SampleGenerationId01"
CONTENT = (
    *("gen_ai.prompt", "gen_ai.completion", "span.input", "span.output", "trace.input", "trace.output"),
    *("gen_ai.completion.tools", "gen_ai.prompt.truncated", "gen_ai.an.attribute.of.tomorrow"),
)
COUNTED = {
    "gen_ai.response.id": ID,
    "gen_ai.request.model": "openrouter/auto",
    "gen_ai.response.model": "anthropic/claude-haiku-4.5",
    "session.id": "session_abc",
    "gen_ai.usage.input_tokens": 48_894,
    "gen_ai.usage.output_tokens": 842,
    "gen_ai.usage.total_cost": 0.06507625,
    "gen_ai.usage.input_tokens.cached": 5,
    "gen_ai.usage.input_tokens.cache_write": 47_889,
    "gen_ai.usage.output_tokens.reasoning": 518,
    "trace.metadata.openrouter.api_key_name": "laptop",
    "trace.metadata.openrouter.provider_name": "Amazon Bedrock",
}
DOCUMENTED = {
    "gen_ai.response.id": ID,
    "gen_ai.request.model": "openai/gpt-4",
    "gen_ai.usage.prompt_tokens": "100",
    "gen_ai.usage.completion_tokens": "50",
}


def delivery(*spans):
    """Return the body of a delivery: a resource for each span."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": attributes({"service.name": "openrouter", "openrouter.trace.id": ID})},
                "scopeSpans": [{"scope": {"name": "openrouter"}, "spans": [each]}],
            }
            for each in spans
        ]
    }


def span(told, *, name="LLM Generation", parent=None, **more):
    return {
        "traceId": "4355de9cc72b4839f76d20be04d482ca",
        "spanId": "4355de9cc72b4839",
        **({"parentSpanId": parent} if parent else {}),
        "name": name,
        "kind": 3,
        "startTimeUnixNano": "1795300000999000000",
        "endTimeUnixNano": "1795300005486000000",
        "attributes": attributes(told),
        "status": {"code": 1},
        **more,
    }


def attributes(told):
    return [{"key": key, "value": _value(value)} for key, value in told.items()]


def whole_delivery(told=COUNTED, *, text=None):
    """Return a delivery as it comes: the root, an attempt and the stream; *text* in every place that can hold it."""
    said = dict.fromkeys(CONTENT, text) if text else {}
    more = {"status": {"code": 2, "message": text}, "events": [{"name": text, "attributes": attributes(said)}]}
    return delivery(
        span({**said, **told}, **(more if text else {})),
        span({**said, "gen_ai.response.id": f"{ID}:attempt-0"}, name="provider attempt 1: Bedrock", parent="4355de9c"),
        span({**said, "gen_ai.response.id": f"{ID}:generation"}, name="generation", parent="4355de9c"),
    )


def connection_test():
    return delivery({**span({}, name="openrouter-connection-test"), "kind": 1})


def as_body(body):
    return json.dumps(body).encode()


def _value(value):
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return value if isinstance(value, dict) else {kinds[type(value)]: value}
