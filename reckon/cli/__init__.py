"""The command line: one file per family of commands, each thin over `reckon.app`.

A command's answer goes to standard output and everything else to standard error. Exit codes: 0 fine, 1 the answer is
no, 64 usage, 69 unavailable, 78 bad configuration. Nothing heavy is imported before a command runs, so `reckon --help`
answers at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from typer import _click

from reckon import __version__
from reckon.cli import configuration, demo, ledger, poll, spend
from reckon.errors import ConfigError, ReckonError

EXIT_USAGE: Final = 64
EXIT_UNAVAILABLE: Final = 69
EXIT_CONFIG: Final = 78

app = typer.Typer(
    help="What a team's OpenRouter money buys, the same day.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for family in (poll, spend, ledger, configuration, demo):
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
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what went wrong is said on standard error, in one line each."""
    try:
        code = app(_config_first(arguments), prog_name="reckon", standalone_mode=False)
    except _click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except ConfigError as error:
        _say(error)
        return EXIT_CONFIG
    except ReckonError as error:
        _say(error)
        return EXIT_UNAVAILABLE
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return 0
    return code if isinstance(code, int) else 0


def _config_first(arguments: Sequence[str]) -> list[str]:
    """Let `--config FILE` stand anywhere: it belongs to no command, and people write it last."""
    first: list[str] = []
    rest = list(arguments)
    for place, word in enumerate(arguments):
        if word == "--":
            break
        if word == "--config" and place + 1 < len(arguments):
            first, rest = [word, arguments[place + 1]], [*arguments[:place], *arguments[place + 2 :]]
        elif word.startswith("--config="):
            first, rest = [word], [*arguments[:place], *arguments[place + 1 :]]
    return [*first, *rest]


def _say(error: ReckonError) -> None:
    print(f"reckon: {error}", file=sys.stderr)
