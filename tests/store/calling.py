"""Generations to hand in and to settle, and what a ledger then says of them."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from reckon.core.generations import Facts, Found, Handed, Settled
from reckon.core.settlement import SettlePlan, SettlePolicy, after_lookups
from reckon.core.tokens import TokenPools
from reckon.core.windows import Window
from tests.builders import HOUR, MINUTE, SECOND, at, key_hash

NOON = at("2026-11-20 12:00")
EVER = Window(at("2024-01-01 00:00"), at("2030-01-01 00:00"))
POLICY = SettlePolicy((SECOND, 5 * SECOND, HOUR))
LONGEST = HOUR
LEASE = 30 * SECOND
UTC = ZoneInfo("UTC")
POOLS = TokenPools(100, 20, 30, None, 0, 5)


def handed(name, *, owner="ana", key=None, **facts):
    return Handed(name, owner, key and key_hash(key), Facts(**facts))


def settled(name, nanos=1_000, *, owner="ana", key=None, when=NOON, **facts):
    known = Facts(
        **{"created_at": when, "model": "z/served", "credits_nanos": nanos, "pools": POOLS} | facts,
    )
    return Settled(name, owner, key and key_hash(key), when + MINUTE, known)


def settle(store, *generations, zone=UTC, holder="one"):
    store.commit_settlement(SettlePlan(generations), zone, holder=holder)


def claim(store, now=NOON + SECOND, **terms):
    return store.claim_pending(now, **{"holder": "one", "lease": LEASE, "most": 100, "longest": LONGEST} | terms)


def look_up(store, found, lookup, now=NOON + SECOND, *, holder="one", zone=UTC):
    """Commit that each of *found* was looked up, by the only key there is."""
    plan = after_lookups([(waiting, lookup, 1) for waiting in found], POLICY, now)
    store.commit_settlement(plan, zone, holder=holder)
    return plan


def found_at(nanos, **facts):
    return Found(Facts(**{"created_at": NOON, "credits_nanos": nanos} | facts), is_finished=True)


def totals(store, fields=(), *, span=EVER, zone=UTC):
    """Return (generations, credits, byok) by the values of some fields."""
    with store.reading() as ledger:
        (found,) = ledger.call_totals([(None, span)], frozenset(fields), zone)
    by = {
        tuple(getattr(total.place, field) for field in fields): (
            total.generations,
            total.credits_nanos,
            total.byok_nanos,
        )
        for total in found
    }
    assert len(by) == len(found)
    return by


def listed(store, span=EVER, limit=None):
    with store.reading() as ledger:
        return ledger.calls(span, limit)


def differences(store):
    with store.reading() as ledger:
        return ledger.rollup_differences()


def later(generation, span: timedelta):
    """Return *generation* as if it had been made and settled later."""
    facts = replace(generation.facts, created_at=generation.facts.created_at + span)
    return replace(generation, settled_at=generation.settled_at + span, facts=facts)
