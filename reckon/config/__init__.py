"""What an operator decides: one TOML file, the environment over it, and nothing else.

`load` reads both and checks everything before anything else happens; a configuration that could not work never starts.
What it returns holds references to secrets, not secrets. `open_secrets` fetches those, when a command is about to use
them.

    settings   every setting, its default, what it accepts
    grammar    the languages settings are written in; addresses: those of places on a network
    loading    file and environment to settings; environment: the `RECKON_*` half of it
    problems   what is wrong, in words that never repeat what was written
    opening    references to secrets
    policies   settings in the core's own terms
    showing    what is in force, and from where
"""

from reckon.config.addresses import Listen
from reckon.config.grammar import MonthlyTime, WeeklyTime
from reckon.config.loading import find, load
from reckon.config.opening import OpenedKey, Secrets, open_secrets
from reckon.config.policies import anomaly_policy, digest_policy, ledger_policy, owner_map, people, settle_policy
from reckon.config.settings import NOT_BUILT_YET, Budget, OwnedKey, Owner, Settings, Team
from reckon.config.showing import Origin, origins, unbuilt

__all__ = [
    "NOT_BUILT_YET",
    "Budget",
    "Listen",
    "MonthlyTime",
    "OpenedKey",
    "Origin",
    "OwnedKey",
    "Owner",
    "Secrets",
    "Settings",
    "Team",
    "WeeklyTime",
    "anomaly_policy",
    "digest_policy",
    "find",
    "ledger_policy",
    "load",
    "open_secrets",
    "origins",
    "owner_map",
    "people",
    "settle_policy",
    "unbuilt",
]
