import os
import pickle

import pytest

from reckon.config import open_secrets
from reckon.core.ownership import key_hash
from reckon.errors import ConfigError
from tests.canary import CANARIES, DYE, inference_key

ONE, TWO = inference_key(1), inference_key(2)
OWNERS = f"""
    openrouter = {{ management_key = "env:MANAGEMENT" }}
    [owners.ravi]
    keys = [{{ name = "laptop", key = "env:ONE" }}, {{ name = "ci", hash = "{"AB" * 32}" }}]
    [owners.dana]
    keys = [{{ name = "notebook", key = "{TWO}" }}]
"""


def refusal(settings, environ, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        open_secrets(settings, environ, **options)
    assert caught.value.__context__ is None
    assert DYE not in str(caught.value)
    return str(caught.value).splitlines()


def test_every_key_comes_with_its_owner_name_and_hash(configure):
    secrets = open_secrets(configure(OWNERS), {"ONE": ONE, "MANAGEMENT": CANARIES["management_key"]})
    assert secrets.management_key.get_secret_value() == CANARIES["management_key"]
    assert [(key.owner, key.name, key.hash) for key in secrets.keys] == [
        ("ravi", "laptop", key_hash(ONE)),
        ("ravi", "ci", "ab" * 32),
        ("dana", "notebook", key_hash(TWO)),
    ]
    assert [key.secret and key.secret.get_secret_value() for key in secrets.keys] == [ONE, None, TWO]


def test_without_a_management_key_there_is_none(configure):
    assert open_secrets(configure(""), {}).management_key is None


def test_every_secret_that_cannot_be_had_is_told_at_once(configure, tmp_path):
    settings = configure(
        f"""
        [owners.ravi]
        keys = [{{ name = "a", key = "env:MISSING" }}, {{ name = "b", key = "file:{tmp_path}/none" }}]
        [owners.dana]
        keys = [{{ name = "c", key = "command:sh -c 'echo {ONE} >&2; exit 3'" }}, {{ name = "d", key = "env:D" }}]
        """
    )
    told = refusal(settings, {"D": TWO, "PATH": os.environ["PATH"]})
    assert [line.partition(": ")[0] for line in told] == [
        "owners.ravi.keys[0].key (env:MISSING)",
        f"owners.ravi.keys[1].key (file:{tmp_path}/none)",
        "owners.dana.keys[0].key (command:sh)",
    ]
    assert "status 3" in told[2]


@pytest.mark.parametrize(
    ("first", "second"),
    [('key = "env:ONE"', 'key = "env:COPY"'), ('key = "env:ONE"', f'hash = "{key_hash(ONE).upper()}"')],
    ids=["by two secrets", "by a secret and a hash"],
)
@pytest.mark.parametrize("owner", ["ravi", "dana"], ids=["of one owner", "of two owners"])
def test_the_same_key_twice_is_refused_with_both_its_places(configure, tmp_path, first, second, owner):
    text = f'[[owners.ravi.keys]]\nname = "a"\n{first}\n[[owners.{owner}.keys]]\nname = "b"\n{second}\n'
    second_place = "owners.ravi.keys[1]" if owner == "ravi" else "owners.dana.keys[0]"
    assert refusal(configure(text), {"ONE": ONE, "COPY": ONE}) == [
        f"{second_place} ({tmp_path}/reckon.toml): is the same key as owners.ravi.keys[0]; accepts a key in one place"
    ]


def test_commands_run_side_by_side(configure, tmp_path):
    # Each prints its key only once the other has started: one after the other, neither would end.
    def meet(mine: str, other: str, key: str) -> str:
        script = f"touch {tmp_path}/{mine}; until test -e {tmp_path}/{other}; do sleep 0.01; done; echo {key}"
        return f'{{ name = "{mine}", key = "command:sh -c \'{script}\'" }}'

    settings = configure(f"[owners.ravi]\nkeys = [{meet('a', 'b', ONE)}, {meet('b', 'a', TWO)}]")
    assert len(open_secrets(settings, dict(os.environ)).keys) == 2


def test_a_command_that_hangs_is_told(configure):
    settings = configure('[owners.ravi]\nkeys = [{ name = "a", key = "command:sleep 60" }]')
    assert "within 0.2 s" in refusal(settings, dict(os.environ), timeout_seconds=0.2)[0]


def test_opened_secrets_show_none_and_are_not_pickled(configure):
    secrets = open_secrets(configure(OWNERS), {"ONE": ONE, "MANAGEMENT": CANARIES["management_key"]})
    assert DYE not in repr(secrets) + str(secrets)
    for holder in (secrets, secrets.keys[0]):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(holder)
