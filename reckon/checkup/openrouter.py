"""Each key as OpenRouter describes it, and OpenRouter's clock beside ours."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from reckon.app import Clock
from reckon.checkup.records import Check, CheckState
from reckon.config import OpenedKey, Secrets, Settings
from reckon.core import plans
from reckon.core.alert_messages import span
from reckon.core.money import dollars
from reckon.core.records import Failure, FailureReason, WatchedKey
from reckon.sources.openrouter import Examined, OpenRouterClient, OpenRouterSource

_SOON: Final = timedelta(days=14)
_MANAGEMENT_KEY: Final = "management key"


async def keys_and_clock(settings: Settings, secrets: Secrets, clock: Clock) -> list[Check]:
    """Return what each key is, may do and may see, and how far the clocks are apart. Each key is asked once."""
    async with OpenRouterClient(
        settings.openrouter.base_url,
        timeout_seconds=settings.openrouter.timeout.total_seconds(),
        clock=clock,
        concurrency=settings.poll.concurrency,
    ) as client:
        source = OpenRouterSource(
            client,
            {key.hash: key.secret for key in secrets.keys if key.secret},
            clock=clock,
            management_key=secrets.management_key,
            concurrency=settings.poll.concurrency,
        )
        managing = await source.examine_management_key()
        found = await source.examine([WatchedKey(key.hash, key.owner, key.name) for key in secrets.keys])
    now = clock()
    checks = [_management_key(managing, now)] if managing else []
    by_hash = {examined.key_hash: examined for examined in found}
    checks += [_owned_key(key, by_hash.get(key.hash), now) for key in secrets.keys]
    if not secrets.keys:
        advice = "Name an owner and a key: config.example.toml shows how."
        checks.append(Check("keys", CheckState.WRONG, "The owner map holds no key to ask.", advice))
    return [*checks, _clock(client, now)]


# --- Keys ------------------------------------------------------------------------------------------------------------


def _owned_key(key: OpenedKey, found: Examined | Failure | None, now: datetime) -> Check:
    subject = f"key {key.name} of {key.owner}"
    if found is None:
        text = "Known by its hash alone, so nobody can ask it; the management key does not sweep yet."
        return Check(subject, CheckState.WARNING, text, "Give its secret in the place of the hash.")
    if isinstance(found, Failure):
        return _failed(subject, found)
    worries = [*_worries(found, now)]
    if found.rights.is_management_key:
        worries.append(
            (
                "It can list, make and delete every key of the account.",
                "Let the owner work with an inference key; a management key belongs in openrouter.management_key.",
            )
        )
    return _described(subject, found, worries)


def _management_key(found: Examined | Failure, now: datetime) -> Check:
    if isinstance(found, Failure):
        return _failed(_MANAGEMENT_KEY, found)
    if found.rights.is_management_key is False:
        text = "openrouter.management_key is an inference key, which cannot list keys."
        advice = "Make a management key at OpenRouter, under Settings, and put it in its place."
        return Check(_MANAGEMENT_KEY, CheckState.WRONG, text, advice)
    return _described(_MANAGEMENT_KEY, found, [*_worries(found, now)])


def _described(subject: str, found: Examined, worries: list[tuple[str, str]]) -> Check:
    text = " ".join([_description(found), *(worry for worry, _ in worries)])
    state = CheckState.WARNING if worries else CheckState.OK
    return Check(subject, state, text, " ".join(advice for _, advice in worries))


def _description(found: Examined) -> str:
    rights = found.rights
    kinds = {True: "Management key", False: "Inference key", None: "Key"}
    parts = [kinds[rights.is_management_key]]
    if rights.limit_nanos is None:
        parts.append("no limit")
    else:
        left = "unknown" if rights.remaining_nanos is None else dollars(rights.remaining_nanos)
        reset = f" {rights.limit_reset}" if rights.limit_reset else ""
        parts.append(f"{left} left of {dollars(rights.limit_nanos)}{reset}")
    if rights.expires_at:
        parts.append(f"expires {rights.expires_at:%-d %b %Y}")
    if rights.is_free_tier:
        parts.append("free tier")
    if found.balance:
        parts.append(f"sees the account's balance ({dollars(found.balance.left_nanos)})")
    else:
        parts.append("does not see the account's balance")
    return f"{', '.join(parts)}."


def _worries(found: Examined, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what a person should know of a key that answers, and what to do about it."""
    rights = found.rights
    if rights.limit_nanos is not None and rights.remaining_nanos is not None and rights.remaining_nanos <= 0:
        until = "until it resets or is raised" if rights.limit_reset else "until it is raised"
        yield "Its limit is used up.", f"OpenRouter refuses its calls {until}."
    if rights.expires_at and rights.expires_at - now < _SOON:
        yield f"It expires in {span(rights.expires_at - now)}.", "Make the next key in time, and list it beside this."


def _failed(subject: str, failure: Failure) -> Check:
    state, advice = _ADVICE[failure.reason]
    reason = failure.reason.value.replace("_", " ")
    return Check(subject, state, f"{reason.capitalize()}: {failure.detail}.", advice)


_WAY: Final = "See whether this machine reaches openrouter.base_url, and whether OpenRouter is up."
_IN_BETWEEN: Final = "Something that is not OpenRouter answers at openrouter.base_url: a proxy, or a sign-in page."
_UNDOCUMENTED: Final = "OpenRouter answers otherwise than it documents. Please report it, with this line."
_ADVICE: Final = {
    FailureReason.ACCESS_DENIED: (
        CheckState.WRONG,
        "It was revoked, disabled, has expired or was copied wrongly. Put a working one in its place.",
    ),
    FailureReason.RATE_LIMITED: (
        CheckState.WARNING,
        "Look again in a while; poll less often (poll.every) if it stays.",
    ),
    FailureReason.UNAVAILABLE: (CheckState.WRONG, _WAY),
    FailureReason.TIMED_OUT: (CheckState.WRONG, _WAY),
    FailureReason.NOT_JSON: (CheckState.WRONG, _IN_BETWEEN),
    FailureReason.TOO_LARGE: (CheckState.WRONG, _IN_BETWEEN),
    FailureReason.REDIRECTED: (CheckState.WRONG, _IN_BETWEEN),
    FailureReason.UNEXPECTED_ANSWER: (CheckState.WRONG, _UNDOCUMENTED),
    FailureReason.IMPLAUSIBLE: (CheckState.WRONG, _UNDOCUMENTED),
}


# --- The clock -------------------------------------------------------------------------------------------------------


def _clock(client: OpenRouterClient, now: datetime) -> Check:
    advice = "Let this machine set its clock by the network (timedatectl set-ntp true)."
    if not plans.is_set(now):
        text = f"The clock of this machine shows {now:%Y-%m-%d}; until it is set nothing is counted."
        return Check("clock", CheckState.WRONG, text, advice)
    if not client.has_compared_clocks:
        text = f"{now:%Y-%m-%d %H:%M:%S} UTC; nobody answered whose clock it could be held against."
        return Check("clock", CheckState.WARNING, text)
    skew_seconds = client.clock_skew_seconds
    if skew_seconds is None:
        return Check("clock", CheckState.OK, "Within a minute of OpenRouter's.")
    side = "behind" if skew_seconds > 0 else "ahead of"
    text = f"{span(timedelta(seconds=abs(skew_seconds)))} {side} OpenRouter's, so spend is dated wrongly."
    return Check("clock", CheckState.WARNING, text, advice)
