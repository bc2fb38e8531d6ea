"""The ledger on disk: SQLite or Postgres, behind one class."""

from reckon.store.store import Store, open_store

__all__ = ["Store", "open_store"]
