import pickle
import re
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from reckon.config import Listen, MonthlyTime, Settings, WeeklyTime, find, load, origins, unbuilt
from reckon.config.grammar import Unread, duration_text, read_duration
from reckon.errors import ConfigError
from tests.canary import CANARIES, DYE

SECRET = CANARIES["inference_key"]


class TestWhereTheFileIsFound:
    @pytest.fixture
    def places(self, tmp_path):
        """Every place there is, in the order they are looked at; `/etc` is not ours to write to."""
        places = {
            "explicit": tmp_path / "explicit.toml",
            "variable": tmp_path / "variable.toml",
            "here": tmp_path / "here" / "reckon.toml",
            "xdg": tmp_path / "xdg" / "reckon" / "config.toml",
        }
        for path in places.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return places

    @pytest.mark.parametrize("first", [0, 1, 2, 3])
    def test_the_first_that_is_there_is_taken(self, tmp_path, places, first):
        names = list(places)
        environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
        if first <= 1:
            environ["RECKON_CONFIG"] = str(places["variable"])
        if first > 2:
            places["here"].unlink()
        explicit = places["explicit"] if first == 0 else None
        assert find(explicit, environ, tmp_path / "here") == places[names[first]]

    def test_the_home_directory_stands_in_for_xdg(self, tmp_path):
        path = tmp_path / ".config" / "reckon" / "config.toml"
        path.parent.mkdir(parents=True)
        path.touch()
        assert find(None, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}, tmp_path) == path

    def test_none_at_all_leaves_the_defaults(self, tmp_path):
        assert find(None, {"HOME": str(tmp_path)}, tmp_path) is None
        settings = load(None, {"HOME": str(tmp_path)}, tmp_path)
        assert settings.poll == Settings().poll
        assert {row.origin for row in origins(settings)} == {"default"}

    def test_a_named_file_that_is_not_there_is_an_error(self, tmp_path):
        for explicit, environ in [(Path("none.toml"), {}), (None, {"RECKON_CONFIG": "none.toml"})]:
            with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/none.toml") + ".*no such file"):
                load(explicit, environ, tmp_path)

    def test_a_relative_name_is_taken_from_here(self, tmp_path):
        (tmp_path / "mine.toml").write_text('timezone = "Asia/Kathmandu"')
        assert load(Path("mine.toml"), {}, tmp_path).timezone.key == "Asia/Kathmandu"

    def test_an_empty_variable_names_no_file(self, tmp_path):
        assert find(None, {"RECKON_CONFIG": "", "HOME": str(tmp_path)}, tmp_path) is None

    def test_a_byte_order_mark_is_no_reason_to_refuse_it(self, configure):
        assert configure('\ufefftimezone = "Europe/Vienna"').timezone.key == "Europe/Vienna"


class TestWhatIsRead:
    def test_every_kind_of_value(self, configure):
        settings = configure(
            """
            timezone = "Europe/Vienna"
            [store]
            url = "postgres://u:p%40@db:5432/ledger?sslmode=require"
            lease = "2m"
            [openrouter]
            base_url = "http://127.0.0.1:8080/api/v1/"
            management_key = "env:MANAGEMENT"
            timeout = "500ms"
            [poll]
            credits_every = "0"
            concurrency = 256
            [settle]
            schedule = ["1s", "24h"]
            [anomaly]
            sigma = 2
            min_usd = 0.1
            byok = false
            [slack]
            api_url = "https://slack.example/api"
            [digest]
            daily = ""
            weekly = "fri 17:30"
            monthly = "28 00:00"
            [http]
            listen = "[::1]:0"
            [owners."Ravi K."]
            slack = "U012ABCDEF"
            budget = { day = 1.5, month = 300 }
            match = { name = "ci-*" }
            keys = [{ name = "ci", hash = "HASH" }]
            [teams.core]
            channel = "#spend"
            """.replace("HASH", "AB" * 32)
        )
        assert settings.timezone == ZoneInfo("Europe/Vienna")
        assert settings.store.url.get_secret_value() == "postgresql+psycopg://u:p%40@db:5432/ledger?sslmode=require"
        assert settings.store.lease == timedelta(minutes=2)
        assert settings.openrouter.base_url == "http://127.0.0.1:8080/api/v1"
        assert str(settings.openrouter.management_key) == "env:MANAGEMENT"
        assert settings.openrouter.timeout == timedelta(milliseconds=500)
        assert settings.poll.credits_every == timedelta()
        assert settings.poll.concurrency == 256
        assert settings.settle.schedule == (timedelta(seconds=1), timedelta(days=1))
        assert settings.anomaly.sigma == 2.0
        assert settings.anomaly.min_usd == Decimal("0.1")
        assert settings.anomaly.byok is False
        assert settings.slack.api_url == "https://slack.example/api/"
        assert settings.digest.daily is None
        assert settings.digest.weekly == WeeklyTime(4, time(17, 30))
        assert settings.digest.monthly == MonthlyTime(28, time(0))
        assert settings.http.listen == Listen("::1", 0)
        ravi = settings.owners["Ravi K."]
        assert ravi.budget.day == Decimal("1.5")
        assert ravi.budget.month == 300
        assert ravi.budget.warn == (50, 80, 100)
        assert ravi.match.name == "ci-*"
        assert ravi.keys[0].hash == "ab" * 32
        assert settings.teams["core"].channel == "#spend"

    @pytest.mark.parametrize("listen", ["0.0.0.0:8787", "[::]:80", "192.168.1.2:80", "reckon.internal:80"])
    def test_the_network_is_listened_to_only_with_a_token(self, configure, listen):
        with pytest.raises(ConfigError, match=r"http\.listen .* only with http\.token set"):
            configure(f'http = {{ listen = "{listen}" }}')
        assert not configure(f'http = {{ listen = "{listen}", token = "env:TOKEN" }}').http.listen.is_loopback

    @pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1"])
    def test_this_machine_is_listened_to_without_a_token(self, configure, listen):
        assert configure(f'http = {{ listen = "{listen}" }}').http.listen.is_loopback

    def test_nothing_is_opened(self, configure):
        settings = configure('[owners.dana]\nkeys = [{ name = "a", key = "command:false" }]', {"NOTHING": ""})
        assert str(settings.owners["dana"].keys[0].key) == "command:false"

    def test_what_is_read_is_frozen(self, configure):
        settings = configure("[owners.dana]")
        with pytest.raises(ValidationError, match="frozen"):
            settings.poll.concurrency = 3
        with pytest.raises(TypeError):
            settings.owners["mallory"] = settings.owners["dana"]


class TestWhatFollowsFromOtherSettings:
    def test_staleness_is_never_less_than_three_polls(self, configure):
        assert configure("").staleness.after == timedelta(minutes=10)
        assert configure('poll = { every = "10m" }').staleness.after == timedelta(minutes=30)
        assert configure('poll = { every = "10m" }\nstaleness = { after = "1m" }').staleness.after == timedelta(
            minutes=30
        )
        assert configure('poll = { every = "1s" }\nstaleness = { after = "4s" }').staleness.after == timedelta(
            seconds=4
        )

    def test_a_lease_nobody_set_outlives_two_answers(self, configure):
        assert configure('openrouter = { timeout = "1m" }').store.lease == timedelta(minutes=2)
        assert configure('openrouter = { timeout = "1s" }').store.lease == timedelta(seconds=30)

    @pytest.mark.parametrize("url", [None, "sqlite:///sub/../reckon.db", "sqlite:////srv/reckon.db"])
    def test_a_relative_database_lies_in_the_state_directory_or_beside_the_file(self, configure, tmp_path, url):
        text = f'store = {{ url = "{url}" }}' if url else ""
        path = (url or "sqlite:///reckon.db").removeprefix("sqlite:///")
        for environ, base in [({}, tmp_path), ({"STATE_DIRECTORY": "/var/lib/reckon:/var/lib/b"}, "/var/lib/reckon")]:
            found = configure(text, environ).store.url.get_secret_value()
            assert found == f"sqlite:///{Path(base) / path}"

    def test_without_a_file_a_relative_database_lies_here(self, tmp_path):
        settings = load(None, {"HOME": str(tmp_path)}, tmp_path)
        assert settings.store.url.get_secret_value() == f"sqlite:///{tmp_path}/reckon.db"

    def test_a_database_beside_a_file_elsewhere_lies_there(self, tmp_path):
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "x.toml").touch()
        settings = load(tmp_path / "etc" / "x.toml", {"RECKON_INGEST__SPOOL": "in"}, tmp_path)
        assert settings.store.url.get_secret_value() == f"sqlite:///{tmp_path}/etc/reckon.db"
        assert settings.ingest.spool == tmp_path / "etc" / "in"

    @pytest.mark.parametrize("name", ["100%41", "%", "50% off", "%2541"])
    def test_a_directory_with_a_percent_sign_is_the_one_that_is_meant(self, tmp_path, name):
        for url, path in [
            ("sqlite:///reckon.db", f"{tmp_path}/{name}/reckon.db"),
            ("sqlite:///a%20b.db", f"{tmp_path}/{name}/a b.db"),
            ("sqlite:////srv/a%20b.db", "/srv/a b.db"),
        ]:
            environ = {"STATE_DIRECTORY": f"{tmp_path}/{name}", "RECKON_DATABASE_URL": url, "HOME": str(tmp_path)}
            found = load(None, environ, tmp_path).store.url.get_secret_value()
            assert make_url(found).database == path

    def test_a_directory_that_a_url_cannot_name_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match=r"store\.url .* accepts no directory with \? or #"):
            load(None, {"HOME": str(tmp_path), "STATE_DIRECTORY": "/srv/what?"}, tmp_path)


class TestASecretInTheFile:
    LITERAL = f'[owners.dana]\nkeys = [{{ name = "a", key = "{SECRET}" }}]'

    @pytest.mark.parametrize("mode", [0o600, 0o400])
    def test_is_accepted_while_the_file_is_private(self, configure, mode):
        assert str(configure(self.LITERAL, mode=mode).owners["dana"].keys[0].key) == "literal"

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
    def test_is_refused_once_others_may_read_it(self, configure, mode):
        with pytest.raises(ConfigError, match=r"owners\.dana\.keys\[0\]\.key .* mode 0600 only") as caught:
            configure(self.LITERAL, mode=mode)
        assert DYE not in str(caught.value)

    def test_is_refused_as_a_database_password_too(self, configure):
        text = 'store = { url = "postgresql://u:pass-7e57@h/d" }'
        assert configure(text).store.url
        with pytest.raises(ConfigError, match=r"store\.url .* RECKON_DATABASE_URL") as caught:
            configure(text, mode=0o644)
        assert "pass-7e57" not in str(caught.value)
        assert configure('store = { url = "postgresql://u@h/d" }', mode=0o644).store.url

    def test_does_not_matter_when_it_is_only_named(self, configure):
        text = '[owners.dana]\nkeys = [{ name = "a", key = "env:A" }]'
        assert configure(text, {"RECKON_HTTP__TOKEN": CANARIES["http_token"]}, mode=0o644)


class TestWhatIsShown:
    TEXT = f"""
        openrouter = {{ management_key = "{CANARIES["management_key"]}" }}
        store = {{ url = "postgresql://u:{CANARIES["http_token"]}@h:5432/d?sslpassword={CANARIES["http_token"]}" }}
        poll = {{ every = "90s" }}
        slack = {{ bot_token = "command:op read 'op://{CANARIES["http_token"]}'", channel = "C012ABCDEF" }}
        anomaly = {{ byok = false }}
        [owners.dana]
        keys = [{{ name = "a", key = "{SECRET}" }}, {{ name = "b", key = "env:B" }}]
        [owners."a.b"]
        team = "core"
    """

    def test_every_setting_has_a_row_with_its_value_and_origin(self, configure, tmp_path):
        settings = configure(self.TEXT, {"RECKON_LOG__LEVEL": "debug"})
        rows = {row.setting: (row.value, row.origin) for row in origins(settings)}
        file = f"{tmp_path}/reckon.toml"
        assert rows["timezone"] == ("UTC", "default")
        assert rows["openrouter.management_key"] == ("set (literal)", file)
        assert rows["store.url"] == ("postgresql+psycopg://u:***@h:5432/d?***", file)
        assert rows["poll.every"] == ("90s", file)
        assert rows["settle.schedule"][0] == "[1s, 2s, 5s, 15s, 1m, 5m, 15m, 1h, 6h, 1d]"
        assert rows["slack.bot_token"] == ("set (command:op)", file)
        assert rows["slack.webhook_url"] == (None, "default")
        assert rows["anomaly.byok"] == ("false", file)
        assert rows["digest.weekly"] == ("mon 09:00", "default")
        assert rows["http.listen"] == ("127.0.0.1:8787", "default")
        assert rows["log.level"] == ("debug", "RECKON_LOG__LEVEL")
        assert rows["owners.dana.keys[0].key"] == ("set (literal)", file)
        assert rows["owners.dana.keys[1].key"] == ("set (env:B)", file)
        assert rows['owners."a.b".team'] == ("core", file)

    def test_no_secret_is_shown_by_anything_and_nothing_is_pickled(self, configure):
        settings = configure(self.TEXT)
        for shown in (repr(settings), str(settings), repr(origins(settings))):
            assert DYE not in shown
        for part in (settings, settings.store, settings.openrouter, settings.owners["dana"]):
            with pytest.raises(TypeError, match="pickled"):
                pickle.dumps(part)

    def test_what_is_set_and_does_nothing_yet_is_named_once(self, configure):
        text = """
            slack = { channel = "spend", app_token = "env:SLACK_APP_TOKEN" }
            poll = { every = "1m", sweep_every = "1m" }
            [owners.dana]
            slack = "U1"
            budget = { month = 3, warn = [50] }
            [owners.ravi]
            slack = "U2"
            keys = [{ name = "a", hash = "%s" }]
        """ % ("0" * 64)
        assert unbuilt(configure(text, {"RECKON_ANOMALY__PRICE": "true"})) == (
            "anomaly.price",
            "owners.<id>.budget",
            "slack.app_token",
        )
        assert unbuilt(configure('poll = { every = "1m" }')) == ()


DURATIONS = st.builds(
    lambda count, unit: f"{count}{unit}", st.integers(1, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"])
)


class TestDurations:
    @given(st.timedeltas(timedelta(0), timedelta(days=10**6)))
    def test_what_is_written_is_read_back(self, span):
        whole = span - span % timedelta(milliseconds=1)
        assert read_duration(duration_text(whole)) == whole

    @given(DURATIONS)
    def test_what_is_read_is_the_number_times_its_unit(self, text):
        count, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()
        unit_in_words = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[unit]
        assert read_duration(text) == timedelta(**{unit_in_words: int(count)})

    @given(st.text(max_size=12) | st.from_regex(r"\A-?[0-9]*[.,]?[0-9]+ ?(ms|s|m|h|d|w|us)?\Z"))
    def test_anything_else_is_refused_by_one_error(self, text):
        if re.fullmatch(r"0|(0|[1-9][0-9]*)(ms|s|m|h|d)", text, re.ASCII):
            return
        with pytest.raises(Unread):
            read_duration(text)

    @given(text=DURATIONS)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_setting_takes_those_within_its_bounds_and_no_others(self, configure, text):
        if timedelta(seconds=1) <= read_duration(text) <= timedelta(days=1):
            assert configure(f'poll = {{ every = "{text}" }}').poll.every == read_duration(text)
        else:
            with pytest.raises(ConfigError, match=r"poll\.every .* accepts a duration from 1s to 1d"):
                configure(f'poll = {{ every = "{text}" }}')
