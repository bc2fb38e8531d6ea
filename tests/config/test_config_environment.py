from datetime import timedelta
from decimal import Decimal

import pytest

from reckon.config import load, origins
from reckon.config.settings import LEAVES
from reckon.errors import ConfigError
from tests.canary import CANARIES, DYE

SECRET = CANARIES["inference_key"]
OF_THE_ENVIRONMENT = [setting for setting in LEAVES if setting[0] not in {"owners", "teams"}]


def variable(setting: tuple[str, ...]) -> str:
    return "RECKON_" + "__".join(setting).upper()


class TestAVariable:
    def test_beats_the_file_which_beats_the_default(self, configure):
        text = 'poll = { every = "5m", concurrency = 4 }'
        settings = configure(text, {"RECKON_POLL__EVERY": "7m"})
        assert settings.poll.every == timedelta(minutes=7)
        assert settings.poll.concurrency == 4
        assert settings.poll.credits_every == timedelta(minutes=5)

    def test_that_is_empty_counts_as_unset_even_when_it_names_nothing(self, configure):
        settings = configure('poll = { every = "5m" }', {"RECKON_POLL__EVERY": "", "RECKON_SLAKC": ""})
        assert settings.poll.every == timedelta(minutes=5)

    def test_may_hold_a_number_a_truth_or_a_list(self, configure):
        settings = configure(
            "",
            {
                "RECKON_TIMEZONE": "Asia/Kathmandu",
                "RECKON_POLL__CONCURRENCY": "7",
                "RECKON_ANOMALY__SIGMA": "2.5",
                "RECKON_ANOMALY__MIN_USD": "0.10",
                "RECKON_ANOMALY__BYOK": "False",
                "RECKON_ANOMALY__PRICE": "1",
                "RECKON_SETTLE__SCHEDULE": "1s, 2s,1m",
            },
        )
        assert settings.timezone.key == "Asia/Kathmandu"
        assert settings.poll.concurrency == 7
        assert settings.anomaly.sigma == 2.5
        assert settings.anomaly.min_usd == Decimal("0.10")
        assert settings.anomaly.byok is False
        assert settings.anomaly.price is True
        assert settings.settle.schedule == (timedelta(seconds=1), timedelta(seconds=2), timedelta(minutes=1))

    @pytest.mark.parametrize("setting", OF_THE_ENVIRONMENT, ids=".".join)
    def test_with_a_wrong_value_is_refused_by_its_own_name_and_never_repeated(self, configure, setting):
        with pytest.raises(ConfigError) as caught:
            configure("", {variable(setting): f"{SECRET}\a {SECRET}"})
        assert str(caught.value).startswith(f"{'.'.join(setting)} ({variable(setting)}): accepts ")
        assert DYE not in str(caught.value)

    @pytest.mark.parametrize("setting", OF_THE_ENVIRONMENT, ids=".".join)
    def test_exists_for_every_setting_but_owners_and_teams(self, tmp_path, setting):
        value = next(
            row.value
            for row in origins(load(None, {"HOME": str(tmp_path)}, tmp_path))
            if row.setting == ".".join(setting)
        )
        given = {"settle.schedule": "1s,2s", "slack.channel": "spend"}.get(".".join(setting), value or "env:SOMETHING")
        with_it = {"RECKON_SLACK__CHANNEL": "C1"} if setting == ("slack", "bot_token") else {}
        settings = load(None, {"HOME": str(tmp_path), variable(setting): given, **with_it}, tmp_path)
        assert settings.given[setting] == variable(setting)
        assert len(settings.given) == 1 + len(with_it)

    def test_is_read_from_what_was_handed_in_and_not_from_the_process(self, monkeypatch, tmp_path):
        monkeypatch.setenv("RECKON_POLL__EVERY", "7m")
        assert load(None, {"HOME": str(tmp_path)}, tmp_path).poll.every == timedelta(minutes=1)


class TestAnUnknownVariable:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("RECKON_SLAKC", "RECKON_SLACK__"),
            ("RECKON_POLL_EVERY", "RECKON_POLL__EVERY"),
            ("RECKON_POLL__EVRY", "RECKON_POLL__EVERY"),
            ("reckon_poll__every", "RECKON_POLL__EVERY"),
            ("RECKON_DATABASE", "RECKON_DATABASE_URL"),
            ("RECKON_STORE", "RECKON_STORE__URL"),
            ("RECKON_POLL__EVERY__X", "RECKON_POLL__EVERY"),
            ("RECKON_POLL__EVERY_FILE", "RECKON_POLL__EVERY"),
            ("RECKON_HTTP_PORT", "RECKON_HTTP__"),
        ],
    )
    def test_is_refused_with_the_nearest_that_exists(self, configure, name, nearest):
        with pytest.raises(ConfigError) as caught:
            configure("", {name: SECRET})
        assert str(caught.value).startswith(f"{name} (environment): there is no such setting; the nearest is {nearest}")
        assert DYE not in str(caught.value)

    def test_is_not_named_when_its_name_could_be_a_secret(self, configure):
        with pytest.raises(ConfigError, match="a name not shown") as caught:
            configure("", {f"RECKON_{SECRET}": "x"})
        assert DYE not in str(caught.value)

    @pytest.mark.parametrize("name", ["RECKON_OWNERS", "RECKON_OWNERS__DANA__SLACK", "RECKON_TEAMS__CORE__CHANNEL"])
    def test_for_an_owner_or_a_team_is_refused_with_that_reason(self, configure, name):
        with pytest.raises(ConfigError, match="owners and teams cannot be set from the environment"):
            configure("", {name: "x"})

    def test_is_left_alone_when_a_reference_names_it(self, configure):
        text = 'http = { token = "env:RECKON_API_TOKEN" }'
        assert configure(text, {"RECKON_API_TOKEN": CANARIES["http_token"]}).http.token

    def test_is_left_alone_when_kubernetes_set_it_for_a_service_of_our_name(self, configure):
        assert configure(
            "",
            {
                "RECKON_SERVICE_HOST": "10.0.0.1",
                "RECKON_SERVICE_PORT": "8787",
                "RECKON_SERVICE_PORT_HTTP": "8787",
                "RECKON_PORT": "tcp://10.0.0.1:8787",
                "RECKON_PORT_8787_TCP": "tcp://10.0.0.1:8787",
                "RECKON_PORT_8787_TCP_ADDR": "10.0.0.1",
                "RECKON_DB_SERVICE_HOST": "10.0.0.2",
            },
        )

    def test_of_other_programs_is_never_read(self, configure):
        settings = configure("", {"OPENROUTER_API_KEY": SECRET, "SLACK_BOT_TOKEN": SECRET, "POLL__EVERY": "9m"})
        assert not settings.given


class TestASecretFromTheEnvironment:
    def test_may_be_itself_a_reference_or_in_a_file(self, configure):
        for environ, shown in [
            ({"RECKON_OPENROUTER__MANAGEMENT_KEY": SECRET}, "literal"),
            ({"RECKON_OPENROUTER__MANAGEMENT_KEY": "env:OTHER"}, "env:OTHER"),
            ({"RECKON_OPENROUTER__MANAGEMENT_KEY_FILE": "/run/secrets/key"}, "file:/run/secrets/key"),
        ]:
            settings = configure("", environ, mode=0o644)
            assert str(settings.openrouter.management_key) == shown
            assert dict(settings.given) == {("openrouter", "management_key"): next(iter(environ))}

    def test_in_a_file_needs_an_absolute_path(self, configure):
        with pytest.raises(ConfigError, match=r"http\.token \(RECKON_HTTP__TOKEN_FILE\): .*absolute path"):
            configure("", {"RECKON_HTTP__TOKEN_FILE": "token"})


class TestTheDatabaseUrl:
    URL = f"postgresql://u:{CANARIES['http_token']}@h/d"

    def test_has_a_short_name(self, configure):
        settings = configure('store = { url = "sqlite:///other.db" }', {"RECKON_DATABASE_URL": self.URL})
        assert settings.store.url.get_secret_value() == self.URL.replace("postgresql:", "postgresql+psycopg:")
        assert settings.given[("store", "url")] == "RECKON_DATABASE_URL"

    @pytest.mark.parametrize("name", ["RECKON_DATABASE_URL_FILE", "RECKON_STORE__URL_FILE"])
    def test_may_stand_in_a_file(self, configure, secret_file, name):
        settings = configure("", {name: str(secret_file("url", self.URL + "\n"))})
        assert settings.store.url.get_secret_value() == self.URL.replace("postgresql:", "postgresql+psycopg:")

    def test_in_a_file_that_others_may_read_is_refused(self, configure, secret_file):
        with pytest.raises(ConfigError, match=r"store\.url \(RECKON_DATABASE_URL_FILE\): other users") as caught:
            configure("", {"RECKON_DATABASE_URL_FILE": str(secret_file("url", self.URL, 0o644))})
        assert DYE not in str(caught.value)

    @pytest.mark.parametrize(
        "names",
        [
            ("RECKON_DATABASE_URL", "RECKON_STORE__URL"),
            ("RECKON_DATABASE_URL", "RECKON_DATABASE_URL_FILE"),
            ("RECKON_HTTP__TOKEN", "RECKON_HTTP__TOKEN_FILE"),
        ],
    )
    def test_or_any_setting_set_by_two_variables_is_refused(self, configure, names):
        with pytest.raises(ConfigError, match=rf"\({', '.join(names)}\): is set twice") as caught:
            configure("", dict.fromkeys(names, self.URL))
        assert DYE not in str(caught.value)
