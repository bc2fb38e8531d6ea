"""Everything Reckon raises on purpose.

    ReckonError
      ConfigError          a setting a person must mend
      SourceError          one ask of a source failed; `retry_after_seconds` where the answer named a wait
        SourceUnavailable    there is nobody to ask
      ClockUnset           this machine's clock shows a time before Reckon existed
      StoreError           the database cannot be used
        StoreMissing         there is none, and this command does not make one
        StoreBusy            another process holds it

What we expect of one key is a value: `core.records.Failure`, whose reason tells a time-out from a refusal. An exception
ends the whole ask. The command line turns `ConfigError` into exit 78 and every other of these into 69.
"""


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


class ClockUnset(ReckonError):
    """The clock of this machine was never set, so nothing it stamps may enter the ledger."""


class StoreError(ReckonError):
    """The database cannot be used. Says which, and what to do."""


class StoreMissing(StoreError):
    """There is no database where one was looked for."""


class StoreBusy(StoreError):
    """Another process is writing to the same SQLite file."""
