"""Who spent how much, as a document."""

from typing import Any

from reckon.core.money import usd_text
from reckon.core.reports import SpendReport, SpendRow
from reckon.documents import instant
from reckon.documents.tokens import tokens


def spend_document(report: SpendReport) -> dict[str, Any]:
    """Return *report* as a document."""
    return {
        "timezone": report.zone.key,
        "since": instant(report.span.start),
        "until": instant(report.span.end),
        "as_of": instant(report.as_of),
        "total_usd": usd_text(report.total.spend_nanos),
        "total_correction_usd": usd_text(report.total.correction_nanos),
        "total_byok_usd": usd_text(report.total.byok_nanos),
        "total_byok_correction_usd": usd_text(report.total.byok_correction_nanos),
        "total_state": report.state.value,
        "before_watching_usd": usd_text(report.before_watching_nanos),
        "rows": [_row(row) for row in report.rows],
    }


def _row(row: SpendRow) -> dict[str, Any]:
    about_key = {"owner": row.owner, "hash": row.key_hash} if "key" in row.place else {}
    return {
        **{dimension.value: name for dimension, name in row.place.items()},
        **about_key,
        "spend_usd": usd_text(row.amounts.spend_nanos),
        "correction_usd": usd_text(row.amounts.correction_nanos),
        "byok_usd": usd_text(row.amounts.byok_nanos),
        "byok_correction_usd": usd_text(row.amounts.byok_correction_nanos),
        "generations": row.generations,
        "state": row.state.value,
        "watched_from": instant(row.watched_from),
        **({"tokens": tokens(row.pools)} if row.pools else {}),
    }
