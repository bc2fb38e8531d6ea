"""Slack at its worst, end to end: every alert arrives, once where it can be looked for, and never too fast.

The faults are tried side by side, each with a daemon, a team and a Slack of its own: what takes long is waiting.
"""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from reckon.core.outbox import DeliveryState
from reckon.fakes.slack_workspace import BAD_GATEWAY, PAGE, Order, late, lost, refused, throttled
from tests.system.daemons import Team, eventually, on_the_wire
from tests.wire_faults import Script, carried_out, hang_up, in_turn

POST = "chat.postMessage"
NEVER = threading.Event()
"""Longer than anybody waits; the fake itself gives up after half a minute."""


@dataclass
class Fault:
    """What happens to the first posts: orders for the fake, or what the wire does once it has carried one out."""

    orders: list[Order] = field(default_factory=list)
    on_the_wire: Script | None = None
    through: str = "bot"
    most_repetitions: int = 0


FAULTS = {
    "accepted, then dropped": Fault(on_the_wire=hang_up),
    "limited again and again": Fault([throttled("2"), throttled("3"), throttled("1"), throttled("1")]),
    "502, and nothing said": Fault([Order(BAD_GATEWAY)]),
    "HTML though it was said": Fault([lost(PAGE)]),
    "no answer though it was said": Fault([late(NEVER)]),
    "webhook: HTML though it was said": Fault([lost(PAGE)], through="webhook", most_repetitions=1),
}


@pytest.fixture
def teams(fresh_sqlite, make_team):
    with ExitStack() as stack:
        made: dict[str, Team] = {}
        for name, fault in FAULTS.items():
            team = made[name] = make_team(stack.enter_context(fresh_sqlite()))
            where = POST if fault.through == "bot" else "webhook"
            for order in fault.orders:
                team.workspace.answer_with(where, order, times=1)
            team.workspace.enforces_pace = True
            url = None
            if fault.on_the_wire:
                script = in_turn(carried_out(team.slack, fault.on_the_wire), carried_out(team.slack))
                url = stack.enter_context(on_the_wire(script))
            stack.enter_context(team.served(through=fault.through, slack_url=url))
            team.configure()
        yield made
        NEVER.set()


def test_whatever_slack_does_every_alert_arrives_and_never_too_fast(teams):
    with ExitStack() as running:
        daemons = {name: running.enter_context(team.running(is_ready=False)) for name, team in teams.items()}
        for name, team in teams.items():
            daemons[name].until("poll.committed")
            team.spend_thirty_times_as_much("ana", "ben", "dana")
        for name, team in teams.items():
            eventually(lambda team=team: team.messages(DeliveryState.DELIVERED) == 3, name)
        for daemon in daemons.values():
            daemon.until_polled()
            assert not daemon.events("job.failed")

    for name, team in teams.items():
        told = [message.text.split()[0] for message in team.posts()]
        assert sorted(set(told)) == ["ana", "ben", "dana"], name
        assert len(told) <= 3 + FAULTS[name].most_repetitions, name
        assert told == sorted(told), f"{name}: out of order"
        team.assert_kept_the_pace()


def test_what_slack_refuses_for_good_is_kept_and_shown_and_costs_no_other_its_alert(sqlite_url, make_team):
    team = make_team(sqlite_url)
    with team.served():
        team.configure()
        team.workspace.answer_with(POST, refused("is_archived"), times=1)
        with team.running() as daemon:
            daemon.until_polled()
            team.spend_thirty_times_as_much("dana")
            dead = daemon.until("message.dead")
            team.spend_thirty_times_as_much("ben")
            (message,) = eventually(team.posts, "the other alert")
            daemon.until_polled(3)
            status = team.run("status")
            metrics = team.http("/metrics").text

        assert "archived" in dead["trouble"]
        assert message.text.startswith("ben ")
        assert len(team.slack.to(POST)) == 2  # what was refused was not tried again
        assert "never delivered" in status.stdout
        assert "archived" in status.stdout
        assert 'reckon_messages{state="dead"} 1.0' in metrics
        team.assert_exact()
