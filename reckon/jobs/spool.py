"""The spool: a directory in which other programs leave files of generation ids, a line each.

Every `*.jsonl` that appears is taken line by line, and then kept as `*.done`. An id counts once however often it is
read, so nothing here needs to remember how far it came: a file that was being read when the process died is read again,
whole. What cannot be taken stands in `*.rejected` beside it, a line of JSON for each, with its number and the reason.

A program that appends to a file may still be writing when it is found. So a file is first moved aside, where no new
writer will find it; it is read; and it is done with when it has not grown for a while after that. A writer that opens
the file, appends a line and closes it again loses nothing, whenever that is. One that keeps it open for longer does.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from reckon.core.generations import Handed
from reckon.handing_in import Names, Rejected, read_line

_log = structlog.get_logger()

_QUIET_SECONDS: Final = 5.0
"""For how long a file must not have grown. Whoever opened it before it was moved has long written his line by then."""
_ARRIVED: Final = ".jsonl"
_TAKEN: Final = ".jsonl.taken"
_PART: Final = ".rejected.part"
_LINES_AT_ONCE: Final = 5_000
_LONGEST_LINE_BYTES: Final = 65_536
_TOO_LONG: Final = Rejected(None, f"longer than {_LONGEST_LINE_BYTES:,} bytes")

HandIn = Callable[[Sequence[Handed]], object]
"""Writes down what was handed in; when it returns, no crash undoes it."""


@dataclass(frozen=True, slots=True)
class _Read:
    """How large a file was when it was read to its end, and when that was, by a clock that no one sets."""

    size: int
    at: float
    has_open_end: bool
    """Whether its last line has no end: it was left, for its writer may not have done with it."""


class Spool:
    """The files of one directory. Keep one for as long as the directory is the same."""

    def __init__(self, directory: Path, clock: Callable[[], float] = monotonic) -> None:
        self.directory = directory
        self._clock = clock
        self._read: dict[str, _Read] = {}
        self._numbers: dict[str, int] = {}
        self._troubles: frozenset[str] = frozenset()
        self.lines = 0
        """How many lines have been read so far, so that a long file can be seen to move."""

    def take(self, names: Names, hand_in: HandIn) -> int:
        """Take every file that is there as far as it is now; return how many entries were taken.

        Trouble with one file, or with the directory, is told once and costs no other file anything.

        Raises:
            StoreError: the ledger could not be written. The file stays, and is read again.
        """
        taken = 0
        troubles: set[str] = set()
        with _noted(troubles, self.directory):
            for path in self._files(_ARRIVED):
                with _noted(troubles, path):
                    self._move_aside(path)
            for path in self._files(_TAKEN):
                with _noted(troubles, path):
                    taken += self._take_file(path, names, hand_in)
        for trouble in sorted(troubles - self._troubles):
            _log.error("spool.unreadable", trouble=trouble)
        self._troubles = frozenset(troubles)
        return taken

    def _files(self, suffix: str) -> list[Path]:
        """Return the files whose names end so, in order; a link or a directory is not one."""
        with os.scandir(self.directory) as found:
            names = [each.name for each in found if each.name.endswith(suffix) and each.is_file(follow_symlinks=False)]
        return [self.directory / name for name in sorted(names)]

    def _move_aside(self, path: Path) -> None:
        aside = path.with_name(path.name.removesuffix(_ARRIVED) + _TAKEN)
        if not aside.exists():  # else the one of the same name is not done with, and this one waits for its turn
            path.rename(aside)
            self._read.pop(aside.name, None)

    def _take_file(self, path: Path, names: Names, hand_in: HandIn) -> int:
        before = self._read.get(path.name)
        if before is None or before.size != path.stat().st_size:
            return self._read_through(path, names, hand_in, is_complete=False)
        if self._clock() - before.at < _QUIET_SECONDS:
            return 0
        taken = self._read_through(path, names, hand_in, is_complete=True) if before.has_open_end else 0
        self._finish(path)
        return taken

    def _read_through(self, path: Path, names: Names, hand_in: HandIn, *, is_complete: bool) -> int:
        """Hand in what *path* holds, but for a last line without an end, unless the file is known to be complete."""
        taken, size, line = 0, 0, b"\n"
        batch: list[Handed] = []
        rejected: list[tuple[int, bytes, str]] = []
        with path.open("rb") as file:
            for number, (line, length) in enumerate(_lines(file.readline), start=1):
                size += length
                self.lines += 1
                if not (is_complete or line.endswith(b"\n")):
                    break
                entry = read_line(line, names) if length <= _LONGEST_LINE_BYTES else _TOO_LONG
                if isinstance(entry, Rejected):
                    rejected.append((number, line, entry.reason))
                elif entry:
                    batch.append(entry)
                if len(batch) >= _LINES_AT_ONCE:
                    hand_in(batch)
                    taken, batch = taken + len(batch), []
        if batch:
            hand_in(batch)
        _write_rejected(path, rejected)
        self._read[path.name] = _Read(size, self._clock(), has_open_end=not line.endswith(b"\n"))
        _log.info("spool.taken", file=path.name, entries=taken + len(batch), rejected=len(rejected))
        return taken + len(batch)

    def _finish(self, path: Path) -> None:
        # A busy program begins a file of the same name every few seconds: what is taken is not looked for each time.
        self._numbers[path.name], done, rejected = _free(path, self._numbers.get(path.name, 1))
        part = _named(path, _PART)
        if part.exists():
            part.rename(rejected)
        path.rename(done)
        del self._read[path.name]


@contextmanager
def _noted(troubles: set[str], path: Path) -> Iterator[None]:
    """Add to *troubles* what the file system refuses to do with *path*, and go on."""
    try:
        yield
    except OSError as error:
        troubles.add(f"{path}: {error.strerror or type(error).__name__}")


def _lines(read: Callable[[int], bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield every line and its length in bytes; of one that is too long its beginning and its end alone."""
    while line := read(_LONGEST_LINE_BYTES):
        length = len(line)
        if length == _LONGEST_LINE_BYTES and not line.endswith(b"\n"):
            while rest := read(_LONGEST_LINE_BYTES):
                length += len(rest)
                if rest.endswith(b"\n"):
                    line += b"\n"
                    break
        yield line, length


def _write_rejected(path: Path, rejected: Sequence[tuple[int, bytes, str]]) -> None:
    part = _named(path, _PART)
    if not rejected:
        part.unlink(missing_ok=True)  # of a file of the same name that somebody took away
        return
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        for number, line, reason in rejected:
            text = line.decode(errors="replace").rstrip("\r\n")
            file.write(json.dumps({"line": number, "reason": reason, "text": text}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _named(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix(_TAKEN) + suffix)


def _free(path: Path, first: int) -> tuple[int, Path, Path]:
    """Return the names of what was taken and of what was rejected: a pair that no earlier file of the name has.

    They bear the same number, from *first* on, which is returned with them.
    """
    for number in count(first):
        numbered = f".{number}" if number > 1 else ""
        done, rejected = _named(path, f"{numbered}.done"), _named(path, f"{numbered}.rejected")
        if not (done.exists() or rejected.exists()):
            return number, done, rejected
    raise AssertionError("unreachable: there is no last number")
