"""Where a secret is kept, and fetching it from there.

A configuration names its secrets; it need not hold them. A `Reference` is that name: read with the configuration,
opened only by a command that is about to use the secret. Whatever is opened comes out as a `SecretStr` of 8 to 512
visible ASCII characters, because every secret we know of is one such word and anything else is a mistake that would
surface later as a puzzling refusal.

Guarantees: a file is never waited for, never read beyond 64 kB, and refused when other users may read it; a command
runs without a shell, for ten seconds at most, with its error output thrown away; no text, repr, pickle or exception
of this module holds a secret.
"""

import os
import re
import selectors
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Final, Never, cast

from pydantic import SecretStr

ACCEPTED_FORMS: Final = "env:NAME, file:/path, credential:name, command:program arguments"
COMMAND_TIMEOUT_SECONDS: Final = 10.0

_MOST_SECRET_BYTES: Final = 64 * 1024
_SECRET: Final = re.compile(r"[\x21-\x7e]{8,512}")
_SOUND_CONTENT: Final = "accepts 8 to 512 visible ASCII characters on one line"

# A word, a colon, and not `//`: an `evn:NAME` or `vault:path` would otherwise pass for a literal secret.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?!//)")
_TELLTALE: Final = re.compile(r"sk-or-[\w-]{16}|xox[a-z]-[\w-]{10}|xapp-[\w-]{10}|hooks\.slack\.com/", re.ASCII)

# What a program needs to run, and how the common keepers of secrets are told where to look. Nothing else is passed on.
_PASSED_ON: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_ALL|TMPDIR|XDG_CONFIG_HOME|XDG_RUNTIME_DIR|DBUS_SESSION_BUS_ADDRESS"
    r"|GNUPGHOME|(OP|VAULT|AWS|BW|PASSWORD_STORE)_\w+"
)


class BadReference(ValueError):
    """The text names no place a secret could be. Says what would be accepted, and holds nothing of the text."""


class Unreadable(Exception):
    """A file or a keeper of secrets gave nothing we accept. The text is the reason, and holds nothing it gave."""


class Kind(StrEnum):
    """The kinds of place a secret can be in."""

    ENV = "env"
    FILE = "file"
    CREDENTIAL = "credential"
    COMMAND = "command"
    LITERAL = "literal"


@dataclass(frozen=True, slots=True)
class Reference:
    """One secret, by the place it is kept in. `str()` names the place and is safe to show."""

    kind: Kind
    target: SecretStr
    """The variable, path, credential or command line; of a literal, the secret itself. Hidden in all of them, since a
    command line may hold a password."""

    def open(self, environ: Mapping[str, str], *, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS) -> SecretStr:
        """Fetch the secret from its place, without surrounding blanks and byte order mark.

        Raises:
            Unreadable: there is none, or it is not what a secret looks like.
        """
        content = _OPENERS[self.kind](self.target.get_secret_value(), environ, timeout_seconds)
        secret = content.strip().removeprefix("\ufeff").strip()
        if not secret:
            raise Unreadable(f"is empty; {_SOUND_CONTENT}")
        if not _SECRET.fullmatch(secret):
            raise Unreadable(f"holds something else than a secret; {_SOUND_CONTENT}")
        return SecretStr(secret)

    def __str__(self) -> str:
        match self.kind:
            case Kind.LITERAL:
                return "literal"
            case Kind.COMMAND:
                return f"command:{shlex.split(self.target.get_secret_value())[0]}"
            case _:
                return f"{self.kind}:{self.target.get_secret_value()}"

    def __repr__(self) -> str:
        return f"<Reference {self}>"

    def __reduce__(self) -> Never:
        raise TypeError("a reference may hold a secret and is not to be pickled")


def parse(text: str) -> Reference:
    """Return the reference that *text* is; text with no `word:` in front is a literal secret.

    Raises:
        BadReference: it is none of the accepted forms.
    """
    text = text.strip()
    scheme = _SCHEME.match(text)
    if scheme is None:
        if not _SECRET.fullmatch(text):
            raise BadReference(f"accepts {ACCEPTED_FORMS}; a literal secret is 8 to 512 visible ASCII characters")
        return Reference(Kind.LITERAL, SecretStr(text))
    if scheme[1] == "sealed":
        raise BadReference(f"`sealed:` is not built yet; accepts {ACCEPTED_FORMS}")
    if scheme[1] not in _TARGETS:
        raise BadReference(f"accepts {ACCEPTED_FORMS}; a literal secret may not begin with a word and a colon")
    kind = Kind(scheme[1])
    target = text[scheme.end() :].strip()
    is_sound, accepted = _TARGETS[kind]
    reference = Reference(kind, SecretStr(target))
    if not is_sound(target) or looks_like_a_secret(str(reference)):
        raise BadReference(f"after `{kind}:` accepts {accepted}")
    return reference


def looks_like_a_secret(text: str) -> bool:
    """Return whether *text* holds what OpenRouter's or Slack's secrets look like, wherever it was found."""
    return _TELLTALE.search(text) is not None


def read_regular_file(path: str | Path, *, most_bytes: int) -> tuple[bytes, bool]:
    """Return what the file holds, and whether it is private: hidden from every user but its own and root's group.

    Never waits: a pipe, a device or a directory is refused, not opened for reading.

    Raises:
        Unreadable: it is not there, not a regular file, not ours to read, or larger than *most_bytes*.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise Unreadable(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("accepts a regular file only")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise Unreadable(f"accepts at most {most_bytes // 1024} kB")
    return content, _is_private(status)


def _is_private(status: os.stat_result) -> bool:
    mode = stat.S_IMODE(status.st_mode) & 0o777
    # systemd and Kubernetes hand a secret to a service as root's file, readable through an access list or a group.
    return mode & 0o077 == 0 or (mode == 0o440 and status.st_uid == 0)


# --- Where secrets are kept ------------------------------------------------------------------------------------------


def _from_literal(target: str, environ: Mapping[str, str], timeout_seconds: float) -> str:  # noqa: ARG001 - an opener
    return target


def _from_environment(target: str, environ: Mapping[str, str], timeout_seconds: float) -> str:  # noqa: ARG001 - an opener
    content = environ.get(target, "")
    if not content:
        raise Unreadable(f"the variable is not set; {_SOUND_CONTENT}")
    return content


def _from_file(target: str, environ: Mapping[str, str], timeout_seconds: float) -> str:  # noqa: ARG001 - an opener
    content, private = read_regular_file(target, most_bytes=_MOST_SECRET_BYTES)
    if not private:
        raise Unreadable("other users may read it; accepts mode 0600 or stricter, or root's 0440")
    return content.decode(errors="replace")


def _from_credential(target: str, environ: Mapping[str, str], timeout_seconds: float) -> str:
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        raise Unreadable("$CREDENTIALS_DIRECTORY is not set; accepts a credential that systemd loads for the service")
    return _from_file(os.path.join(directory, target), environ, timeout_seconds)  # noqa: PTH118 - a string is asked for


def _from_command(target: str, environ: Mapping[str, str], timeout_seconds: float) -> str:
    try:
        process = subprocess.Popen(  # noqa: S603 - running it is what the setting asks for, and there is no shell
            shlex.split(target),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)},
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        raise Unreadable(f"cannot be started: {os.strerror(error.errno or 0)}") from None
    with process:
        try:
            content, status = _finish(process, timeout_seconds)
        except Unreadable:
            # Not waited for yet, so the number still is this process's, and its children's group.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if status != 0:
        raise Unreadable(f"ended with status {status}; run it by hand to see why, as its error output is never shown")
    return content.decode(errors="replace")


def _finish(process: subprocess.Popen[bytes], timeout_seconds: float) -> tuple[bytes, int]:
    """Return all that the process prints, and its exit status, unless it is too slow or says too much."""
    deadline = time.monotonic() + timeout_seconds
    output = cast("IO[bytes]", process.stdout).fileno()
    content = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while len(content) <= _MOST_SECRET_BYTES:
                if not selector.select(deadline - time.monotonic()):
                    raise Unreadable(f"gave no answer within {timeout_seconds:g} s")
                chunk = os.read(output, 8192)
                if not chunk:
                    return content, process.wait(max(0.0, deadline - time.monotonic()))
                content += chunk
    except subprocess.TimeoutExpired:
        raise Unreadable(f"did not end within {timeout_seconds:g} s") from None
    raise Unreadable(f"printed more than {_MOST_SECRET_BYTES // 1024} kB; {_SOUND_CONTENT}")


def _is_command_line(text: str) -> bool:
    try:
        return bool(shlex.split(text)) and text.isprintable()
    except ValueError:
        return False


_OPENERS: Final[Mapping[Kind, Callable[[str, Mapping[str, str], float], str]]] = {
    Kind.ENV: _from_environment,
    Kind.FILE: _from_file,
    Kind.CREDENTIAL: _from_credential,
    Kind.COMMAND: _from_command,
    Kind.LITERAL: _from_literal,
}

_TARGETS: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    Kind.ENV: (re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch, "the name of a variable"),
    Kind.FILE: (lambda text: text.startswith("/") and text.isprintable(), "an absolute path"),
    Kind.CREDENTIAL: (re.compile(r"(?!\.)[A-Za-z0-9._-]{1,255}").fullmatch, "the name of a credential"),
    Kind.COMMAND: (_is_command_line, "a program and its arguments, quoted as for a shell"),
}
