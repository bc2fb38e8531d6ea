"""The ledger on disk: SQLite or Postgres, behind one class."""

from reckon.store.claims import Claim
from reckon.store.leases import DELIVER
from reckon.store.opening import open_store
from reckon.store.store import Store

__all__ = ["DELIVER", "Claim", "Store", "open_store"]
