"""Real processes of Reckon, many a second.

Starting Python and importing what a poll needs takes most of a second; a poll takes a twentieth of one. So one process
imports everything once, and then forks a child for each command: a process of its own, with its own pid, output files
and exit status, that can be killed at any moment. The forking process has one thread, no database and no socket, so
nothing that a fork must not carry is carried.

The child stays a zombie until it is waited for, so its pid is nobody else's for as long as one might kill it.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

PROJECT: Final = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    code: int
    """The exit code, or the signal that ended it as a negative number."""
    stdout: str = field(repr=False)
    stderr: str
    seconds: float
    peak_bytes: int
    """The most memory it held."""

    @property
    def document(self) -> dict[str, Any]:
        """What it printed as JSON."""
        return json.loads(self.stdout)


class ForkServer:
    """The process that forks, for as long as a `with` block lasts. Its children see the environment *environ*."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=dict(environ),
        )

    def order(self, what: str, **how: Any) -> Any:
        self._process.stdin.write(json.dumps([what, how]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.stdin.close()


class Running:
    """A command under way. Wait for it, killed or not."""

    def __init__(self, server: ForkServer, pid: int, output: list[Path]) -> None:
        self._server = server
        self._output = output
        self._began = time.monotonic()
        self.pid = pid

    def kill(self) -> None:
        """End it as power loss would: nothing of its own runs any more."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        code, peak_bytes = self._server.order("wait", pid=self.pid)
        seconds = time.monotonic() - self._began
        out, err = (file.read_text() for file in self._output)
        return Ended(code, out, err, seconds, peak_bytes)


class Forks:
    """Runs commands, and keeps what they print in *directory*."""

    def __init__(self, server: ForkServer, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._started = 0

    def start(self, *arguments: str | Path, environ: Mapping[str, str] = MappingProxyType({})) -> Running:
        """Start `reckon` with *arguments*, and with *environ* added to the environment."""
        self._started += 1
        output = [self._directory / f"command-{self._started}.{kind}" for kind in ("out", "err")]
        for file in output:
            file.touch(mode=0o600)
        words = [str(argument) for argument in arguments]
        pid = self._server.order("start", arguments=words, environ=dict(environ), output=[str(file) for file in output])
        return Running(self._server, pid, output)

    def run(self, *arguments: str | Path, environ: Mapping[str, str] = MappingProxyType({})) -> Ended:
        """Run `reckon` with *arguments* to its end."""
        return self.start(*arguments, environ=environ).wait()


# --- The forking process -------------------------------------------------------------------------------------------


def _serve() -> None:
    _import_what_commands_import()
    gc.freeze()  # or the first collection in a child would touch, and so copy, every page
    for line in sys.stdin:
        what, how = json.loads(line)
        print(json.dumps({"start": _start, "wait": _wait}[what](**how)), flush=True)  # noqa: T201 - the answer


def _import_what_commands_import() -> None:
    for module in _IMPORTED_BY_COMMANDS:
        importlib.import_module(module)


_IMPORTED_BY_COMMANDS: Final = (
    "alembic.command",
    "psycopg",
    "rich.progress",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "reckon.app",
    "reckon.cli.printing",
    "reckon.cli.spans",
    "reckon.daemon",
    "reckon.jobs.poll",
    "reckon.observe",
    "reckon.sinks.slack.sink",
    "reckon.sources.openrouter",
)


def _start(arguments: list[str], environ: dict[str, str], output: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        _become(environ, output)
        code = _run(arguments)
    finally:
        os._exit(code)


def _become(environ: dict[str, str], output: list[str]) -> None:
    os.environ.update(environ)
    for descriptor, file in enumerate([os.devnull, *output]):
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


def _run(arguments: list[str]) -> int:
    import traceback  # noqa: PLC0415

    from reckon.cli import run  # noqa: PLC0415

    try:
        return run(arguments)
    except BaseException:  # noqa: BLE001 - the interpreter's own last resort: a traceback, and exit code 1
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _wait(pid: int) -> tuple[int, int]:
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024


if __name__ == "__main__":
    _serve()
