import asyncio
import random
from contextlib import suppress

import httpx
import pytest

from reckon.sources.openrouter import LaneTransport
from tests.wire_faults import good_body, hang_up, head, reset_mid_body, serve, silence, whole


async def fetch(lanes, server, key="any"):
    response = await lanes.handle_async_request(request_to(server, key))
    try:
        return b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()


def request_to(server, key="any"):
    return httpx.Request("GET", f"{server.url}/key", headers={"Authorization": f"Bearer {key}"})


def test_each_request_in_flight_has_a_connection_of_its_own_and_the_next_waits():
    async def scenario():
        answering = asyncio.Event()

        async def when_told(wire):
            await answering.wait()
            await whole(good_body())(wire)

        async with serve(otherwise=when_told) as server:
            lanes = LaneTransport(3)
            asking = [asyncio.create_task(fetch(lanes, server)) for _ in range(5)]
            await server.has_seen(3)
            while_held = (len(server.arrived), server.connections)
            answering.set()
            answers = await asyncio.gather(*asking)
            await lanes.aclose()
            return while_held, answers, len(server.arrived)

    assert asyncio.run(scenario()) == ((3, 3), [good_body()] * 5, 5)


def test_one_after_another_go_over_one_connection():
    async def scenario():
        async with serve() as server:
            lanes = LaneTransport(10)
            for _ in range(20):
                await fetch(lanes, server)
            await lanes.aclose()
            return server.connections

    assert asyncio.run(scenario()) == 1


def test_closing_an_answer_twice_gives_its_lane_back_once():
    async def scenario():
        async with serve({"held": silence}) as server:
            lanes = LaneTransport(1)
            response = await lanes.handle_async_request(request_to(server))
            await response.stream.aclose()
            await response.stream.aclose()
            holder = asyncio.create_task(fetch(lanes, server, "held"))
            await server.has_seen(2)
            waiting = asyncio.create_task(fetch(lanes, server))
            done, _ = await asyncio.wait([waiting], timeout=0.1)
            for task in (holder, waiting):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await lanes.aclose()
            return done

    assert asyncio.run(scenario()) == set()


@pytest.mark.parametrize("fault", [hang_up, reset_mid_body(good_body()), silence])
def test_a_lane_whose_request_failed_is_free_and_sound_again(fault):
    async def scenario():
        async with serve({"bad": fault}) as server:
            lanes = LaneTransport(1)
            for _ in range(5):
                with pytest.raises((httpx.TransportError, TimeoutError)):
                    async with asyncio.timeout(0.05 if fault is silence else 5):
                        await fetch(lanes, server, "bad")
                async with asyncio.timeout(5):
                    assert await fetch(lanes, server) == good_body()
            await lanes.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(4))
def test_no_lane_is_lost_to_cancellations_at_any_moment(seed):
    chance = random.Random(seed)  # noqa: S311 - repeatable is what matters here

    async def a_while(longest):
        for _ in range(chance.randrange(longest)):
            await asyncio.sleep(0)

    async def in_pieces(wire):
        await wire.send(head("200 OK", f"Content-Length: {len(good_body())}"))
        await a_while(6)
        await wire.send(good_body()[:30])
        await a_while(6)
        await wire.send(good_body()[30:])

    in_pieces.keeps_alive = True

    async def scenario():
        async with serve(otherwise=in_pieces) as server, asyncio.timeout(20):
            lanes = LaneTransport(2)
            for _ in range(100):
                asking = [asyncio.create_task(fetch(lanes, server)) for _ in range(4)]
                await a_while(45)
                for task in asking:
                    for _ in range(chance.randrange(4)):  # the second one meets the tidying up after the first
                        task.cancel()
                        await asyncio.sleep(0)
                await asyncio.gather(*asking, return_exceptions=True)
            answers = await asyncio.gather(*(fetch(lanes, server) for _ in range(6)))
            await lanes.aclose()
            return answers

    assert asyncio.run(scenario()) == [good_body()] * 6
