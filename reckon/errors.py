"""Everything Reckon raises on purpose.

    ReckonError
      ConfigError          a setting a person must mend
      SourceError          one ask of a source failed; `retry_after_seconds` where the answer named a wait
        SourceUnavailable    there is nobody to ask
      SinkError            a message was not delivered, or perhaps was; says which
      ClockUnset           this machine's clock shows a time before Reckon existed
      StoreError           the database cannot be used
        StoreMissing         there is none, and this command does not make one
        StoreBusy            another process holds it
        Superseded           another replica took over while we asked; the answers are dropped

What we expect of one key is a value: `core.records.Failure`, whose reason tells a time-out from a refusal. An exception
ends the whole ask. The command line turns `ConfigError` into exit 78 and every other of these into 69.
"""

from reckon.core.outbox import Outcome


class ReckonError(Exception):
    """What a person reads: says what is wrong and what would be accepted. Never holds a secret."""


class ConfigError(ReckonError):
    """A setting is wrong. Names the setting, the file or variable it came from, and what would be accepted."""


class SourceError(ReckonError):
    """One ask of a source failed."""

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class SourceUnavailable(SourceError):
    """There is nobody to ask."""


class SinkError(ReckonError):
    """One attempt to deliver a message, or to find it, failed."""

    def __init__(self, message: str, *, outcome: Outcome, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome
        """Not delivered, ambiguous or refused."""
        self.retry_after_seconds = retry_after_seconds


class ClockUnset(ReckonError):
    """The clock of this machine was never set, so nothing it stamps may enter the ledger."""


class StoreError(ReckonError):
    """The database cannot be used. Says which, and what to do."""


class StoreMissing(StoreError):
    """There is no database where one was looked for."""


class StoreBusy(StoreError):
    """Another process is writing to the same SQLite file."""


class Superseded(StoreError):
    """Another replica has taken over these owners, because our lease ran out while we asked."""
