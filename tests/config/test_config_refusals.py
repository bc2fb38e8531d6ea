"""A wrong configuration is answered with the setting, where it was set and what would do, and no word of its text."""

import json
import os
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reckon.config import load
from reckon.config.settings import LEAVES
from reckon.errors import ConfigError
from tests.canary import CANARIES, DYE

SECRET = CANARIES["inference_key"]
HEX = CANARIES["http_token"]

# No setting accepts any of these, whatever it is.
WRONG_FOR_ALL = {
    "text with a bell": json.dumps(f"{SECRET}\a"),
    "blanks around text": json.dumps(f"\t{SECRET} {HEX}"),
    "a list": f'["{SECRET}", 0.5]',
    "a table": f'{{ "{SECRET}" = "{SECRET}" }}',
    "a date": "1979-05-27T07:32:00Z",
    "not a number": "nan",
}

WRONG_FOR_ONE = {
    "timezone": [
        '""',
        '"Mars/Olympus"',
        '"europe/vienna"',
        '"../../etc/passwd"',
        f'"{SECRET}"',
        '"CET6CETX"',
        "1",
        "true",
    ],
    "store.url": [
        '""',
        '"reckon.db"',
        '"sqlite://"',
        '"sqlite:///"',
        '"sqlite:///:memory:"',
        '"sqlite:///file::memory:?cache=shared"',
        '"sqlite:///a.db?mode=memory"',
        f'"sqlite:///{SECRET}"',
        '"sqlite+aiosqlite:///a.db"',
        '"mysql://h/d"',
        '"postgresql+asyncpg://h/d"',
        '"postgresql://"',
        f'"postgresql://u:{HEX}@h:port/d"',
        f'"postgresql://u:{HEX}@h:99999/d"',
        f'"postgresql://u:{CANARIES["postgres_password"]}@h/d"',
        f'"postgresql://u:1#{HEX}@h/d"',
        f'"{SECRET}"',
        "5",
    ],
    "store.lease": ['"0"', '"30"', '"30 s"', '"1.5s"', '"-30s"', '"30S"', '"100ms"', '"2h"', '"29s"', "30", f'"{HEX}"'],
    "openrouter.base_url": [
        '""',
        '"openrouter.ai/api/v1"',
        '"http://openrouter.ai/api/v1"',
        '"http://127.0.0.1.example/api"',
        '"http://localhost.example/api"',
        '"http://0.0.0.0/api"',
        '"ftp://127.0.0.1/"',
        f'"https://user:{HEX}@openrouter.ai/api/v1"',
        f'"https://openrouter.ai/api/v1?key={SECRET}"',
        f'"https://openrouter.ai/api/v1#{SECRET}"',
        '"https://"',
        '"https://[::1/"',
        '"https://h:0/"',
        '"https://h:99999/"',
        '"https://h:port/"',
        '"https://a b/"',
        '"https://-/"',
    ],
    "openrouter.management_key": [
        '""',
        '"short"',
        '"env:"',
        '"evn:NAME"',
        '"file:relative"',
        '"credential:a/b"',
        '"command:"',
        f'"sealed:{HEX}"',
        f'"Bearer {SECRET}"',
        f'"env:{SECRET}"',
        "1",
    ],
    "openrouter.timeout": ['"0"', '"99ms"', '"6m"', '"15"', "15", '"fifteen"', '"15s "'],
    "poll.every": [
        '"0"',
        '"999ms"',
        '"2d"',
        '"1w"',
        '"1m30s"',
        '"٣s"',
        '"01s"',
        '"1e3s"',
        "60",
        '"999999999999d"',
        '""',
    ],
    "poll.credits_every": ['"999ms"', '"31d"', '"00"', "0"],
    "poll.sweep_every": ['"500ms"', '"25h"', "0", "false"],
    "poll.concurrency": ["0", "-1", "257", '"32"', "32.0", "true", "999999999999999999999999", f'"{HEX}"'],
    "staleness.after": ['"0"', '"1ms"', '"31d"', "600"],
    "settle.schedule": ["[]", '["0"]', '["1s", 2]', '["1s", "99ms"]', '"1s"', '["31d"]', json.dumps(["1s"] * 51)],
    "ingest.spool": ['""', '" "', f'"{SECRET}"', "1"],
    "anomaly.preset": ['"guarded"', '"quick"', '"quiet"', '"Sigma"', '""', f'"{HEX}"', "1"],
    "anomaly.sigma": ["0", "-3", "100.5", "inf", '"3"', "true", "1e400"],
    "anomaly.min_history": ["0", "366", "7.5", '"7"'],
    "anomaly.min_usd": ["-0.01", "1000000001", "0.0000000001", "inf", '"1"', "false"],
    "anomaly.byok": ['"true"', "1", "0", '""'],
    "anomaly.newcomer": ['"on"', "1"],
    "anomaly.price": ['"off"', "0"],
    "alerts.repeat_every": ['"59s"', '"31d"', "0", '""'],
    "slack.bot_token": [f'"xoxb {HEX}"', '"env:1"', "1"],
    "slack.app_token": ['"file:x"', '"op:x"', "1"],
    "slack.webhook_url": ['"command:echo \'"', '"credential:"', "1"],
    "slack.channel": ['""', '"two words"', '"<!channel>"', f'"{CANARIES["slack_bot_token"]}"', "1"],
    "slack.api_url": ['"http://slack.com/api/"', '"slack.com"', f'"{CANARIES["slack_webhook_url"]}?x"', "1"],
    "digest.daily": ['"9:00"', '"24:00"', '"09:60"', '"0900"', '"mon 09:00"', "9", '" "', "09:00:00"],
    "digest.weekly": ['"09:00"', '"monday 09:00"', '"Mon 09:00"', '"mon"', '"mon  09:00"', '"mon 25:00"', "1"],
    "digest.monthly": ['"0 09:00"', '"29 09:00"', '"31 09:00"', '"01 09:00"', '"09:00"', '"1 9:00"', "1"],
    "http.listen": [
        '"8787"',
        '":8787"',
        '"127.0.0.1"',
        '"127.0.0.1:65536"',
        '"127.0.0.1:port"',
        '"::1:8787"',
        '"[::zz]:8787"',
        '"http://127.0.0.1:8787"',
        '"0.0.0.0:8787"',
        '"[::]:8787"',
        '"localhost.example:8787"',
        "8787",
    ],
    "http.token": ['"short"', f'"{HEX} {HEX}"', "1"],
    "log.level": ['"INFO"', '"trace"', '""', "20"],
    "log.format": ['"xml"', '""', "true"],
    "retention.snapshots": ['"23h"', '"36501d"', "90", '""'],
    "retention.windows": ['"1h"', '"-1d"', "800"],
    "owners.dana.name": ['""', '" dana"', '"da\\u202ena"', json.dumps("x" * 81), f'"{SECRET}"', f'"{HEX}"', "1"],
    "owners.dana.slack": ['"dana"', '"@dana"', '"<@U1>"', '"u012"', f'"{CANARIES["slack_app_token"]}"', "1"],
    "owners.dana.team": ['""', f'"{SECRET}"', "1"],
    "owners.dana.budget": ["300", '"300"', "[300]"],
    "owners.dana.budget.day": ["0", "-1", '"1"', "true", "1000000001", "0.0000000001", "inf"],
    "owners.dana.budget.month": ["0", "-0.0", "1e-400", "1e400"],
    "owners.dana.budget.warn": ["[]", "[50, 50]", "[80, 50]", "[0]", "[1001]", '["50"]', "[50.5]", "[true]", "50"],
    "owners.dana.budget.byok": ['"yes"', "1"],
    "owners.dana.keys": ['"env:A"', f'{{ name = "{HEX}" }}', f'["{SECRET}"]', "1"],
    "owners.dana.match": ['"ci-*"', "[]", "1"],
    "owners.dana.match.name": ['""', f'"{SECRET}"', "1"],
    "owners.dana.match.workspace": ['""', "1"],
    "owners.dana.match.creator": ['""', "[]"],
    "teams.core.channel": ['""', '"a b"', "1"],
    "teams.core.budget": ["1", "[]"],
    "teams.core.budget.week": ["0", '"9"', "[9]"],
}

WHOLE_FILES = {
    "a key nobody knows": (f'slakc = "{SECRET}"', "slakc", "nearest is slack"),
    "a misspelt setting": (f'[poll]\nevry = "{SECRET}"', "poll.evry", "nearest is poll.every"),
    "a setting in the wrong table": (f'[poll]\ntimeout = "{SECRET}"', "poll.timeout", "nearest is openrouter.timeout"),
    "a misspelt owner setting": (
        f'[owners.dana]\nteem = "{SECRET}"',
        "owners.dana.teem",
        "nearest is owners.dana.team",
    ),
    "a misspelt key setting": (
        f'[owners.dana]\nkeys = [{{ name = "a", kee = "{SECRET}" }}]',
        "owners.dana.keys[0].kee",
        "nearest is owners.dana.keys[0].key",
    ),
    "a secret as the name of a setting": (f'[poll]\n{SECRET} = "60s"', "poll.(a name not shown)", "nearest is poll."),
    "a token as the name of a table": (f"[{HEX}]", "(a name not shown)", "nearest is "),
    "a secret as an owner": (f"[owners.{SECRET}]", "owners.(a name not shown)", "an id of 1 to 80"),
    "an empty owner": ('[owners.""]', "owners.(a name not shown)", "an id of 1 to 80"),
    "an owner with a newline": ('[owners."a\\nb"]', "owners.(a name not shown)", "an id of 1 to 80"),
    "an owner who would pass for nobody": ('[owners."(unowned)"]', 'owners."(unowned)"', "not beginning with `(`"),
    "an owner with too long a name": (f"[owners.{'x' * 81}]", "owners.(a name not shown)", "an id of 1 to 80"),
    "a table where a value stands": ("store = 5", "store", "a table of url, lease"),
    "a value where owners stand": ("owners = 5", "owners", "one table for each id"),
    "a value where an owner stands": ("[owners]\ndana = 5", "owners.dana", "a table of name, slack"),
    "a list of owners": (f'[[owners]]\nname = "{HEX}"', "owners", "one table for each id"),
    "a key without a name": (
        f'[owners.dana]\nkeys = [{{ key = "{SECRET}" }}]',
        "owners.dana.keys[0].name",
        "is missing; accepts a name",
    ),
    "a key without a secret": ('[owners.dana]\nkeys = [{ name = "a" }]', "owners.dana.keys[0]", "exactly one of"),
    "a key with a secret and a hash": (
        f'[owners.dana]\nkeys = [{{ name = "a", key = "{SECRET}", hash = "{"0" * 64}" }}]',
        "owners.dana.keys[0]",
        "exactly one of",
    ),
    "a key with a short hash": (
        f'[owners.dana]\nkeys = [{{ name = "a", hash = "{HEX}" }}]',
        "owners.dana.keys[0].hash",
        "64 hexadecimal digits",
    ),
    "a secret instead of a hash": (
        f'[owners.dana]\nkeys = [{{ name = "a", hash = "{SECRET}" }}]',
        "owners.dana.keys[0].hash",
        "64 hexadecimal digits",
    ),
    "a secret instead of a name": (
        f'[owners.dana]\nkeys = [{{ name = "{SECRET}", key = "env:A" }}]',
        "owners.dana.keys[0].name",
        "accepts a name",
    ),
    "two keys of one name": (
        '[owners.dana]\nkeys = [{ name = "a", key = "env:A" }, { name = "a", key = "env:B" }]',
        "owners.dana",
        "keys[0] and keys[1] have the same name",
    ),
    "a lease that a slow answer outlives": (
        '[store]\nlease = "30s"\n[openrouter]\ntimeout = "16s"',
        "store.lease",
        "at least twice openrouter.timeout",
    ),
}


def assignment(setting: str, value: str) -> str:
    """Return a file in which only *setting* is set, and what else its table needs."""
    *table, name = setting.split(".")
    if table == ["owners", "dana", "keys"]:
        others = {"name": 'key = "env:A"', "key": 'name = "a"', "hash": 'name = "a"'}[name]
        return f"[[owners.dana.keys]]\n{others}\n{name} = {value}\n"
    return (f"[{'.'.join(table)}]\n" if table else "") + f"{name} = {value}\n"


def told_as(setting: str) -> str:
    return setting.replace("owners.dana.keys.", "owners.dana.keys[0].")


def concrete(setting: tuple[str, ...]) -> str:
    ids = {"owners": "dana", "teams": "core"}
    return ".".join(ids[setting[0]] if step == "<id>" else step for step in setting)


def wrong_values() -> Iterator[pytest.param]:
    for setting in map(concrete, LEAVES):
        for kind, value in WRONG_FOR_ALL.items():
            yield pytest.param(setting, value, id=f"{setting}: {kind}")
    for setting, values in WRONG_FOR_ONE.items():
        for number, value in enumerate(values):
            yield pytest.param(setting, value, id=f"{setting}: {number}")


WRONG_VALUES = list(wrong_values())


def everything_told(error: BaseException) -> str:
    """Return all that a traceback, a log or a debugger could show of the error."""
    assert error.__cause__ is None
    assert error.__context__ is None
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)


def test_there_are_at_least_two_hundred_wrong_configurations():
    assert len(WRONG_VALUES) + len(WHOLE_FILES) >= 200


@pytest.mark.parametrize(("setting", "value"), WRONG_VALUES)
def test_a_wrong_value_is_refused_by_the_name_of_its_setting_and_never_repeated(configure, tmp_path, setting, value):
    with pytest.raises(ConfigError) as caught:
        configure(assignment(setting, value))
    lines = str(caught.value).splitlines()
    assert all(line.startswith(told_as(setting)) for line in lines)
    assert all(f"({tmp_path}/reckon.toml): " in line and "accepts " in line for line in lines)
    assert DYE not in everything_told(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "reckon.toml"]


@pytest.mark.parametrize(("text", "setting", "accepted"), WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_a_wrong_file_is_refused_with_what_would_be_accepted(configure, tmp_path, text, setting, accepted):
    with pytest.raises(ConfigError) as caught:
        configure(text)
    assert str(caught.value).startswith(f"{setting} ({tmp_path}/reckon.toml): ")
    assert accepted in str(caught.value)
    assert DYE not in everything_told(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "reckon.toml"]


def test_all_problems_are_told_at_once_rules_between_settings_included(configure, tmp_path):
    with pytest.raises(ConfigError) as caught:
        configure(
            f'slakc = "{SECRET}"\n[store]\nlease = "5s"\n[poll]\nevery = 60\n[http]\nlisten = "0.0.0.0:80"\n',
            {"RECKON_LOG__LEVEL": SECRET, "RECKON_LGO": "x"},
        )
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        f"poll.every ({tmp_path}/reckon.toml)",
        "log.level (RECKON_LOG__LEVEL)",
        f"slakc ({tmp_path}/reckon.toml)",
        f"store.lease ({tmp_path}/reckon.toml)",
        f"http.listen ({tmp_path}/reckon.toml)",
        "RECKON_LGO (environment)",
    ]


def test_a_rule_is_not_judged_by_a_setting_that_is_wrong_itself(configure):
    with pytest.raises(ConfigError) as caught:
        configure('[store]\nlease = "5s"\n[openrouter]\ntimeout = "2 s"\n')
    assert "store.lease" not in str(caught.value)


@pytest.mark.parametrize(
    ("zone", "named"), [("Europe/Viena", True), ("US/Nowhere", True), (HEX, False), (f"Europe/{SECRET}", False)]
)
def test_a_zone_that_is_not_installed_is_named_unless_it_could_be_a_secret(configure, zone, named):
    with pytest.raises(ConfigError) as caught:
        configure(f'timezone = "{zone}"')
    assert (zone in str(caught.value)) is named


class TestAFileThatIsNotToml:
    @pytest.mark.parametrize(
        ("text", "position"),
        [
            (f"timezone = {SECRET}", "line 1, column 12"),
            (f'[store]\nurl = "{SECRET}', "line 2, column"),
            (f"[poll]\n[poll]\n# {SECRET}", "line 2, column"),
            (f"['{SECRET}']\n['{SECRET}']", "line 2, column"),
            (f'a = "{SECRET}"\na = "{SECRET}"', "line 2, column"),
            (SECRET, "column"),
        ],
    )
    def test_is_refused_with_the_line_and_not_its_text(self, configure, tmp_path, text, position):
        with pytest.raises(ConfigError) as caught:
            configure(text)
        assert str(caught.value).startswith(f"{tmp_path}/reckon.toml: is not TOML")
        assert position in str(caught.value) or "end of document" in str(caught.value)
        assert DYE not in everything_told(caught.value)

    @pytest.mark.parametrize(
        "content", [b"\xff\xfe\x00", b"a = " + b"[" * 100_000, b"a = " + b"9" * 10_000, b"\x00", b"a = 1\x7f"]
    )
    def test_is_refused_whatever_is_in_it(self, tmp_path, content):
        (tmp_path / "reckon.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"reckon\.toml") as caught:
            load(None, {}, tmp_path)
        everything_told(caught.value)

    def test_is_refused_when_it_is_a_pipe_or_too_large(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ConfigError, match="regular file"):
            load(tmp_path / "pipe", {}, tmp_path)
        large = tmp_path / "large"
        large.touch()
        os.truncate(large, 1 << 30)
        with pytest.raises(ConfigError, match="at most"):
            load(large, {}, tmp_path)
        large.unlink()


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


NAMES = st.sampled_from(sorted({step for setting in LEAVES for step in setting} | {"dana", "slakc", "(x)"}))
TEXTS = st.sampled_from(
    ["", "0", "60s", "env:A", "UTC", "sigma", "mon 09:00", "https://h", "sqlite:///x", "1 09:00", "a"]
) | st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=20)
SCALARS = st.booleans() | st.integers(-5, 100_000) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@given(tree=st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=4) | VALUES, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_file_is_either_accepted_or_refused_in_our_words(tmp_path, tree):
    text = "\n".join(f"{json.dumps(name)} = {toml(value)}" for name, value in tree.items())
    path = tmp_path / "reckon.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    refusal = ""
    try:
        load(path, {}, tmp_path)
    except ConfigError as error:
        refusal = str(error)
    assert all(f"({path}): " in line or line.startswith(f"{path}: ") for line in refusal.splitlines())
