"""Every setting there is, with its default and what it accepts, as one frozen tree.

The tree mirrors the configuration file, section by section; `config.example.toml` says what each setting is for. The
rules that tie two settings together are at the end, apart from it, so that they are checked even while some third
setting is wrong.

A `Settings` never holds an opened secret. It may hold a literal one, so it shows none and refuses to be pickled.
"""

from collections.abc import Iterator, Mapping
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Never, Self, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from reckon.config import addresses, grammar
from reckon.config.addresses import Listen
from reckon.config.grammar import REFUSED, Accepts, MonthlyTime, WeeklyTime
from reckon.references import Reference

Place = tuple[str | int, ...]
"""Where a setting stands: `("owners", "dana", "keys", 0, "name")`."""


class Section(BaseModel):
    """A table of the configuration file. What it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False)

    def __reduce__(self) -> Never:
        raise TypeError("settings may hold a secret and are not to be pickled")


# --- One per table ---------------------------------------------------------------------------------------------------


class Store(Section):
    """The database."""

    url: Annotated[SecretStr, addresses.database_url()] = SecretStr("sqlite:///reckon.db")
    lease: Annotated[timedelta, grammar.duration("200ms", "1h")] = timedelta(seconds=30)


class OpenRouter(Section):
    """The API whose counters are read."""

    base_url: Annotated[str, addresses.api_url()] = "https://openrouter.ai/api/v1"
    management_key: Annotated[Reference | None, grammar.secret()] = None
    timeout: Annotated[timedelta, grammar.duration("100ms", "5m")] = timedelta(seconds=15)


class Poll(Section):
    """How often, and how much at once."""

    every: Annotated[timedelta, grammar.duration("1s", "1d")] = timedelta(seconds=60)
    credits_every: Annotated[timedelta, grammar.duration("1s", "30d", off=True)] = timedelta(minutes=5)
    sweep_every: Annotated[timedelta, grammar.duration("1s", "1d", off=True)] = timedelta(seconds=60)
    concurrency: Annotated[int, grammar.whole(1, 256)] = 32


class Staleness(Section):
    """When silence is worth a word."""

    after: Annotated[timedelta, grammar.duration("1s", "30d")] = timedelta(minutes=10)


class Settle(Section):
    """How patiently the cost of a generation is asked for."""

    schedule: Annotated[tuple[timedelta, ...], grammar.schedule("100ms", "30d")] = tuple(
        map(grammar.read_duration, ("1s", "2s", "5s", "15s", "1m", "5m", "15m", "1h", "6h", "24h"))
    )


class Ingest(Section):
    """Where generation ids arrive, beside HTTP."""

    spool: Annotated[Path | None, grammar.directory()] = None


class Anomaly(Section):
    """What counts as unusual."""

    preset: Annotated[str, grammar.choice("sigma", not_built=("guarded", "quick", "quiet"))] = "sigma"
    sigma: Annotated[float, grammar.number(0, 100)] = 3.0
    min_history: Annotated[int, grammar.whole(1, 365)] = 7
    min_usd: Annotated[Decimal, grammar.usd(zero=True)] = Decimal("1.00")
    byok: Annotated[bool, grammar.flag()] = True
    newcomer: Annotated[bool, grammar.flag()] = False
    price: Annotated[bool, grammar.flag()] = False


class Alerts(Section):
    """How alerts behave once they are open."""

    repeat_every: Annotated[timedelta, grammar.duration("1m", "30d", off=True)] = grammar.OFF


class Slack(Section):
    """Where messages go."""

    bot_token: Annotated[Reference | None, grammar.secret()] = None
    app_token: Annotated[Reference | None, grammar.secret()] = None
    webhook_url: Annotated[Reference | None, grammar.secret()] = None
    channel: Annotated[str | None, grammar.slack_channel()] = None
    api_url: Annotated[str, addresses.api_url(directory=True)] = "https://slack.com/api/"


class Digest(Section):
    """When the digests go out, in local time; None is never."""

    daily: Annotated[time | None, grammar.or_empty(grammar.daily_time())] = time(9)
    weekly: Annotated[WeeklyTime | None, grammar.or_empty(grammar.weekly_time())] = WeeklyTime(0, time(9))
    monthly: Annotated[MonthlyTime | None, grammar.or_empty(grammar.monthly_time())] = MonthlyTime(1, time(9))


class Http(Section):
    """Our own HTTP surface; without an address there is none."""

    listen: Annotated[Listen | None, grammar.or_empty(addresses.listen())] = Listen("127.0.0.1", 8787)
    token: Annotated[Reference | None, grammar.secret()] = None


class Log(Section):
    """What is said on stderr."""

    level: Annotated[str, grammar.choice("debug", "info", "warning", "error")] = "info"
    format: Annotated[str, grammar.choice("auto", "text", "json")] = "auto"


class Retention(Section):
    """How long the details are kept. Closed days and months are kept for ever."""

    snapshots: Annotated[timedelta, grammar.duration("1d", "36500d", off=True)] = timedelta(days=90)
    windows: Annotated[timedelta, grammar.duration("1d", "36500d", off=True)] = timedelta(days=800)


class Budget(Section):
    """What an owner or a team may spend, in dollars."""

    day: Annotated[Decimal | None, grammar.usd()] = None
    week: Annotated[Decimal | None, grammar.usd()] = None
    month: Annotated[Decimal | None, grammar.usd()] = None
    warn: Annotated[tuple[int, ...], grammar.percentages()] = (50, 80, 100)
    byok: Annotated[bool, grammar.flag()] = False


class OwnedKey(Section):
    """A key of the owner map, by its secret or, where a management key watches it, by its hash."""

    name: Annotated[str, grammar.label("a name")]
    key: Annotated[Reference | None, grammar.secret()] = None
    hash: Annotated[str | None, grammar.key_hash()] = None

    @model_validator(mode="after")
    def _has_one_identity(self) -> Self:
        if (self.key is None) == (self.hash is None):
            raise _refusal("accepts exactly one of `key` and `hash`")
        return self


class Match(Section):
    """Globs that claim keys found by a sweep."""

    name: Annotated[str | None, grammar.label("a glob", most=200)] = None
    workspace: Annotated[str | None, grammar.label("a glob", most=200)] = None
    creator: Annotated[str | None, grammar.label("a glob", most=200)] = None


class Owner(Section):
    """Who answers for some keys."""

    name: Annotated[str | None, grammar.label("a name")] = None
    slack: Annotated[str | None, grammar.slack_user()] = None
    team: Annotated[str | None, grammar.label("the id of a team")] = None
    budget: Budget | None = None
    keys: tuple[OwnedKey, ...] = ()
    match: Match | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        first: dict[str, int] = {}
        for number, key in enumerate(self.keys):
            if first.setdefault(key.name, number) != number:
                text = f"keys[{first[key.name]}] and keys[{number}] have the same name; accepts one key per name"
                raise _refusal(text)
        return self


class Team(Section):
    """Several owners with a sink and a budget in common."""

    channel: Annotated[str | None, grammar.slack_channel()] = None
    budget: Budget | None = None


def _nobody() -> Mapping[str, Any]:
    return MappingProxyType({})


class Settings(Section):
    """The whole configuration. Made by `load`; made without arguments, it is the defaults."""

    timezone: Annotated[ZoneInfo, grammar.zone()] = ZoneInfo("UTC")
    store: Store = Store()
    openrouter: OpenRouter = OpenRouter()
    poll: Poll = Poll()
    staleness: Staleness = Staleness()
    settle: Settle = Settle()
    ingest: Ingest = Ingest()
    anomaly: Anomaly = Anomaly()
    alerts: Alerts = Alerts()
    slack: Slack = Slack()
    digest: Digest = Digest()
    http: Http = Http()
    log: Log = Log()
    retention: Retention = Retention()
    owners: Annotated[Mapping[Annotated[str, grammar.owner_id()], Owner], AfterValidator(MappingProxyType)] = Field(
        default_factory=_nobody
    )
    teams: Annotated[Mapping[Annotated[str, grammar.owner_id()], Team], AfterValidator(MappingProxyType)] = Field(
        default_factory=_nobody
    )

    _given: Mapping[Place, str] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Remember where each setting came from, which whoever validates passes as the context."""
        self._given = MappingProxyType(context or {})

    @property
    def sweeps(self) -> bool:
        """Whether the account is watched through a management key."""
        return self.openrouter.management_key is not None and bool(self.poll.sweep_every)

    @property
    def polls_every(self) -> timedelta:
        """How often everything is polled: a sweep shows all keys at once, and single keys go with it."""
        return self.poll.sweep_every if self.sweeps else self.poll.every

    @property
    def given(self) -> Mapping[Place, str]:
        """The settings that somebody set, each with the file or the variable it came from."""
        return self._given


NOT_BUILT_YET: Final = frozenset(
    {
        "anomaly.newcomer",
        "anomaly.price",
        "slack.app_token",
        "retention",
        "owners.<id>.budget",
        "teams.<id>.budget",
    }
)
"""What is accepted and checked, and does nothing yet; the name of a table stands for all that is in it."""


# --- Rules between settings ------------------------------------------------------------------------------------------


def contradictions(settings: Settings) -> Iterator[tuple[tuple[Place, ...], str]]:
    """Yield each rule that two settings break together: the places concerned, the one to mend first, and the rule."""
    if ("store", "lease") in settings.given and settings.store.lease < 2 * settings.openrouter.timeout:
        yield (("store", "lease"), ("openrouter", "timeout")), "accepts at least twice openrouter.timeout"
    if settings.slack.bot_token is not None and settings.slack.channel is None:
        yield (("slack", "bot_token"), ("slack", "channel")), "accepts a bot token only with slack.channel set"
    listen = settings.http.listen
    if listen is not None and not listen.is_loopback and settings.http.token is None:
        yield (("http", "listen"), ("http", "token")), "accepts an address beyond this machine only with http.token set"


def completed(settings: Settings) -> Settings:
    """Return *settings* with what follows from others filled in.

    A lease nobody set is at least twice `openrouter.timeout`; staleness is never less than three polls, set or not.
    """
    lease, after = settings.store.lease, settings.staleness.after
    if ("store", "lease") not in settings.given:
        lease = max(lease, 2 * settings.openrouter.timeout)
    return settings.model_copy(
        update={
            "store": settings.store.model_copy(update={"lease": lease}),
            "staleness": settings.staleness.model_copy(update={"after": max(after, 3 * settings.polls_every)}),
        }
    )


# --- The tree, walked ------------------------------------------------------------------------------------------------


def leaves(section: Section, above: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield every single setting of *section* with its place and value, those of each owner and key included."""
    for name in type(section).model_fields:
        yield from _leaves_in(getattr(section, name), (*above, name))


def _leaves_in(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, Section):
        yield from leaves(value, place)
    elif pattern(place) in LEAVES:
        yield place, value
    elif value is not None:
        for step, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves_in(inner, (*place, step))


def pattern(place: Place) -> tuple[str, ...]:
    """Return the place with ids as `<id>` and positions left out, so that every owner's `team` is one setting."""
    named = [step for step in place if isinstance(step, str)]
    if len(named) > 1 and named[0] in {"owners", "teams"}:
        named[1] = "<id>"
    return tuple(named)


def _walk(section: type[Section], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[Section] | Accepts]]:
    yield above, section
    for name, field in section.model_fields.items():
        inner = _section_in(field.annotation)
        if inner is None:
            yield (*above, name), next(item for item in field.metadata if isinstance(item, Accepts))
        else:
            step = (name, "<id>") if get_origin(field.annotation) is Mapping else (name,)
            yield from _walk(inner, (*above, *step))


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section_in(inner))), None)


def _refusal(text: str) -> PydanticCustomError:
    return PydanticCustomError(REFUSED, "{text}", {"text": text})


_TREE: Final = tuple(_walk(Settings, ()))
LEAVES: Final[Mapping[tuple[str, ...], Accepts]] = {place: leaf for place, leaf in _TREE if isinstance(leaf, Accepts)}
"""Every single setting, by its pattern, with what it accepts."""
SECTIONS: Final[Mapping[tuple[str, ...], type[Section]]] = {
    place: section for place, section in _TREE if not isinstance(section, Accepts)
}
"""Every table, by its pattern; the whole is `()`."""
