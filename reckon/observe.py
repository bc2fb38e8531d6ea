"""Logging: one chain for our events and for other libraries' lines, and no secret at the end of it.

Events are facts in the past tense with fields (`poll.committed polled=20`). Every line, whoever wrote it, is rendered
first and redacted last, over the finished text: by the values of the secrets that are loaded, and by the shapes that
OpenRouter's and Slack's have. Tracebacks show no local variables. A line that cannot be rendered or written is counted
and dropped, for the daemon must outlive its log.
"""

import logging
import re
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

import structlog

_SHAPES: Final = re.compile(
    r"sk-or-v1-[0-9A-Za-z]{8,}|xox[abeprs]-[0-9A-Za-z-]{8,}|xapp-[0-9A-Za-z-]{8,}"
    r"|(?<=hooks\.slack\.com/services/)[0-9A-Za-z/]+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_HIDDEN: Final = "[hidden]"
# These print URLs and headers of every request at their own info and debug levels.
_TALKATIVE: Final = ("httpx", "httpcore", "sqlalchemy", "alembic", "asyncio")


class Redactor:
    """Takes secrets out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first, so that one which contains another goes whole.
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Return *text* without the known secrets, and without anything shaped like one."""
        if self._known:
            text = self._known.sub(_HIDDEN, text)
        return _SHAPES.sub(_HIDDEN, text)


class LogHandler(logging.StreamHandler[IO[str]]):
    """Writes finished, redacted lines; counts those it had to drop."""

    dropped = 0

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
        processors: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
        if not as_text:
            processors.append(structlog.processors.format_exc_info)
        super().__init__(processors=[*processors, renderer], foreign_pre_chain=foreign)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))
