"""Addresses as settings: where we listen, whose API we ask, which database holds the ledger.

A plain http URL is accepted for this machine only, and a URL never carries a user or a token: both would send or show
a secret where nobody expects one. A database URL may carry its password, so it is a `SecretStr` from here on.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from reckon import references
from reckon.config.grammar import Accepts, Refused, Unread, read_text

_HOST: Final = r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
_LISTEN: Final = re.compile(rf"({_HOST}):([0-9]{{1,5}})")
_URL_TEXT: Final = re.compile(r"[\x21-\x7e]{1,2000}")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where our own HTTP surface listens."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen() -> Accepts:
    """Accept an address to listen on."""

    def read(value: object) -> Listen:
        match = _LISTEN.fullmatch(read_text(value))
        if match is None or int(match[2]) > 65535:
            raise Unread
        host = match[1].strip("[]")
        if match[1].startswith("["):
            ip_address(host)
        return Listen(host, int(match[2]))

    return Accepts('an address and port such as "127.0.0.1:8787" or "[::1]:8787"', read)


def api_url(*, directory: bool = False) -> Accepts:
    """Accept the base of somebody's API. It ends with a slash when *directory*, and without one otherwise."""

    def read(value: object) -> str:
        text = read_text(value)
        parts = urlsplit(text)
        if not _URL_TEXT.fullmatch(text) or "@" in parts.netloc or "?" in text or "#" in text or parts.port == 0:
            raise Unread
        if not re.fullmatch(_HOST, parts.hostname or "") and ":" not in (parts.hostname or ""):
            raise Unread
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise Unread
        return text.rstrip("/") + ("/" if directory else "")

    return Accepts("an https URL, or http on this machine, without user, query or fragment", read)


def is_loopback(host: str) -> bool:
    """Return whether *host* can only be this machine. A name other than `localhost` could be anyone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


_POSTGRES: Final = re.compile(r"(?:postgres|postgresql|postgresql\+psycopg)://(.+)")
_SQLITE: Final = "sqlite:///"


def database_url() -> Accepts:
    """Accept the URL of a SQLite file or a Postgres database, and return it in the form SQLAlchemy and psycopg 3 know.

    A relative path stays relative here.
    """
    what = "sqlite:///path or postgresql://user:password@host/database, special characters percent-encoded"

    def read(value: object) -> SecretStr:
        text = read_text(value)
        if not text.isprintable():
            raise Unread
        if text in {"sqlite://", _SQLITE, _SQLITE + ":memory:"}:
            raise Refused(f"accepts {what}; memory will not do, as the daemon and the reports are separate processes")
        if text.startswith(_SQLITE):
            path = text.removeprefix(_SQLITE)
            if "?" in path or "#" in path or path.startswith("file:") or references.looks_like_a_secret(path):
                raise Unread
            return SecretStr(text)
        match = _POSTGRES.fullmatch(text)
        parts = urlsplit(text)
        # A raw / ? # or @ in a password moves the borders of a URL, and with them what is hidden when it is shown.
        if match is None or "#" in text or "@" in parts.path + parts.query or parts.port == 0:
            raise Unread
        return SecretStr(f"postgresql+psycopg://{match[1]}")

    return Accepts(what, read, secret=True)


def absolute_database_url(url: SecretStr, base: Path) -> SecretStr:
    """Return *url* with a relative SQLite path made absolute, from *base*."""
    text = url.get_secret_value()
    if not text.startswith(_SQLITE):
        return url
    # The path is percent-encoded, as it stands in a URL; the directory is not yet.
    encoded = Path(str(base).replace("%", "%25"))
    return SecretStr(f"{_SQLITE}{encoded / text.removeprefix(_SQLITE)}")


def masked_database_url(url: SecretStr) -> str:
    """Return *url* without its password, and without its options, which may hold another."""
    text = url.get_secret_value()
    if text.startswith(_SQLITE):
        return text
    parts = urlsplit(text)
    user, separator, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    masked = f"{name}:***" if colon else name
    return f"{parts.scheme}://{masked}{separator}{host}{parts.path}{'?***' if parts.query else ''}"


def has_password(url: SecretStr) -> bool:
    """Return whether a database URL carries a password, in either of its two places."""
    parts = urlsplit(url.get_secret_value())
    return bool(parts.password) or "password=" in parts.query
