"""A reader of what Slack would make of a post: written from Slack's formatting documents, independent of how we write.

Slack reads markup in `text` and in text objects of the type `mrkdwn`. There `<...>` is a link, a mention or a date, and
`&lt;`, `&gt;`, `&amp;` are signs. In `plain_text` and in the runs of a `rich_text` all is shown as it stands, and what
is special (a link, a mention, an emoji) is an object of its own kind.
"""

import html
import re

TOKEN = re.compile(r"<([^<>]*)>|(```|`)|([<>])")


def tokens(text):
    """Return the tokens of *text* that are not plain: `("link", ...)`, `("code", ...)`, `("stray", ...)`."""
    kinds = {1: "link", 2: "code", 3: "stray"}
    return [(kinds[found.lastindex], found[found.lastindex]) for found in TOKEN.finditer(text)]


def shown(text):
    """Return what a person sees of *text* that holds no token."""
    return html.unescape(text)


def nodes(part):
    """Yield every object below *part*, itself included."""
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from nodes(value)
    elif isinstance(part, list):
        for value in part:
            yield from nodes(value)


def markup(post):
    """Return all that Slack would not simply show: of `text`, of every `mrkdwn` object, and every special run."""
    found = [token for token in tokens(post["text"]) if token[0] != "code"]
    for node in nodes(post["blocks"]):
        if node.get("type") == "mrkdwn":
            found += tokens(node["text"])
        elif node.get("type") in {"link", "user", "usergroup", "channel", "emoji", "broadcast", "date", "color"}:
            found.append((node["type"], str(node)))
        elif node.get("type") == "plain_text" and node.get("emoji", True):
            found.append(("emoji", node["text"]))
    return found


def words(post):
    """Return all text of the blocks."""
    return "\n".join(node["text"] for node in nodes(post["blocks"]) if isinstance(node.get("text"), str))


def monospaced(post):
    """Return the texts of the blocks of code."""
    return [
        "".join(run["text"] for run in node["elements"])
        for node in nodes(post["blocks"])
        if node.get("type") == "rich_text_preformatted"
    ]
