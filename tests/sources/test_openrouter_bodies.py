"""What `/key` may answer with status 200, sound or hostile: a snapshot that is exact, or a failure that says why."""

import codecs
import gzip
import json
import logging
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from reckon.core.records import FailureReason, Reading
from tests.sources.asking import COUNTERS, KEY, OTHER_KEY, body_answer, good, hash_of, json_answer, poll

GOOD_BODY = json.dumps(good()).encode()

# How the value of a counter can be wrong and its body still be JSON: the failure names the counter.
WRONG_VALUES = {
    **dict.fromkeys(["null", "true", "false", "[]", "[1.25]", "{}", '{"usd": 1.25}'], FailureReason.UNEXPECTED_ANSWER),
    **dict.fromkeys(['""', '"1.23"', '"NaN"', '"-1"', f'"{KEY}"'], FailureReason.UNEXPECTED_ANSWER),
    **dict.fromkeys(["-1", "-0.000000001", "-1e-400", "-25.5e3"], FailureReason.IMPLAUSIBLE),
    **dict.fromkeys(["1e15", "1000000000.000000001", "1000000001", "1e400", "1e999999999"], FailureReason.IMPLAUSIBLE),
    **dict.fromkeys(["9" * 4300, "9" * 4301, "-" + "9" * 4301, "9" * 100_000], FailureReason.IMPLAUSIBLE),
}
# How it can be wrong so that the whole body is not JSON any more.
NOT_JSON_VALUES = [
    *["NaN", "Infinity", "-Infinity", "nan", "inf", "None", "True", "undefined"],
    *["1e99999999999999999999", "01", "+1", ".5", "1.", "1e", "0x10", "1_000", "1,5", "- 1", "--1", "٣"],
    *["'1.25'", '"open', '"\x00"', '"tab\there"', '"\\x41"', "[1,]", "{,}", "[1 2]", "/* 0 */ 1", "1 // one"],
]
NOT_OBJECTS = ["null", "[]", "[1]", '""', '"data"', "true", "false", "0", "1.25", "1e400"]


def with_value(counter: str, value: str) -> bytes:
    return json.dumps(good(**{counter: "@"})).replace('"@"', value).encode()


# Each of these yields (what is wrong, the body, the reason, how the detail begins).


def wrong_counters():
    for counter in COUNTERS:
        for value, reason in WRONG_VALUES.items():
            yield f"{counter} is {value:.20}", with_value(counter, value), reason, f"data.{counter}: "
        missing = {"data": {name: value for name, value in good()["data"].items() if name != counter}}
        yield f"no {counter}", json.dumps(missing).encode(), FailureReason.UNEXPECTED_ANSWER, f"data.{counter}: missing"
        twice = GOOD_BODY.replace(b'"data": {', f'"data": {{"{counter}": 0, '.encode())
        yield f"{counter} twice", twice, FailureReason.NOT_JSON, "an object holds the same key twice"
    for value in NOT_JSON_VALUES:
        yield f"usage is {value:.20}", with_value("usage", value), FailureReason.NOT_JSON, ""
        yield f"a field nobody reads is {value:.20}", with_value("limit", value), FailureReason.NOT_JSON, ""


def wrong_shapes():
    for value in NOT_OBJECTS:
        yield f"the whole is {value}", value.encode(), FailureReason.UNEXPECTED_ANSWER, "the answer: not an object"
        whole = b'{"data": %s}' % value.encode()
        yield f"data is {value}", whole, FailureReason.UNEXPECTED_ANSWER, "data: not an object"
    for whole in ("{}", '{"Data": {}}', '{"error": {"code": 200}}', json.dumps(good()["data"])):
        yield f"no data in {whole:.30}", whole.encode(), FailureReason.UNEXPECTED_ANSWER, "data: missing"
    yield "data in a list", b"[%s]" % GOOD_BODY, FailureReason.UNEXPECTED_ANSWER, "the answer: not an object"
    for label in ("5", "1.5", "true", "[]", '["sk"]', "{}"):
        yield f"label is {label}", with_value("label", label), FailureReason.UNEXPECTED_ANSWER, "data.label: "


def repeated_names():
    for name, twice in {
        "data": b'{"data": {}, "data": {}}',
        "the same data": b'{"data": 1, "data": 1}',
        "an escaped name": b'{"data": {"usage": 1, "us\\u0061ge": 2}}',
        "an empty name": b'{"data": {"": 1, "": 2}}',
        "deep inside": with_value("limit", '[{"a": [{"b": 1, "b": 1}]}]'),
        "a secret": b'{"%s": 1, "%s": 1}' % (KEY.encode(), KEY.encode()),
    }.items():
        yield f"{name} twice", twice, FailureReason.NOT_JSON, "an object holds the same key twice"


def not_json():
    yield from ((f"cut at {n}", GOOD_BODY[:n], FailureReason.NOT_JSON, "not JSON") for n in range(0, len(GOOD_BODY), 4))
    for name, body in {
        "nothing but white space": b" \r\n\t ",
        "nothing but a BOM": codecs.BOM_UTF8,
        "two BOMs": codecs.BOM_UTF8 * 2 + GOOD_BODY,
        "a BOM at the end": GOOD_BODY + codecs.BOM_UTF8,
        "HTML": b"<!DOCTYPE html><title>openrouter.ai | 502: Bad gateway</title>",
        "a key": KEY.encode(),
        "two values": GOOD_BODY * 2,
        "lines of JSON": GOOD_BODY + b"\n" + GOOD_BODY,
        "a NUL at the end": GOOD_BODY + b"\0",
        "a guard against scripts": b")]}',\n" + GOOD_BODY,
        "a call": b"callback(" + GOOD_BODY + b")",
        "one quote": b"'" + GOOD_BODY + b"'",
        "a comma at the end": GOOD_BODY[:-2] + b",}}",
        "zeros": bytes(1000),
    }.items():
        yield name, body, FailureReason.NOT_JSON, "not JSON"


def not_utf8():
    text = json.dumps(good(label="Zoë"), ensure_ascii=False)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1", "cp500", "utf-7"):
        body = text.encode(encoding) if encoding != "utf-7" else b"+/v8" + text.encode("utf-7")
        yield f"in {encoding}", body, FailureReason.NOT_JSON, "not "
    for invalid in (b"\xff", b"\x80", b"\xc0\x80", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
        for place in (b"abc...", b'"usage"'):
            body = GOOD_BODY.replace(place, place[:2] + invalid + place[2:])
            yield f"{invalid!r} in {place.decode()}", body, FailureReason.NOT_JSON, "not UTF-8"


def too_much():
    for name, body in {
        "lists": b"[" * 200_000 + b"]" * 200_000,
        "objects": b'{"a":' * 170_000 + b"1" + b"}" * 170_000,
        "open lists": b"[" * (1 << 20),
        "open objects": (b'{"a":' * (1 << 20))[: 1 << 20],
        "lists in a field nobody reads": with_value("limit", "[" * 200_000 + "]" * 200_000),
    }.items():
        yield f"too deep: {name}", body, FailureReason.NOT_JSON, "nested too deeply"
    yield "a byte over 1 MiB", GOOD_BODY.ljust((1 << 20) + 1), FailureReason.TOO_LARGE, "more than 1048576 bytes"


KINDS = (wrong_counters, wrong_shapes, repeated_names, not_json, not_utf8, too_much)
BAD_BODIES = [bad for kind in KINDS for bad in kind()]


def test_the_table_of_bad_bodies_is_long_and_each_stands_in_it_once():
    assert len({body for _, body, _, _ in BAD_BODIES}) == len(BAD_BODIES) >= 300


@pytest.mark.parametrize(
    ("body", "reason", "detail"),
    [bad[1:] for bad in BAD_BODIES],
    ids=[f"{number}: {bad[0]}".replace(KEY, "a key") for number, bad in enumerate(BAD_BODIES)],
)
def test_a_bad_body_is_that_keys_failure_and_nothing_else(body, reason, detail, capfd, caplog):
    caplog.set_level(logging.DEBUG, "reckon")
    answered = poll(lambda _, key: body_answer(body) if key == KEY else json_answer(good()), KEY, OTHER_KEY)

    (failure,) = answered.failures
    assert (failure.key_hash, failure.reason, failure.retry_after_seconds) == (hash_of(KEY), reason, None)
    assert failure.detail.startswith(detail)
    # One line, made of our own words: none of a body's digits but positions and limits.
    assert failure.detail.isprintable()
    assert len(failure.detail) < 80
    assert not any(planted in failure.detail for planted in ("1.25", "1.23", "25.5", "999", "usd", "sk-or"))

    (snapshot,) = answered.snapshots
    assert snapshot.key_hash == hash_of(OTHER_KEY)
    assert snapshot.credits == Reading(25_500_000_000, 1_500_000_000, 0, 0)
    assert (capfd.readouterr(), caplog.records) == (("", ""), [])


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(
    ("written", "nanos"),
    [
        ("0", 0),
        ("-0", 0),
        ("-0.0", 0),
        ("-0e5", 0),
        ("1", 10**9),
        ("1E2", 100 * 10**9),
        ("1e-9", 1),
        ("5e-10", 0),
        ("15e-10", 2),
        ("0.0000000025", 2),
        ("0.00000000250000000000000000000000000000000000000000000001", 3),
        ("1e-999999999", 0),
        ("0.30000000000000004", 300_000_000),
        ("3.17561396", 3_175_613_960),
        ("29.9999982", 29_999_998_200),
        ("123456789.123456789", 123_456_789_123_456_789),
        ("4503599.627370497", 4_503_599_627_370_497),
        ("999999999.9999999994", 10**18 - 1),
        ("1000000000", 10**18),
        ("1000000000.000", 10**18),
        ("0." + "3" * 5000, 333_333_333),
    ],
)
def test_a_counter_is_exact_to_the_nano_dollar(counter, written, nanos):
    (snapshot,) = poll(lambda *_: body_answer(with_value(counter, written))).snapshots
    expected = {"usage": 25_500_000_000, "usage_daily": 1_500_000_000, "byok_usage": 17_380_000_000, counter: nanos}
    assert counters_of(snapshot) == {name: expected.get(name, 0) for name in COUNTERS}


def test_every_counter_lands_in_its_own_place():
    (snapshot,) = poll(lambda *_: json_answer(good(**{name: n for n, name in enumerate(COUNTERS, 1)}))).snapshots
    assert snapshot.credits == Reading(1 * 10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9)
    assert snapshot.byok == Reading(5 * 10**9, 6 * 10**9, 7 * 10**9, 8 * 10**9)


@pytest.mark.parametrize(
    "body",
    [
        codecs.BOM_UTF8 + GOOD_BODY,
        b"\r\n " + GOOD_BODY + b" \n",
        json.dumps(good(budgets=[{"limit_usd": 100}], new_field={"usage": "x"}, usage_total=-1)).encode(),
        json.dumps(good() | {"openrouter_metadata": None}).encode(),
        json.dumps(good(limit="[" * 5000)).encode(),
        GOOD_BODY.ljust(1 << 20),
    ],
    ids=["BOM", "white space", "new fields", "new fields outside data", "brackets in a string", "1 MiB to the byte"],
)
def test_what_is_unusual_but_sound_is_read(body):
    (snapshot,) = poll(lambda *_: body_answer(body)).snapshots
    assert snapshot.credits.total_nanos == 25_500_000_000


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("sk-or-v1-abc...123", "sk-or-v1-abc...123"),
        ("Zoë's 🔑", "Zoë's 🔑"),
        ("a\x00b\x1b[31m\x7f\x9b\r\n", "a�b�[31m����"),
        ("\ud800x\udfff", "�x�"),
        ("\u202eright to left\u2069\u2028", "�right to left��"),
        ("x" * 5000, "x" * 80),
        ("", ""),
        (None, None),
        (f"my {KEY}!", None),
        ("x" * 60 + KEY, None),
    ],
    ids=range(10),
)
def test_a_label_is_made_presentable_and_never_repeats_the_key(label, shown):
    (snapshot,) = poll(lambda *_: json_answer(good(label=label))).snapshots
    assert snapshot.label == shown


def test_a_label_may_be_missing():
    value = good()
    del value["data"]["label"]
    (snapshot,) = poll(lambda *_: json_answer(value)).snapshots
    assert snapshot.label is None


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", "application/json;x"],
)
def test_json_goes_by_several_names(content_type):
    (snapshot,) = poll(lambda *_: typed_answer(content_type)).snapshots
    assert snapshot.credits.total_nanos == 25_500_000_000


@pytest.mark.parametrize(
    ("content_type", "detail"),
    [
        ("text/html; charset=UTF-8", "HTML where JSON was asked for"),
        *[
            (other, "another content type where JSON was asked for")
            for other in ("text/plain", "", "application/jsonp", "json", "application/json, text/html", f"text/{KEY}")
        ],
    ],
    ids=range(7),
)
def test_a_body_that_does_not_call_itself_json_is_not_read(content_type, detail):
    answered = poll(lambda *_: typed_answer(content_type))
    assert answered.snapshots == ()
    assert [(f.reason, f.detail) for f in answered.failures] == [(FailureReason.NOT_JSON, detail)]


def test_gzip_is_read_although_it_was_not_asked_for():
    packed = gzip.compress(GOOD_BODY)
    (snapshot,) = poll(lambda *_: raw_answer(packed, "gzip")).snapshots
    assert snapshot.credits.total_nanos == 25_500_000_000


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (GOOD_BODY, "gzip", FailureReason.NOT_JSON),
        (gzip.compress(GOOD_BODY)[:-9], "gzip", FailureReason.UNAVAILABLE),
        (b"", "gzip", FailureReason.UNAVAILABLE),
        (gzip.compress(GOOD_BODY) * 2, "gzip", FailureReason.NOT_JSON),
        (gzip.compress(GOOD_BODY.ljust((1 << 20) + 1)), "gzip", FailureReason.TOO_LARGE),
        (gzip.compress(gzip.compress(GOOD_BODY)), "gzip, gzip", FailureReason.UNEXPECTED_ANSWER),
        (GOOD_BODY, "br", FailureReason.UNEXPECTED_ANSWER),
        (GOOD_BODY, "deflate", FailureReason.UNEXPECTED_ANSWER),
        (GOOD_BODY, KEY, FailureReason.UNEXPECTED_ANSWER),
    ],
    ids=["not gzip", "cut off", "empty", "two", "a bomb", "twice", "br", "deflate", "a key"],
)
def test_an_encoding_that_is_not_kept_to_or_not_known_is_refused(body, encoding, reason):
    answered = poll(lambda *_: raw_answer(body, encoding))
    assert answered.snapshots == ()
    assert [failure.reason for failure in answered.failures] == [reason]
    assert KEY not in answered.failures[0].detail


# --- Fuzzing -------------------------------------------------------------------------------------------------------


def check_that_it_is_exact_or_refused(body: bytes):
    answered = poll(lambda *_: body_answer(body))
    if answered.failures:
        (failure,) = answered.failures
        assert answered.snapshots == ()
        assert failure.detail.isprintable()
        assert not failure.detail.endswith(("Error", "Exception"))  # a class name is what the unexpected is told by
    else:
        (snapshot,) = answered.snapshots
        data = json.loads(body.decode("utf-8-sig"), parse_float=Decimal)["data"]
        assert counters_of(snapshot) == {name: nanos_by_fractions(data[name]) for name in COUNTERS}


def nanos_by_fractions(usd: Decimal | int) -> int:
    """Return what `core.money` should say, computed another way."""
    if isinstance(usd, Decimal) and usd.adjusted() < -1000:
        return 0
    return round(Fraction(usd) * 10**9)  # Python rounds a Fraction half-even


def counters_of(snapshot):
    both = (snapshot.credits, snapshot.byok)
    found = [n for r in both for n in (r.total_nanos, r.daily_nanos, r.weekly_nanos, r.monthly_nanos)]
    return dict(zip(COUNTERS, found, strict=True))


@given(st.binary(max_size=2000))
@example(b"")
def test_bytes_of_any_kind_are_exact_or_refused(body):
    check_that_it_is_exact_or_refused(body)


@st.composite
def damaged_bodies(draw):
    body = GOOD_BODY
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 30)))
        piece = draw(
            st.one_of(st.just(b""), st.binary(max_size=4), st.sampled_from([b"[", b"{", b'"', b"-", b"e9", b"0"]))
        )
        body = draw(st.sampled_from([body[:start] + piece + body[end:], body[:end] + body[start:]]))
    return body


@given(damaged_bodies())
def test_a_damaged_body_is_exact_or_refused(body):
    check_that_it_is_exact_or_refused(body)


NUMBERS = st.one_of(
    st.integers(-10, 2 * 10**9).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda d: f"{d:E}"),
    st.floats(0, 2e9).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,10})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


@given(st.fixed_dictionaries(dict.fromkeys(COUNTERS, st.one_of(NUMBERS, st.sampled_from(sorted(WRONG_VALUES))))))
def test_counters_of_any_spelling_are_exact_or_refused(written):
    body = json.dumps({"data": {name: f"@{name}@" for name in written}})
    for name, value in written.items():
        body = body.replace(f'"@{name}@"', value)
    check_that_it_is_exact_or_refused(body.encode())


@given(st.fixed_dictionaries(dict.fromkeys(COUNTERS, NUMBERS)))
def test_sound_counters_are_never_refused(written):
    assume(all(0 <= Decimal(value) <= 10**9 for value in written.values()))
    body = json.dumps({"data": {name: f"@{name}@" for name in written}})
    for name, value in written.items():
        body = body.replace(f'"@{name}@"', value)
    assert poll(lambda *_: body_answer(body.encode())).failures == ()
    check_that_it_is_exact_or_refused(body.encode())


@pytest.mark.long
@given(st.one_of(damaged_bodies(), st.binary(max_size=10_000), st.text().map(str.encode)))
def test_a_great_many_damaged_bodies_are_exact_or_refused(body):
    for encoding in (b"%s", b'{"data": %s}', b'{"data": {"usage": %s}}'):
        check_that_it_is_exact_or_refused(encoding.replace(b"%s", body))


def typed_answer(content_type):
    answer = body_answer(GOOD_BODY)
    answer.headers["Content-Type"] = content_type
    return answer


def raw_answer(body, encoding):
    # Built empty, because httpx decodes a body it is given.
    answer = body_answer(b"", headers=[("Content-Encoding", encoding)])
    answer.stream = body_answer(body).stream
    return answer
