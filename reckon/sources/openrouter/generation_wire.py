"""What OpenRouter says of one generation: `GET /generation`, and what it means when it says nothing.

The record is written some time after the generation ended, and it can be seen before its tokens and its cost are in it.
So tokens and cost that are all zero are believed only where something explains them: it was cancelled; it was
answered from the response cache, which costs nothing; it failed, which is not charged for. A prompt that was counted is
explanation enough, since OpenRouter waives the price of an empty completion. A free model has tokens.

The token counts are those of the provider, which are the ones charged for; OpenRouter's own stand in where there are
none. What was written to the cache is never told here.
"""

import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from reckon.core.generations import Facts, Found, NotFound, Unfound
from reckon.core.records import FailureReason
from reckon.core.tokens import TokenPools, pools
from reckon.sources.openrouter.trouble import NoAnswer
from reckon.sources.openrouter.wire import Count, Instant, Name, Nanos, Readable, Session, Slug, Wire, read


def generation(value: Any, generation_id: str) -> Found:
    """Return what the answer *value* tells of the generation that was asked for.

    Raises:
        NoAnswer: it is no such answer, or one about another generation.
    """
    told = read(GenerationAnswer, value).data
    if told.id != generation_id:
        raise NoAnswer(FailureReason.UNEXPECTED_ANSWER, "data.id: another generation's")
    facts = Facts(
        created_at=told.created_at,
        model=told.model,
        requested_model=told.router,
        provider=told.provider_name,
        app=_app(told),
        session=told.session_id,
        credits_nanos=told.total_cost,
        byok_nanos=told.upstream_inference_cost if told.is_byok else 0,
        pools=_pools(told),
    )
    return Found(facts, is_finished=_is_written(told, facts) or _is_explained(told))


def not_found(trouble: NoAnswer) -> NotFound:
    """Return what an ask that brought no record has taught about the generation."""
    reason = _BY_STATUS.get(trouble.status or 0) or _BY_REASON.get(trouble.reason, Unfound.UNREADABLE)
    return NotFound(reason, trouble.detail, trouble.retry_after_seconds)


_BY_STATUS: Final = {
    401: Unfound.KEY_REFUSED,
    402: Unfound.BUSY,
    403: Unfound.NOT_OURS,
    404: Unfound.NOT_YET,
    408: Unfound.BUSY,
}
_BY_REASON: Final = {
    FailureReason.ACCESS_DENIED: Unfound.KEY_REFUSED,
    FailureReason.RATE_LIMITED: Unfound.BUSY,
    FailureReason.UNAVAILABLE: Unfound.BUSY,
    FailureReason.TIMED_OUT: Unfound.BUSY,
}


class Attempt(Wire):
    """One try at one provider."""

    status: int | None = None


class GenerationData(Wire):
    """The record of one generation. The cost is counted and must be right; everything else is shown."""

    id: str
    total_cost: Nanos
    is_byok: bool
    upstream_inference_cost: Nanos | None = None
    created_at: Annotated[Instant | None, Readable] = None
    model: Slug = None
    router: Slug = None
    provider_name: Name = None
    session_id: Session = None
    http_referer: Annotated[str | None, Readable] = None
    origin: Annotated[str | None, Readable] = None
    app_id: Annotated[Count | None, Readable] = None
    native_tokens_prompt: Annotated[Count | None, Readable] = None
    native_tokens_completion: Annotated[Count | None, Readable] = None
    native_tokens_cached: Annotated[Count | None, Readable] = None
    native_tokens_reasoning: Annotated[Count | None, Readable] = None
    tokens_prompt: Annotated[Count | None, Readable] = None
    tokens_completion: Annotated[Count | None, Readable] = None
    num_input_audio_prompt: Annotated[Count | None, Readable] = None
    cancelled: Annotated[bool | None, Readable] = None
    finish_reason: Annotated[str | None, Readable] = None
    response_cache_source_id: Annotated[str | None, Readable] = None
    provider_responses: Annotated[list[Attempt] | None, Readable] = None


class GenerationAnswer(Wire):
    """`GET /generation`."""

    data: GenerationData


def _pools(told: GenerationData) -> TokenPools:
    return pools(
        prompt=told.tokens_prompt if told.native_tokens_prompt is None else told.native_tokens_prompt,
        completion=told.tokens_completion if told.native_tokens_completion is None else told.native_tokens_completion,
        cache_read=told.native_tokens_cached,
        cache_write=None,
        # Clips of audio are told by their number, which counts the tokens only where there are none.
        audio_input=0 if told.num_input_audio_prompt == 0 else None,
        reasoning=told.native_tokens_reasoning,
    )


def _is_written(told: GenerationData, facts: Facts) -> bool:
    return any(
        (
            facts.credits_nanos,
            facts.byok_nanos,
            told.native_tokens_prompt,
            told.native_tokens_completion,
            told.tokens_prompt,
            told.tokens_completion,
        )
    )


def _is_explained(told: GenerationData) -> bool:
    attempts = [attempt.status or 0 for attempt in told.provider_responses or ()]
    has_failed = bool(attempts) and all(status >= 400 for status in attempts)
    return bool(told.cancelled or told.response_cache_source_id or told.finish_reason == "error" or has_failed)


def _app(told: GenerationData) -> str | None:
    app = _host(told.http_referer) or _host(told.origin)
    return app or (None if told.app_id is None else f"app {told.app_id}")


def _host(url: str | None) -> str | None:
    """Return the host that *url* names, and nothing else of it: a path or a query may hold what nobody should see."""
    try:
        host = urlsplit(url or "").hostname or ""
    except ValueError:
        return None
    return host if _HOST.fullmatch(host) else None


_HOST: Final = re.compile(r"[\w.:-]{1,253}")
