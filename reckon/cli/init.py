"""`reckon init`: from what the environment holds to a configuration file that works, and a ledger beside it.

Whatever can be found out is not asked. With a management key the account tells which keys there are, and their names
tell whose they are; without one somebody has to say it. The file is shown before it is written, holds no secret, and
takes no other file's place.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from reckon.config import Secrets, Settings
    from reckon.config.drafting import Draft

_USUAL_FILE: Final = "reckon.toml"
_MODE: Final = 0o600


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("init")(init)


def init(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing, and write what is proposed.")] = False,
) -> None:
    """Write a first configuration file.

    Takes keys and tokens from their usual variables, by reference, and proposes whose the account's keys are. Shows the
    file, writes it to --config FILE or ./reckon.toml, makes the ledger, and overwrites nothing.
    """
    from reckon.config import load
    from reckon.config.drafting import file_text
    from reckon.store import open_store

    environ = os.environ
    file = _file(context.obj, environ)
    if not (yes or sys.stdin.isatty()):
        raise typer.BadParameter(
            "nobody can be asked here; accepts --yes to write what is proposed", param_hint="--yes"
        )
    draft = _draft(environ, asks=not yes)
    text = file_text(draft)
    print(text)
    if not (yes or _agreed(f"Write this to {file}?")):
        print("Nothing was written.", file=sys.stderr)
        raise typer.Exit(1)
    _write(file, text)
    print(f"Wrote {file}, which only you may read.")
    with open_store(load(file, environ).store.url.get_secret_value(), writes=True) as store:
        print(f"The ledger is {store.name}.")
    _say_what_comes_next(file, draft, environ)


def _file(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """Return where the configuration is to stand.

    Raises:
        ConfigError: there is something already.
    """
    from reckon.errors import ConfigError

    file = (explicit or Path(environ.get("RECKON_CONFIG") or _USUAL_FILE)).absolute()
    if os.path.lexists(file):
        raise ConfigError(
            f"{file} is there already, and nothing is overwritten; accepts another place by --config FILE"
        )
    return file


def _write(file: Path, text: str) -> None:
    """Write *text* whole, or nothing; never in the place of another file, even of one made this instant.

    Raises:
        FileExistsError: somebody was faster.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        os.link(unfinished, file)  # which, unlike a rename, replaces nothing
    finally:
        unfinished.unlink()


def _say_what_comes_next(file: Path, draft: "Draft", environ: Mapping[str, str]) -> None:
    from reckon.config import find

    references = [key.reference or "" for owner in draft.owners for key in owner.keys]
    for variable in (reference.removeprefix("env:") for reference in references):
        if variable and not environ.get(variable):
            print(f"Set {variable} to that owner's key.")
    here = "" if find(None, environ) == file else f" --config {shlex.quote(str(file))}"
    steps = {
        f"reckon doctor{here}": "what each key can do; what to mend",
        f"reckon poll{here}": "count once, now",
        f"reckon run{here}": "watch, from now on",
    }
    widest = max(map(len, steps))
    print("\nNext:")
    for command, what in steps.items():
        print(f"  {command:{widest}}  # {what}")


# --- What there is ---------------------------------------------------------------------------------------------------


def _draft(environ: Mapping[str, str], *, asks: bool) -> "Draft":
    """Return what the file is to say.

    Raises:
        ConfigError: what the environment sets, or a key in it, is not what it should be.
        SourceUnavailable: there is no key at all, or the account does not show its keys.
    """
    from reckon.config import open_secrets
    from reckon.config.drafting import Draft, file_text, found_for_slack, found_management_key

    managing = found_management_key(environ)
    bare = Draft(management_key=managing)
    settings = _loaded(file_text(bare), environ)
    slack = found_for_slack(environ)
    channel = _asked_channel() if asks and "SLACK_BOT_TOKEN" in slack else None
    secrets = open_secrets(settings, environ)
    if secrets.management_key is None:
        return _of_single_keys(environ, Draft(None, slack, channel), asks=asks)
    return _of_the_account(settings, secrets, environ, Draft(managing, slack, channel))


def _loaded(text: str, environ: Mapping[str, str]) -> "Settings":
    """Return the settings that *text* would be as a file.

    Raises:
        ConfigError: it would be refused.
    """
    from tempfile import TemporaryDirectory

    from reckon.config import load

    with TemporaryDirectory(prefix="reckon-init-") as directory:
        file = Path(directory) / _USUAL_FILE
        file.write_text(text, encoding="utf-8")
        return load(file, environ)


def _of_the_account(settings: "Settings", secrets: "Secrets", environ: Mapping[str, str], draft: "Draft") -> "Draft":
    """Return *draft* with owners for the keys that the account shows.

    Raises:
        SourceUnavailable: it shows none, and there is a reason.
    """
    import asyncio
    from dataclasses import replace

    from reckon.app import system_clock
    from reckon.checkup.account import sweep_account
    from reckon.cli.printing import counted, progress_bar
    from reckon.config.drafting import API_KEY
    from reckon.config.proposing import propose
    from reckon.core.ownership import key_hash
    from reckon.core.records import FailureReason
    from reckon.errors import SourceUnavailable

    with progress_bar() as progress:
        progress.add_task("Reading the account's keys", total=None)
        swept = asyncio.run(sweep_account(settings, secrets, system_clock))
    if swept.trouble and not swept.keys:
        is_refused = swept.trouble.reason is FailureReason.ACCESS_DENIED
        hint = " Only a management key may list them: is it one, and does it still work?" if is_refused else ""
        raise SourceUnavailable(f"The account does not show its keys: {swept.trouble.detail}.{hint}")
    workspaces = counted(len(swept.workspaces), "workspace")
    print(f"The account shows {counted(len(swept.keys), 'key')} in {workspaces}.", file=sys.stderr)
    if swept.trouble:
        print(f"There may be more: {swept.trouble.detail}.", file=sys.stderr)
    own = environ.get(API_KEY, "").strip()
    is_another = own and own not in secrets.values()
    proposal = propose(swept.keys, {key_hash(own): f"env:{API_KEY}"} if is_another else {})
    return replace(draft, owners=proposal.owners, unowned=proposal.unowned)


def _of_single_keys(environ: Mapping[str, str], draft: "Draft", *, asks: bool) -> "Draft":
    """Return *draft* with owners who have one key each, known by the variable it stands in."""
    from dataclasses import replace

    from reckon.config.drafting import API_KEY, MANAGEMENT_KEYS
    from reckon.config.proposing import ProposedKey, ProposedOwner, free_id
    from reckon.errors import SourceUnavailable

    has_own = bool(environ.get(API_KEY))
    wanted = f"Set {MANAGEMENT_KEYS[0]}, with which all keys are seen, or {API_KEY}, and come back."
    if not (has_own or asks):
        raise SourceUnavailable(f"The environment holds no key. {wanted}")
    names = ["me"]
    if asks:
        print(f"{MANAGEMENT_KEYS[0]} is not set. Without it each key is asked about itself.", file=sys.stderr)
        if not _agreed("Is it to be one key per owner?"):
            raise SourceUnavailable(f"Then there is nobody to ask. {wanted}")
        own = [_asked(f"Whose is the key in {API_KEY}? [me]") or "me"] if has_own else []
        others = _asked("Who else has one? (with commas between)" if has_own else "Whose? (with commas between)")
        names = [*own, *filter(None, map(str.strip, others.split(",")))]
        if not names:
            raise SourceUnavailable(f"Then there is nobody to ask. {wanted}")
    taken: set[str] = set()
    ids = [free_id(name, taken) for name in names]
    variables = [f"OPENROUTER_KEY_{id_.upper().replace('-', '_')}" for id_ in ids]
    if has_own:
        variables[0] = API_KEY
    owners = [
        ProposedOwner(id_, (ProposedKey("main", "", f"env:{variable}"),))
        for id_, variable in zip(ids, variables, strict=True)
    ]
    return replace(draft, owners=owners)


# --- Asking ----------------------------------------------------------------------------------------------------------


def _asked_channel() -> str | None:
    from reckon.config.grammar import slack_channel

    accepts = slack_channel()
    while answer := _asked("Which Slack channel? (its id, such as C012ABCDEF; empty for later)"):
        try:
            return str(accepts.read(answer))
        except ValueError:
            print(f"accepts {accepts.what}", file=sys.stderr)
    return None


def _agreed(question: str) -> bool:
    """Return whether the answer is yes, which an empty line is, and the end of all answers is not."""
    print(f"{question} [Y/n] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().lower() in {"", "y", "yes"}


def _asked(question: str) -> str:
    print(f"{question} ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
