"""The first configuration file, as `reckon init` drafts it.

It is short: what nobody decided is left to the defaults, and where a decision is left to a person there is a line that
says so. It holds references to secrets, never a secret, and it loads as it stands.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reckon.config.proposing import ProposedKey, ProposedOwner
from reckon.config.settings import NOT_BUILT_YET

MANAGEMENT_KEYS: Final = ("OPENROUTER_MANAGEMENT_KEY", "OPENROUTER_PROVISIONING_KEY", "OPENROUTER_MGMT_KEY")
"""The variables that a management key usually stands in; the first that is set is taken."""
API_KEY: Final = "OPENROUTER_API_KEY"

_SLACK: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SLACK_BOT_TOKEN": "bot_token",
        "SLACK_APP_TOKEN": "app_token",
        "SLACK_WEBHOOK_URL": "webhook_url",
    }
)
_MOST_EXAMPLES: Final = 3
_NOT_YET: Final = "  # would have no effect yet"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a first configuration file says."""

    management_key: str | None = None
    """The variable it stands in."""
    slack: Collection[str] = ()
    """Those of Slack's usual variables that are set."""
    channel: str | None = None
    owners: Sequence[ProposedOwner] = field(default=())
    unowned: int = 0


def found_management_key(environ: Mapping[str, str]) -> str | None:
    """Return the variable of *environ* in which a management key stands; None if there is none."""
    return next((name for name in MANAGEMENT_KEYS if environ.get(name)), None)


def found_for_slack(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of *environ* in which Slack's secrets stand."""
    return tuple(name for name in _SLACK if environ.get(name))


def file_text(draft: Draft) -> str:
    """Return *draft* as a configuration file."""
    sections = [_top(), _openrouter(draft), _slack(draft), _owners(draft)]
    return "\n\n".join("\n".join(lines) for section in sections if (lines := [*section])) + "\n"


def _top() -> Iterator[str]:
    yield "# Drafted by `reckon init`. Every other setting has a default that will do;"
    yield "# `reckon config show` names them all."
    yield ""
    yield 'timezone = "UTC"  # whose midnight ends a day; perhaps "Europe/Vienna"?'


def _openrouter(draft: Draft) -> Iterator[str]:
    if draft.management_key:
        yield "[openrouter]"
        yield f"management_key = {_quoted(f'env:{draft.management_key}')}  # shows every key"


def _slack(draft: Draft) -> Iterator[str]:
    if not draft.slack:
        return
    yield "[slack]"
    has_no_channel = "SLACK_BOT_TOKEN" in draft.slack and draft.channel is None
    if has_no_channel:
        yield "# In which channel? Put its id here, and take the # from both lines:"
        yield '#channel = "C012ABCDEF"'
    elif draft.channel is not None:
        yield f"channel = {_quoted(draft.channel)}"
    for variable in draft.slack:
        setting = _SLACK[variable]
        is_built = f"slack.{setting}" not in NOT_BUILT_YET
        waits = not is_built or (setting == "bot_token" and has_no_channel)
        yield f"{'#' if waits else ''}{setting} = {_quoted(f'env:{variable}')}{'' if is_built else _NOT_YET}"


def _owners(draft: Draft) -> Iterator[str]:
    yield "# Who answers for which keys: change the names, move keys, merge owners. To each"
    yield '# you may add slack = "U012ABCDEF", whom an alert mentions, and team = "platform".'
    if draft.management_key:
        yield "# Of two globs that match a key, the first one has it."
    for owner in draft.owners:
        yield ""
        yield f"[owners.{owner.id}]"
        yield from _claims(owner)
    if draft.unowned:
        yield ""
        keys = "1 key is" if draft.unowned == 1 else f"{draft.unowned:,} keys are"
        yield f"# {keys} nobody's yet; counted all the same, and named by `reckon keys`."


def _claims(owner: ProposedOwner) -> Iterator[str]:
    globs = {"name": owner.name_glob, "creator": owner.creator_glob}
    if match := [f"{what} = {_quoted(glob)}" for what, glob in globs.items() if glob is not None]:
        if owner.creator_glob is not None:
            yield "# Made by one person, whose name Reckon does not know."
        if owner.claimed:
            more = len(owner.claimed) - _MOST_EXAMPLES
            yield f"# {', '.join(owner.claimed[:_MOST_EXAMPLES])}{f' and {more} more' if more > 0 else ''}"
        yield f"match = {{ {', '.join(match)} }}"
    if len(owner.keys) == 1:
        yield f"keys = [{_entry(owner.keys[0])}]"
    elif owner.keys:
        yield "keys = ["
        yield from (f"  {_entry(key)}," for key in owner.keys)
        yield "]"


def _entry(key: ProposedKey) -> str:
    identity = f"key = {_quoted(key.reference)}" if key.reference else f"hash = {_quoted(key.hash)}"
    return f"{{ name = {_quoted(key.name)}, {identity} }}"


def _quoted(text: str) -> str:
    # JSON's text is TOML's, once nothing unprintable is in it.
    return json.dumps(text, ensure_ascii=False)
