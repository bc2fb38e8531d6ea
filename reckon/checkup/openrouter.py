"""Each key as OpenRouter describes it, and OpenRouter's clock beside ours."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reckon.app import Clock
from reckon.checkup import account
from reckon.checkup.account import Account
from reckon.checkup.records import Check, CheckState
from reckon.config import OpenedKey, Secrets, Settings
from reckon.core import plans
from reckon.core.alert_messages import span
from reckon.core.money import dollars
from reckon.core.records import Failure, FailureReason, WatchedKey
from reckon.sources.openrouter import Examined, OpenRouterClient, OpenRouterSource
from reckon.sources.openrouter.key_wire import BudgetLayer, KeyRights

_SOON: Final = timedelta(days=14)
_MANAGEMENT_KEY: Final = "management key"


async def keys_and_clock(settings: Settings, secrets: Secrets, clock: Clock) -> list[Check]:
    """Return what each key is, may do and may see, whether the owner map fits them, and how far the clocks are apart.

    Each key is asked about itself once, and the account is swept once if there is a management key.
    """
    async with account.open_client(settings, clock) as client:
        source = OpenRouterSource(
            client,
            {key.hash: key.secret for key in secrets.keys if key.secret},
            clock=clock,
            management_key=secrets.management_key,
            concurrency=settings.poll.concurrency,
        )
        managing = await source.examine_management_key()
        found = await source.examine([WatchedKey(key.hash, key.owner, key.name) for key in secrets.keys])
        seen = await account.look(settings, secrets, client, clock) if _manages(managing) else None
    now = clock()
    by_hash = {examined.key_hash: examined for examined in found}
    checks = [_management_key(managing, now)] if managing else []
    checks += [_owned_key(key, by_hash.get(key.hash), seen, now) for key in secrets.keys]
    if not secrets.keys and not settings.sweeps:
        advice = "Name an owner and a key: config.example.toml shows how."
        checks.append(Check("keys", CheckState.WRONG, "The owner map holds no key to ask.", advice))
    checks += account.owner_map(settings, secrets.keys, seen)
    answering = sum(isinstance(examined, Examined) for examined in (managing, *found))
    checks += account.sources(settings, seen, answering=answering)
    return [*checks, _clock(client, now)]


# --- Keys ------------------------------------------------------------------------------------------------------------


def _manages(found: Examined | Failure | None) -> bool:
    return isinstance(found, Examined) and found.rights.is_management_key is not False


def _owned_key(key: OpenedKey, found: Examined | Failure | None, seen: Account | None, now: datetime) -> Check:
    subject = f"key {key.name} of {key.owner}"
    if found is None:
        return _known_by_hash(subject, key, seen, now)
    if isinstance(found, Failure):
        return _failed(subject, found)
    worries = [*_worries(_terms(found.rights), now), *_layer_worries(found.rights.blocks_first)]
    if found.rights.is_management_key:
        worries.append(
            (
                "It can list, make and delete every key of the account.",
                "Let the owner work with an inference key; a management key belongs in openrouter.management_key.",
            )
        )
    elif seen and seen.is_whole and key.hash not in seen.sweep.seen:
        text = "No sweep shows it, so it is of another account; it is asked about itself."
        worries.append((text, "Nothing to do, if that is what you meant."))
    return _described(subject, _description(found), worries)


def _known_by_hash(subject: str, key: OpenedKey, seen: Account | None, now: datetime) -> Check:
    if seen is None:
        text = "Known by its hash alone, so only a sweep could see it, and none can be made."
        advice = "Set a working openrouter.management_key, or give the key's secret in the place of its hash."
        return Check(subject, CheckState.WARNING, text, advice)
    swept = seen.keys.get(key.hash)
    if swept is None:
        state = CheckState.WRONG if seen.is_whole else CheckState.WARNING
        text = (
            "No sweep shows a key with this hash." if seen.is_whole else "Not in the part of the account that was seen."
        )
        return Check(subject, state, text, "Look whether it was deleted, is of another account, or was copied wrongly.")
    terms = _Terms(swept.limit_nanos, swept.limit_remaining_nanos, swept.limit_reset, swept.expires_at)
    worries = [*_worries(terms, now)]
    if swept.disabled:
        worries.append(("It is disabled.", "Enable it at OpenRouter, or take it out of the map."))
    workspace = seen.workspace_name(swept)
    where = f", in workspace {workspace}" if workspace else ""
    return _described(subject, f"Seen by the sweep{where}, {', '.join(_told(terms))}.", worries)


def _management_key(found: Examined | Failure, now: datetime) -> Check:
    if isinstance(found, Failure):
        return _failed(_MANAGEMENT_KEY, found)
    if found.rights.is_management_key is False:
        text = "openrouter.management_key is an inference key, which cannot list keys."
        advice = "Make a management key at OpenRouter, under Settings, and put it in its place."
        return Check(_MANAGEMENT_KEY, CheckState.WRONG, text, advice)
    return _described(_MANAGEMENT_KEY, _description(found), [*_worries(_terms(found.rights), now)])


def _described(subject: str, description: str, worries: list[tuple[str, str]]) -> Check:
    text = " ".join([description, *(worry for worry, _ in worries)])
    state = CheckState.WARNING if worries else CheckState.OK
    return Check(subject, state, text, " ".join(advice for _, advice in worries))


def _description(found: Examined) -> str:
    rights = found.rights
    kinds = {True: "Management key", False: "Inference key", None: "Key"}
    parts = [kinds[rights.is_management_key], *_told(_terms(rights))]
    if (layer := rights.blocks_first) and layer.scope != _OWN_LIMIT:
        parts.append(
            f"blocked first by {_layer_name(layer)} ({_left(layer.limit_nanos, layer.remaining_nanos, layer.reset)})"
        )
    if rights.is_free_tier:
        parts.append("free tier")
    if found.balance:
        parts.append(f"sees the account's balance ({dollars(found.balance.left_nanos)})")
    else:
        parts.append("does not see the account's balance")
    return f"{', '.join(parts)}."


@dataclass(frozen=True, slots=True)
class _Terms:
    """On what terms OpenRouter serves a key, whoever told them."""

    limit_nanos: int | None
    remaining_nanos: int | None
    reset: str | None
    expires_at: datetime | None


def _terms(rights: KeyRights) -> _Terms:
    return _Terms(rights.limit_nanos, rights.remaining_nanos, rights.limit_reset, rights.expires_at)


def _told(terms: _Terms) -> Iterator[str]:
    yield _left(terms.limit_nanos, terms.remaining_nanos, terms.reset)
    if terms.expires_at:
        yield f"expires {terms.expires_at:%-d %b %Y}"


def _left(limit_nanos: int | None, remaining_nanos: int | None, reset: str | None) -> str:
    if limit_nanos is None:
        return "no limit"
    left = "unknown" if remaining_nanos is None else dollars(remaining_nanos)
    return f"{left} left of {dollars(limit_nanos)}{f' {reset}' if reset else ''}"


def _worries(terms: _Terms, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what a person should know of a key that answers, and what to do about it."""
    if terms.limit_nanos is not None and terms.remaining_nanos is not None and terms.remaining_nanos <= 0:
        until = "until it resets or is raised" if terms.reset else "until it is raised"
        yield "Its limit is used up.", f"OpenRouter refuses its calls {until}."
    if terms.expires_at and terms.expires_at <= now:
        yield "It has expired.", "Make another key, and list it in its place."
    elif terms.expires_at and terms.expires_at - now < _SOON:
        yield f"It expires in {span(terms.expires_at - now)}.", "Make the next key in time, and list it beside this."


def _layer_worries(layer: BudgetLayer | None) -> Iterator[tuple[str, str]]:
    """Yield that a limit beyond the key's own is used up."""
    if layer is None or layer.scope == _OWN_LIMIT or layer.remaining_nanos is None or layer.remaining_nanos > 0:
        return
    until = f"until {layer.resets_at:%-d %b %H:%M} UTC" if layer.resets_at else "until it is raised"
    name = _layer_name(layer)
    yield f"{name[0].upper()}{name[1:]} is used up.", f"OpenRouter refuses its calls {until}."


_OWN_LIMIT: Final = "key_limit"
_LAYER_NAMES: Final = {
    "api_key": "the key's budget",
    "member": "its member's budget",
    "workspace": "its workspace's budget",
    "workspace_default_key": "its workspace's default for keys",
    "workspace_default_member": "its workspace's default for members",
}


def _layer_name(layer: BudgetLayer) -> str:
    return _LAYER_NAMES.get(layer.scope, f"the budget {layer.scope}")


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
