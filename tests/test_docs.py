"""The documents say what is true: every command, option, setting, target and file they name exists."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from reckon import __version__, cli
from reckon.config import load
from reckon.config.settings import LEAVES, SECTIONS
from reckon.core.reports import Dimension

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text()
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text()
EXAMPLE = (PROJECT / "config.example.toml").read_text()
DOCUMENTS = {"README.md": README, "CHANGELOG.md": CHANGELOG, "config.example.toml": EXAMPLE}
ROOT = typer.main.get_command(cli.app)


def commands(group=ROOT, above=()):
    """Yield (words, command) for every command that does something."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


COMMANDS = dict(commands())


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed(program):
    """Return what the README shows a person typing to *program*, as lists of words."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [words[1:] for line in lines if (words := shlex.split(line, comments=True))[0] == program]


def parsed(words):
    """Parse *words* as the command line would, and do nothing; raises what it would."""
    words = cli._config_first(words)
    while words[:1] == ["--config"]:
        words = words[2:]
    depth = next(depth for depth in range(len(words), -1, -1) if depth == 0 or tuple(words[:depth]) in COMMANDS)
    assert depth, f"there is no command {' '.join(words)}"
    COMMANDS[tuple(words[:depth])].make_context(words[depth - 1], words[depth:])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_shown_in_the_readme_and_in_the_help(words, capsys):
    shown = "\n".join(blocks("console"))
    assert re.search(rf"\b{words[0]}\b", shown)
    assert cli.run([*words[:-1], "--help"]) == 0
    assert re.search(rf"^  {words[-1]} ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("words", typed("reckon"), ids=" ".join)
def test_every_command_the_readme_shows_can_be_typed(words):
    parsed(words)


def test_the_check_of_commands_sees_what_does_not_exist():
    for wrong in (["spend", "--colour"], ["spend", "--last"], ["bogus"], ["config"], ["keys", "extra"]):
        with pytest.raises((cli._click.ClickException, AssertionError)):
            parsed(wrong)


@pytest.mark.parametrize("words", typed("make"), ids=" ".join)
def test_every_make_target_the_readme_shows_exists(words):
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert set(words) <= set(targets)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        *((name, line) for name, text in DOCUMENTS.items() for line in re.findall(r"`reckon ([^`]+)`", text)),
        *(
            (str(path.relative_to(PROJECT)), line)
            for path in sorted((PROJECT / "reckon").rglob("*.py"))
            for line in re.findall(r"`reckon ((?!-)[^`]+)`", path.read_text())
        ),
    ],
)
def test_every_command_named_in_passing_exists(name, line):
    words = [word for word in line.split() if not word.startswith("-")]
    known = {words[:depth] for words in COMMANDS for depth in range(1, len(words) + 1)}
    assert any(tuple(words[:depth]) in known for depth in (1, 2)), name


def test_the_readme_s_configuration_is_one(tmp_path):
    block = "\n".join(blocks("toml"))  # each is a part of one file
    file = tmp_path / "reckon.toml"
    file.write_text(block)
    settings = load(file, {})
    assert set(settings.owners) == set(tomllib.loads(block)["owners"])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_setting_named_in_passing_exists(name):
    settings = {".".join(place) for place in LEAVES}
    sections = {place[0] for place in SECTIONS if place}
    named = {word for word in re.findall(r"`([a-z_]+\.[a-z_.]+)`", DOCUMENTS[name]) if word.split(".")[0] in sections}
    assert named <= settings
    variables = set(re.findall(r"\bRECKON_([A-Z]+__[A-Z_]+)", DOCUMENTS[name])) - {"SECTION__KEY"}
    known = {setting.upper().replace(".", "__") for setting in settings}
    assert {variable.removesuffix("_FILE") for variable in variables} <= known


def test_the_check_of_settings_sees_some():
    assert "`store.url`" in README
    assert "RECKON_POLL__EVERY" in EXAMPLE


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)", README))
def test_every_link_leads_somewhere(target):
    assert not target.startswith("/")
    assert (PROJECT / target).exists()


def test_the_exit_codes_are_those_of_the_command_line():
    told = dict(re.findall(r"\b(0|1|64|69|78) (fine|the answer is no|usage|unavailable|bad configuration)", README))
    assert told == {
        "0": "fine",
        "1": "the answer is no",
        str(cli.EXIT_USAGE): "usage",
        str(cli.EXIT_UNAVAILABLE): "unavailable",
        str(cli.EXIT_CONFIG): "bad configuration",
    }


def test_the_changelog_s_first_entry_is_the_present_version():
    first = re.search(r"^## (.+)$", CHANGELOG, re.MULTILINE)[1]
    assert first.split()[0].strip("[]") == __version__
    assert re.search(rf'^version = "{re.escape(__version__)}"$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)


def test_every_file_of_ours_named_in_passing_exists():
    named = set(re.findall(r"`([\w/]+\.py)`", README))
    assert named
    assert [name for name in named if not any(PROJECT.glob(f"reckon/**/{name}"))] == []


@pytest.mark.parametrize("dimension", Dimension)
def test_every_dimension_of_a_report_is_in_the_help(dimension, capsys):
    cli.run(["spend", "--help"])
    assert re.search(rf"\b{dimension}\b", capsys.readouterr().out)
