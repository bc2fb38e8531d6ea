"""The proposed owner map: who belongs together, and that the configuration takes it as it is meant."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.config import load
from reckon.config.drafting import Draft, file_text
from reckon.config.policies import owner_rules
from reckon.config.proposing import MOST_OWNERS, free_id, propose
from reckon.core.ownership import watched_now
from reckon.core.records import UNOWNED, Reading, Snapshot, WatchedKey
from reckon.core.sweeps import Sweep, SweptKey
from tests.builders import key_hash, usd

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def swept(name, creator="user_admin", *, spent="0", hashed=None, label=None):
    """Return a key as a sweep shows it, which spent so many dollars this month."""
    hashed = hashed or key_hash(f"{name} of {creator}")
    credits_, byok = Reading(usd(spent), 0, 0, usd(spent)), Reading(0, 0, 0, 0)
    return SweptKey(hashed, snapshot=Snapshot(hashed, NOON, credits_, byok), name=name, creator=creator, label=label)


def proposed(*keys, held=()):
    """Return the proposal as {owner: (glob, names of keys)}."""
    owners = propose(keys, dict(held)).owners
    return {owner.id: (owner.name_glob or owner.creator_glob, [key.name for key in owner.keys]) for owner in owners}


def owners_by(text, keys, directory):
    """Return, for each hash, whose the key is by the file *text*, with the rules that a poll follows."""
    file = directory / "reckon.toml"
    file.write_text(text)
    settings = load(file, {})
    entries = [
        WatchedKey(key.hash, id_, key.name) for id_, owner in settings.owners.items() for key in owner.keys if key.hash
    ]
    found = watched_now({}, entries, owner_rules(settings), Sweep(keys=tuple(keys)), goes_on=True)
    return {key.hash: key.owner for key in found}


@pytest.mark.parametrize("sign", ["-", "_", ".", " "])
def test_names_that_begin_alike_are_one_owner_s(sign):
    keys = [swept(f"dana{sign}laptop"), swept(f"dana{sign}ci")]
    assert proposed(*keys) == {"dana": (f"dana{sign}*", [])}


def test_a_beginning_ends_where_a_word_does():
    assert proposed(swept("dana-laptop"), swept("danandra-ci")) == {
        "dana-laptop": (None, ["dana-laptop"]),
        "danandra-ci": (None, ["danandra-ci"]),
    }


def test_what_the_glob_misses_of_a_family_is_named():
    keys = [swept("dana-a"), swept("dana-b"), swept("Dana_c"), swept("dana")]
    assert proposed(*keys) == {"dana": ("dana-*", ["Dana_c", "dana"])}


def test_a_sign_of_globs_in_a_name_stands_for_itself():
    owners = propose([swept("[x]-a"), swept("[x]-b"), swept("x-c")]).owners
    assert [(owner.name_glob, owner.claimed) for owner in owners] == [("[[]x]-*", ("[x]-a", "[x]-b")), (None, ())]


def test_where_one_person_makes_all_keys_that_tells_nothing():
    assert proposed(swept("laptop"), swept("notes")) == {"laptop": (None, ["laptop"]), "notes": (None, ["notes"])}


def test_a_lonely_name_belongs_with_the_other_keys_of_whoever_made_it():
    keys = [swept("dana-a", "user_d"), swept("dana-b", "user_d"), swept("toy", "user_d"), swept("ci", "user_r")]
    assert proposed(*keys) == {"dana": ("dana-*", ["toy"]), "ci": (None, ["ci"])}


def test_whoever_made_keys_for_several_is_no_owner_of_the_next():
    keys = [*(swept(name, "user_d") for name in ("dana-a", "dana-b", "ci-a", "ci-b", "toy")), swept("x", "user_r")]
    assert proposed(*keys)["toy"] == (None, ["toy"])


def test_lonely_names_of_one_maker_are_a_person_s():
    keys = [swept("laptop", "user_d"), swept("notes", "user_d"), swept("ci", "user_r")]
    assert proposed(*keys) == {"person": ("user_d", []), "ci": (None, ["ci"])}


@pytest.mark.parametrize("name", [None, "", "sk-or-v1-abc...123", "deadbeef" * 4, " dana"])
def test_a_name_that_tells_nothing_leaves_its_key_to_nobody(name):
    proposal = propose([swept(name), swept("ci")])
    assert [owner.id for owner in proposal.owners] == ["ci"]
    assert proposal.unowned == 1


def test_a_key_whose_secret_is_at_hand_is_named_by_its_reference():
    keys = [swept("dana-laptop"), swept("dana-ci")]
    (dana,) = propose(keys, {keys[0].hash: "env:OPENROUTER_API_KEY"}).owners
    assert [(key.name, key.reference) for key in dana.keys] == [("dana-laptop", "env:OPENROUTER_API_KEY")]
    assert (dana.name_glob, dana.claimed) == ("dana-*", ("dana-ci",))


def test_a_key_at_hand_that_no_sweep_shows_is_mine():
    assert proposed(swept("me"), held={key_hash("other"): "env:OPENROUTER_API_KEY"}.items()) == {
        "me": (None, ["me"]),
        "me-2": (None, ["main"]),
    }


def test_two_keys_of_one_name_are_told_apart():
    keys = [swept("ci", hashed="a" * 64), swept("ci", hashed="b" * 64)]
    assert proposed(*keys) == {"ci": (None, ["ci aaaaaaaa", "ci bbbbbbbb"])}


def test_of_very_many_owners_the_dearest_are_proposed():
    keys = [swept(f"agent{number}", spent=str(number)) for number in range(MOST_OWNERS + 5)]
    proposal = propose(keys)
    assert len(proposal.owners) == MOST_OWNERS
    assert proposal.unowned == 5
    assert "agent4" not in {owner.id for owner in proposal.owners}


@pytest.mark.parametrize(
    ("called", "id_"),
    [("Dana Müller", "dana-muller"), ("(unowned)", "unowned"), ("日本", "owner"), ("a" * 90, "owner"), ("x.y", "x-y")],
)
def test_an_id_is_a_bare_key(called, id_):
    assert free_id(called, set()) == id_


def test_an_id_is_nobody_else_s():
    taken = {"dana", "dana-2"}
    assert free_id("Dana", taken) == "dana-3"
    assert taken == {"dana", "dana-2", "dana-3"}


WORDS = st.sampled_from(
    ["dana", "Dana", "ci", "x", "[a]", "日本", "sk-or", "a*", 'q"', "b\\", "d\u00fc", "deadbeef" * 3]
)
NAMES = st.none() | st.lists(WORDS, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from("-_. ").map(lambda sign: sign.join(words))
)
CREATORS = st.none() | st.sampled_from(["user_a", "user_b", "user_*", "user_" + "0" * 24])


@given(st.lists(st.tuples(NAMES, CREATORS), max_size=12))
def test_whatever_keys_are_called_the_file_loads_and_each_is_whose_it_says(tmp_path_factory, named):
    keys = [swept(name, creator, hashed=key_hash(str(place))) for place, (name, creator) in enumerate(named)]
    proposal = propose(keys)
    text = file_text(Draft("OPENROUTER_MANAGEMENT_KEY", owners=proposal.owners, unowned=proposal.unowned))
    found = owners_by(text, keys, tmp_path_factory.mktemp("proposed"))
    names = {key.hash: key.name for key in keys}
    for owner in proposal.owners:
        theirs = [key_hash for key_hash, whose in found.items() if whose == owner.id]
        assert {key.hash for key in owner.keys} <= {*theirs}
        assert Counter(owner.claimed) <= Counter(names[key_hash] for key_hash in theirs)
    assert [*found.values()].count(UNOWNED) == proposal.unowned
