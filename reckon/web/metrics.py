"""`/metrics`: the figures for machines, in the form Prometheus reads.

Base units, `_total` only on what never falls, instants instead of ages, and labels that are configured names: never a
secret, never a prompt. What the ledger knows is read when somebody asks, so a scrape shows what a report would.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from reckon import __version__
from reckon.app import App
from reckon.core.money import usd_text
from reckon.core.records import Meter
from reckon.errors import StoreError
from reckon.pulse import Pulse
from reckon.web.bearer import ASKED_FOR, may_read

_PATIENCE_SECONDS: Final = 8.0
"""Less than the ten seconds after which Prometheus gives up."""


async def metrics(request: Request) -> Response:
    """Every figure as of now; 401 without the token, where there is one; 503 while the ledger cannot be read."""
    if not may_read(request):
        return PlainTextResponse("a bearer token is asked for\n", 401, ASKED_FOR)
    registry = CollectorRegistry(auto_describe=False)
    app: App = request.app.state.app()
    registry.register(_Process(request.app.state.pulse))
    registry.register(_Ledger(app))
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            text = await asyncio.get_running_loop().run_in_executor(app.store.thread, generate_latest, registry)
    except StoreError as error:
        return PlainTextResponse(f"{error}\n", 503)
    except TimeoutError:
        return PlainTextResponse(f"the ledger gave no answer within {_PATIENCE_SECONDS:g} s\n", 503)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Process(Collector):
    """What this process did since it started."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        pulse = self._pulse
        yield InfoMetricFamily("reckon", "This Reckon.", {"version": __version__})
        yield GaugeMetricFamily(
            "reckon_start_timestamp_seconds", "When this process started.", pulse.started_at.timestamp()
        )
        yield CounterMetricFamily("reckon_polls", "Polls committed by this process.", pulse.polls)
        failures = CounterMetricFamily(
            "reckon_poll_failures", "Keys that yielded nothing, by reason.", labels=["reason"]
        )
        for reason, count in sorted(pulse.failures.items()):
            failures.add_metric([reason], count)
        yield failures
        jobs = CounterMetricFamily("reckon_jobs", "Jobs that were done, by name.", labels=["job"])
        failed = CounterMetricFamily("reckon_jobs_failed", "Jobs that failed, by name.", labels=["job"])
        for beat in pulse.beats.values():
            jobs.add_metric([beat.name], beat.jobs)
            failed.add_metric([beat.name], beat.failed)
        yield jobs
        yield failed


class _Ledger(Collector):
    """What the ledger holds."""

    def __init__(self, app: App) -> None:
        self._app = app

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        if polled_at := self._app.polled_at():
            yield GaugeMetricFamily(
                "reckon_last_poll_timestamp_seconds", "When a poll was committed last.", polled_at.timestamp()
            )
        yield from self._keys()
        firing = GaugeMetricFamily("reckon_alerts_firing", "Alerts that are firing, by rule.", labels=["rule"])
        with self._app.store.reading() as ledger:
            counts = ledger.firing_by_rule()
        for rule, count in sorted(counts.items()):
            firing.add_metric([rule.value], count)
        yield firing
        messages = GaugeMetricFamily("reckon_messages", "Messages of the outbox, by state.", labels=["state"])
        for state, count in self._app.outbox_counts().items():
            messages.add_metric([state.value], count)
        yield messages

    def _keys(self) -> Iterator[Metric]:
        labels = ["owner", "team", "key"]
        # A gauge: it falls with a correction, and a counter that falls would be taken for one that began again.
        counted = GaugeMetricFamily(
            "reckon_key_counted_usd", "Spend less corrections since a key was first seen.", labels=[*labels, "meter"]
        )
        seen = GaugeMetricFamily("reckon_key_last_seen_timestamp_seconds", "When a key answered last.", labels=labels)
        failing = GaugeMetricFamily("reckon_key_failing", "1 while a key yields nothing.", labels=labels)
        for key in self._app.watched_keys():
            names = [key.owner, self._app.owner_map.teams.get(key.owner) or "", key.name]
            failing.add_metric(names, float(key.failure is not None))
            if key.counters:
                seen.add_metric(names, key.counters.last_seen_at.timestamp())
                for meter, counter in ((Meter.CREDITS, key.counters.credits), (Meter.BYOK, key.counters.byok)):
                    nanos = counter.mark_nanos - counter.opening.total_nanos
                    counted.add_metric([*names, meter.value], float(usd_text(nanos)))
        yield counted
        yield seen
        yield failing
