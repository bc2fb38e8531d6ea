"""What a key says of itself, and what the management of keys says of all.

Both tell the same counters; the one has the layers of a key's budget, the other its name and its hash.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice

from reckon.fakes.answers import Answer
from reckon.fakes.counters import start_of_day, start_of_month, start_of_week
from reckon.fakes.endpoints.asked import Asked, not_found
from reckon.fakes.endpoints.body import found, timestamp
from reckon.fakes.workspaces import DEFAULT_WORKSPACE
from reckon.fakes.world import Body, CreditsPolicy, Interval, Key

PAGE = 100


def tell_key(asked: Asked) -> Answer:
    """Tell the asking key about itself."""
    key = asked.key
    at = asked.world.instant_told(key)
    limit = _budget(asked, key, at)
    data: dict[str, object] = {
        "label": key.label,
        "is_management_key": key.is_management_key,
        "is_provisioning_key": key.is_management_key,
        **_limit(key, limit),
        **_counters(asked, key, at),
        "is_free_tier": asked.world.purchased_nanos == 0,
        "creator_user_id": key.creator,
        "expires_at": timestamp(key.expires_at),
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
    }
    if asked.world.body is Body.SDK:
        data |= {
            "allowed_data_regions": ["global"],
            "budgets": [limit] if limit else [],
            "effective_budget": limit,
            "free_model_daily_requests": {"limit": 1000, "remaining": 1000, "used": 0},
            "organization_id": None,
            "workspace_id": key.workspace,
        }
    return found(data)


def tell_keys(asked: Asked) -> Answer:
    """Tell one page of one workspace's keys, newest first."""
    offset = asked.whole("offset", otherwise=0)
    keys = asked.world.listed(
        asked.workspace_id() or DEFAULT_WORKSPACE,
        disabled=asked.flag("include_disabled"),
        expired=asked.flag("include_expired"),
    )
    return found([_row(asked, key) for key in islice(keys, offset, offset + PAGE)])


def tell_one_of_the_keys(asked: Asked) -> Answer:
    """Tell of the key with the hash that is asked for."""
    key = asked.world.key_by_hash(asked.named)
    if key is None or not asked.world.is_listed(key):
        raise not_found()
    return found(_row(asked, key))


def tell_credits(asked: Asked) -> Answer:
    """Tell the account's balance, or to an inference key what the world's policy says."""
    is_hidden = not asked.key.is_management_key and asked.world.credits_policy is CreditsPolicy.ZEROS
    purchased, spent = (0, 0) if is_hidden else (asked.world.purchased_nanos, asked.world.account_spent_nanos())
    return found({"total_credits": asked.usd(purchased), "total_usage": asked.usd(spent)})


def _row(asked: Asked, key: Key) -> Mapping[str, object]:
    world = asked.world
    at = world.instant_told(key)
    row: dict[str, object] = {
        "hash": key.hash,
        "name": key.name,
        "label": key.label,
        "disabled": world.is_disabled(key),
        **_limit(key, _budget(asked, key, at)),
        **_counters(asked, key, at),
        "created_at": timestamp(key.created_at),
        "updated_at": timestamp(world.updated_at(key)),
        "expires_at": timestamp(key.expires_at),
        "creator_user_id": key.creator,
        "workspace_id": key.workspace,
    }
    if world.body is Body.SDK:
        row |= {"external_user": None, "last_used_at": timestamp(world.last_used_at(key, at))}
    return row


def _counters(asked: Asked, key: Key, at: datetime) -> Mapping[str, object]:
    usage, byok = asked.world.totals(key, "credits", at=at), asked.world.totals(key, "byok", at=at)
    return {
        "usage": asked.usd(usage.lifetime_nanos),
        "usage_daily": asked.usd(usage.day_nanos),
        "usage_weekly": asked.usd(usage.week_nanos),
        "usage_monthly": asked.usd(usage.month_nanos),
        "byok_usage": asked.usd(byok.lifetime_nanos),
        "byok_usage_daily": asked.usd(byok.day_nanos),
        "byok_usage_weekly": asked.usd(byok.week_nanos),
        "byok_usage_monthly": asked.usd(byok.month_nanos),
    }


def _limit(key: Key, budget: Mapping[str, object] | None) -> Mapping[str, object]:
    return {
        "limit": budget["limit_usd"] if budget else None,
        "limit_reset": key.limit_reset,
        "limit_remaining": budget["remaining_usd"] if budget else None,
        "include_byok_in_limit": key.include_byok_in_limit,
    }


def _budget(asked: Asked, key: Key, at: datetime) -> Mapping[str, object] | None:
    """Return the key's own limit as the API tells a budget; None where there is none.

    What is left goes below zero when more was spent, as the documents say of budgets and leave open of keys.
    """
    if key.limit_nanos is None:
        return None
    begins, resets_at = _window(key.limit_reset, at)
    spent = asked.world.shown_since(key, begins, "credits", at=at)
    if key.include_byok_in_limit:
        spent += asked.world.shown_since(key, begins, "byok", at=at)
    return {
        "scope": "key_limit",
        "limit_usd": asked.usd(key.limit_nanos),
        "spend_usd": asked.usd(spent),
        "remaining_usd": asked.usd(key.limit_nanos - spent),
        "reset_interval": key.limit_reset,
        "resets_at": timestamp(resets_at),
        "include_byok": key.include_byok_in_limit,
        "guardrail_id": None,
        "budget_id": None,
    }


def _window(interval: Interval | None, at: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when the window of a limit began and when the next one does; neither for a limit that never resets."""
    match interval:
        case None:
            return None, None
        case "daily":
            return start_of_day(at), start_of_day(at) + timedelta(days=1)
        case "weekly":
            return start_of_week(at), start_of_week(at) + timedelta(days=7)
        case "monthly":
            return start_of_month(at), start_of_month(start_of_month(at) + timedelta(days=31))
