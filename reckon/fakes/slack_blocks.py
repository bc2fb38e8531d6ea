"""Which blocks Slack takes: the documented limits of those block types that a message of plain facts is made of.

Of the whole, Slack takes 50 blocks and, though no document says so, about 13,200 characters of them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

MOST_BLOCKS: Final = 50
MOST_CHARACTERS: Final = 13_200


def what_is_wrong(blocks: object) -> str | None:
    """Return Slack's code for what is wrong with *blocks*, or None."""
    if not isinstance(blocks, list):
        return "invalid_blocks_format"
    if len(blocks) > MOST_BLOCKS or len(json.dumps(blocks, ensure_ascii=False)) > MOST_CHARACTERS:
        return "msg_blocks_too_long"
    return None if all(_is_block(block) for block in blocks) else "invalid_blocks"


def _is_block(block: object) -> bool:
    return isinstance(block, dict) and _BLOCKS.get(str(block.get("type")), _unknown)(block)


def _unknown(_block: dict[str, Any]) -> bool:
    return False


def _header(block: dict[str, Any]) -> bool:
    return _is_text(block.get("text"), 150, {"plain_text"})


def _section(block: dict[str, Any]) -> bool:
    fields = block.get("fields")
    if fields is not None and not (_is_list(fields, 10) and all(_is_text(field, 2000) for field in fields)):
        return False
    text = block.get("text")
    return fields is not None if text is None else _is_text(text, 3000)


def _context(block: dict[str, Any]) -> bool:
    elements = block.get("elements")
    return _is_list(elements, 10) and all(_is_text(element, 3000) or _is_image(element) for element in elements or [])


def _rich_text(block: dict[str, Any]) -> bool:
    elements = block.get("elements")
    return _is_list(elements, 1000) and all(_is_rich(element) for element in elements or [])


def _divider(_block: dict[str, Any]) -> bool:
    return True


_BLOCKS: Final[Mapping[str, Callable[[dict[str, Any]], bool]]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "rich_text": _rich_text,
    "divider": _divider,
}

_RUNS: Final[Mapping[str, str]] = {
    "text": "text",
    "link": "url",
    "user": "user_id",
    "usergroup": "usergroup_id",
    "channel": "channel_id",
    "emoji": "name",
    "broadcast": "range",
}
_RICH: Final = {"rich_text_section", "rich_text_preformatted", "rich_text_quote"}


def _is_rich(element: object) -> bool:
    if not isinstance(element, dict):
        return False
    elements = element.get("elements")
    if element.get("type") == "rich_text_list":
        return _is_list(elements, 1000) and all(_is_rich(item) for item in elements or [])
    return element.get("type") in _RICH and isinstance(elements, list) and all(_is_run(run) for run in elements)


def _is_run(run: object) -> bool:
    if not isinstance(run, dict):
        return False
    content = run.get(_RUNS.get(str(run.get("type")), ""))
    return isinstance(content, str) and content != ""


def _is_text(text: object, most: int, kinds: set[str] | None = None) -> bool:
    if not isinstance(text, dict) or text.get("type") not in (kinds or {"plain_text", "mrkdwn"}):
        return False
    content = text.get("text")
    # Slack counts as its clients do, in UTF-16.
    return isinstance(content, str) and 1 <= len(content.encode("utf-16-le", "surrogatepass")) // 2 <= most


def _is_image(element: object) -> bool:
    return isinstance(element, dict) and element.get("type") == "image"


def _is_list(found: object, most: int) -> bool:
    return isinstance(found, list) and 1 <= len(found) <= most
