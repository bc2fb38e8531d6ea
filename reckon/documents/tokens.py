"""Token pools, as every document names them. What is unknown is null."""

from reckon.core.tokens import TokenPools


def tokens(pools: TokenPools) -> dict[str, int | None]:
    """Return *pools* by name."""
    return {
        "input": pools.input,
        "output": pools.output,
        "cache_read": pools.cache_read,
        "cache_write": pools.cache_write,
        "reasoning": pools.reasoning,
        "audio_input": pools.audio_input,
    }
