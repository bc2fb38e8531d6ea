"""What these tests say, and through what: messages, deliveries, sinks over a fake workspace."""

from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from pydantic import SecretStr

from reckon.core.messages import Fact, Message, Table, Tone
from reckon.core.outbox import Delivery, Manner
from reckon.fakes.slack import app
from reckon.fakes.slack_workspace import Workspace
from reckon.sinks.slack.sink import SlackSink, WebhookSink
from tests.canary import CANARIES
from tests.serving import serve

NOW = datetime(2026, 11, 20, 2, 6, tzinfo=UTC)
TOKEN = CANARIES["slack_bot_token"]
WEBHOOK_PATH = urlsplit(CANARIES["slack_webhook_url"]).path
INTENT = "alert:sigma:dana:2026-11-20:opened"

ALERT = Message(
    headline="dana spent $84.10 today - usually $3.10 a day",
    tone=Tone.ALARM,
    facts=(
        Fact("When", "since 01:52 UTC, 14 min ago; the day ends 00:00 UTC (02:00 yours)"),
        Fact("Rule", "today > mean + 3 sigma = $7.90 over 21 days, and more than $1 above the mean"),
    ),
    notes=("provisional; as of 02:06 UTC",),
    mention="U012ABCDEF",
)
DIGEST = Message(
    headline="OpenRouter, Thu 19 Nov: $41.20, up 18 % on a usual Thursday ($34.90)",
    table=Table(
        columns=("Owner", "Yesterday", "Usual", "MTD"),
        rows=(("dana", "$18.40", "$9.10", "$201.00"), ("ci-agent", "$12.00", "$11.80", "$240.00")),
        figures=(1, 2, 3),
    ),
    notes=("1 alert acknowledged by ravi", "1 key without owner ($0.80)"),
)
RESOLVED = Message(headline="dana's day closed at $84.10", tone=Tone.CALM)


class Clock:
    """Stands still until it is set, or told to go on with every look."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now

    def advance(self, **by):
        self.now += timedelta(**by)


def delivery(message=ALERT, **changes):
    """Return a delivery at its first attempt."""
    standard = {
        "id": 17,
        "intent": INTENT,
        "message": message,
        "manner": Manner.POST,
        "to": None,
        "created_at": NOW,
        "due_at": NOW,
        "attempts": 1,
    }
    return Delivery(**{**standard, **changes})


class Town:
    """A workspace with a channel, a bot and a webhook in it."""

    def __init__(self):
        self.clock = Clock()
        self.workspace = Workspace(self.clock)
        self.workspace.issue_token(TOKEN)
        self.alerts = self.workspace.make_channel("alerts", id="C0ALERTS")
        self.workspace.make_webhook(self.alerts, WEBHOOK_PATH)
        self.app = app(self.workspace)

    @contextmanager
    def served(self):
        with serve(self.app) as url:
            yield url

    @property
    def messages(self):
        return self.workspace.messages(self.alerts)

    @property
    def methods_asked(self):
        return [request.path.removeprefix("/api/") for request in self.workspace.requests]


@asynccontextmanager
async def bot(url, *, channel="C0ALERTS", token=TOKEN, clock=None, timeout_seconds=10.0):
    sink = SlackSink(
        SecretStr(token), channel, clock=clock or Clock(), api_url=f"{url}/api/", timeout_seconds=timeout_seconds
    )
    try:
        yield sink
    finally:
        await sink.close()


@asynccontextmanager
async def webhook(url, *, clock=None, timeout_seconds=10.0):
    sink = WebhookSink(SecretStr(url + WEBHOOK_PATH), clock=clock or Clock(), timeout_seconds=timeout_seconds)
    try:
        yield sink
    finally:
        await sink.close()
