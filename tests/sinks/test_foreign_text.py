"""Foreign text: what is unseen is left out, and no letter is cut in two."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.sinks.foreign import MORE, clean, clip, columns, graphemes, size, units, wrapped

ANY_TEXT = st.text(
    st.characters(exclude_categories=()) | st.sampled_from("\u0301\u200d\ufe0f🇦🇹👍🏽\u202e\x1b<>&* \n각")
)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("ci-runner", "ci-runner"),
        ("  two\r\nlines\tand\x0b more\u2028\xa0", "two lines and more"),
        ("\x1b[31mred\x1b[0m\x9b2J\x00\x7f", "[31mred[0m2J"),
        ("\u202euser\u202c \u2066x\u2069\u061c\u200f", "user x"),
        ("zero\u200bwidth\u2060\ufeff\u00ad\u180e", "zerowidth"),
        ("\U000e0041tag", "tag"),
        ("half \ud83d", "half \ufffd"),
        ("\u3164\u115f\u2063", ""),
        ("Zoë Müller 王芳 Žižek", "Zoë Müller 王芳 Žižek"),
        ("\u0301accent first", "◌\u0301accent first"),
        ("👩\u200d👩\u200d👧", "👩👩👧"),
        ("e" + "\u0301" * 10_000 + "x", "e" + "\u0301" * 4 + MORE),
        ("e" + "\u0301" * 100 + "x", "e" + "\u0301" * 4 + "x"),
    ],
)
def test_text_is_made_one_line_of_what_can_be_seen(told, shown):
    assert clean(told) == shown


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("abc", ["a", "b", "c"]),
        ("e\u0301a\u0323\u0302", ["e\u0301", "a\u0323\u0302"]),
        ("🇦🇹🇩🇪🇫", ["🇦🇹", "🇩🇪", "🇫"]),
        ("👍🏽👍", ["👍🏽", "👍"]),
        ("❤\ufe0fx", ["❤\ufe0f", "x"]),
        ("\u1112\u1161\u11ab\u1100", ["\u1112\u1161\u11ab", "\u1100"]),
        ("कि", ["कि"]),
    ],
)
def test_a_grapheme_is_what_a_person_calls_one_letter(text, parts):
    assert list(graphemes(text)) == parts


@pytest.mark.parametrize(
    ("text", "wide"), [("abc", 3), ("e\u0301", 1), ("王芳", 4), ("👍🏽", 2), ("🇦🇹", 2), ("❤\ufe0f", 2), ("\u0301", 0)]
)
def test_columns_are_counted_as_a_terminal_does(text, wide):
    assert size(text) == wide


@given(ANY_TEXT)
def test_whatever_comes_nothing_unseen_is_left(text):
    shown = clean(text)

    assert [sign for sign in shown if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}] == []
    assert shown == shown.strip()
    assert clean(shown) == shown
    shown.encode()


@given(ANY_TEXT, st.integers(1, 60), st.sampled_from([columns, units]))
def test_what_is_clipped_fits_and_says_that_it_was(text, most, by):
    text = clean(text)

    shown = clip(text, most, by=by)

    assert size(shown, by=by) <= most
    if shown != text:
        assert shown.endswith(MORE)
        assert text.startswith(shown.removesuffix(MORE))


@given(ANY_TEXT, st.integers(2, 60))
def test_a_wrapped_text_fits_and_loses_only_blanks(text, width):
    text = clean(text)

    lines = wrapped(text, width)

    assert all(size(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_two_names_that_differ_only_in_case_stay_apart():
    assert clean("Dana") != clean("dana")
