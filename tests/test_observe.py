"""Every line of the log is redacted, inert and its own, and no line is worth an exception."""

import io
import json
import logging
import math
import re
import tracemalloc

import httpx
import pytest
import structlog

from reckon.observe import Redactor, configure
from tests.canary import CANARIES, inference_key

SECRET = CANARIES["inference_key"]
STYLES = ("text", "json")


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {
        name: logging.getLogger(name).level for name in ("", "httpx", "httpcore", "sqlalchemy", "alembic", "asyncio")
    }
    yield
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


class Log:
    """Logging as a command sets it up, and what it wrote. The test bed's own listeners keep records raw: they go."""

    def __init__(self, style, *, level="debug", secrets=()):
        self.stream = io.StringIO()
        self.handler = configure(level=level, style=style, secrets=secrets, stream=self.stream)
        logging.getLogger().handlers = [self.handler]
        self.ours = structlog.get_logger()
        self.theirs = logging.getLogger("a.library")

    @property
    def text(self):
        return self.stream.getvalue()

    @property
    def events(self):
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


# --- What a line says ----------------------------------------------------------------------------------------------


def test_our_events_and_other_libraries_lines_come_from_one_chain():
    log = Log("json")
    log.ours.info("poll.committed", polled=20)
    log.theirs.warning("lost %s of %d", "one", 3)
    ours, theirs = log.events
    assert (ours["event"], ours["level"], ours["polled"]) == ("poll.committed", "info", 20)
    assert (theirs["event"], theirs["level"]) == ("lost one of 3", "warning")
    for event in (ours, theirs):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", event["timestamp"])


def test_text_is_one_readable_line_an_event():
    log = Log("text")
    log.ours.info("poll.committed", polled=20, key="laptop")
    log.theirs.warning("lost %s", "one")
    first, second = log.text.splitlines()
    assert re.search(r"\[info +\] poll\.committed +key=laptop polled=20$", first)
    assert re.search(r"\[warning +\] lost one$", second)
    assert "\x1b" not in log.text


def test_auto_is_text_on_a_terminal_and_json_elsewhere():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, begins_like_json in ((Terminal(), False), (io.StringIO(), True)):
        configure(level="info", style="auto", stream=stream)
        structlog.get_logger().info("poll.committed")
        assert stream.getvalue().startswith("{") == begins_like_json


def test_what_is_below_the_level_is_not_written():
    log = Log("json", level="warning")
    log.ours.info("poll.committed")
    log.theirs.info("hello")
    log.ours.error("poll.failed")
    assert [event["event"] for event in log.events] == ["poll.failed"]


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "sqlalchemy.engine.Engine", "alembic.runtime.migration"])
def test_libraries_that_print_urls_and_headers_are_held_to_warnings(name):
    log = Log("json", level="debug")
    logging.getLogger(name).info("request_headers=...")
    logging.getLogger(name).debug("request_headers=...")
    logging.getLogger(name).warning("pool exhausted")
    assert [event["event"] for event in log.events] == ["pool exhausted"]


def test_setting_up_twice_writes_each_line_once():
    Log("json")
    log = Log("json")
    log.ours.info("poll.committed")
    log.theirs.info("hello")
    assert len(log.events) == 2


# --- Secrets -------------------------------------------------------------------------------------------------------


class Holder:
    def __repr__(self):
        return f"Holder({SECRET})"


def test_a_loaded_secret_is_hidden_wherever_in_a_line_it_stands(style):
    log = Log(style, secrets=[SECRET])
    log.ours.info(f"asked with {SECRET}", key=SECRET, nested={"headers": [("authorization", f"Bearer {SECRET}")]})
    log.ours.info("asked", **{SECRET: 1}, holder=Holder())
    log.theirs.error("refused %s %r", SECRET, Holder())
    assert SECRET not in log.text
    assert SECRET[9:25] not in log.text
    assert log.text.count("[hidden]") >= 7


def test_a_secret_in_an_exception_is_hidden_and_no_local_variable_is_shown(style):
    log = Log(style, secrets=[SECRET])

    def fails(token):
        local_of_the_frame = "only-a-local-variable"
        raise ValueError(f"refused {token}") from KeyError(token, len(local_of_the_frame))

    for logger in (log.ours, log.theirs):
        try:
            fails(SECRET)
        except ValueError:
            logger.exception("poll.failed")
    assert log.text.count("ValueError: refused [hidden]") == 2
    assert "test_observe.py" in log.text
    assert SECRET not in log.text
    assert "only-a-local-variable" not in log.text


@pytest.mark.parametrize(
    "shape",
    [
        inference_key(7),
        CANARIES["management_key"],
        CANARIES["slack_bot_token"],
        CANARIES["slack_app_token"],
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_nobody_loaded_it(style, shape):
    log = Log(style)
    log.ours.warning("odd.value", found=f"x={shape};")
    log.theirs.warning("odd %s", shape)
    assert shape not in log.text
    assert log.text.count("[hidden]") == 2


def test_passwords_in_urls_and_webhook_paths_are_hidden_and_the_rest_stays():
    redact = Redactor()
    password = CANARIES["postgres_password"].replace("@", "%40").replace("/", "%2F").replace(":", "%3A")
    shown = redact(f"postgresql://reckon:{password}@db.example:5432/reckon and {CANARIES['slack_webhook_url']}")
    assert shown == "postgresql://[hidden]@db.example:5432/reckon and https://hooks.slack.com/services/[hidden]"


def test_a_secret_that_a_renderer_must_escape_is_hidden_all_the_same(style):
    secret = "quo\"ted\\ 'pass' Jürgen/+="
    log = Log(style, secrets=[secret])
    log.ours.info("asked", key=secret, nested=[secret], url=httpx.URL("https://h/", params={"k": secret}))
    log.theirs.info("asked %s %r", secret, secret)
    for fragment in ("xyzzy", "rgen", "pass"):
        assert fragment not in log.text, log.text


def test_of_two_secrets_one_within_the_other_both_go_whole():
    redact = Redactor(["short-secret", "short-secret-and-more", ""])
    assert redact("short-secret-and-more, short-secret") == "[hidden], [hidden]"


def test_a_secret_within_one_that_goes_by_its_shape_leaves_nothing_of_it():
    redact = Redactor(["sk-or-v1-0123456789abcdef", "456789ab"])
    assert redact("key sk-or-v1-0123456789abcdef, token 456789ab") == "key [hidden], token [hidden]"


def test_a_thousand_keys_cost_no_more_memory_than_one():
    keys = [inference_key(number) for number in range(1000)]
    re.purge()
    tracemalloc.start()
    try:
        redact = Redactor([*keys, "short-secret"])
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 100_000
    assert redact(f"{keys[0]} {keys[-1]} short-secret") == "[hidden] [hidden] [hidden]"


# --- Nothing in a name steers --------------------------------------------------------------------------------------


STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp\r\x00"


def test_a_name_from_elsewhere_steers_no_terminal(style):
    log = Log(style, secrets=[SECRET])
    log.ours.info(f"key.{STEERING}", owner=STEERING, spaced=f"a {STEERING}", nested=[STEERING], **{f"k{STEERING}": 1})
    log.theirs.info("key %s", STEERING)
    try:
        int(STEERING)
    except ValueError:
        log.ours.exception("poll.failed")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", log.text)
    assert "owned" in log.text


def test_a_new_line_in_a_name_begins_no_new_line(style):
    log = Log(style, secrets=[SECRET])
    forged = "laptop\n2026-11-20T00:00:00Z [info     ] poll.committed spend_usd=0\r\u2028x"
    log.ours.info(f"key.failed {forged}", key=forged, nested=[forged])
    log.theirs.info("key %s", forged)
    assert len(log.text.splitlines()) == 2


def test_letters_of_any_language_stay_letters_in_text():
    log = Log("text")
    log.ours.info("key.failed", owner="Jürgen日本🎉")
    assert "owner=Jürgen日本🎉" in log.text


# --- No line is worth an exception ---------------------------------------------------------------------------------


class Unshowable:
    def __repr__(self):
        raise RuntimeError("no")


class Bottomless:
    def __repr__(self):
        return repr([self])


def test_a_value_that_cannot_be_shown_is_named_by_its_type_and_the_line_stays(style):
    log = Log(style, secrets=[SECRET])
    log.ours.info("poll.committed", odd=Unshowable(), deeper=Bottomless(), polled=20)
    assert "Unshowable that cannot be shown" in log.text
    assert "Bottomless that cannot be shown" in log.text
    assert "20" in log.text
    assert log.handler.dropped == 0


@pytest.mark.parametrize("odd", [Unshowable(), Bottomless()], ids=["raises", "recurses"])
def test_a_line_that_cannot_be_rendered_is_counted_and_the_next_one_is_written(style, odd):
    log = Log(style)
    log.theirs.info("odd %s", odd)
    log.theirs.info("too few %s %s", 1)
    assert (log.text, log.handler.dropped) == ("", 2)
    log.theirs.info("fine")
    assert "fine" in log.text


def test_values_that_json_does_not_know_are_told_as_text():
    circular = []
    circular.append(circular)
    log = Log("json")
    log.ours.info(
        "odd.values",
        nan=math.nan,
        inf=-math.inf,
        nested={"x": math.nan},
        pairs={(1, 2): 3},
        raw=b"\xff",
        circular=circular,
    )
    (event,) = [json.loads(line, parse_constant=pytest.fail) for line in log.text.splitlines()]
    assert (event["nan"], event["inf"], event["nested"]) == ("nan", "-inf", "{'x': nan}")
    assert (event["pairs"], event["raw"], event["circular"]) == ("{(1, 2): 3}", "b'\\xff'", "[[...]]")


@pytest.mark.parametrize("value", [None, True, 0, -1, 10**30, 1.5, "", "\ud800", [], {}, {"a": [None]}])
def test_values_that_json_knows_are_told_as_they_are(value):
    log = Log("json")
    log.ours.info("odd.values", value=value)
    assert log.events[0]["value"] == value


def test_a_closed_stream_stops_nobody(style):
    log = Log(style, secrets=[SECRET])
    log.stream.close()
    log.ours.info("poll.committed")
    log.theirs.info("hello")
    assert log.handler.dropped == 2


class Full(io.StringIO):
    room = False

    def write(self, text):
        if not self.room:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_full_disk_stops_nobody_and_the_log_goes_on_when_there_is_room_again():
    stream = Full()
    handler = configure(level="info", style="json", stream=stream)
    structlog.get_logger().info("poll.committed", n=1)
    assert handler.dropped == 1
    stream.room = True
    structlog.get_logger().info("poll.committed", n=2)
    assert [json.loads(line)["n"] for line in stream.getvalue().splitlines()] == [2]


def test_a_letter_that_the_stream_cannot_write_costs_that_line_alone():
    raw = io.BytesIO()
    handler = configure(level="info", style="text", stream=io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    structlog.get_logger().info("key.failed", owner="日本")
    structlog.get_logger().info("key.failed", owner="plain")
    assert handler.dropped == 1
    assert b"plain" in raw.getvalue()
