"""The check-up: whether everything that Reckon leans on will bear it, looked at before it is needed.

It asks what a poll and a message would ask, with the same client and the same sink, and says of each thing that is
wrong what a person can do about it. It holds no lock and writes to no ledger, so it may be made while a daemon runs and
before there is any ledger at all. One thing that is wrong never keeps another from being looked at.

    records      what a check found
    machine      the configuration file, the ledger and the library under it
    openrouter   each key: what it is, what it may do and see; and whose clock is right
    account      the sources that a management key opens; whether the owner map fits the account's keys
    slack        whoever is told: the token, its scopes, the channel; and a sample alert
"""

from reckon.checkup.examine import examine
from reckon.checkup.records import Check, CheckState

__all__ = ["Check", "CheckState", "examine"]
