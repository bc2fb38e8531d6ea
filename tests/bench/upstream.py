"""Somebody to ask, over TLS, after a given wait: a key for its counters, an account for its keys, or for a generation.

It runs in a process of its own, so that its work is not counted as the asker's, and does as little as HTTP allows.
From one answer of a key to its next, one in ten has spent. Of the generations one in ten is not known when it is first
asked for; when each was is remembered, and told. It listens on loopback only, and ends when whoever started it closes
its input or dies.
"""

import asyncio
import hashlib
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trustme

_BODY = (
    b'{"data": {"label": "sk-or-v1-0f3...b71", "limit": 100, "limit_reset": "monthly", "limit_remaining": 74.5, '
    b'"include_byok_in_limit": false, "usage": 25.%(n)010d, "usage_daily": 1.%(n)010d, "usage_weekly": 7.%(n)010d, '
    b'"usage_monthly": 19.%(n)010d, "byok_usage": 17.38, "byok_usage_daily": 17.38, "byok_usage_weekly": 17.38, '
    b'"byok_usage_monthly": 17.38, "is_free_tier": false, "is_management_key": false, "is_provisioning_key": false, '
    b'"creator_user_id": "user_2dHFtVWx2n56w6HkM0000000000", "expires_at": "2027-12-31T23:59:59Z", '
    b'"organization_id": "org_2dHFtVWx2n56w6HkM0000000000", "workspace_id": "4b9a7f0e-2f5d-4f7e-9b8e-000000000000", '
    b'"rate_limit": {"interval": "1h", "note": "This field is deprecated and safe to ignore.", "requests": 1000}}}'
)
_HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 09:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\nCF-RAY: 8f1e2d3c4b5a6978-FRA\r\nServer: cloudflare\r\n"
    b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer, strict-origin-when-cross-origin\r\n\r\n"
)
_GENERATION = (
    '{"data": {"id": "%s", "api_type": "completions", "app_id": 12345, "cache_discount": null, "cancelled": false, '
    '"created_at": "2026-11-20T08:59:30.433273+00:00", "finish_reason": "stop", "generation_time": 1200, '
    '"http_referer": "https://openrouter.ai/", "is_byok": false, "latency": 1250, "model": "vendor-%d/model-%d", '
    '"native_finish_reason": "stop", "native_tokens_cached": 3, "native_tokens_completion": 25, '
    '"native_tokens_prompt": 10, "native_tokens_reasoning": 5, "num_input_audio_prompt": 0, "num_media_prompt": 0, '
    '"origin": "https://openrouter.ai/", "provider_name": "Host", "provider_responses": null, '
    '"request_id": "req-1727282430-aBcDeFgHiJkLmNoPqRsT", "router": "openrouter/auto", "session_id": null, '
    '"streamed": true, "tokens_completion": 25, "tokens_prompt": 10, "total_cost": 0.00%06d, '
    '"upstream_id": "chatcmpl-791bcf62-080e-4568-87d0-94c72e3b4946", "upstream_inference_cost": 0, '
    '"usage": 0.0015, "user_agent": "Mozilla/5.0"}}'
)
_UNKNOWN = b'{"error": {"code": 404, "message": "Generation not found"}}'
_KEY_ROW = (
    '{"hash": "%s", "name": "key-%05d", "label": "sk-or-v1-0f3...b71", "disabled": false, "limit": 100, '
    '"limit_remaining": 74.5, "limit_reset": "monthly", "include_byok_in_limit": false, "usage": 25.%010d, '
    '"usage_daily": 1.%010d, "usage_weekly": 7.%010d, "usage_monthly": 19.%010d, "byok_usage": 17.38, '
    '"byok_usage_daily": 17.38, "byok_usage_weekly": 17.38, "byok_usage_monthly": 17.38, '
    '"created_at": "2025-08-24T10:30:00Z", "updated_at": "2025-08-24T15:45:00Z", '
    '"creator_user_id": "user_2dHFtVWx2n56w6HkM0000000000", "expires_at": "2027-12-31T23:59:59Z", '
    '"workspace_id": "0df9e665-d932-5740-b2c7-b52af166bc11"}'
)
_WORKSPACES = b'{"data": [{"id": "0df9e665-d932-5740-b2c7-b52af166bc11", "name": "Default", "slug": "default"}]}'
_PAGE = 100
KNOWN = "known-"
"""How the ids begin of generations that are known at once."""


@dataclass(frozen=True)
class Upstream:
    """A running server: where it answers, and a context that trusts it."""

    base_url: str
    certificate: Path

    @property
    def key_url(self) -> str:
        return f"{self.base_url}/auth/key"

    def generation_url(self, generation_id: str) -> str:
        return f"{self.base_url}/generation?id={generation_id}"

    @property
    def asked_url(self) -> str:
        """Where it is told when it was asked for each generation, in epoch seconds."""
        return f"{self.base_url}/asked"

    def ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


@contextmanager
def upstream(*, latency_seconds: float = 0.0, keys: int = 0) -> Iterator[Upstream]:
    """Run a server for as long as the block lasts; its account has so many *keys*."""
    with tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        ca = trustme.CA()
        trusted, own = Path(directory, "ca.pem"), Path(directory, "own.pem")
        ca.cert_pem.write_to_path(trusted)
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(own)
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.upstream", str(own), str(latency_seconds), str(keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        try:
            yield Upstream(f"https://127.0.0.1:{int(server.stdout.readline())}/api/v1", trusted)
        finally:
            server.communicate(timeout=10)


class _Answering(asyncio.Protocol):
    """One connection. Requests have no body, so each ends with its headers."""

    def __init__(self, latency_seconds: float, account: "_Account") -> None:
        self._latency_seconds = latency_seconds
        self._account = account
        self._read = b""

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._read = (self._read + data).split(b"\r\n\r\n")
        for request in requests:
            if self._latency_seconds:
                asyncio.get_running_loop().call_later(self._latency_seconds, self._answer, request)
            else:
                self._answer(request)

    def _answer(self, request: bytes) -> None:
        body = self._account.answer(request)
        head = _HEAD.replace(b"200 OK", b"404 Not Found") if body is _UNKNOWN else _HEAD
        self._transport.write(head % len(body) + body)


class _Account:
    """What every connection is answered from."""

    def __init__(self, keys: int) -> None:
        self._hashes = [hashlib.sha256(b"swept %d" % number).hexdigest() for number in range(keys)]
        self._spent = Counter[bytes | str]()
        self._answers = count()
        self._asked_for: defaultdict[str, list[float]] = defaultdict(list)

    def answer(self, request: bytes) -> bytes:
        target = urlsplit(request.split(b" ", 2)[1].decode())
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        match target.path.removeprefix("/api/v1"):
            case "/generation":
                return self._generation(query["id"])
            case "/keys":
                return self._keys(int(query["offset"]))
            case "/workspaces":
                return _WORKSPACES
            case "/asked":
                return json.dumps(self._asked_for).encode()
            case _:
                # The whole request names the key.
                return _BODY % {b"n": self._spent_so_far(request)}

    def _spent_so_far(self, key: bytes | str) -> int:
        if next(self._answers) % 10 == 0:
            self._spent[key] += 1_000_003
        return self._spent[key]

    def _generation(self, generation_id: str) -> bytes:
        asked = self._asked_for[generation_id]
        asked.append(time.time())  # noqa: TID251 - it is only told
        number = len(self._asked_for)
        if len(asked) == 1 and number % 10 == 0 and not generation_id.startswith(KNOWN):
            return _UNKNOWN
        return (_GENERATION % (generation_id, number % 20, number % 400, number)).encode()

    def _keys(self, offset: int) -> bytes:
        page = range(offset, min(offset + _PAGE, len(self._hashes)))
        spent = [(self._hashes[number], number, self._spent_so_far(self._hashes[number])) for number in page]
        rows = (_KEY_ROW % (key_hash, number, nanos, nanos, nanos, nanos) for key_hash, number, nanos in spent)
        return f'{{"data": [{", ".join(rows)}]}}'.encode()


async def _serve(certificate: str, latency_seconds: float, keys: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    account = _Account(keys)
    server = await loop.create_server(
        lambda: _Answering(latency_seconds, account), "127.0.0.1", 0, ssl=context, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - how the starter learns the port
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
