"""The whole surface, held against its own description by somebody else's program, with odd requests of every kind.

It asks every operation of `/openapi.json` at random, by the description and against it. Whatever it is asked, the
surface answers with a status and a document that are described, never with a fault of its own.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from reckon.core import plans
from reckon.core.polls import Poll
from reckon.store import open_store
from reckon.web.openapi import description
from tests.builders import HOUR, failure, policy, snapshot
from tests.web.house import NOON, TOKEN, WATCHED, House

# Not whether every sound entry is taken (its owner may be unknown), nor whether every other request is refused (of a
# list with one bad entry the rest is taken).
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
]


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The description, of a surface whose ledger holds something of everything."""
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/reckon.db", writes=True) as store:
        house = House(store)
        for when, ana in ((NOON - HOUR, "10"), (NOON, "13.5")):
            seen = Poll((snapshot(when, ana, key="laptop"),), (failure("ci"),))
            plan = store.commit_poll(
                lambda state, seen=seen, when=when: plans.after_poll(state, seen, WATCHED, policy(), when),
                policy(),
                when,
            )
            house.pulse.committed(plan)
        house.ask("POST", "/v1/generations", json=[{"id": "gen-1", "key": "laptop", "model": "openai/gpt-4o"}])
        yield schemathesis.openapi.from_asgi("/openapi.json", house.web)


OPERATIONS = [
    (path, method) for path, methods in description(asks_token=True, takes=True)["paths"].items() for method in methods
]
PRIVATE = {"/v1/settle"}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "otherwise"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_as_it_is_described_whatever_is_asked(described, path, method, mode):
    answers = []

    @settings(
        max_examples=12,
        phases=[Phase.explicit, Phase.generate],
        derandomize=True,
        database=None,
        suppress_health_check=[*HealthCheck],
    )
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)
        answers.append(answer.status_code)

    try:
        ask()
    except Unsatisfiable:  # what takes nothing cannot be asked otherwise
        assert mode is GenerationMode.NEGATIVE
    else:
        assert mode is GenerationMode.NEGATIVE or min(answers) < 300


def test_every_operation_is_described(described):
    served = {
        (route.path, method.lower())
        for route in described.app.routes
        for method in route.methods - {"HEAD"}
        if route.path not in PRIVATE
    }

    assert served == {*OPERATIONS}
