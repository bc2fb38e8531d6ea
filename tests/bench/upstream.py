"""Somebody to ask: answers every request with one key's counters, over TLS, after a given wait.

It runs in a process of its own, so that its work is not counted as the asker's, and does as little as HTTP allows.
From one answer of a key to its next, one in ten has spent. It listens on loopback only, and ends when whoever started
it closes its input or dies.
"""

import asyncio
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

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


@dataclass(frozen=True)
class Upstream:
    """A running server: where it answers, and a context that trusts it."""

    base_url: str
    certificate: Path

    @property
    def key_url(self) -> str:
        return f"{self.base_url}/auth/key"

    def ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


@contextmanager
def upstream(*, latency_seconds: float = 0.0) -> Iterator[Upstream]:
    """Run a server for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        ca = trustme.CA()
        trusted, own = Path(directory, "ca.pem"), Path(directory, "own.pem")
        ca.cert_pem.write_to_path(trusted)
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(own)
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.upstream", str(own), str(latency_seconds)],
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

    def __init__(self, latency_seconds: float, spent: Counter[bytes], answers: Iterator[int]) -> None:
        self._latency_seconds = latency_seconds
        self._spent = spent
        self._answers = answers
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
        if next(self._answers) % 10 == 0:
            self._spent[request] += 1_000_003  # the whole request names the key
        body = _BODY % {b"n": self._spent[request]}
        self._transport.write(_HEAD % len(body) + body)


async def _serve(certificate: str, latency_seconds: float) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    spent, answers = Counter[bytes](), count()
    server = await loop.create_server(
        lambda: _Answering(latency_seconds, spent, answers), "127.0.0.1", 0, ssl=context, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - how the starter learns the port
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2])))
