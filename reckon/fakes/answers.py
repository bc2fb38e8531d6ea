"""What a server may say instead of the truth, by name.

An `Answer` stands as it is, or edits the body that would have been right, so that exactly one thing about it is wrong.
`WRONG` holds what no reader may take for counters: a test may go through all of it. `ODD` holds unusual ways to say
something true, which a reader must accept. What is plausible and false at once (`multiplied`, another key's counters)
is in neither: from one answer alone nobody can tell.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Final

JSON: Final = MappingProxyType({"content-type": "application/json"})
HTML: Final = MappingProxyType({"content-type": "text/html; charset=UTF-8"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: a body as it stands, or an edit of the right one."""

    body: bytes = field(default=b"", repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    edit: Callable[[bytes], bytes] | None = None

    def over(self, right: bytes) -> "Answer":
        """Return this answer as it is sent where *right* is the right body."""
        return self if self.edit is None else Answer(self.edit(right), self.status, self.headers)


def refusal(status: int, message: str, metadata: Mapping[str, str] | None = None) -> Answer:
    """Return an error in OpenRouter's envelope, `message` before `code` as live answers have it."""
    error: dict[str, object] = {"message": message, "code": status}
    if metadata is not None:
        error["metadata"] = dict(metadata)
    return Answer(json.dumps({"error": error}, separators=(",", ":")).encode(), status)


def rate_limited(retry_after: str | None) -> Answer:
    """Return the platform's 429. *retry_after* is sent as it stands, readable or not; None sends no such header."""
    limited = refusal(429, "Rate limit exceeded", {"error_type": "rate_limit_exceeded"})
    headers = {
        "content-type": "application/json",
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1795219260000",
    }
    return Answer(limited.body, 429, headers if retry_after is None else {**headers, "retry-after": retry_after})


def multiplied(factor: int) -> Answer:
    """Return the right answer in another unit: every amount used, *factor* times as large."""

    def edit(right: bytes) -> bytes:
        return _USED.sub(lambda amount: amount[1] + format(Decimal(amount[2].decode()) * factor, "f").encode(), right)

    return Answer(edit=edit)


_NUMBER = rb"(-?[0-9][0-9.eE+-]*)"
_USED: Final = re.compile(rb'("(?:total_|byok_)?usage(?:_daily|_weekly|_monthly)?":)' + _NUMBER)
_LIFETIME: Final = re.compile(rb'("(?:total_)?usage":)' + _NUMBER)
_LABEL: Final = re.compile(rb'("label":)"([^"]*)"')


def _replacing(pattern: re.Pattern[bytes], replacement: bytes) -> Answer:
    """Return the right answer with the first match of *pattern* replaced."""

    def edit(right: bytes) -> bytes:
        edited, replaced = pattern.subn(replacement, right, count=1)
        if not replaced:
            raise LookupError(f"the right answer has no {pattern.pattern!r} to make wrong")
        return edited

    return Answer(edit=edit)


def _lifetime(value: bytes) -> Answer:
    """Return the right answer with *value* standing where the lifetime counter stood."""
    return _replacing(_LIFETIME, rb"\g<1>" + value)


_GATEWAY_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en-US">
<head><title>openrouter.ai | 502: Bad gateway</title></head>
<body><h1>Bad gateway <span>Error code 502</span></h1><p>The host did not answer. Try again in a while.</p></body>
</html>
"""
_PORTAL_PAGE: Final = b"""<!DOCTYPE html>
<html><head><title>Welcome to the guest network</title></head><body><form>Accept the terms to go on</form></body></html>
"""

WRONG: Final[Mapping[str, Answer]] = MappingProxyType(
    {
        # Refusals, and trouble at OpenRouter or before it.
        "401_user_not_found": refusal(401, "User not found."),
        "401_no_cookie": refusal(401, "No cookie auth credentials found"),
        "402_needs_credits": refusal(402, "This request requires more credits, or fewer max_tokens."),
        "403_key_limit": refusal(403, "Key limit exceeded (total limit)."),
        "403_management_only": refusal(403, "Only management keys can perform this operation"),
        "429_wait_seconds": rate_limited("30"),
        "429_wait_until_a_date": rate_limited("Fri, 31 Dec 2038 23:59:59 GMT"),
        "429_wait_until_the_past": rate_limited("Sun, 06 Nov 1994 08:49:37 GMT"),
        "429_wait_unreadable": rate_limited("a little longer"),
        "429_wait_negative": rate_limited("-30"),
        "429_wait_for_decades": rate_limited("1000000000"),
        "429_wait_unsaid": rate_limited(None),
        "500_json": refusal(500, "Internal Server Error"),
        "502_html": Answer(_GATEWAY_PAGE, 502, HTML),
        "503_json": refusal(503, "Service temporarily unavailable"),
        "524_json": refusal(524, "Request timed out at the edge"),
        "529_json": refusal(529, "Provider overloaded"),
        "200_html": Answer(_PORTAL_PAGE, 200, HTML),
        "200_html_called_json": Answer(_PORTAL_PAGE),
        "204_nothing": Answer(b"", 204, MappingProxyType({})),
        # JSON, but no counters in it.
        "null": Answer(b"null"),
        "list": Answer(b"[]"),
        "string": Answer(b'""'),
        "true": Answer(b"true"),
        "number": Answer(b"25.5"),
        "data_missing": Answer(b"{}"),
        "data_null": Answer(b'{"data":null}'),
        "data_list": Answer(b'{"data":[]}'),
        "data_string": Answer(b'{"data":"25.5"}'),
        "data_empty": Answer(b'{"data":{}}'),
        "error_with_200": Answer(b'{"error":{"message":"Internal Server Error","code":500}}'),
        # Counters, but one of them is not money.
        "usage_missing": _replacing(re.compile(_LIFETIME.pattern + b","), b""),
        "usage_null": _lifetime(b"null"),
        "usage_string": _lifetime(b'"1.23"'),
        "usage_bool": _lifetime(b"true"),
        "usage_object": _lifetime(b'{"usd":1.23}'),
        "usage_list": _lifetime(b"[1.23]"),
        "usage_nan": _lifetime(b"NaN"),
        "usage_infinity": _lifetime(b"Infinity"),
        "usage_minus_infinity": _lifetime(b"-Infinity"),
        "usage_1e400": _lifetime(b"1e400"),
        "usage_1e999999999": _lifetime(b"1e999999999"),
        "usage_negative": _lifetime(b"-0.5"),
        "usage_1e15": _lifetime(b"1e15"),
        "usage_4301_digits": _lifetime(b"1" + b"0" * 4300),
        "usage_hexadecimal": _lifetime(b"0x10"),
        "usage_leading_zero": _lifetime(b"007"),
        "usage_twice": _replacing(_LIFETIME, rb"\g<0>,\g<1>0"),
        "data_twice": Answer(edit=lambda right: right[:-1] + b"," + right[1:]),
        # Not JSON, or not text.
        "empty": Answer(b""),
        "cut_short": Answer(edit=lambda right: right[: len(right) // 2]),
        "two_documents": Answer(edit=lambda right: right + right),
        "200000_deep": Answer(b"[" * 200_000 + b"]" * 200_000),
        "200000_deep_in_usage": _lifetime(b"[" * 200_000 + b"]" * 200_000),
        "500000_opened": Answer(b"[" * 500_000),
        "utf16": Answer(edit=lambda right: right.decode().encode("utf-16")),
        "utf32": Answer(edit=lambda right: right.decode().encode("utf-32")),
        "invalid_utf8": _replacing(_LABEL, b'\\g<1>"\xff\xfe\xc3"'),
        "surrogate_in_utf8": _replacing(_LABEL, b'\\g<1>"\xed\xa0\x80"'),
    }
)
"""Answers of `/key` that say nothing true: none of them may be counted."""

ODD: Final[Mapping[str, Answer]] = MappingProxyType(
    {
        "byte_order_mark": Answer(edit=lambda right: b"\xef\xbb\xbf" + right),
        "charset_named": Answer(
            edit=lambda right: right, headers=MappingProxyType({"content-type": "application/json; charset=utf-8"})
        ),
        "spaced_out": Answer(edit=lambda right: right.replace(b'":', b'" :\r\n\t')),
        "unknown_fields": Answer(
            edit=lambda right: right.replace(b'{"data":{', b'{"meta":[],"data":{"novelty":{"usd":1},')
        ),
        "escaped_name": _replacing(re.compile(rb'"label"'), rb'"\\u006cabel"'),
        "lone_surrogate_in_label": _replacing(_LABEL, rb'\g<1>"\\ud800\g<2>"'),
        "nul_in_label": _replacing(_LABEL, rb'\g<1>"\\u0000\g<2>"'),
        "minus_zero": Answer(
            edit=lambda right: _USED.sub(lambda used: used[1] + (b"-0.0" if used[2] == b"0" else used[2]), right)
        ),
    }
)
"""Answers of `/key` whose counters are right, however they are written: all of them must be counted."""
