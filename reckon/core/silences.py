"""Silences: what becomes of an alert about keys, or about the source, that do not answer.

An alert belongs to a silence and not to a day: it keeps the day it opened on for as long as it lasts. It is about every
key that was ever part of it, and ends when none of them is silent any more, with the money they showed when each first
answered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from reckon.core import alert_messages as say
from reckon.core.alert_book import AlertBook
from reckon.core.alerts import Alert, Finding, Rule
from reckon.core.detectors import staleness
from reckon.core.messages import Message
from reckon.core.records import KeyState


def judge(
    keys: Mapping[str, KeyState], held: Mapping[str, int], after: timedelta | None, book: AlertBook, moment: say.Moment
) -> None:
    """Follow the silences that were told of, and open what is new.

    Args:
        keys: every key, after the poll.
        held: the nano-dollars of the keys that answer again in this poll, by hash.
        after: how long a silence may last; None where silences are not judged, and only their money is kept.
        book: the alerts.
        moment: when this is said.
    """
    firing: dict[str | None, Alert] = {}
    for alert in (alert for alert in book.firing if alert.finding.rule is Rule.STALENESS):
        nanos = sum(held.get(key_hash, 0) for key_hash in alert.finding.key_hashes)
        followed = replace(alert, gap_nanos=alert.gap_nanos + nanos)
        if after is None or staleness.goes_on(alert.finding, keys):
            book.keep(followed)
            firing[alert.finding.owner] = followed
        else:
            message = say.seen_again(followed, keys, book.person(alert.finding), moment)
            book.resolve(followed, message.headline, message)

    heard_at = max(_ends_of_source_silences(book), default=None)
    found = staleness.look(keys.values(), after, moment.zone, moment.now, heard_at) if after is not None else []
    for finding in found:
        message = say.silence(finding, keys, book.person(finding), moment)
        if known := firing.get(finding.owner):
            _join(known, finding, message, keys, book)
        else:
            book.open(finding, message, say.why_silent(finding, keys))


def _join(alert: Alert, finding: Finding, message: Message, keys: Mapping[str, KeyState], book: AlertBook) -> None:
    """Let an alert be about more keys, if there are more."""
    about = {*alert.finding.key_hashes, *finding.key_hashes}
    if len(about) > len(alert.finding.key_hashes):
        by_name = tuple(sorted(about, key=lambda key_hash: (keys[key_hash].owner, keys[key_hash].name)))
        joined = replace(alert, finding=replace(alert.finding, key_hashes=by_name))
        book.grow(joined, len(about), message, say.why_silent(finding, keys))


def _ends_of_source_silences(book: AlertBook) -> Iterator[datetime]:
    for alert in book.alerts:
        if alert.finding.rule is Rule.STALENESS and alert.finding.owner is None and alert.resolved_at:
            yield alert.resolved_at
