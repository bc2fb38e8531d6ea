"""Who may ask on loopback: whoever names this machine, and no page of another site that has its own name lead here."""

import asyncio

import httpx
import pytest

from reckon.config import Listen
from reckon.pulse import Pulse
from reckon.web.server import surface
from tests.builders import at

LOOPBACK = Listen("127.0.0.1", 8787)


def ask(host, listen=LOOPBACK):
    async def once():
        web = surface(lambda: None, Pulse(at("2026-11-20 12:00")), None, listen)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=web), base_url="http://127.0.0.1") as client:
            return await client.get("/healthz", headers={"Host": host})

    return asyncio.run(once())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8787", "localhost", "LOCALHOST:8787", "[::1]:8787"])
def test_this_machine_by_any_of_its_names_is_answered(host):
    assert ask(host).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "", "["])
def test_any_other_name_is_refused_without_a_word_of_how_we_are(host):
    answer = ask(host)

    assert answer.status_code == 421
    assert "alive" not in answer.text


def test_beyond_loopback_any_name_may_lead_here():
    assert ask("reckon.example", Listen("192.0.2.7", 8787)).status_code == 200
