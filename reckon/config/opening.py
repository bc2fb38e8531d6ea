"""Opening the secrets: the one step between a configuration and a poll that may wait for other programs.

Every reference is opened at once, so fifty password-store commands take as long as the slowest few. A key may stand in
the owner map once: the same counter under two owners would count its money twice, so it is refused, by hash and
without a word of the key itself.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Never

from pydantic import SecretStr

from reckon.config.problems import Problem, dotted, refusal
from reckon.config.settings import OwnedKey, Place, Settings
from reckon.core.ownership import key_hash
from reckon.references import COMMAND_TIMEOUT_SECONDS, Reference, Unreadable

_MOST_AT_ONCE: Final = 32
_MANAGEMENT_KEY: Final[Place] = ("openrouter", "management_key")
_BOT_TOKEN: Final[Place] = ("slack", "bot_token")
_WEBHOOK_URL: Final[Place] = ("slack", "webhook_url")
_HTTP_TOKEN: Final[Place] = ("http", "token")


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """One key of the owner map, ready to be asked about."""

    owner: str
    name: str
    hash: str
    secret: SecretStr | None = field(repr=False)
    """None for a key that is known by its hash alone."""

    def __reduce__(self) -> Never:
        raise TypeError("an opened key is a secret and is not to be pickled")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Every secret that asking and telling need."""

    management_key: SecretStr | None = field(repr=False)
    keys: tuple[OpenedKey, ...]
    slack_bot_token: SecretStr | None = field(default=None, repr=False)
    slack_webhook_url: SecretStr | None = field(default=None, repr=False)
    http_token: SecretStr | None = field(default=None, repr=False)

    def values(self) -> list[str]:
        """Return every secret as text, for the log to leave out."""
        others = (self.management_key, self.slack_bot_token, self.slack_webhook_url, self.http_token)
        opened = [*others, *(key.secret for key in self.keys)]
        return [secret.get_secret_value() for secret in opened if secret]

    def __reduce__(self) -> Never:
        raise TypeError("secrets are not to be pickled")


def open_secrets(
    settings: Settings, environ: Mapping[str, str], *, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS
) -> Secrets:
    """Open every secret there is: the keys of the owner map, and what OpenRouter, Slack and our own surface ask for.

    Raises:
        ConfigError: one line for each secret that could not be had, and for each key that stands in the map twice.
    """
    references = dict(_references(settings))
    with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
        answers = pool.map(lambda reference: _opened(reference, environ, timeout_seconds), references.values())
        opened = dict(zip(references, answers, strict=True))
    secrets = {place: answer for place, answer in opened.items() if isinstance(answer, SecretStr)}
    problems = [
        Problem(dotted(place), str(references[place]), answer)
        for place, answer in opened.items()
        if isinstance(answer, str)
    ]
    keys = list(_keys(settings, secrets))
    first_places: dict[str, str] = {}
    for place, key in keys:
        here, first = dotted(place), first_places.setdefault(key.hash, dotted(place))
        if here != first:
            origin = settings.given[(*place, "name")]
            problems.append(Problem(here, origin, f"is the same key as {first}; accepts a key in one place"))
    if problems:
        raise refusal(problems)
    return Secrets(
        management_key=secrets.get(_MANAGEMENT_KEY),
        keys=tuple(key for _, key in keys),
        slack_bot_token=secrets.get(_BOT_TOKEN),
        slack_webhook_url=secrets.get(_WEBHOOK_URL),
        http_token=secrets.get(_HTTP_TOKEN),
    )


def _keys(settings: Settings, secrets: Mapping[Place, SecretStr]) -> Iterator[tuple[Place, OpenedKey]]:
    """Yield every entry of the owner map whose hash is known; of the others it is already told why not."""
    for place, owner, entry in _entries(settings):
        secret = secrets.get((*place, "key"))
        hashed = key_hash(secret.get_secret_value()) if secret else entry.hash
        if hashed is not None:
            yield place, OpenedKey(owner, entry.name, hashed, secret)


def _entries(settings: Settings) -> Iterator[tuple[Place, str, OwnedKey]]:
    for id_, owner in settings.owners.items():
        for number, entry in enumerate(owner.keys):
            yield ("owners", id_, "keys", number), id_, entry


def _references(settings: Settings) -> Iterator[tuple[Place, Reference]]:
    for place, reference in (
        (_MANAGEMENT_KEY, settings.openrouter.management_key),
        (_BOT_TOKEN, settings.slack.bot_token),
        (_WEBHOOK_URL, settings.slack.webhook_url),
        (_HTTP_TOKEN, settings.http.token),
    ):
        if reference is not None:
            yield place, reference
    for place, _, entry in _entries(settings):
        if entry.key is not None:
            yield (*place, "key"), entry.key


def _opened(reference: Reference, environ: Mapping[str, str], timeout_seconds: float) -> SecretStr | str:
    """Return the secret, or why there is none."""
    try:
        return reference.open(environ, timeout_seconds=timeout_seconds)
    except Unreadable as reason:
        return str(reason)
