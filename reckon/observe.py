"""Logging: one chain for our events and for other libraries' lines, and no secret at the end of it.

Events are facts in the past tense with fields (`poll.committed polled=20`). Every line, whoever wrote it, is rendered
first and redacted last, over the finished text: by the values of the secrets that are loaded, and by the shapes that
OpenRouter's and Slack's have. Tracebacks show no local variables. Nothing in a name or a value begins a new line or
steers a terminal. A value that cannot be shown is named by its type; a line that cannot be rendered or written is
counted and dropped, for the daemon must outlive its log.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import IO, Any, Final
from urllib.parse import quote, quote_plus

import structlog

_SHAPES: Final = re.compile(
    r"sk-or-v1-[0-9A-Za-z]{8,}|xox[abeprs]-[0-9A-Za-z-]{8,}|xapp-[0-9A-Za-z-]{8,}"
    r"|(?<=hooks\.slack\.com/services/)[0-9A-Za-z/]+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_HIDDEN: Final = "[hidden]"
# These print URLs and headers of every request, or a line for every tick, at their own info and debug levels.
_TALKATIVE: Final = (
    "httpx",
    "httpcore",
    "sqlalchemy",
    "alembic",
    "asyncio",
    "apscheduler",
    "uvicorn",
    "slack_sdk",
    "aiohttp",
)


class Redactor:
    """Takes secrets out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        given = {secret for secret in secrets if secret}
        shapeless = {secret for secret in given if not _SHAPES.fullmatch(secret)}
        # What goes by its shape need not be listed, and a thousand keys in one pattern would cost megabytes. Unless a
        # listed secret is a part of it: with that taken out, the rest would have the shape no more.
        listed = shapeless | {secret for secret in given - shapeless if any(part in secret for part in shapeless)}
        # Longest first, so that one which contains another goes whole.
        known = sorted({form for secret in listed for form in _forms(secret)}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Return *text* without the known secrets, and without anything shaped like one."""
        if self._known:
            text = self._known.sub(_HIDDEN, text)
        return _SHAPES.sub(_HIDDEN, text)


def _forms(secret: str) -> Iterator[str]:
    """Yield *secret* as it may stand in a rendered line: as it is, in a repr, in a URL, and each of these in JSON."""
    for form in (secret, repr(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)):
        yield from (form, json.dumps(form)[1:-1])


class LogHandler(logging.StreamHandler[IO[str]]):
    """Writes finished, redacted lines; counts those it had to drop."""

    dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of *record*, or count it."""
        try:
            super().emit(record)
        except RecursionError:  # the one error that the original lets out
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Count the line that *record* would have been."""
        del record
        self.dropped += 1


def configure(*, level: str, style: str, secrets: Iterable[str] = (), stream: IO[str] | None = None) -> LogHandler:
    """Send every log line of this process to *stream* (standard error), redacted.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        style: `text`, `json`, or `auto`: text on a terminal, JSON elsewhere.
        secrets: the values that are loaded, besides those known by their shape.
        stream: where to write.
    """
    target = stream or sys.stderr
    as_text = style == "text" or (style == "auto" and target.isatty())
    shared: Sequence[Any] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=False,
    )
    handler = LogHandler(target)
    handler.setFormatter(_RedactingFormatter(Redactor(secrets), as_text=as_text, foreign=shared))
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, LogHandler)] + [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    return handler


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    def __init__(self, redact: Redactor, *, as_text: bool, foreign: Sequence[Any]) -> None:
        renderer = (
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
            if as_text
            else structlog.processors.JSONRenderer()
        )
        processors: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _showable]
        if not as_text:
            processors.append(structlog.processors.format_exc_info)
        super().__init__(processors=[*processors, renderer], foreign_pre_chain=foreign)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(_STEERING.sub(_escaped, super().format(record)))


# What moves a cursor, turns text around or is no letter at all. New lines and tabs stay: tracebacks are made of them.
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def _showable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make every value of *event* one that both renderers can show, on one line."""
    for name, value in event.items():
        if name == "event":
            event[name] = re.sub(r"[\n\t]", _escaped, str(value))
        elif name not in {"exc_info", "exception", "stack"} and not _is_json(value):
            event[name] = _repr(value)
    return event


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - whatever a stranger's repr raises, the event is worth its line
        return f"<{type(value).__name__} that cannot be shown>"
