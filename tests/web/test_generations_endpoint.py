"""`POST /v1/generations`, from outside: what is taken, what is refused, and that what was promised is kept."""

import asyncio
import hmac
import json
import threading

import pytest

from reckon.core.generations import GenerationState
from reckon.store import open_store
from reckon.web.server import served
from tests.builders import key_hash, usd
from tests.canary import CANARIES
from tests.store.faults import failing, lost_connection
from tests.web.house import NOON, TOKEN, House
from tests.web.raw import answer_to, free_address

PATH = "/v1/generations"
JSON = {"Content-Type": "application/json"}


def hand_in(house, body, *, token=TOKEN, **headers):
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return house.ask("POST", PATH, token=token, content=content, headers={**JSON, **headers})


def counted(answer):
    told = answer.json()
    return answer.status_code, told["accepted"], told["duplicates"], len(told["rejected"])


# --- Taken -----------------------------------------------------------------------------------------------------------


def test_what_is_handed_in_waits_for_its_cost_with_all_that_was_said_of_it(house):
    said = {
        "id": "gen-1",
        "key": "laptop",
        "model": "openai/gpt-4o",
        "requested_model": "openrouter/auto",
        "session": "nightly",
        "created_at": "2026-11-20T11:59:00Z",
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "cost": 0.5},
    }

    answer = hand_in(house, said)

    assert answer.json() == {"schema_version": 1, "accepted": 1, "duplicates": 0, "rejected": []}
    call = house.calls()["gen-1"]
    assert (answer.status_code, call.state, call.owner, call.key_hash) == (
        *(202, GenerationState.PENDING),
        *("ana", key_hash("laptop")),
    )
    assert (call.facts.requested_model, call.facts.session, call.facts.credits_nanos) == (
        *("openrouter/auto", "nightly"),
        usd("0.5"),
    )


def test_an_id_counts_once_however_often_it_is_handed_in(house):
    first = hand_in(house, [{"id": "gen-1"}, {"id": "gen-2"}, {"id": "gen-1"}])
    again = hand_in(house, [{"id": "gen-2"}, {"id": "gen-3"}])

    assert (counted(first), counted(again)) == ((202, 2, 1, 0), (202, 1, 1, 0))
    assert set(house.calls()) == {"gen-1", "gen-2", "gen-3"}


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/jsonl", "text/plain; charset=utf-8"])
def test_lines_are_taken_in_whichever_type_they_come(house, content_type):
    answer = hand_in(house, 'gen-1\n{"id": "gen-2"}\n', **{"Content-Type": content_type})

    assert counted(answer) == (202, 2, 0, 0)


def test_what_cannot_be_taken_is_told_and_costs_the_rest_nothing(house):
    answer = hand_in(house, [{"id": "gen-1", "owner": "nobody"}, {"id": "gen-2"}, {"idd": "gen-3"}])

    assert counted(answer) == (202, 1, 0, 2)
    assert answer.json()["rejected"] == [
        {"id": "gen-1", "reason": "owner: not in the owner map; accepts one of 3: ana, ben, cleo"},
        {"id": None, "reason": "an unknown member: perhaps id is meant"},
    ]
    assert set(house.calls()) == {"gen-2"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"nonsense", b"\xff\xfe", b"[" * 20_000, b'{"id": "gen-1", "x": 1}']
)
def test_where_nothing_can_be_taken_the_answer_says_so_in_the_same_words(house, body):
    answer = hand_in(house, body)

    assert answer.status_code == 422
    assert set(answer.json()) == {"schema_version", "accepted", "duplicates", "rejected"}
    assert answer.json()["accepted"] == 0
    assert (house.calls(), house.commits) == ({}, [])


def test_a_hundred_who_come_at_once_are_committed_together_and_each_is_told_of_his_own(house):
    held = threading.Event()
    house.store.thread.submit(held.wait, 20)

    async def come(client):
        asking = [
            asyncio.create_task(client.post(PATH, json=[{"id": f"gen-{n}"}, {"id": f"gen-{n // 2}"}]))
            for n in range(100)
        ]
        async with asyncio.timeout(20):
            while len(house.web.state.intake_queue._waiting) < 99:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
        held.set()
        return await asyncio.gather(*asking)

    answers = house.talk(come)

    told = [counted(answer) for answer in answers]
    assert {status for status, *_ in told} == {202}
    assert all(accepted + duplicates == 2 for _, accepted, duplicates, _ in told)
    assert sum(accepted for _, accepted, *_ in told) == len(house.calls()) == 100
    assert sum(house.commits) == 200
    assert house.knocks == len(house.commits) <= 2


def test_what_was_accepted_is_there_for_whoever_opens_the_ledger_next(sqlite_url):
    with open_store(sqlite_url, writes=True) as store:
        assert hand_in(House(store), {"id": "gen-1"}).status_code == 202
        # Another connection to the same file sees what is committed, and nothing else.
        with open_store(sqlite_url, writes=False) as other:
            assert set(House(other).calls()) == {"gen-1"}


def test_while_the_ledger_cannot_be_written_nothing_is_accepted_and_the_next_one_is(house):
    with failing("before_cursor_execute", 0, lost_connection(), times=100):
        refused = hand_in(house, {"id": "gen-1"})

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "the connection was lost" in refused.json()["error"]
    assert (house.calls(), house.knocks) == ({}, 0)
    assert counted(hand_in(house, {"id": "gen-1"})) == (202, 1, 0, 0)
    assert house.knocks == 1


# --- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Basic {}", "bearer {}", "Bearer {}x", "{}", "Bearer \xff\xfe"]
)
def test_without_the_token_nothing_is_taken(house, given):
    headers = {} if given is None else {"Authorization": given.format(TOKEN).encode("latin-1")}

    answer = hand_in(house, {"id": "gen-1"}, token=None, **headers)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (house.calls(), house.commits) == ({}, [])


def test_where_no_token_is_set_nothing_is_taken_and_the_answer_says_why(sqlite_url):
    with open_store(sqlite_url, writes=True) as store:
        house = House(store, token=None)
        answer = hand_in(house, {"id": "gen-1"})

        assert (answer.status_code, house.calls()) == (401, {})
    assert "http.token is not set" in answer.json()["error"]


def test_the_token_is_compared_in_constant_time(house, monkeypatch):
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or compare(a, b))

    hand_in(house, {"id": "gen-1"}, token="wrong")

    assert compared == [(b"Bearer wrong", f"Bearer {TOKEN}".encode())]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br"},
    ],
)
def test_another_type_and_a_compressed_body_are_refused_unread(house, headers):
    answer = hand_in(house, {"id": "gen-1"}, **headers)

    assert (answer.status_code, house.calls()) == (415, {})
    assert "accepts" in answer.json()["error"]


def test_a_body_that_is_as_long_as_it_may_be_is_taken_and_one_byte_more_is_not(house):
    entry = b'{"id": "gen-1"}'

    longer = hand_in(house, entry.ljust(65_537))
    as_long = hand_in(house, entry.ljust(65_536))

    assert (longer.status_code, as_long.status_code) == (413, 202)


def test_a_prompt_that_is_handed_in_by_mistake_comes_back_nowhere(house, canary):
    prompt = CANARIES["prompt"]
    for body in (prompt, {"prompt": prompt}, {"id": prompt}, {"id": "gen-1", "model": prompt}, {prompt: prompt}):
        answer = hand_in(house, body)
        canary.look_at("the answer", answer.text)
    accepted = hand_in(house, {"id": "gen-2", "choices": [{"message": {"content": prompt}}], "prompt": prompt})

    assert accepted.status_code == 202
    assert set(house.calls()) == {"gen-2"}


# --- On a socket -----------------------------------------------------------------------------------------------------


HEAD = (
    f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
).encode()


def answered(house, head, piece, most_pieces):
    """Return the answer to a request whose body goes on and on, and how many pieces of it could be sent."""

    async def on_a_socket():
        listen = free_address()
        async with served(house.web, listen):
            return await answer_to(listen, head, piece, most_pieces)

    return asyncio.run(on_a_socket())


def test_a_body_that_goes_on_is_refused_without_being_read_to_its_end(house):
    chunk = b"8000\r\n" + b" " * 32_768 + b"\r\n"

    answer, sent = answered(house, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, 100_000)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent * 32_768 < 64 * 1024 * 1024
    assert house.calls() == {}


def test_a_body_that_says_it_will_be_too_long_is_refused_at_once(house):
    answer, sent = answered(house, HEAD + b"Content-Length: 9999999999\r\n\r\n", b"", 0)

    assert (answer.startswith(b"HTTP/1.1 413 "), sent) == (True, 0)


def test_a_request_that_breaks_off_leaves_nothing_behind(house):
    answered(house, HEAD + b'Content-Length: 100\r\n\r\n{"id": "gen-1"}', b"", 0)

    assert (house.calls(), house.commits) == ({}, [])
    assert hand_in(house, {"id": "gen-1"}).status_code == 202


def test_noon_is_when_it_was_handed_in_if_nobody_said_when_it_was_made(house):
    hand_in(house, {"id": "gen-1"})

    [waiting] = house.store.claim_pending(
        NOON.replace(hour=13), holder="x", lease=NOON - NOON.replace(hour=11), most=5, longest=NOON - NOON
    )
    assert (waiting.handed_in_at, waiting.facts.created_at) == (NOON, None)
