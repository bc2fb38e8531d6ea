"""`reckon track`, `settle`, `calls`, `books`, and `spend` by what single generations tell."""

import asyncio
import io
import json
import sys

import pytest
from httpx import ASGITransport

from reckon.config import load
from reckon.core.generations import Handed
from reckon.fakes import openrouter
from reckon.watch import open_watcher
from tests.builders import HOUR, MINUTE, SECOND, at, usd

AUTO = "openrouter/auto"
SONNET = "anthropic/claude-sonnet-4.5"
FLASH = "google/gemini-2.5-flash"


@pytest.fixture
def day(town):
    """A day of two people: what each key spent went through generations that were handed in, but for a quarter."""
    town.settle({"ana": ["laptop"], "ben": ["ci"]})
    town.poll("2025-11-18 12:00")
    ran = [
        run(town, "laptop", "1.50", SONNET, "2025-11-18 13:00", asked=AUTO, session="refactor"),
        run(town, "laptop", "0.50", FLASH, "2025-11-18 13:30", session="refactor"),
        run(town, "ci", "2.00", SONNET, "2025-11-18 14:00", byok="0.25"),
    ]
    town.spend("ci", "1.00", "2025-11-18 14:30")
    town.poll("2025-11-18 15:00")
    look_up(town, *ran)
    return town


def run(town, key, cost, model, when, *, byok="0", **how):
    return town.world.call(town.key(key), cost_nanos=usd(cost), byok_nanos=usd(byok), model=model, at=at(when), **how)


def look_up(town, *generations, later=MINUTE):
    """Hand *generations* in, each with its key, and look up what is due some time later."""
    names = {key.hash: name for name, key in town.keys.items()}
    owners = {"laptop": "ana", "ci": "ben"}

    async def live():
        transport = ASGITransport(app=openrouter.app(town.world))
        clock = lambda: town.world.now  # noqa: E731 - a clock is a function of nothing
        async with open_watcher(load(town.config, {}), {}, clock=clock, transport=transport) as watcher:
            handed = [Handed(each.id, owners[names[each.key_hash]], each.key_hash) for each in generations]
            watcher.hand_in(handed, town.world.now)
            town.world.advance(later)
            await watcher.settler.settle()

    asyncio.run(live())


# --- What counters tell, explained -----------------------------------------------------------------------------------


def test_spend_is_divided_by_model_and_what_nobody_handed_in_has_a_row_of_its_own(day):
    document = day.reckon("spend", "--by", "model", "--json").document

    rows = [(row["model"], row["spend_usd"], row["generations"]) for row in document["rows"]]
    assert rows == [
        (SONNET, "3.500000000", 2),
        (FLASH, "0.500000000", 1),
        ("(not resolved)", "1.000000000", None),
    ]
    assert document["total_usd"] == "5.000000000"
    assert set(document["rows"][0]["tokens"]) == {
        *("input", "output", "cache_read", "cache_write", "reasoning", "audio_input"),
    }


def test_asked_and_served_models_stand_side_by_side_by_owner(day):
    rows = day.rows("spend", "--by", "owner", "--by", "requested_model", "--by", "model")

    assert [(row["owner"], row["requested_model"], row["model"], row["spend_usd"]) for row in rows] == [
        ("ben", None, SONNET, "2.000000000"),
        ("ben", "(not resolved)", "(not resolved)", "1.000000000"),
        ("ana", AUTO, SONNET, "1.500000000"),
        ("ana", None, FLASH, "0.500000000"),
    ]


@pytest.mark.parametrize(
    ("dimension", "names"),
    [
        ("provider", ["OpenAI", "(not resolved)"]),
        ("session", [None, "refactor", "(not resolved)"]),
        ("app", ["agents.example", "(not resolved)"]),
    ],
)
def test_spend_is_divided_by_whatever_a_generation_tells(day, dimension, names):
    rows = day.rows("spend", "--by", dimension)

    assert {row[dimension] for row in rows} == {*names}
    assert sum(usd(row["spend_usd"]) for row in rows) == usd("5")
    assert sum(usd(row["byok_usd"]) for row in rows) == usd("0.25")


def test_a_report_by_owner_counts_their_generations(day):
    assert [(row["owner"], row["generations"]) for row in day.rows("spend")] == [("ben", 1), ("ana", 2)]


def test_a_table_by_model_fits_a_terminal_and_explains_its_last_row(day, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = day.reckon("spend", "--by", "requested_model", "--by", "model").lines

    assert lines[0] == "Spend by asked model and model, 18 Nov 2025 12:00 to " + lines[0].partition(" to ")[2]
    assert max(map(len, lines)) <= 81
    assert any(line.startswith("(not told)") and SONNET in line for line in lines)
    assert lines[-1] == "(not resolved): what the counters tell and no settled generation explains."


# --- Single ones -----------------------------------------------------------------------------------------------------


def test_calls_are_listed_dearest_first_with_all_that_is_known(day):
    rows = day.rows("calls")

    assert [(row["owner"], row["key"], row["cost_usd"], row["byok_usd"]) for row in rows] == [
        ("ben", "ci", "2.000000000", "0.250000000"),
        ("ana", "laptop", "1.500000000", "0.000000000"),
        ("ana", "laptop", "0.500000000", "0.000000000"),
    ]
    assert {row["state"] for row in rows} == {"settled"}
    assert (rows[1]["requested_model"], rows[1]["model"], rows[1]["session"]) == (AUTO, SONNET, "refactor")
    assert rows[1]["created_at"] == "2025-11-18T13:00:00Z"
    assert [row["cost_usd"] for row in day.rows("calls", "--since", "2025-11-18T13:15Z")] == [
        "2.000000000",
        "0.500000000",
    ]
    assert len(day.rows("calls", "--limit", "1")) == 1


def test_the_table_of_calls_shows_what_was_asked_and_what_served(day, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = day.reckon("calls").out

    assert f"{AUTO} > {SONNET}" in text
    assert "State" not in text  # while all have settled
    assert day.reckon("calls", "--since", "2025-12-01").lines[-1] == "No generation was handed in."


def test_a_generation_nobody_knows_is_given_up_listed_and_asked_for_again(town):
    town.settle({"ana": ["laptop"]})
    town.extra = '[settle]\nschedule = ["1s", "1s"]'
    town.settle({"ana": ["laptop"]})
    town.poll("2025-11-18 12:00")
    late = run(town, "laptop", "1.00", SONNET, "2025-11-18 12:00", settles_after=HOUR)
    look_up(town, late, later=2 * SECOND)
    look_up(town, later=2 * SECOND)

    (row,) = town.rows("calls")
    assert (row["state"], row["reason"], row["cost_usd"]) == ("expired", "never_found", None)


# --- Handing in ------------------------------------------------------------------------------------------------------


def test_ids_are_tracked_once_and_what_cannot_be_is_said(day):
    first = day.reckon("track", "gen-1", "gen-2", "--key", "laptop", "--json").document
    again = day.reckon("track", "gen-2", "gen-3", "not an id", "--owner", "ben", "--json")

    assert (first["accepted"], first["duplicates"], first["rejected"]) == (2, 0, [])
    assert again.code == 1
    assert (again.document["accepted"], again.document["duplicates"]) == (1, 1)
    assert len(again.document["rejected"]) == 1
    owners = {row["id"]: (row["owner"], row["key"]) for row in day.rows("calls") if row["state"] == "pending"}
    assert owners == {"gen-1": ("ana", "laptop"), "gen-2": ("ana", "laptop"), "gen-3": ("ben", None)}


def test_lines_of_standard_input_are_tracked_with_what_they_tell_and_the_hints_where_they_do_not(day, monkeypatch):
    lines = ["gen-a", json.dumps({"id": "gen-b", "owner": "ben", "model": FLASH}), "", json.dumps({"id": 3})]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    answer = day.reckon("track", "-", "--owner", "ana", "--json")

    assert (answer.document["accepted"], len(answer.document["rejected"])) == (2, 1)
    found = {row["id"]: (row["owner"], row["model"]) for row in day.rows("calls") if row["state"] == "pending"}
    assert found == {"gen-a": ("ana", None), "gen-b": ("ben", FLASH)}


def test_an_owner_or_key_that_is_in_no_map_is_refused_by_name_and_nothing_is_taken(day):
    for option, name in (("--owner", "bne"), ("--key", "lptop")):
        answer = day.reckon("track", "gen-9", option, name, "--json")
        assert (answer.code, answer.document["accepted"]) == (1, 0)
        assert option[2:] in answer.document["rejected"][0]["reason"]
    assert {row["state"] for row in day.rows("calls")} == {"settled"}


# --- Books -----------------------------------------------------------------------------------------------------------


def test_the_books_of_a_day_name_what_lies_between_counters_and_generations(day):
    document = day.reckon("books", "--day", "2025-11-18", "--json").document

    assert (document["counters_usd"], document["settled_usd"]) == ("5.000000000", "4.000000000")
    assert document["residual_usd"] == "1.000000000"
    assert {"reason": "never_handed_in", "usd": "1.000000000"} in document["explained"]
    assert document["balanced"]


def test_books_that_do_not_balance_are_the_answer_no(day):
    late = run(day, "laptop", "1.25", FLASH, "2025-11-18 15:05")
    day.world.lag(day.key("laptop"), HOUR)
    day.poll("2025-11-18 15:10")
    look_up(day, late)
    answer = day.reckon("books", "--day", "2025-11-18", "--json")

    assert answer.code == 1
    assert not answer.document["balanced"]
    assert {"reason": "unexplained", "usd": "-0.250000000"} in answer.document["explained"]
