"""What an answer of Slack means for the message: said, certainly not said, perhaps said, or never to be said like this.

Slack reports a refusal as HTTP 200 with `{"ok": false, "error": CODE}`, and adds codes as it grows. Three kinds of code
are known here. `internal_error` and its like are *ambiguous*, for Slack's own words are that a part of the operation
may have succeeded. Limits and migrations pass: *not delivered*. What a person has to mend is *refused*.

A code nobody knows is not delivered at first, in case it passes, and refused at the sixth attempt, some six minutes
later: a message that can never be said would hold up all that wait behind it. A refusal without a code (a proxy's 403)
is not delivered however long it lasts, for it is not about the message. An answer that is not Slack's at all
(HTML, a list, a broken document) is ambiguous, since whatever stands between may have passed the message on. Where
nobody can look, each new attempt may say the same again, so each doubles the wait, up to ten minutes.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from reckon.core.outbox import Outcome
from reckon.errors import SinkError
from reckon.http_time import retry_after_seconds
from reckon.sinks.slack.carrier import Answer

USUAL_WAIT_SECONDS: Final = 30
"""Where Slack limits us without a readable `Retry-After`."""

ATTEMPTS_BEFORE_GIVING_UP: Final = 6
_FIRST_WAIT_SECONDS: Final = 10
_LONGEST_OWN_WAIT_SECONDS: Final = 600


class Refused(SinkError):
    """Slack named a reason. Its code is kept, for those who know what to do about it."""

    def __init__(self, code: str, *, outcome: Outcome, retry_after_seconds: int | None = None) -> None:
        advice = ADVICE.get(code)
        super().__init__(
            f"Slack answered {code}" + (f": {advice}" if advice else ""),
            outcome=outcome,
            retry_after_seconds=retry_after_seconds,
        )
        self.code = code


class Unknown(SinkError):
    """Slack, or something before it, said what nobody here knows."""

    def __init__(self, message: str, *, outcome: Outcome, is_slacks: bool = False) -> None:
        super().__init__(message, outcome=outcome)
        self.is_slacks = is_slacks
        """Whether it is certain to be Slack's own refusal."""


def said(answer: Answer, now: datetime) -> dict[str, Any]:
    """Return what the Web API answered, if it was `ok`.

    Raises:
        SinkError: it was anything else.
    """
    _judge_status(answer, now)
    document = _document(answer)
    if document.get("ok") is True:
        return document
    if document.get("ok") is False:
        raise _refusal(document.get("error"), answer, now)
    raise _by_status(answer)


def taken(answer: Answer, now: datetime) -> None:
    """Return if an incoming webhook has taken the message.

    Raises:
        SinkError: it has not, or perhaps.
    """
    _judge_status(answer, now)
    if answer.body.strip() == b"ok" or _document(answer).get("ok") is True:
        return
    if answer.status < 300:
        raise _by_status(answer)
    raise _refusal(answer.body.strip().decode("ascii", "replace"), answer, now)


def final(trouble: SinkError, attempts: int, *, repeats: bool) -> SinkError:
    """Return *trouble* as it counts at the attempt of that number, the first being 1.

    Args:
        trouble: what one answer came to.
        attempts: how many there were, this one included.
        repeats: whether the next attempt says the same again if this one was heard.
    """
    if not isinstance(trouble, Unknown):
        return trouble
    if trouble.outcome is Outcome.AMBIGUOUS and repeats:
        wait = min(_FIRST_WAIT_SECONDS << min(max(attempts - 1, 0), 9), _LONGEST_OWN_WAIT_SECONDS)
        return SinkError(str(trouble), outcome=trouble.outcome, retry_after_seconds=wait)
    if is_for_good(trouble, attempts):
        return SinkError(f"{trouble}, {attempts} times", outcome=Outcome.REFUSED)
    return trouble


def is_for_good(trouble: SinkError, attempts: int) -> bool:
    """Return whether no repetition mends *trouble*, as far as anyone can tell at the attempt of that number."""
    is_endless = isinstance(trouble, Unknown) and trouble.is_slacks and attempts >= ATTEMPTS_BEFORE_GIVING_UP
    return is_endless or trouble.outcome is Outcome.REFUSED


# --- What is known ----------------------------------------------------------------------------------------------------

_PERHAPS_SAID: Final = frozenset(
    {"fatal_error", "internal_error", "rollup_error", "service_unavailable", "update_failed"}
)
STALE_CURSOR: Final = "invalid_cursor"
_PASSING: Final = frozenset(
    {
        STALE_CURSOR,
        *("ratelimited", "rate_limited", "message_limit_exceeded"),
        *("request_timeout", "team_added_to_org", "external_channel_migrating"),
    }
)

_MEND_TOKEN: Final = "slack.bot_token is not valid any more; put a new one in its place"  # noqa: S105 - words, no token
_MEND_CHANNEL: Final = "mend slack.channel or the team's channel, and invite the app to it"
_ASK_ADMIN: Final = "an administrator of the workspace has to allow it"
_MEND_WEBHOOK: Final = "slack.webhook_url is not valid any more; make a new one"
_OUR_MISTAKE: Final = "a mistake in Reckon"

ADVICE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "bad_token"), _MEND_TOKEN
    ),
    **dict.fromkeys(("channel_not_found", "not_in_channel", "user_not_found", "messages_tab_disabled"), _MEND_CHANNEL),
    **dict.fromkeys(
        (
            *("access_denied", "accesslimited", "action_prohibited", "ekm_access_denied", "enterprise_is_restricted"),
            *("no_permission", "org_login_required", "posting_to_general_channel_denied", "restricted_action"),
            *("restricted_action_non_threadable_channel", "restricted_action_read_only_channel"),
            *("restricted_action_thread_locked", "restricted_action_thread_only_channel", "team_access_not_granted"),
            "two_factor_setup_required",
        ),
        _ASK_ADMIN,
    ),
    **dict.fromkeys(("no_service", "no_service_id", "no_active_hooks", "no_team", "team_disabled"), _MEND_WEBHOOK),
    **dict.fromkeys(
        (
            *("invalid_arg_name", "invalid_arguments", "invalid_array_arg", "invalid_blocks", "invalid_blocks_format"),
            *("invalid_charset", "invalid_form_data", "invalid_json", "invalid_metadata_format"),
            *("invalid_metadata_schema", "invalid_payload", "invalid_post_type", "metadata_too_large"),
            *("missing_post_type", "missing_text_or_fallback_or_attachments", "msg_blocks_too_long", "msg_too_long"),
            *("no_text", "unknown_method"),
        ),
        _OUR_MISTAKE,
    ),
    "missing_scope": "give the app chat:write, and channels:history or groups:history, and install it anew",
    "not_allowed_token_type": "slack.bot_token must be the token of a bot, xoxb-...",
    "is_archived": "the channel is archived",
    "channel_is_archived": "the channel is archived",
    "as_user_not_supported": _OUR_MISTAKE,
    "cannot_reply_to_message": "the message it answers takes no answers",
    "cant_update_message": "the message to change was posted by another app",
    "deprecated_endpoint": "this version of Reckon is too old for Slack",
    "method_deprecated": "this version of Reckon is too old for Slack",
    "edit_window_closed": "the workspace does not let messages be changed so late",
    "message_not_found": "somebody has deleted the message to change",
    "thread_not_found": "somebody has deleted the message it answers",
}
"""What to do about each reason that no repetition mends."""

_GONE: Final = frozenset({"message_not_found", "thread_not_found", "edit_window_closed"})
"""There is nothing left to edit or to answer, and nobody has to mend that."""

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{1,63}")


def _refusal(code: object, answer: Answer, now: datetime) -> SinkError:
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        # Not shown: what does not look like a reason of Slack's could be anything.
        return Unknown(f"refused without a reason, HTTP {answer.status}", outcome=Outcome.NOT_DELIVERED)
    if code in _PERHAPS_SAID:
        return Refused(code, outcome=Outcome.AMBIGUOUS)
    if code in _PASSING:
        return Refused(code, outcome=Outcome.NOT_DELIVERED, retry_after_seconds=_wait_seconds(answer, now))
    if code in _GONE:
        return Refused(code, outcome=Outcome.UNNEEDED)
    if code in ADVICE:
        return Refused(code, outcome=Outcome.REFUSED)
    return Unknown(f"Slack answered {code}", outcome=Outcome.NOT_DELIVERED, is_slacks=True)


def _judge_status(answer: Answer, now: datetime) -> None:
    """Raise what the status alone decides: a limit, whoever set it, and every failure of a server."""
    if answer.status == 429:
        told = _wait_seconds(answer, now)
        raise SinkError("Slack asks us to wait", outcome=Outcome.NOT_DELIVERED, retry_after_seconds=told)
    if answer.status >= 500:
        asked = retry_after_seconds(answer.headers.get("Retry-After"), now)
        raise SinkError(f"Slack answered HTTP {answer.status}", outcome=Outcome.AMBIGUOUS, retry_after_seconds=asked)


def _by_status(answer: Answer) -> SinkError:
    outcome = Outcome.AMBIGUOUS if answer.status < 300 else Outcome.NOT_DELIVERED
    return Unknown(f"HTTP {answer.status}, but not what Slack answers", outcome=outcome)


def _document(answer: Answer) -> dict[str, Any]:
    """Return the object that the body is, or an empty one."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _wait_seconds(answer: Answer, now: datetime) -> int:
    told = retry_after_seconds(answer.headers.get("Retry-After"), now)
    return USUAL_WAIT_SECONDS if told is None else max(told, 1)
