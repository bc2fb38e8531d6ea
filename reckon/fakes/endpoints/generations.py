"""What `/generation` says of one completion: everything but which key ran it.

The native counts are the provider's; the normalised ones count the same text by another measure, so they differ.
"""

from reckon.fakes.answers import Answer, refusal
from reckon.fakes.endpoints.asked import Asked, Refused, invalid, not_found
from reckon.fakes.endpoints.body import found
from reckon.fakes.generations import NO_TOKENS, Generation, Unsettled
from reckon.fakes.workspaces import invented_uuid


def tell_generation(asked: Asked) -> Answer:
    """Tell of the completion with the id that is asked for, whichever key of the account asks."""
    generation_id = asked.query.get("id")
    if not generation_id:
        raise invalid()
    world = asked.world
    if world.is_foreign(generation_id):
        raise Refused(refusal(403, "You do not have access to this generation"))
    generation = world.generation(generation_id)
    if generation is None or generation.at > world.now:
        raise not_found()
    is_settled = generation.settles_at <= world.now
    if not is_settled and generation.until_settled is Unsettled.NOT_FOUND:
        raise not_found()
    return found(_record(asked, generation, is_settled=is_settled))


def _record(asked: Asked, generation: Generation, *, is_settled: bool) -> dict[str, object]:
    tokens = generation.tokens if is_settled else NO_TOKENS
    cost = asked.usd(generation.cost_nanos if is_settled else 0)
    has_ended = is_settled and not generation.cancelled
    return {
        "api_type": "completions",
        "app_id": generation.app_id,
        "cache_discount": None,
        "cancelled": generation.cancelled and is_settled,
        "created_at": generation.at.isoformat(timespec="microseconds"),
        "data_region": "global",
        "external_user": None,
        "finish_reason": "stop" if has_ended else None,
        "generation_time": 1200 if is_settled else None,
        "http_referer": generation.origin,
        "id": generation.id,
        "is_byok": generation.is_byok and is_settled,
        "latency": 1250 if is_settled else None,
        "model": generation.model,
        "moderation_latency": None,
        "native_finish_reason": "stop" if has_ended else None,
        "native_tokens_cached": tokens.cached,
        "native_tokens_completion": tokens.completion,
        "native_tokens_completion_images": 0,
        "native_tokens_prompt": tokens.prompt,
        "native_tokens_reasoning": tokens.reasoning,
        "num_fetches": 0,
        "num_input_audio_prompt": int(tokens.audio_input > 0),
        "num_media_completion": 0,
        "num_media_prompt": 0,
        "num_search_results": 0,
        "origin": generation.origin,
        "preset_id": None,
        "provider_name": generation.provider,
        "provider_responses": _attempts(generation) if is_settled else None,
        "request_id": f"req-{generation.id.removeprefix('gen-')}",
        "response_cache_source_id": generation.from_cache_of,
        "router": generation.router,
        "service_tier": None,
        "session_id": generation.session,
        "streamed": True,
        "tokens_completion": _normalised(tokens.completion),
        "tokens_prompt": _normalised(tokens.prompt),
        "total_cost": cost,
        "upstream_id": f"chatcmpl-{invented_uuid(generation.id)}",
        "upstream_inference_cost": _upstream(asked, generation) if is_settled else None,
        "usage": cost,
        "user_agent": "openai-python/2.8.1",
        "web_search_engine": None,
        "workspace_id": asked.world.workspace_at(generation.key_hash, generation.at),
    }


def _normalised(native: int) -> int:
    return native * 49 // 50


def _upstream(asked: Asked, generation: Generation) -> object:
    if generation.is_byok:
        return asked.usd(generation.byok_nanos)
    return None if generation.upstream_nanos is None else asked.usd(generation.upstream_nanos)


def _attempts(generation: Generation) -> list[dict[str, object]]:
    tried = [(provider, 503) for provider in generation.failed_providers] + [(generation.provider, 200)]
    return [
        {
            "endpoint_id": endpoint_id(generation.model, provider),
            "is_byok": generation.is_byok,
            "latency": 400,
            "model_permaslug": generation.model,
            "provider_name": provider,
            "status": status,
        }
        for provider, status in tried
    ]


def endpoint_id(model: str, provider: str) -> str:
    """Return the id of *model* as *provider* serves it."""
    return invented_uuid(f"endpoint of {model} at {provider}")
