"""Tables and documents at every width, and what of a name may reach a terminal."""

import json
import re
import unicodedata
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from reckon.cli.printing import Column, clean, counted, print_json, table, when
from reckon.documents import instant
from tests.builders import at

OWNERS = ["nightly-refactor-of-everything", "mira", "日本語の名前をもつ人"]
SPENDS = ["$1,234,567.89", "$0.00042", "unknown"]
SEEN = ["20 Nov 14:05", "20 Nov 14:06", "never"]


@pytest.fixture
def printed(capsys, monkeypatch):
    """Print a table on a terminal so many columns wide, or away from any; return its lines."""

    def show(width=None, *, columns=None, **options):
        monkeypatch.delenv("COLUMNS", raising=False)
        if width is not None:
            monkeypatch.setenv("COLUMNS", str(width))
        three = [
            Column("Owner", OWNERS, footer="Total"),
            Column("Spend", SPENDS, "figure", "$1,234,567.89"),
            Column("Last seen", SEEN, "fixed"),
        ]
        table(columns or three, title="Spend by owner", **options)
        return capsys.readouterr().out.splitlines()

    return show


@pytest.mark.parametrize("width", [200, 80, 60, 40, 36, 20, 1, None])
def test_figures_and_dates_are_whole_at_any_width(printed, width):
    text = "\n".join(printed(width))
    for figure in [*SPENDS, *SEEN]:
        assert figure in text


@pytest.mark.parametrize("width", [200, 80, 62, 61, 45, 40])
def test_a_table_stays_within_the_terminal_while_names_can_give_way(printed, width):
    lines = printed(
        width, notes=["A sentence that is long enough to need more than a single line of a narrow terminal."]
    )
    assert max(map(cell_len, lines)) <= width
    assert sum(OWNERS[1] in line for line in lines) == 1
    assert (OWNERS[0] in "\n".join(lines)) == (width >= 62)


def test_away_from_a_terminal_nothing_is_cut(printed):
    columns = [Column("Name", ["x" * 90]), Column("Path", ["/" + "y" * 300], "prose")]
    line = printed(columns=columns)[4]
    assert "x" * 90 in line
    assert "y" * 300 in line


@pytest.mark.parametrize("width", [80, 30, None])
def test_no_line_ends_in_a_blank_and_no_table_in_an_empty_line(printed, width):
    lines = printed(width, bars=[3, 2, 0], notes=["As of now."])
    assert not [line for line in lines if line != line.rstrip()]
    assert lines[-1] == "As of now."


def test_decimal_points_stand_below_each_other(printed):
    amounts = ["$1,234.50", "$0.00042", "-$3.10", "unknown"]
    lines = printed(columns=[Column("Spend", amounts, "figure", "$1,231.40")])[4:]
    assert len({line.index(".") for line in lines if "." in line}) == 1


def test_bars_are_as_long_as_their_amounts_and_more_than_nothing_shows(printed):
    columns = [Column("Day", ["a", "b", "c", "d"])]
    bars = [line[5:] for line in printed(80, columns=columns, bars=[1000, 500, 1, 0])[4:]]
    assert bars == ["█" * 24, "█" * 12, "▏", ""]


def test_a_terminal_too_narrow_for_bars_has_none(printed):
    lines = printed(59, bars=[3, 2, 1])
    assert "█" not in "\n".join(lines)
    assert lines == printed(59)


def test_prose_goes_on_in_the_next_line(printed):
    columns = [Column("Key", ["laptop"]), Column("State", ["access denied since 20 Nov 14:05"], "prose")]
    lines = printed(30, columns=columns)
    assert lines[4:6] == ["laptop  access denied since 20", "        Nov 14:05"]


def test_without_lines_there_is_no_grid(printed):
    assert printed(columns=[Column("Owner", [])], notes=["Nothing was spent."]) == [
        "Spend by owner",
        "",
        "Nothing was spent.",
    ]


@given(st.text(max_size=200), st.integers(1, 100))
def test_a_cleaned_name_is_printable_and_no_longer_than_asked(text, width):
    shown = clean(text, width)
    assert len(shown) <= width
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    if len(text) <= width and text.isprintable():
        assert shown == text


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=4))
def test_a_document_is_json_whatever_is_in_it_and_steers_nothing(document):
    import io  # noqa: PLC0415
    from contextlib import redirect_stdout  # noqa: PLC0415

    with redirect_stdout(io.StringIO()) as out:
        print_json(document)
    assert json.loads(out.getvalue()) == {"schema_version": 1, **document}
    out.getvalue().encode()  # a lone surrogate would not
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", out.getvalue())


def test_letters_of_any_language_stay_letters_in_a_document(capsys):
    print_json({"owner": "Jürgen 日本 🎉"})
    assert '"Jürgen 日本 🎉"' in capsys.readouterr().out


def test_instants_are_utc_to_the_second_for_programs_and_local_for_people():
    moment = at("2025-12-31 23:30:05")
    assert instant(moment) == "2025-12-31T23:30:05Z"
    assert instant(moment.astimezone(ZoneInfo("Asia/Tokyo"))) == "2025-12-31T23:30:05Z"
    assert instant(None) is None
    assert when(moment, ZoneInfo("UTC")) == "31 Dec 2025 23:30"
    assert when(moment, ZoneInfo("Asia/Tokyo")) == "1 Jan 2026 08:30"
    # The year goes without saying if it is the present one there.
    assert when(moment, ZoneInfo("Asia/Tokyo"), now=at("2026-06-01")) == "1 Jan 08:30"
    assert when(moment, ZoneInfo("UTC"), now=at("2026-06-01")) == "31 Dec 2025 23:30"


def test_numbers_agree_with_their_nouns():
    assert [counted(n, "key") for n in (0, 1, 2, 1204)] == ["no key", "1 key", "2 keys", "1,204 keys"]
