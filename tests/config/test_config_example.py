"""`config.example.toml` is the reference: it loads, it is complete, and it says what does nothing yet."""

import re
import tomllib
from pathlib import Path

import pytest

from reckon.config import NOT_BUILT_YET, Settings, load, unbuilt
from reckon.config.settings import LEAVES, completed, leaves, pattern

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
MARK = "(not built yet)"


@pytest.fixture
def as_it_stands(tmp_path) -> Settings:
    return load(EXAMPLE, {}, tmp_path)


@pytest.fixture
def uncommented(configure) -> Settings:
    """The example with every setting in it set."""
    return configure(re.sub(r"(?m)^#(?=[^ \n])|^#(?=  \{)", "", EXAMPLE.read_text()), mode=0o644)


def marked(text: str) -> set[str]:
    """Return the settings and tables that carry the mark, by the names `NOT_BUILT_YET` uses."""
    found, table = set(), ""
    for line in text.splitlines():
        if heading := re.match(r"\[([\w.-]+)\]", line):
            table = re.sub(r"^(owners|teams)\.[\w-]+$", r"\1.<id>", heading[1])
        if not line.rstrip().endswith(MARK):
            continue
        if heading:
            found.add(table)
        elif setting := re.match(r"#(\w+) = ", line):
            found.add(f"{table}.{setting[1]}")
        elif entry := re.match(r"#  (\{.*\}),", line):
            found |= {f"{table}.keys.{name}" for name in tomllib.loads(f"x = {entry[1]}")["x"] if name != "name"}
    return found


def test_it_loads_as_it_stands_and_opens_nothing(as_it_stands):
    assert len(as_it_stands.owners) == 3
    assert all(
        str(key.key).startswith(("env:", "file:")) for owner in as_it_stands.owners.values() for key in owner.keys
    )


def test_it_sets_nothing_that_does_nothing_yet(as_it_stands):
    assert unbuilt(as_it_stands) == ()


def test_every_setting_is_in_it(uncommented):
    assert {pattern(place) for place in uncommented.given} == set(LEAVES)


def test_its_marks_are_the_settings_that_do_nothing_yet():
    assert marked(EXAMPLE.read_text()) == NOT_BUILT_YET
    assert EXAMPLE.read_text().count(MARK) == len(NOT_BUILT_YET) + 1  # and the sentence that explains them


def test_setting_everything_in_it_names_all_that_does_nothing_yet(uncommented):
    assert set(unbuilt(uncommented)) == NOT_BUILT_YET


def test_what_does_nothing_yet_exists(uncommented):
    names = {".".join(pattern(place)[:depth]) for place in uncommented.given for depth in range(1, 6)}
    assert names >= NOT_BUILT_YET


def test_the_values_it_shows_are_the_defaults(uncommented):
    """Where there is a default: a secret, a channel, a directory have none, and owners are examples."""
    defaults = dict(leaves(completed(Settings())))
    shown = {place: value for place, value in leaves(uncommented) if defaults.get(place) is not None}
    differing = {place for place, value in shown.items() if value != defaults[place]}
    assert differing == {("store", "url")}  # made absolute
    assert len(shown) > 25


def test_every_setting_is_explained():
    """Each has words beside it, or stands in a paragraph that has some of its own."""
    for paragraph in EXAMPLE.read_text().split("\n\n"):
        settings = re.findall(r"(?m)^#?[a-z_]+ = .*", paragraph)
        has_prose = re.search(r"(?m)^ *# ", paragraph)
        assert has_prose or all("  # " in line.removesuffix(f"# {MARK}") for line in settings), paragraph
