"""One writing process for each SQLite file.

SQLite would queue two writers politely, but two daemons would each poll every key and each tell Slack. The lock is
`flock` on a file beside the database, so the system releases it however the process ends; the process id in it is for
the person who reads the refusal.
"""

import fcntl
import os
from pathlib import Path
from typing import IO, Self

from reckon.errors import StoreBusy, StoreError


class WriterLock:
    """Held from `acquire` until `release`. Not for Windows, which has no flock."""

    def __init__(self, database: Path) -> None:
        self._database = database
        target = database.resolve()  # by whatever name the file is called, it has one lock
        self._path = target.with_name(target.name + ".lock")
        self._file: IO[str] | None = None

    def acquire(self) -> Self:
        """Hold the lock.

        Raises:
            StoreBusy: another process holds it; its id is named.
            StoreError: no lock can be made there.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"The database {self._database} cannot be locked: {self._path}: {error.strerror}"
            ) from error
        file = os.fdopen(descriptor, "r+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "unknown"
            file.close()
            raise StoreBusy(f"Another Reckon (process {holder}) is writing to {self._database}.") from None
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return self

    def release(self) -> None:
        """Let go. The file stays: removing it could take it from under another process that just opened it."""
        if self._file is not None:
            self._file.close()
            self._file = None
