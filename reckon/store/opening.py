"""Opening a ledger: whose database it is, who may write to it, and that its schema is ours."""

from pathlib import Path

from reckon.store.engines import (
    parse,
    postgres_engine,
    require_usable,
    sqlite_path,
    sqlite_readers,
    sqlite_writer,
)
from reckon.store.lock import WriterLock
from reckon.store.store import Store


def open_store(url: str, *, writes: bool, creates: bool = True) -> Store:
    """Open the ledger at *url*; with *writes* create or migrate it, and hold a SQLite file against other writers.

    Args:
        url: where it is.
        writes: whether this process will write to it.
        creates: whether, if so, it may make a ledger where there is none.

    Raises:
        StoreMissing: there is no ledger, and none is to be made.
        StoreBusy: another process writes to this SQLite file.
        StoreError: the database is not ours, is newer than we are, or does not answer.
    """
    parsed = parse(url)
    path = sqlite_path(parsed)
    if path is None:
        engine = postgres_engine(parsed)
        store = Store(parsed.set(query={}).render_as_string(hide_password=True), engine, engine)
    else:
        store = _open_sqlite(path, writes=writes, creates=creates)
    try:
        store.prepare(writes=writes and creates)
    except BaseException:
        store.close()
        raise
    return store


def _open_sqlite(path: Path, *, writes: bool, creates: bool) -> Store:
    if not (writes and creates):
        require_usable(path, create=False)
    if not writes:
        readers = sqlite_readers(path)
        return Store(str(path), readers, readers)
    lock = WriterLock(path).acquire()
    try:
        require_usable(path, create=True)
    except BaseException:
        lock.release()
        raise
    return Store(str(path), sqlite_writer(path), sqlite_readers(path), lock)
