"""Token pools: the counts of one generation, taken apart so that no token stands in two of them.

OpenRouter counts the prompt and the completion as wholes and names parts of them beside the whole: cached, written to
the cache, audio, reasoning. Text is what is left. Where a part is larger than its whole (it has been seen with cached
tokens of answers that were replayed), the part stands as it was told and the text is zero.

The same object comes in four dialects, of the chat and of the responses API, in snake case and in camel case. A usage
object of OpenRouter's leaves out the parts that are zero, so a part that it does not name is zero; `/generation` never
tells what was written to the cache, so from there that pool is unknown. Unknown is None, and never zero.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final


class UnreadableUsage(ValueError):
    """A usage object whose counts cannot be read. The text names the member at fault, never its value."""


class UncountedUsage(UnreadableUsage):
    """A usage object that does not count the prompt, or the completion."""


@dataclass(frozen=True, slots=True)
class TokenPools:
    """The exclusive token counts of one generation. None is unknown."""

    input: int | None = None
    """Of the prompt, what no other pool holds."""
    output: int | None = None
    """Of the completion, without reasoning."""
    cache_read: int | None = None
    cache_write: int | None = None
    audio_input: int | None = None
    reasoning: int | None = None

    def __add__(self, other: "TokenPools") -> "TokenPools":
        """Return both together; a pool that one of them does not know is unknown."""
        return TokenPools(*map(_together, astuple(self), astuple(other)))

    def over(self, other: "TokenPools") -> "TokenPools":
        """Return these pools, and those of *other* where these know nothing at all.

        Pools of two tellers are not mixed, but for the parts of the prompt that only one of them can tell: then what
        the other calls input still holds them, and gives them up.
        """
        if self == UNKNOWN:
            return other
        if self.cache_write is not None or other.cache_write is None or self.input is None:
            return self
        told_apart = other.cache_write + ((other.audio_input or 0) if self.audio_input is None else 0)
        return TokenPools(
            input=max(0, self.input - told_apart),
            output=self.output,
            cache_read=self.cache_read,
            cache_write=other.cache_write,
            audio_input=other.audio_input if self.audio_input is None else self.audio_input,
            reasoning=self.reasoning,
        )


UNKNOWN: Final = TokenPools()


def pools(
    *,
    prompt: int | None,
    completion: int | None,
    cache_read: int | None,
    cache_write: int | None,
    audio_input: int | None,
    reasoning: int | None,
) -> TokenPools:
    """Return the exclusive pools of a *prompt* and a *completion* that were counted as wholes."""
    parts = (cache_read or 0) + (cache_write or 0) + (audio_input or 0)
    return TokenPools(
        input=None if prompt is None else max(0, prompt - parts),
        output=None if completion is None else max(0, completion - (reasoning or 0)),
        cache_read=cache_read,
        cache_write=cache_write,
        audio_input=audio_input,
        reasoning=reasoning,
    )


def from_usage(usage: Mapping[str, Any]) -> TokenPools:
    """Return the pools of a usage object in any of its four dialects.

    Raises:
        UncountedUsage: it names no prompt or no completion.
        UnreadableUsage: a count is no whole number from zero on.
    """
    prompt = _count(usage, _PROMPT)
    completion = _count(usage, _COMPLETION)
    if completion is None and prompt is not None and _count(usage, _TOTAL) == prompt:
        completion = 0  # of embeddings, which complete nothing
    if prompt is None or completion is None:
        raise UncountedUsage(f"{_PROMPT[1] if prompt is None else _COMPLETION[1]}: missing")
    inside = _details(usage, _PROMPT_DETAILS)
    outside = _details(usage, _COMPLETION_DETAILS)
    return pools(
        prompt=prompt,
        completion=completion,
        cache_read=_count(inside, _CACHE_READ) or 0,
        cache_write=_count(inside, _CACHE_WRITE) or 0,
        audio_input=_count(inside, _AUDIO) or 0,
        reasoning=_count(outside, _REASONING) or 0,
    )


def _together(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


_Names = tuple[str, ...]

# The first that is told wins.
_PROMPT: Final[_Names] = ("promptTokens", "prompt_tokens", "inputTokens", "input_tokens")
_COMPLETION: Final[_Names] = ("completionTokens", "completion_tokens", "outputTokens", "output_tokens")
_PROMPT_DETAILS: Final[_Names] = (
    "promptTokensDetails",
    "prompt_tokens_details",
    "inputTokensDetails",
    "input_tokens_details",
)
_COMPLETION_DETAILS: Final[_Names] = (
    "completionTokensDetails",
    "completion_tokens_details",
    "outputTokensDetails",
    "output_tokens_details",
)
_TOTAL: Final[_Names] = ("totalTokens", "total_tokens")
_CACHE_READ: Final[_Names] = ("cachedTokens", "cached_tokens")
_CACHE_WRITE: Final[_Names] = ("cacheWriteTokens", "cache_write_tokens")
_AUDIO: Final[_Names] = ("audioTokens", "audio_tokens")
_REASONING: Final[_Names] = ("reasoningTokens", "reasoning_tokens")
_MOST_TOKENS: Final = 10**12


def _count(counts: Mapping[str, Any], names: _Names) -> int | None:
    for name in names:
        count = counts.get(name)
        if count is None:
            continue
        if type(count) is not int or not 0 <= count <= _MOST_TOKENS:  # `type`, because a bool is an int
            raise UnreadableUsage(f"{name}: not a count of tokens")
        return count
    return None


def _details(usage: Mapping[str, Any], names: _Names) -> Mapping[str, Any]:
    for name in names:
        found = usage.get(name)
        if found is None:
            continue
        if not isinstance(found, Mapping):
            raise UnreadableUsage(f"{name}: not an object")
        return found
    return {}
