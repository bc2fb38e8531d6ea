"""Canaries: invented secrets that must be seen nowhere, and the scanner that looks for them everywhere.

Every canary looks like the real thing and carries the same *dye* at both ends of its random part, placed so that the
first sixteen and the last sixteen characters each hold a whole dye. So looking for any canary, whole, percent-encoded
or torn to either fragment, is looking for one short string; hex adds one more and base64 three, one per alignment. That
is what makes it cheap enough to read everything after every test, and lets a test make as many keys as it likes.

A leak is found wherever sixteen characters of either end of a secret show. The masked form that OpenRouter shows of a
key (three characters of each end) is not a leak, nor is a hash.

This module looks; `conftest.py` decides where, and makes the test fail.
"""

import os
import sqlite3
import stat
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha512
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

# It repeats itself, so that one run of sixteen characters serves both ends of a token too short for two.
DYE: Final = "7e57" * 3


def random_part(name: str, length: int) -> str:
    """Return *length* (24 or more) lower-case hex characters, always the same for *name*, dyed at both ends."""
    filler = sha512(name.encode()).hexdigest()
    head, tail = filler[:4] + DYE, DYE + filler[-4:]
    spare = length - len(head + tail)
    return head + filler[4 : 4 + max(0, spare)] + tail[max(0, -spare) :]


def inference_key(number: int) -> str:
    """Return canary API key *number*; the first three are in `CANARIES` by name."""
    return f"sk-or-v1-{random_part(f'inference key {number}', 64)}"


CANARIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "inference_key": inference_key(1),
        "inference_key_2": inference_key(2),
        "inference_key_3": inference_key(3),
        "management_key": f"sk-or-v1-{random_part('management key', 64)}",
        "slack_bot_token": f"xoxb-274910385561-5820394817263-{random_part('bot token', 24)}",
        "slack_app_token": f"xapp-1-A05Q7RT2KXN-6619402837155-{random_part('app token', 64)}",
        "slack_webhook_url": f"https://hooks.slack.com/services/T05PK2M8QRS/B06Y1D4VZWA/{random_part('webhook', 24)}",
        # The signs make it unlike itself once it stands in a URL.
        "postgres_password": f"p@ss/{random_part('postgres password', 32)}:%",
        "http_token": random_part("http token", 43),
        "prompt": f"Dear diary, {random_part('prompt', 40)}, and nobody else must know.",
    }
)


def _base64_core(text: bytes, offset: int) -> bytes:
    """Return what base64 always shows of *text* when *offset* bytes (0 to 2) of something else come before it."""
    encoded = b64encode(b"\0" * offset + text)
    return encoded[(0, 2, 3)[offset] : (offset + len(text)) * 8 // 6]


_NEEDLES: Final[tuple[tuple[str, bytes], ...]] = (
    ("in plain", DYE.encode()),
    ("in capitals", DYE.upper().encode()),
    ("in hex", DYE.encode().hex().encode()),  # its characters are digits and a-f, whose codes hold digits alone
    *(("in base64", _base64_core(DYE.encode(), offset)) for offset in range(3)),
)
_LONGEST_NEEDLE: Final = max(len(needle) for _, needle in _NEEDLES)
_READ_BYTES: Final = 8 * 1024 * 1024
_SQLITE_MAGIC: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Leak:
    """One canary, seen where it must not be. Names it without repeating it."""

    canary: str
    encoding: str
    where: str

    def __str__(self) -> str:
        return f"{self.canary}, {self.encoding}, in {self.where}"


class RecordedRequest(Protocol):
    """What a fake remembers of a request. `headers` is a mapping, or pairs."""

    method: object
    path: object
    query: object
    headers: Mapping[object, object] | Iterable[tuple[object, object]]
    body: object


class Canary:
    """One test's watch: what was looked at so far, and what is still to be looked at when the test is over."""

    def __init__(self) -> None:
        self._leaks: dict[Leak, None] = {}
        self._directories: list[Path] = []
        self._requests: list[Iterable[RecordedRequest]] = []
        self._given: dict[Path, bytes] = {}

    def look_at(self, where: str, what: object) -> None:
        """Look for canaries in *what* (text, bytes, or anything by its repr), now."""
        blob = _as_bytes(what)
        for encoding, needle in _NEEDLES:
            if needle in blob:
                self._leaks |= {Leak(canary, encoding, _redacted(where)): None for canary in _named_in(blob)}

    def watch_directory(self, directory: Path) -> None:
        """Look at every file below *directory* when the test is over."""
        self._directories.append(directory)

    def watch_requests(self, requests: Iterable[RecordedRequest]) -> None:
        """Look at *requests* when the test is over: a secret may stand in their `Authorization` header alone."""
        self._requests.append(requests)

    def allow(self, file: Path) -> None:
        """Let *file* hold a secret, for as long as it holds exactly what it holds now."""
        self._given[file.resolve()] = file.read_bytes()

    def look_at_file(self, file: Path) -> None:
        """Look at one file, now: its bytes, and the rows if it is a SQLite database."""
        content = _pieces(file)
        first = next(content, b"")
        if self._given.get(file.resolve()) == first:
            return
        self.look_at(str(file), first)
        for piece in content:
            self.look_at(str(file), piece)
        if first.startswith(_SQLITE_MAGIC):
            # A row's value may be torn over two pages of the file, so the rows are read as well.
            for table, rows in _sqlite_rows(file):
                self.look_at(f"table {table} of {file}", rows)

    def look_at_directory(self, directory: Path) -> None:
        """Look at every file below *directory*, and at its name, now."""
        for file in _files_below(directory):
            self.look_at("the name of a file", str(file))
            self.look_at_file(file)

    def leaks(self) -> tuple[Leak, ...]:
        """Look at all that was put under watch; return every leak seen since the test began."""
        for directory in self._directories:
            self.look_at_directory(directory)
        for requests in self._requests:
            for request in requests:
                for part, what in _parts(request):
                    self.look_at(f"the {part} of {request.method} {request.path}", what)
        return tuple(self._leaks)


def _as_bytes(what: object) -> bytes:
    if isinstance(what, bytes):
        return what
    return (what if isinstance(what, str) else repr(what)).encode(errors="backslashreplace")


def _named_in(blob: bytes) -> list[str]:
    named = [name for name, secret in CANARIES.items() if any(form in blob for form in _forms(secret))]
    return named or ["a canary that has no name"]


def _forms(secret: str) -> Iterator[bytes]:
    head = secret.partition(DYE)[0][-4:] + DYE
    tail = DYE + secret.rpartition(DYE)[2][:4]
    for fragment in (head.encode(), tail.encode()):
        yield from (fragment, fragment.upper(), fragment.hex().encode())
        yield from (_base64_core(fragment, offset) for offset in range(3))


def _redacted(where: str) -> str:
    return where.replace(DYE, "*" * len(DYE))


def _parts(request: RecordedRequest) -> Iterator[tuple[str, object]]:
    yield "method", request.method
    yield "path", request.path
    yield "query", request.query
    yield "body", request.body
    headers = request.headers.items() if isinstance(request.headers, Mapping) else request.headers
    for name, value in headers:
        shown = _as_bytes(name)
        if shown.lower() != b"authorization":
            yield "headers", shown + b": " + _as_bytes(value)


def _files_below(directory: Path) -> Iterator[Path]:
    """Yield every regular file with something in it; links are not followed, and no pipe is ever opened."""
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path))
        elif stat.S_ISREG((found := entry.stat(follow_symlinks=False)).st_mode) and found.st_size:
            yield Path(entry.path)


def _pieces(file: Path) -> Iterator[bytes]:
    """Yield the bytes of *file*; each piece after the first begins with the end of the one before."""
    try:
        opened = file.open("rb")
    except PermissionError:  # the test took our own right to read away; it is over, so we take it back
        file.chmod(0o600)
        opened = file.open("rb")
    with opened:
        end = b""
        while piece := opened.read(_READ_BYTES):
            yield end + piece
            end = piece[-_LONGEST_NEEDLE:]


def _sqlite_rows(file: Path) -> list[tuple[str, bytes]]:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as database:
            database.text_factory = bytes
            tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            names = [name.decode() for (name,) in tables]
            return [(name, _cells(database, name)) for name in names]
    except sqlite3.DatabaseError:
        return []  # damaged or locked by the test on purpose; its bytes have been looked at


def _cells(database: sqlite3.Connection, table: str) -> bytes:
    quoted = table.replace('"', '""')
    rows = database.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - the name is the database's own, and quoted
    return b"\n".join(cell for row in rows for cell in row if isinstance(cell, bytes))
