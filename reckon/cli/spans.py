"""Spans as options: `--last 7d`, `--since 2026-11-01`, `--until 2026-11-20T12:15Z`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

import typer

from reckon.core.windows import Window
from reckon.documents import parameters
from reckon.documents.parameters import Unaccepted


def span_of(
    since: str | None, until: str | None, last: str | None, *, zone: ZoneInfo, now: datetime, opening: datetime
) -> Window:
    """Return the half-open span that the options name. See `reckon.documents.parameters.span_of`.

    Raises:
        typer.BadParameter: an option is malformed, is not on a quarter of an hour, or the span is empty.
    """
    with as_options():
        return parameters.span_of(since, until, last, zone=zone, now=now, opening=opening)


@contextmanager
def as_options() -> Iterator[None]:
    """Say of a parameter that is not accepted which option it was."""
    try:
        yield
    except Unaccepted as refusal:
        hint = "/".join(f"--{parameter}" for parameter in refusal.parameters)
        raise typer.BadParameter(refusal.why, param_hint=hint) from None
