"""The spool: whatever is dropped into the directory is taken exactly once, and no file is another one's trouble."""

import json
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from structlog.testing import capture_logs

from reckon.core.records import UNOWNED
from reckon.errors import StoreError
from reckon.handing_in import Names
from reckon.jobs.spool import Spool
from tests.builders import key_hash, usd, watched

NAMES = Names([watched("laptop", "ana")], {"ana", "bo"})
LONG_ENOUGH_SECONDS = 5.0


class Died(BaseException):
    """What stands for the end of the process."""


class Clock:
    """Seconds by a clock that a test sets. `dies_in` so many more readings the process ends instead."""

    def __init__(self):
        self.seconds = 100.0
        self.dies_in = None

    def __call__(self):
        if self.dies_in == 0:
            raise Died
        if self.dies_in is not None:
            self.dies_in -= 1
        return self.seconds


class Ledger:
    """Remembers an id once however often it is handed in, as the ledger does, and may die before or after it."""

    def __init__(self):
        self.entries = {}
        self.batches = []
        self.fails = {}

    def hand_in(self, batch):
        number = len(self.batches)
        self.batches.append([each.id for each in batch])
        moment, error = self.fails.pop(number, (None, None))
        if moment == "before":
            raise error
        for each in batch:
            self.entries.setdefault(each.id, each)
        if moment == "after":
            raise error

    @property
    def handed(self):
        """Every id in the order in which it was handed in, as often as it was."""
        return [each for batch in self.batches for each in batch]


class Place:
    """A directory with a spool on it, which may be begun again as after a restart."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.clock = Clock()
        self.ledger = Ledger()
        self.restart()

    def restart(self):
        self.clock.dies_in = None
        self.spool = Spool(self.directory, self.clock)

    def drop(self, name, *lines, end="\n"):
        text = "\n".join(lines) + (end if lines else "")
        (self.directory / name).write_text(text)

    def append(self, name, text):
        with (self.directory / name).open("a") as file:
            file.write(text)

    def take(self):
        return self.spool.take(NAMES, self.ledger.hand_in)

    def take_all(self):
        """Take until every file that can be done with is done with; return how many entries that were."""
        taken = self.take()
        for _ in range(3):
            self.clock.seconds += LONG_ENOUGH_SECONDS
            taken += self.take()
        return taken

    def names(self):
        return sorted(path.name for path in self.directory.iterdir())

    def rejected(self, name):
        return [json.loads(line) for line in (self.directory / name).read_text().splitlines()]


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "spool"
    directory.mkdir()
    return Place(directory)


# --- Taking ----------------------------------------------------------------------------------------------------------


def test_every_line_of_every_file_is_taken_once_and_the_files_are_kept_as_done(place):
    place.drop("a.jsonl", "gen-1", '{"id": "gen-2", "key": "laptop", "usage": null}', "", '"gen-3"')
    place.drop("b.jsonl", '{"id": "gen-4", "owner": "bo", "session": "nightly"}', "gen-1")

    assert place.take() == 5
    assert place.ledger.batches == [["gen-1", "gen-2", "gen-3"], ["gen-4", "gen-1"]]
    place.clock.seconds += LONG_ENOUGH_SECONDS
    assert place.take() == 0
    assert place.names() == ["a.done", "b.done"]
    assert (place.directory / "a.done").read_text().startswith("gen-1\n")

    entries = place.ledger.entries
    assert (entries["gen-1"].owner, entries["gen-1"].key_hash) == (UNOWNED, None)
    assert (entries["gen-2"].owner, entries["gen-2"].key_hash) == ("ana", key_hash("laptop"))
    assert (entries["gen-4"].owner, entries["gen-4"].facts.session) == ("bo", "nightly")


def test_what_a_line_tells_of_the_cost_is_handed_in_with_it(place):
    usage = '{"prompt_tokens": 2, "completion_tokens": 3, "cost": 0.0015, "is_byok": false}'
    place.drop("a.jsonl", f'{{"id": "gen-1", "usage": {usage}}}')
    place.take()
    facts = place.ledger.entries["gen-1"].facts
    assert (facts.credits_nanos, facts.byok_nanos, facts.pools.input) == (usd("0.0015"), 0, 2)


def test_a_file_that_has_come_to_rest_is_done_with_and_not_before(place):
    place.drop("a.jsonl", "gen-1")
    place.take()
    place.clock.seconds += LONG_ENOUGH_SECONDS - 0.001
    place.take()
    assert place.names() == ["a.jsonl.taken"]
    place.clock.seconds += 0.001
    place.take()
    assert place.names() == ["a.done"]
    assert place.ledger.handed == ["gen-1"]


def test_what_is_done_with_is_never_read_again(place):
    place.drop("a.jsonl", "gen-1")
    place.take_all()
    place.restart()
    assert place.take_all() == 0
    assert place.ledger.handed == ["gen-1"]


@pytest.mark.parametrize("lines", [[], [""], ["", "  ", ""]])
def test_a_file_that_holds_nothing_is_done_with_too(place, lines):
    place.drop("a.jsonl", *lines)
    assert place.take_all() == 0
    assert (place.names(), place.ledger.batches) == (["a.done"], [])


def test_files_of_another_name_are_left_alone(place):
    for name in ("a.json", "a.jsonl.tmp", "a.txt", "a.done", "a.jsonl~", "A.JSONL"):
        place.drop(name, "gen-1")
    before = place.names()
    assert place.take_all() == 0
    assert (place.names(), place.ledger.batches) == (before, [])


def test_a_long_file_is_handed_in_by_and_by(place):
    ids = [f"gen-{number}" for number in range(12_345)]
    place.drop("a.jsonl", *ids)
    assert place.take() == len(ids)
    assert place.ledger.handed == ids
    assert max(map(len, place.ledger.batches)) == 5_000
    assert place.spool.lines == len(ids)


# --- Writers that have not done with it ------------------------------------------------------------------------------


def test_what_is_appended_after_the_file_was_moved_is_taken_as_well(place):
    place.drop("a.jsonl", "gen-1")
    with (place.directory / "a.jsonl").open("a") as writer:
        place.take()
        assert place.names() == ["a.jsonl.taken"]
        writer.write("gen-2\n")
    place.clock.seconds += LONG_ENOUGH_SECONDS
    place.take()
    assert {*place.ledger.entries} == {"gen-1", "gen-2"}
    assert place.names() == ["a.jsonl.taken"]  # it has grown: whoever did may not have done with it
    place.clock.seconds += LONG_ENOUGH_SECONDS
    place.take()
    assert place.names() == ["a.done"]


def test_a_last_line_without_an_end_waits_for_the_rest_of_it(place):
    place.drop("a.jsonl", "gen-1", "gen-2", end="")
    with (place.directory / "a.jsonl").open("a") as writer:
        assert place.take() == 1
        assert place.ledger.handed == ["gen-1"]
        writer.write("345\n")
    place.take_all()
    assert {*place.ledger.entries} == {"gen-1", "gen-2345"}


def test_a_last_line_that_stays_without_an_end_is_taken_when_the_file_has_come_to_rest(place):
    place.drop("a.jsonl", "gen-1", "gen-2", end="")
    place.take_all()
    assert {*place.ledger.entries} == {"gen-1", "gen-2"}
    assert place.names() == ["a.done"]


def test_a_last_line_that_stays_torn_is_rejected(place):
    place.drop("a.jsonl", "gen-1", '{"id": "gen-', end="")
    place.take()
    assert place.names() == ["a.jsonl.taken"]
    place.take_all()
    assert place.names() == ["a.done", "a.rejected"]
    (torn,) = place.rejected("a.rejected")
    assert (torn["line"], torn["text"]) == (2, '{"id": "gen-')


def test_a_file_of_a_name_that_is_not_done_with_waits_for_its_turn(place):
    place.drop("a.jsonl", "gen-1")
    place.take()
    place.drop("a.jsonl", "gen-2")
    place.take()
    assert place.names() == ["a.jsonl", "a.jsonl.taken"]
    assert place.ledger.handed == ["gen-1"]
    place.take_all()
    place.take_all()
    assert place.names() == ["a.2.done", "a.done"]
    assert place.ledger.handed == ["gen-1", "gen-2"]


def test_a_file_that_took_the_place_of_one_that_was_removed_is_read_though_it_is_as_long(place):
    place.drop("a.jsonl", "gen-1")
    place.take()
    (place.directory / "a.jsonl.taken").unlink()
    place.drop("a.jsonl", "gen-2")
    place.take_all()
    assert {*place.ledger.entries} == {"gen-1", "gen-2"}


def test_names_that_come_again_are_numbered_and_nothing_kept_is_overwritten(place):
    for number in range(1, 4):
        lines = [f"gen-{number}", *(["no id"] if number == 2 else [])]
        place.drop("a.jsonl", *lines)
        place.take_all()
    # What was rejected bears the number of the file it is of.
    assert place.names() == ["a.2.done", "a.2.rejected", "a.3.done", "a.done"]
    for number, name in enumerate(("a.done", "a.2.done", "a.3.done"), start=1):
        assert (place.directory / name).read_text().startswith(f"gen-{number}\n")


def test_what_was_rejected_is_kept_even_where_its_file_has_been_thrown_away(place):
    for number in (1, 2):
        place.drop("a.jsonl", f"no id {number}")
        place.take_all()
        (place.directory / ("a.done" if number == 1 else "a.2.done")).unlink()
    assert place.rejected("a.rejected")[0]["text"] == "no id 1"
    assert place.rejected("a.2.rejected")[0]["text"] == "no id 2"


# --- Lines that cannot be taken --------------------------------------------------------------------------------------


def test_what_cannot_be_taken_stands_beside_the_file_with_its_number_and_the_reason(place):
    place.drop(
        "a.jsonl", "gen-1", "no id", '{"id": "gen-2", "modle": "m"}', "", '{"id": "gen-3", "owner": "zoe"}', "gen-4"
    )
    assert place.take() == 2
    assert not (place.directory / "a.rejected").exists()  # not before the file is done with
    place.take_all()
    assert place.names() == ["a.done", "a.rejected"]
    assert place.ledger.handed == ["gen-1", "gen-4"]
    assert place.rejected("a.rejected") == [
        {"line": 2, "reason": "neither a generation id nor JSON", "text": "no id"},
        {
            "line": 3,
            "reason": "an unknown member: perhaps model is meant",
            "text": '{"id": "gen-2", "modle": "m"}',
        },
        {
            "line": 5,
            "reason": "owner: not in the owner map; accepts one of 2: ana, bo",
            "text": '{"id": "gen-3", "owner": "zoe"}',
        },
    ]
    assert (place.directory / "a.rejected").stat().st_mode & 0o777 == 0o600


def test_where_nothing_is_rejected_there_is_no_such_file_not_even_a_left_over_one(place):
    place.drop("a.rejected.part", '{"line": 7}')
    place.drop("a.jsonl", "gen-1")
    place.take_all()
    assert place.names() == ["a.done"]


def test_bytes_that_are_no_text_are_rejected_and_not_fatal(place):
    (place.directory / "a.jsonl").write_bytes(b"\xff\xfe\x00\r\ngen-1\r\n")
    place.take_all()
    assert place.ledger.handed == ["gen-1"]
    (rejected,) = place.rejected("a.rejected")
    assert (rejected["line"], rejected["text"]) == (1, "\ufffd\ufffd\x00")


@pytest.mark.parametrize(("length", "is_taken"), [(65_535, True), (65_536, False), (400_000, False)])
def test_a_line_that_is_too_long_is_rejected_and_the_lines_around_it_are_taken(place, length, is_taken):
    line = '{"id": "gen-2", "choices": "' + "x" * (length - 30) + '"}'
    assert len(line) == length
    place.drop("a.jsonl", "gen-1", line, "gen-3")
    place.take_all()
    assert {*place.ledger.entries} == {"gen-1", "gen-3"} | ({"gen-2"} if is_taken else set())
    if not is_taken:
        (rejected,) = place.rejected("a.rejected")
        assert (rejected["line"], rejected["reason"]) == (2, "longer than 65,536 bytes")
        assert len(rejected["text"]) <= 65_536


def test_a_line_that_is_too_long_and_has_no_end_is_rejected_when_the_file_has_come_to_rest(place):
    place.drop("a.jsonl", "gen-1", "x" * 200_000, end="")
    place.take_all()
    assert place.ledger.entries.keys() == {"gen-1"}
    assert [each["line"] for each in place.rejected("a.rejected")] == [2]


# --- Trouble ---------------------------------------------------------------------------------------------------------


def test_links_and_directories_are_not_files(place, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("gen-1\n")
    (place.directory / "a.jsonl").symlink_to(elsewhere)
    (place.directory / "b.jsonl.taken").symlink_to(elsewhere)
    (place.directory / "c.jsonl").mkdir()
    (place.directory / "d.jsonl.taken").mkdir()
    os.mkfifo(place.directory / "e.jsonl")
    place.drop("f.jsonl", "gen-2")
    before = {*place.names()} - {"f.jsonl"}
    with capture_logs() as log:
        place.take_all()
    assert place.ledger.handed == ["gen-2"]
    assert {*place.names()} == before | {"f.done"}
    assert "spool.unreadable" not in [entry["event"] for entry in log]


def test_a_missing_directory_is_told_once_and_taken_from_as_soon_as_it_is_there(place):
    place.directory.rmdir()
    with capture_logs() as log:
        assert [place.take() for _ in range(3)] == [0, 0, 0]
    assert [entry["trouble"] for entry in log] == [f"{place.directory}: No such file or directory"]

    place.directory.mkdir()
    place.drop("a.jsonl", "gen-1")
    place.take_all()
    assert place.ledger.handed == ["gen-1"]

    place.clock.seconds += LONG_ENOUGH_SECONDS
    (place.directory / "a.done").unlink()
    place.directory.rmdir()
    with capture_logs() as log:
        place.take()
    assert len(log) == 1  # told anew, for it had been well


def test_a_directory_that_is_a_file_is_told(tmp_path):
    (tmp_path / "spool").write_text("")
    place = Place(tmp_path / "spool")
    with capture_logs() as log:
        assert place.take() == 0
    assert [entry["trouble"] for entry in log] == [f"{place.directory}: Not a directory"]


def test_a_file_that_makes_trouble_costs_the_others_nothing_and_is_told_once(place):
    for name, number in (("a", 1), ("b", 2), ("c", 3)):
        place.drop(f"{name}.jsonl", f"gen-{number}", "no id")
    (place.directory / "b.rejected.part").mkdir()  # where what was rejected would be written
    with capture_logs() as log:
        place.take_all()
    assert place.ledger.entries.keys() == {"gen-1", "gen-2", "gen-3"}
    assert {"a.done", "b.jsonl.taken", "c.done"} <= {*place.names()}
    told = [entry["trouble"] for entry in log if entry["event"] == "spool.unreadable"]
    assert told == [f"{place.directory / 'b.jsonl.taken'}: Is a directory"]

    (place.directory / "b.rejected.part").rmdir()
    place.take_all()
    assert {"b.done", "b.rejected"} <= {*place.names()}


def test_a_file_that_vanishes_while_others_are_read_costs_them_nothing(place):
    for name in ("a", "b", "c"):
        place.drop(f"{name}.jsonl", f"gen-{name}")

    def hand_in(batch):
        (place.directory / "b.jsonl.taken").unlink(missing_ok=True)
        place.ledger.hand_in(batch)

    place.spool.take(NAMES, hand_in)
    assert place.ledger.handed == ["gen-a", "gen-c"]


# --- Crashes ---------------------------------------------------------------------------------------------------------

THREE_BATCHES = [f"gen-{number}" for number in range(12_000)]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("batch", [0, 1, 2])
@pytest.mark.parametrize("error", [Died(), StoreError("the ledger could not be written")], ids=["died", "refused"])
def test_wherever_handing_in_ends_everything_is_taken_once_in_the_end(place, batch, moment, error):
    place.drop("a.jsonl", *THREE_BATCHES, "no id")
    place.ledger.fails[batch] = (moment, error)
    with pytest.raises(type(error)):
        place.take()
    assert place.names() == ["a.jsonl.taken"]
    if isinstance(error, Died):
        place.restart()

    place.take_all()
    assert [*place.ledger.entries] == THREE_BATCHES
    assert place.names() == ["a.done", "a.rejected"]
    assert [each["line"] for each in place.rejected("a.rejected")] == [12_001]


def test_a_process_that_dies_after_reading_and_before_it_knows_reads_again(place):
    place.drop("a.jsonl", "gen-1", "no id")
    place.clock.dies_in = 0
    with pytest.raises(Died):
        place.take()
    assert place.names() == ["a.jsonl.taken", "a.rejected.part"]
    place.restart()
    place.take_all()
    assert place.ledger.entries.keys() == {"gen-1"}
    assert place.names() == ["a.done", "a.rejected"]
    assert len(place.rejected("a.rejected")) == 1


def test_a_process_that_dies_between_naming_what_was_rejected_and_the_file_loses_neither(place):
    place.drop("a.jsonl.taken", "gen-1", "no id")
    place.drop("a.rejected", '{"line": 2, "reason": "neither a generation id nor JSON", "text": "no id"}')
    place.take_all()
    assert place.names() == ["a.2.done", "a.2.rejected", "a.rejected"]
    assert place.rejected("a.2.rejected") == place.rejected("a.rejected")


class SpoolMachine(RuleBasedStateMachine):
    """Programs that drop files and append to them, and a process that takes them, dies and begins again."""

    def __init__(self):
        super().__init__()
        self._directory = TemporaryDirectory()
        self._place = Place(Path(self._directory.name))
        self._numbers = count(1)
        self._written = set()
        self._open = []

    def _lines(self, number):
        new = [f"gen-{next(self._numbers)}" for _ in range(number)]
        self._written |= {*new}
        return "".join(f"{each}\n" for each in new)

    def _write(self):
        """Let everybody who has opened a file write his line and close it, as they do long before it is done with."""
        for writer in self._open:
            writer.write(self._lines(1))
            writer.close()
        self._open.clear()

    @rule(name=st.sampled_from(["a.jsonl", "b.jsonl"]), lines=st.integers(0, 3))
    def drop(self, name, lines):
        self._place.append(name, self._lines(lines))

    @rule(name=st.sampled_from(["a.jsonl", "b.jsonl"]))
    def open(self, name):
        self._open.append((self._place.directory / name).open("a"))

    @rule()
    def take(self):
        self._place.take()
        self._write()

    @rule(moment=st.sampled_from(["before", "after"]), readings=st.integers(0, 5))
    def die(self, moment, readings):
        self._place.ledger.fails[len(self._place.ledger.batches)] = (moment, Died())
        self._place.clock.dies_in = readings
        with suppress(Died):
            self._place.take()
        self._place.ledger.fails.clear()
        self._place.restart()

    @rule(seconds=st.sampled_from([1.0, LONG_ENOUGH_SECONDS]))
    def pass_time(self, seconds):
        self._write()
        self._place.clock.seconds += seconds

    @invariant()
    def what_is_done_with_has_been_handed_in_and_nothing_else_has(self):
        done = [self._place.directory / name for name in self._place.names() if name.endswith(".done")]
        kept = {each for file in done for each in file.read_text().split()}
        assert kept <= {*self._place.ledger.entries} <= self._written

    def teardown(self):
        self._write()
        for _ in range(6):
            self._place.take_all()
        assert {*self._place.ledger.entries} == self._written
        assert all(name.endswith(".done") for name in self._place.names())
        self._directory.cleanup()


TestWhoeverWritesAndWheneverTheProcessDiesEveryLineIsTakenAndNoneIsMadeUp = SpoolMachine.TestCase
