"""Several gateways on one PostgreSQL: one policy, one set of logins and tickets, one chain each."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from sqlalchemy.engine import make_url

from nbgov.backends.postgresql.audit_tables import Tables
from nbgov.core.wire import write_command
from nbgov.errors import ApprovalNeeded, IdentityFailed, NbgovError
from nbgov.gateway.flight.serving import start_data_plane
from nbgov.gateway.opening import open_house
from nbgov.model import Audience, Request, Stop, StopKind
from tests.gateway_scene import make_folder, token

CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
audit:
  origin: {origin}
  sinks: [{{kind: postgresql, url: "{url}"}}]
approvals:
  store: {{kind: postgresql, url: "{url}"}}
gateway:
  roles: {{stewards: [approver]}}
  store: {{kind: postgresql, url: "{url}"}}
"""


@pytest.fixture
def pair(postgres_url, tmp_path):
    """Two houses with folders of their own, which share a database for all that they keep."""
    with Tables(make_url(postgres_url)) as tables:
        name = f"scale_{uuid.uuid4().hex}"
        tables.ask(f"CREATE DATABASE {name}")
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    houses = []
    for origin in ("gateway-1", "gateway-2"):
        folder = tmp_path / origin
        folder.mkdir()
        houses.append(open_house(make_folder(folder, config=CONFIG.format(origin=origin, url=url))))
    yield houses
    for house in houses:
        house.close()


def asked(house, who_token, sql):
    guest = house.enter(who_token, Audience.DATA)
    with house.ask(guest, Request("warehouse", sql), surface="test", address="127.0.0.1") as result:
        return result.to_arrow().to_pylist()


def test_a_login_at_one_counts_at_the_other_until_it_is_ended(pair):
    """A token of one gateway opens the other; ended at either, it opens neither."""
    first, second = pair
    ada = token(first, "ada")
    assert asked(second, ada, "SELECT 1 AS one") == [{"one": 1}]
    first.end(principal="ada", by=first.site.principal, reason="left")
    second.forget()
    for house in pair:
        with pytest.raises(IdentityFailed) as refused:
            house.enter(ada, Audience.DATA)
        assert refused.value.code == "token-revoked"


def test_a_ticket_of_one_is_served_by_the_other_once(pair):
    """A statement that one gateway planned runs at the other, at one of them, once."""
    first, _ = pair
    planes = [start_data_plane(house, "127.0.0.1:0") for house in pair]
    try:
        header = f"Bearer {token(first, 'ada')}".encode()
        options = fl.FlightCallOptions(headers=[(b"authorization", header)])
        clients = [fl.connect(f"grpc://127.0.0.1:{plane.port}") for plane in planes]
        command = write_command("CommandStatementQuery", query="SELECT 1 AS one")
        info = clients[0].get_flight_info(fl.FlightDescriptor.for_command(command), options)
        ticket = info.endpoints[0].ticket
        assert clients[1].do_get(ticket, options).read_all().to_pylist() == [{"one": 1}]
        for client in clients:
            with pytest.raises(pa.ArrowException, match="ticket-invalid"):
                client.do_get(ticket, options).read_all()
    finally:
        for plane in planes:
            plane.stop()


def test_a_stop_at_one_is_felt_at_the_other(pair):
    """A connection that is stopped at one gateway serves nobody at the other."""
    first, second = pair
    ada = token(second, "ada")
    olga = first.site.principal
    first.stop(
        Stop(StopKind.CONNECTION, "warehouse", "leak", olga.name, first.site.world.clock.now()),
        by=olga,
    )
    second.forget()
    with pytest.raises(NbgovError, match="was stopped"):
        asked(second, ada, "SELECT 1 AS one")
    second.lift(StopKind.CONNECTION, "warehouse", by=olga)
    first.forget()
    assert asked(first, ada, "SELECT 1 AS one") == [{"one": 1}]


def test_each_keeps_a_chain_of_its_own(pair):
    """Both logs are in one database, and each says only what its own gateway did."""
    first, second = pair
    asked(first, token(first, "ada"), "SELECT 1 AS one")
    asked(second, token(first, "ada"), "SELECT 2 AS two")
    for house, other in ((first, second), (second, first)):
        lines = [json.loads(line) for line in house.site.log.entries()]
        assert [line["index"] for line in lines] == list(range(len(lines)))
        assert {line["origin"] for line in lines} == {house.site.config.audit.origin}
        assert other.site.config.audit.origin not in json.dumps(lines)


def test_a_name_is_one_persons_everywhere(pair):
    """A name that was bound at one gateway is taken at the other."""
    first, second = pair
    token(first, "ada")
    assert second.store.names() == (("ada", "https://idp.test|ada"),)
    with pytest.raises(IdentityFailed):
        second.store.bind_name("ADA", "https://idp.test|other")


def test_a_ticket_is_voted_on_at_the_other(pair):
    """A ticket that was opened at one gateway takes its vote at the other, and is used up once."""
    first, second = pair
    sql = "UPDATE people SET city = 'moved' WHERE id = 4"
    ada = token(first, "ada")
    with pytest.raises(ApprovalNeeded) as waits:
        asked(first, ada, sql)
    grace = second.enter(token(second, "grace", Audience.CONTROL), Audience.CONTROL)
    assert grace.session.vote(waits.value.ticket, is_approval=True).state == "approved"

    def use(house):
        try:
            asked(house, ada, sql)
        except NbgovError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(use, [first, second, first, second])) == 1
