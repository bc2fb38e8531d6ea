"""Trouble at each side effect of judging and delivering in turn, on both databases, in every way of being told.

The life is that of `telling`: an alert opens, grows and ends with its day, a silence is told and taken back, digests
are due. It is lived step by step, each in a process of its own, and in one process there is trouble at one statement,
commit, request to Slack or print. What happens to others' processes must not be seen in what is counted and said: a
new process goes on from what the first has left, to the end of the life, which then is compared with the undisturbed.

Said once is said once: by a bot, which can look for its own message. Through a webhook or on a console nobody can look,
and one attempt of which nobody knows what became of it may be said a second time, marked as such.

A short run takes some of all pairs of a side effect and a trouble, others each time; `--long` takes them all.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import product

import pytest

from reckon.core.outbox import DeliveryState
from tests.injection import FATAL, Injector, Trouble
from tests.system.telling import LIFE, Moment, Outcome, Scene, Team, Way, arrive, look, owner_map, scene_at
from tests.system.time_passes import let_leases_run_out

PAIRS = 12
"""So many a short run tries, in each way of being told."""


@dataclass(frozen=True)
class Known:
    """The undisturbed life."""

    before: list[Moment]
    """Before each step."""
    reached: list[list[str]]
    """The side effects of each step, in words."""
    outcome: Outcome

    def pairs(self) -> Iterator[tuple[int, int, Trouble]]:
        """Yield every step, side effect within it from 1 on, and trouble."""
        for step, reached in enumerate(self.reached):
            for place, trouble in product(range(1, len(reached) + 1), Trouble):
                yield step, place, trouble


@pytest.fixture
def scene(database_url, secret_file) -> Iterator[Scene]:
    with scene_at(database_url, secret_file("reckon.toml", owner_map(Team()))) as scene:
        yield scene


# What the ways differ in has to do with no database, so on the second of them a short run takes one way.
@pytest.mark.parametrize(
    ("fresh_database", "way"),
    [
        pytest.param(database, way, marks=() if database == "sqlite" or way is Way.BOT else pytest.mark.long)
        for database, way in product(("sqlite", "postgres"), Way)
    ],
    indirect=["fresh_database"],
)
def test_trouble_at_any_side_effect_of_judging_and_telling_loses_nothing_and_says_nothing_twice(
    scene, way, some_of, capsys
):
    known = lived_undisturbed(scene, way)
    every_pair = [*known.pairs()]
    chosen = some_of(every_pair, PAIRS)
    say(capsys, f"{way}: {len(chosen)} of {len(every_pair)};", known)
    judged: dict[str, list[str]] = {}
    wrong = {}

    for step, place, trouble in chosen:
        team = scene.back_to(known.before[step])
        injector = Injector(place, trouble)
        lives_through_trouble(scene, team, way, step, injector)
        assert injector.reached[:place] == known.reached[step][:place]
        assert injector.is_dead == (trouble in FATAL)
        # What happens next depends on nothing but this, so what is equal need be followed only once.
        left = repr((step, scene.this_moment(team).in_words(), team.true_time()))
        if left not in judged:
            judged[left] = goes_wrong(scene, team, way, step, known)
        if judged[left]:
            wrong[step, place, known.reached[step][place - 1], trouble] = judged[left]

    assert not wrong, "\n".join(f"{where}:\n  " + "\n  ".join(what) for where, what in wrong.items())
    say(capsys, f"{way}: {len(judged)} states were left;", known)


def lived_undisturbed(scene: Scene, way: Way) -> Known:
    """Live the life twice, and return it."""
    team = Team()
    scene.lives_its_past(team)
    begin = scene.this_moment(team)
    before, reached = [], []
    for step in range(len(LIFE)):
        before.append(scene.this_moment(team))
        injector = Injector()
        lives_through_trouble(scene, team, way, step, injector)
        reached.append(injector.reached)
    assert sum(map(len, reached)) >= 100
    outcome = scene.outcome(team)
    assert what_is_wrong(scene, team, way, outcome) == []
    assert {change[0].value for life in outcome.transitions.values() for change in life} == {
        "opened",
        "grew",
        "resolved",
    }
    assert len(outcome.alerts) == 2
    assert {state for _, _, state in outcome.queued} <= {DeliveryState.DELIVERED, DeliveryState.UNNEEDED}
    assert sum(map(len, outcome.said.values())) == {Way.BOT: 9, Way.WEBHOOK: 7, Way.CONSOLE: 7}[way]

    team = scene.back_to(begin)
    arrive(team, LIFE[0])
    scene.goes_on(team, way, LIFE[1:])
    assert what_is_wrong(scene, team, way, outcome) == []
    return Known(before, reached, outcome)


def lives_through_trouble(scene: Scene, team: Team, way: Way, step: int, injector: Injector) -> None:
    """Live through one step in a process of its own; what outlives the trouble looks again when it is over."""

    async def live(watcher) -> None:
        await look(watcher, team)
        if injector.has_made_trouble:
            injector.mend()
            let_leases_run_out(scene.url)
            await look(watcher, team)

    arrive(team, LIFE[step])
    let_leases_run_out(scene.url)
    try:
        scene.process(team, way, live, injector)
    except BaseException:
        if not injector.is_dead:
            raise


def goes_wrong(scene: Scene, team: Team, way: Way, step: int, known: Known) -> list[str]:
    """Let a new process go on after a step; return what is wrong in the end."""
    scene.goes_on(team, way, [])
    now = scene.this_moment(team).in_words(of_old=True)
    if step + 1 < len(LIFE) and now == known.before[step + 1].in_words(of_old=True):
        return []  # as if nothing had happened, so nothing else will either
    scene.goes_on(team, way, LIFE[step + 1 :])
    return what_is_wrong(scene, team, way, known.outcome)


def what_is_wrong(scene: Scene, team: Team, way: Way, wanted: Outcome) -> list[str]:
    """Return what is not as in the undisturbed life."""
    found = scene.what_is_wrong_with_the_ledger(team)
    outcome = scene.outcome(team)
    found += differences("alerts", wanted.alerts.items(), outcome.alerts.items())
    found += differences("transitions", wanted.transitions.items(), outcome.transitions.items())
    found += differences("outbox", wanted.queued, outcome.queued)
    repeated = 0
    for place, wanted_there in wanted.said.items():
        said = outcome.said.get(place, [])
        found += differences(place, wanted_there, dict.fromkeys(said))
        known = set()
        for message in said:
            if message in known and not message.may_repeat:
                found.append(f"{place}: again, and without a mark: {message}")
            repeated += message in known
            known.add(message)
    if repeated > (way is not Way.BOT):
        found.append(f"{repeated} messages were repeated")
    if team.workspace.too_fast:
        found.append(f"too fast: {team.workspace.too_fast}")
    return found


def differences(what: str, wanted: Iterable[object], found: Iterable[object]) -> list[str]:
    """Return the lines in which two lists of things differ, their order included."""
    lines = unified_diff([*map(repr, wanted)], [*map(repr, found)], n=0, lineterm="")
    return [f"{what}: {line}" for line in lines if line[:2] not in {"--", "++", "@@"}]


def say(capsys, what: str, known: Known) -> None:
    reached = [effect for step in known.reached for effect in step]
    commits = reached.count("COMMIT")
    told = sum(effect.startswith(("POST ", "GET ", "print")) for effect in reached)
    with capsys.disabled():
        sys.stdout.write(f"\n{what} K = {len(reached)} side effects: {commits} commits, {told} requests or prints\n")
