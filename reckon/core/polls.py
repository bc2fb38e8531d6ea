"""A poll: all that one pass over the keys brought home, from whichever source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from reckon.core.records import Balance, Failure, Snapshot
from reckon.core.sweeps import Sweep


@dataclass(frozen=True, slots=True)
class Poll:
    """One pass over the keys: for each key asked, either a snapshot or a failure."""

    snapshots: tuple[Snapshot, ...] = ()
    failures: tuple[Failure, ...] = ()
    balances: tuple[Balance, ...] = ()
    balances_asked: bool = False
    """Whether anybody was asked for the account's balance; those not permitted to see it yield none."""
    swept: Mapping[str, datetime] = field(default_factory=dict)
    """The workspaces this poll saw completely, each with the instant its sweep began. Empty for single keys."""
    sweep: Sweep | None = None
    """What a management key was shown, the snapshots of which are among `snapshots`. None where nobody has swept."""
