"""The control plane held against its own OpenAPI document by schemathesis."""

from __future__ import annotations

from dataclasses import replace

import pytest
import schemathesis
from schemathesis.auths import unregister
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from nbgov.errors import ApprovalNeeded
from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.identity import Identities
from nbgov.model import Audience, Proof, Request
from tests.gateway_scene import make_folder, make_house, proof

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ALL = frozenset({"analysts", "stewards", "platform", "auditors"})
CASES_SLOW = 2_000
REFUSED = (400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house with tickets to decide, entries to find and a dataset to trace."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    made = make_house(make_folder(tmp_path))
    guest = made.enter(
        made.admit(proof(made, "ada"), Audience.DATA, address="", agent="")[0], Audience.DATA
    )
    for number in range(20):
        sql = f"UPDATE people SET city = 'Bern' WHERE id = {number}"
        with pytest.raises(ApprovalNeeded):
            made.ask(guest, Request("warehouse", sql), surface="test", address="")
    with made.ask(
        guest,
        Request("warehouse", "SELECT id FROM people", dataset="ids"),
        surface="test",
        address="",
    ) as result:
        result.to_arrow()
    yield made
    made.site.close()


def somebody(house):
    """What an issuer says of somebody who may do everything; what they stopped is lifted."""
    for stop in house.store.stops():
        house.store.lift(stop.kind, stop.name)
    house.forget()
    known: Proof = proof(house, "olga")
    return replace(known, name="root", subject="https://idp.test|root", groups=ALL)


def told(interaction, check):
    """What was asked, what was answered, and what is wrong with it."""
    asked, found = interaction.request, interaction.response
    answer = f"{found.status_code} {found.content[:300]!r}" if found else "no answer"
    why = check.failure_info.failure.message
    return f"{check.name} ({why}): {asked.method} {asked.uri} {(asked.body or b'')[:300]!r} -> {answer}"


def attack(house, *, examples, seed):
    """How many cases were tried, and what was wrong with the answers."""
    server = start_control_plane(
        house, Identities(house.terms, now=house.site.world.clock.now), "127.0.0.1:0"
    )
    settings = {
        "seed": seed,
        "generation": {"max-examples": examples},
        "phases": {"stateful": {"generation": {"max-examples": max(examples // 10, 2)}}},
        "warnings": False,
        # A body that is too long is refused before anybody looks at its shape.
        "checks": {"negative_data_rejection": {"expected-statuses": [*REFUSED]}},
    }

    @schemathesis.auth(refresh_interval=None, retry_on=[])
    class Token:
        """Logs in for every case, as some of them end every login there is."""

        def get(self, case, context):
            """A token of somebody who may do everything."""
            return house.admit(somebody(house), Audience.CONTROL, address="", agent="test")[0]

        def set(self, case, data, context):
            """Send it along."""
            case.headers["Authorization"] = f"Bearer {data}"

    cases, wrong = 0, []
    try:
        config = SchemathesisConfig.from_dict(settings)
        url = f"http://127.0.0.1:{server.port}/openapi.json"
        for event in from_schema(schemathesis.openapi.from_url(url, config=config)).execute():
            if isinstance(event, NonFatalError):
                wrong.append(f"{event.label}: {event.value!r}")
            if isinstance(event, ScenarioFinished):
                cases += len(event.recorder.cases)
                wrong += [
                    told(event.recorder.interactions[case], check)
                    for case, checks in event.recorder.checks.items()
                    for check in checks
                    if check.failure_info is not None
                ]
    finally:
        unregister()
        server.stop()
    return cases, wrong


def test_the_control_plane_keeps_to_its_document(house):
    """No answer to a generated request is a server error or other than the document says."""
    cases, wrong = attack(house, examples=2, seed=1)
    assert not wrong, "\n".join(wrong)
    assert cases > 300


@pytest.mark.slow
def test_the_control_plane_keeps_to_its_document_for_long(house):
    """The same for 2,000 cases at least."""
    cases, wrong = attack(house, examples=80, seed=2)
    assert not wrong, "\n".join(wrong)
    assert cases >= CASES_SLOW
