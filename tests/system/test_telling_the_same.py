"""The life of `telling` under a clock that jumps, from a restored backup, and by several replicas: the same is said.

Under a clock that is wrong, what is right is what that clock shows: a day is the day of the clock, and a digest is due
when the clock says so. So where a step changes no date that Reckon sees, all is said as without it. Where it does, a
day is skipped or comes twice; then money is still exact, whoever ran away is told of at least once and once for any
date, a silence once, and of days the latest that is over, each once. One thing is not asked for: that money is called
unusual on a date before there was any history.
"""

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from reckon.app import open_app
from reckon.core.alerts import Change
from reckon.core.outbox import DeliveryState
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, usd
from tests.injection import Injector
from tests.system.telling import (
    FIRST_DAY,
    LIFE,
    Outcome,
    Scene,
    Step,
    Team,
    Way,
    arrive,
    look,
    look_together,
    owner_map,
    scene_at,
)

# --- Clocks that jump ------------------------------------------------------------------------------------------------

_SIZES = (SECOND, 61 * SECOND, 10 * MINUTE, HOUR, DAY)
_FAR = 400 * DAY
_TRIED = 8
_ALWAYS = ((4, -DAY, False), (1, -_FAR, True))
"""A silence that began, and money that was seen, under a clock that shows an earlier day."""
_HISTORY_SUFFICES_FROM = (FIRST_DAY + 8 * DAY).date()


@pytest.mark.parametrize("sizes", [_SIZES, pytest.param((_FAR,), marks=pytest.mark.long)], ids=["near", "far"])
def test_a_clock_that_is_set_while_there_is_much_to_tell_neither_hides_nor_repeats_anything(
    sqlite_url, secret_file, sizes, some_of, capsys
):
    team = Team()
    steps_by = [sign * size for size in sizes for sign in (1, -1)]
    every_way = [*product(range(len(LIFE)), steps_by, (False, True))]
    chosen = some_of(every_way, _TRIED)
    with capsys.disabled():
        sys.stdout.write(f"\nclock steps: {len(chosen)} of {len(every_way)}\n")
    wrong = {}
    with scene_at(sqlite_url, secret_file("reckon.toml", owner_map(team))) as scene:
        scene.lives_its_past(team)
        before, shown = [], []
        for step in LIFE:
            before.append(scene.this_moment(team))
            shown.append(step.at)
            lives(scene, team, [step])
        undisturbed = scene.outcome(team)
        assert what_is_wrong(scene, team, shown, shown, undisturbed) == []

        for place, by, is_set_right in [*_ALWAYS, *chosen]:
            team = scene.back_to(before[place])
            team.ahead_by = by
            lives(scene, team, LIFE[place : place + 1])
            team.ahead_by = timedelta(0) if is_set_right else by
            lives(scene, team, LIFE[place + 1 :])
            seen = [*shown[:place], shown[place] + by, *(instant + team.ahead_by for instant in shown[place + 1 :])]
            if found := what_is_wrong(scene, team, seen, shown, undisturbed):
                wrong[place, str(by), is_set_right] = found
    assert not wrong, "\n".join(f"{where}: {what}" for where, what in wrong.items())


def lives(scene: Scene, team: Team, steps) -> None:
    async def live(watcher) -> None:
        for step in steps:
            arrive(team, step)
            await look(watcher, team)

    scene.process(team, Way.CONSOLE, live)


def what_is_wrong(
    scene: Scene, team: Team, shown: list[datetime], in_truth: list[datetime], undisturbed: Outcome
) -> list[str]:
    """Return what should not be so after a life in which the clock has *shown* other instants than the true ones."""
    found = scene.what_is_wrong_with_the_ledger(team)
    outcome = scene.outcome(team)
    found += [f"not finished: {intent}" for intent, _, state in outcome.queued if state not in _SAID_OR_NOT_NEEDED]
    if len(team.printed) != len(told_in(outcome)) or any(message.may_repeat for message in outcome.said["console"]):
        found.append(f"{len(told_in(outcome))} messages were to be said, and {len(team.printed)} were")
    if [*map(dates, shown)] == [*map(dates, in_truth)]:
        return [*found, *unlike(outcome, undisturbed)]
    return [*found, *wrong_alerts(outcome, shown), *wrong_digests(outcome, shown)]


def unlike(outcome: Outcome, undisturbed: Outcome) -> Iterator[str]:
    """Yield how a life differs from the undisturbed one, amounts aside."""
    if changes(outcome) != changes(undisturbed):
        yield f"alerts: {changes(outcome)}"
    if Counter(map(without_size, told_in(outcome))) != Counter(map(without_size, told_in(undisturbed))):
        yield f"said: {told_in(outcome)}"


def wrong_alerts(outcome: Outcome, shown: list[datetime]) -> Iterator[str]:
    """Yield what is missing or told twice after a life in which a day was skipped or came twice."""
    alerts = changes(outcome)
    for fingerprint, life in alerts.items():
        if life.count(Change.OPENED) != 1 or Change.OPENED_AGAIN in life:
            yield f"{fingerprint} opened more than once: {life}"
    if sum(fingerprint.startswith("staleness:") for fingerprint in alerts) != 1:
        yield f"one silence was told thus: {[*alerts]}"
    told_nanos = [spend for name, (_, _, spend, _) in outcome.alerts.items() if name.startswith("sigma:ana:")]
    if min(shown).date() >= _HISTORY_SUFFICES_FROM and max(told_nanos, default=0) < usd(50):
        yield f"nobody was told of what ana spent: {[*alerts]}"


def wrong_digests(outcome: Outcome, shown: list[datetime]) -> Iterator[str]:
    """Yield what was told of a day that never was the last one, and each look after which the last was not told."""
    days = [intent.split(":")[2] for intent in told_in(outcome) if intent.startswith("digest:daily:")]
    told = {*map(date.fromisoformat, days)}
    if unasked := told - {*map(latest_over, shown)}:
        yield f"digests of {unasked}, which never was the last day"
    for instant in shown:
        last = latest_over(instant)
        if last >= FIRST_DAY.date() and not any(last <= day <= (instant + HOUR).date() - DAY for day in told):
            yield f"no digest at {instant}: {days}"


_SAID_OR_NOT_NEEDED = {DeliveryState.DELIVERED, DeliveryState.UNNEEDED}


def dates(instant: datetime) -> tuple[date, date]:
    """Return all that Reckon takes from the calendar at *instant*: the date, and the day whose digest is due."""
    return instant.date(), latest_over(instant)


def latest_over(instant: datetime) -> date:
    """Return the last day whose digest was due by *instant*: at nine on the morning after."""
    return (instant - 9 * HOUR).date() - DAY


def changes(outcome: Outcome) -> dict[str, list[Change]]:
    return {fingerprint: [change for change, *_ in life] for fingerprint, life in outcome.transitions.items()}


def told_in(outcome: Outcome) -> list[str]:
    """Return the intents of all that was said."""
    return [intent for intent, _, state in outcome.queued if state is DeliveryState.DELIVERED]


def without_size(intent: str) -> str:
    """Return the intent without the amount that it may name."""
    return intent.partition(":grew:")[0]


# --- A restored backup -----------------------------------------------------------------------------------------------


def test_a_backup_of_three_days_ago_tells_no_alert_again_and_loses_no_money(sqlite_url, secret_file):
    team, file = Team(), Path(sqlite_url.removeprefix("sqlite:///"))
    backup = file.with_suffix(".backup")
    begins = Step(at("2027-01-31 08:00"))
    later = [Step(at("2027-02-01 12:00") + n * DAY / 4, lambda team: team.spend("cleo", "0.4")) for n in range(8)]
    with scene_at(sqlite_url, secret_file("reckon.toml", owner_map(team))) as scene:
        scene.lives_its_past(team)
        arrive(team, begins)
        scene.goes_on(team, Way.BOT, [])
        scene.engine.dispose()
        shutil.copyfile(file, backup)
        scene.goes_on(team, Way.BOT, [*LIFE, *later])
        assert {*changes(scene.outcome(team))} == {"sigma:ana:2027-01-31", "staleness:ben:2027-01-31"}
        before = team.workspace.messages()

        arrive(team, Step(begins.at + 3 * DAY))
        scene.engine.dispose()
        backup.replace(file)
        scene.goes_on(team, Way.BOT, [Step(begins.at + 3 * DAY + 2 * HOUR)])

        assert scene.what_is_wrong_with_the_ledger(team) == []
        with open_app(scene.settings, clock=team.clock) as app, app.store.reading() as ledger:
            gaps = [gap for gap in ledger.gaps() if gap.at > begins.at]
        assert [(gap.since, gap.at) for gap in gaps] == 3 * [(begins.at, begins.at + 3 * DAY)]
        assert len({gap.key_hash for gap in gaps}) == 3
        outcome = scene.outcome(team)
        assert outcome.alerts == {}
        assert outcome.transitions == {}
        said_since = team.workspace.messages()[len(before) :]
        # What the digests of the days since then have said, a ledger that is older does not know.
        assert said_since
        assert all(message.text.startswith("OpenRouter, ") for message in said_since)
        assert team.workspace.messages()[: len(before)] == before


# --- Replicas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [pytest.param(2, marks=pytest.mark.long), 3])
def test_several_watchers_of_one_ledger_say_what_one_would_say(postgres_url, secret_file, replicas):
    # More owners than one replica takes at once, so that they divide the work.
    team = Team(["ana", "ben", "cleo", *(f"owner-{number}" for number in range(37))])
    with scene_at(postgres_url, secret_file("reckon.toml", owner_map(team))) as scene:
        scene.lives_its_past(team)
        begin = scene.this_moment(team)
        arrive(team, LIFE[0])
        scene.goes_on(team, Way.BOT, LIFE[1:])
        alone, said_alone = scene.outcome(team), headlines(team)

        team = scene.back_to(begin)
        asyncio.run(live_together(scene, team, replicas))
        together = scene.outcome(team)
        assert scene.what_is_wrong_with_the_ledger(team) == []

    assert together.alerts == alone.alerts
    assert together.transitions == alone.transitions
    assert Counter(together.queued) == Counter(alone.queued)
    assert len(together.alerts) == 2
    assert headlines(team) == said_alone
    assert team.workspace.too_fast == []


def headlines(team: Team) -> dict[str, list[tuple[str, str | None]]]:
    """Return what was said in each place, in order, without what it says of the certainty of its figures.

    The first replica to commit after midnight closes the day of all owners, and of those whose keys are only being
    asked it can say no more than that their figure is provisional.
    """
    return {place: [(one.headline, one.answers) for one in said] for place, said in team.said().items()}


async def live_together(scene: Scene, team: Team, replicas: int) -> None:
    async with AsyncExitStack() as opened:
        watchers = [
            await opened.enter_async_context(scene.watching(team, Way.BOT, Injector(), f"replica {number}"))
            for number in range(replicas)
        ]
        for step in LIFE:
            arrive(team, step)
            await look_together(watchers, team)
            watchers.append(watchers.pop(0))
