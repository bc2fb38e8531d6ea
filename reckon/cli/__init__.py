"""The command line: one file per family of commands, each thin over `reckon.app`.

A command's answer goes to standard output and everything else to standard error. Exit codes: 0 fine, 1 the answer is
no, 64 usage, 69 unavailable, 78 bad configuration. Nothing heavy is imported before a command runs, so `reckon --help`
answers at once.
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer
from typer import _click

from reckon import __version__
from reckon.cli import (
    alerts,
    books,
    configuration,
    daemon,
    demo,
    digest,
    doctor,
    generations,
    health,
    init,
    keys,
    ledger,
    poll,
    spend,
    status,
    sweep,
)
from reckon.errors import ConfigError, ReckonError

EXIT_USAGE: Final = 64
EXIT_UNAVAILABLE: Final = 69
EXIT_CONFIG: Final = 78
# As the shell says of a program that a signal ended.
_EXIT_INTERRUPTED: Final = 130
_EXIT_BROKEN_PIPE: Final = 141

app = typer.Typer(
    help="What a team's OpenRouter money buys, the same day.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for family in (
    *(daemon, poll, sweep, spend, generations, books, alerts, digest, keys, ledger),
    *(status, health, doctor, init, configuration, demo),
):
    family.add_to(app)


@app.callback(invoke_without_command=True)
def reckon(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="The configuration file.", metavar="FILE")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """What a team's OpenRouter money buys, the same day."""
    context.obj = config
    if version:
        print(f"reckon {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line and exit with what it answers."""
    sys.stdout, sys.stderr = _stream(sys.stdout), _stream(sys.stderr)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        code = code or EXIT_UNAVAILABLE
        # What is left goes nowhere, or Python would try once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what went wrong is said on standard error, in one line each."""
    command = typer.main.get_command(app)
    try:
        # Not by calling `app`, which answers a pipe that nobody reads any more by itself.
        with command.make_context("reckon", _config_first(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as answer:
        return answer.exit_code
    except _click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        return _EXIT_BROKEN_PIPE
    except (ReckonError, OSError) as error:  # of the system's own: a full disk under the answer, or under the demo
        for line in str(error).splitlines():
            print(f"reckon: {line}", file=sys.stderr)
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_UNAVAILABLE
    return 0


def _config_first(arguments: Sequence[str]) -> list[str]:
    """Let `--config FILE` stand anywhere: it belongs to no command, and people write it last."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--config":
            first = [word, *islice(words, 1)]
        elif word.startswith("--config="):
            first = [word]
        else:
            rest.append(word)
    return first if first == ["--config"] else first + rest  # without a file, it must not take a command for one


def _stream(stream: TextIO | None) -> TextIO:
    """Return *stream* as one that can print every letter; one that leads nowhere if we were started without."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
