"""The control plane over HTTP: who may see and do what, and what an answer never holds."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from pathlib import Path

import pyarrow as pa
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.approval.transport import approval_json, read_approval
from nbgov.core.audit.note import VerifierKey
from nbgov.core.audit.proof import Proof as EntryProof
from nbgov.core.transport import read_error
from nbgov.errors import ApprovalNeeded, Denied, NbgovError
from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.flight.serving import Tls
from nbgov.gateway.identity import Identities
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    ApprovalState,
    Audience,
    Emergency,
    Ending,
    Evidence,
    Highlight,
    Request,
    Vote,
)
from tests.gateway.certificates import make_certificates
from tests.gateway_scene import make_folder, make_house, token

CHANGE = "UPDATE people SET city = 'Bern' WHERE id = 7"
PUBLIC = {"/healthz", "/readyz", "/metrics", "/v1/login", "/v1/session"}
WAIT_S = 30


class Plane:
    """A control plane that answers, and the people who ask it."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.house = make_house(make_folder(folder))
        known = Identities(self.house.terms, now=self.house.site.world.clock.now)
        self.server = start_control_plane(self.house, known, "127.0.0.1:0", **options)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.tokens = {}

    def ask(self, name, method, path, *, audience=Audience.CONTROL, **more):
        """An answer to one of the people; to nobody, with an empty name."""
        headers = {}
        if name:
            key = name, audience
            if key not in self.tokens:
                self.tokens[key] = token(self.house, name, audience)
            headers["authorization"] = f"Bearer {self.tokens[key]}"
        return requests.request(method, self.url + path, headers=headers, timeout=WAIT_S, **more)

    def get(self, name, path, **more):
        """An answer to a question."""
        return self.ask(name, "GET", path, **more)

    def guest(self, name):
        """One of the people, on the data plane."""
        return self.house.enter(token(self.house, name), Audience.DATA)

    def run(self, name, sql):
        """The rows of a statement, run as one of the people."""
        request = Request("warehouse", sql)
        with self.house.ask(self.guest(name), request, surface="flight-sql", address="") as result:
            return result.to_arrow()

    def ticket(self, name="ada", sql=CHANGE):
        """A ticket of one of the people."""
        with pytest.raises(ApprovalNeeded) as caught:
            self.run(name, sql)
        return caught.value.ticket

    def close(self):
        """End it."""
        self.server.stop()
        self.house.site.close()


@pytest.fixture
def plane(tmp_path):
    """A control plane."""
    made = Plane(tmp_path)
    yield made
    made.close()


@pytest.fixture
def certificates(tmp_path_factory):
    """Certificate and key of a server and of a client, and of the authority that signed both."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


def operations(plane):
    """Method and path of everything in the OpenAPI document."""
    paths = plane.get("", "/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, held in paths.items() for method in held]


# ---------------------------------------------------------------- who may come in


def test_nothing_is_told_without_a_control_token(plane):
    """Every call but the public ones is refused without a token, and with one of the data plane."""
    facts = {"ticket": "abc", "index": "1", "login": "0" * 32, "kind": "connection"}
    facts |= {"name": "ada", "connection": "warehouse", "request": "r"}
    asked = [one for one in operations(plane) if one[1] not in PUBLIC]
    assert len(asked) > 25
    for method, path in asked:
        if path == "/v1/session":
            continue
        place = path.format_map(facts)
        for name, audience, code in (
            ("", Audience.CONTROL, "token-missing"),
            ("ada", Audience.DATA, "token-audience"),
        ):
            answer = plane.ask(name, method, place, audience=audience)
            assert (answer.status_code, answer.json()["code"]) == (401, code), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "sent", ["nbgov-control-" + "x" * 43, "a.b.c", "\u00e4".encode().decode("latin-1")]
)
def test_a_token_that_was_never_issued_opens_nothing(plane, sent):
    """An unknown token, a token of an issuer and noise are refused as unknown, and not told back."""
    answer = requests.get(
        plane.url + "/v1/whoami", headers={"authorization": f"Bearer {sent}"}, timeout=WAIT_S
    )
    assert answer.json()["code"] == "token-unknown"
    assert sent not in answer.text


def test_an_ended_login_opens_nothing_any_more(plane):
    """Whoever ends a login of theirs is out at once; the id of somebody else's ends nothing."""
    [mine] = plane.get("ada", "/v1/sessions").json()["sessions"]
    plane.get("grace", "/v1/whoami")
    refused = plane.ask("grace", "DELETE", f"/v1/sessions/{mine['id']}")
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown-login")
    ended = plane.ask("ada", "DELETE", f"/v1/sessions/{mine['id']}", params={"reason": "lunch"})
    assert [one["id"] for one in ended.json()["ended"]] == [mine["id"]]
    assert plane.get("ada", "/v1/whoami").json()["code"] == "token-revoked"


def test_an_administrator_ends_the_logins_of_anybody(plane):
    """Administrators list and end all logins of a principal; others may not, which is recorded."""
    plane.get("ada", "/v1/whoami")
    assert plane.get("grace", "/v1/sessions?all=true").json()["code"] == "admin-needed"
    refused = plane.ask("grace", "DELETE", "/v1/principals/ada/sessions").json()
    entry = plane.get("aud", f"/v1/audit/entries/{refused['record']}").json()
    assert (entry["record"]["verb"], entry["record"]["code"]) == ("LOGOUT", "admin-needed")
    names = [
        one["principal"]["name"]
        for one in plane.get("olga", "/v1/sessions?all=true").json()["sessions"]
    ]
    assert {"ada", "grace", "olga"} <= set(names)
    assert plane.ask("olga", "DELETE", "/v1/principals/ada/sessions").status_code == 200
    assert plane.get("ada", "/v1/whoami").json()["code"] == "token-revoked"


# ---------------------------------------------------------------- approvals

AT = st.datetimes(timezones=st.just(UTC))
WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
SETS = st.frozensets(WORDS, max_size=2)
TUPLES = st.lists(WORDS, max_size=2).map(tuple)
APPROVALS = st.builds(
    Approval,
    binding_digest=st.binary(min_size=32, max_size=32),
    quorums=st.lists(
        st.builds(ApprovalQuorum, names=SETS, groups=SETS, roles=SETS), max_size=2
    ).map(tuple),
    tables=TUPLES,
    requested_at=AT,
    decide_by=AT,
    evidence=st.builds(
        Evidence,
        highlights=st.lists(st.builds(Highlight), max_size=2).map(tuple),
        origin=st.dictionaries(WORDS, WORDS, max_size=2),
        rows_changed=st.none() | st.integers(0, 2**40),
        measured_s=st.none() | st.floats(0, 1e6),
        read=TUPLES,
    ),
    votes=st.lists(st.builds(Vote, at=AT, rules=TUPLES), max_size=2).map(tuple),
    state=st.sampled_from(ApprovalState),
    valid_until=st.none() | AT,
    ending=st.none() | st.builds(Ending, at=AT),
    emergency=st.none() | st.builds(Emergency, at=AT, reviewed_at=st.none() | AT),
)


@given(APPROVALS)
def test_a_ticket_comes_back_from_json_as_it_was(approval):
    """What the control plane tells of a ticket is the ticket, field for field."""
    assert read_approval(json.loads(json.dumps(approval_json(approval)))) == approval


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda part: st.dictionaries(st.sampled_from(["binding_digest", "votes", "ticket"]), part),
    )
)
def test_what_is_no_ticket_is_refused(told):
    """JSON that is no ticket raises ValueError and nothing else."""
    with pytest.raises(ValueError, match=r".*"):
        read_approval(told)


def test_a_vote_over_http_lets_the_statement_run(plane):
    """A reviewer finds the ticket, approves it, and the requester's statement runs once."""
    ticket = plane.ticket()
    [found] = plane.get("grace", "/v1/approvals").json()["approvals"]
    assert read_approval(found) == plane.guest("grace").session.approval(ticket)
    voted = plane.ask("grace", "POST", f"/v1/approvals/{ticket}/votes", json={"is_approval": True})
    assert (voted.json()["state"], voted.json()["votes"][0]["voter"]) == ("approved", "grace")
    plane.run("ada", CHANGE)
    assert plane.run("ada", "SELECT city FROM people WHERE id = 7").to_pylist() == [
        {"city": "Bern"}
    ]
    assert plane.get("ada", f"/v1/approvals/{ticket}").json()["state"] == "consumed"


def test_nobody_votes_on_their_own_ticket_nor_sees_that_of_others(plane):
    """The requester may not vote; who may not vote does not even see the ticket; auditors do."""
    ticket = plane.ticket("grace")
    vote = plane.ask("grace", "POST", f"/v1/approvals/{ticket}/votes", json={"is_approval": True})
    assert (vote.status_code, vote.json()["code"]) == (403, "self-approval")
    assert plane.get("ada", f"/v1/approvals/{ticket}").json()["code"] == "unknown-ticket"
    assert plane.get("ada", f"/v1/approvals/{ticket}/sample").json()["code"] == "unknown-ticket"
    assert plane.get("ada", "/v1/approvals?state=all").json() == {"approvals": []}
    assert plane.get("aud", f"/v1/approvals/{ticket}").status_code == 200
    vote = plane.ask("ada", "POST", f"/v1/approvals/{ticket}/votes", json={"is_approval": True})
    assert vote.json()["code"] == "vote-not-permitted"


def test_a_refusal_comes_back_as_the_same_error(plane):
    """A problem of the control plane reads as the very error that nbgov raised, record included."""
    ticket = plane.ticket()
    answer = plane.ask("ada", "POST", f"/v1/approvals/{ticket}/votes", json={"is_approval": True})
    with pytest.raises(Denied) as caught:
        plane.guest("ada").session.vote(ticket, is_approval=True)
    error = read_error(answer.content)
    assert (type(error), str(error)) == (Denied, str(caught.value))
    assert error.record < caught.value.record


def test_a_ticket_is_taken_back_revoked_and_ended(plane):
    """Cancel, deny and revoke work over HTTP, and what a ticket is past is a conflict."""
    first, second = plane.ticket(), plane.ticket(sql=CHANGE.replace("7", "8"))
    third = plane.ticket(sql=CHANGE.replace("7", "9"))
    steps = [
        ("ada", first, "cancel", {"reason": "wrong id"}, "cancelled"),
        ("grace", second, "votes", {"is_approval": False, "reason": "no"}, "denied"),
        ("grace", third, "votes", {"is_approval": True}, "approved"),
        ("grace", third, "revoke", {"reason": "changed my mind"}, "revoked"),
    ]
    for name, ticket, step, body, state in steps:
        answer = plane.ask(name, "POST", f"/v1/approvals/{ticket}/{step}", json=body)
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    again = plane.ask("grace", "POST", f"/v1/approvals/{second}/votes", json={"is_approval": True})
    assert (again.status_code, again.json()["code"]) == (409, "ticket-conflict")
    glass = plane.ask("ada", "POST", f"/v1/approvals/{first}/break-glass", json={"reason": "fire"})
    assert (glass.status_code, glass.json()["code"]) == (403, "emergency-not-permitted")


def test_a_sample_holds_what_the_reviewer_may_see(plane):
    """The rows of a sample are Arrow, read as the reviewer: as they are, and as they would be."""
    told = plane.get("grace", f"/v1/approvals/{plane.ticket()}/sample").json()
    before, after = (
        pa.ipc.open_stream(io.BytesIO(base64.b64decode(told[part]))).read_all().to_pylist()
        for part in ("before", "after")
    )
    assert ([one["city"] for one in before], [one["city"] for one in after]) == (
        ["city 7"],
        ["Bern"],
    )
    assert told["columns_changed"] == ["city"]


# ---------------------------------------------------------------- the audit log


def test_people_find_their_own_entries_and_auditors_all(plane):
    """A search tells somebody their own entries only, whatever they ask for; auditors see all."""
    plane.run("ada", "SELECT id FROM people")
    plane.run("grace", "SELECT city FROM people")
    for path in (
        "/v1/audit/entries",
        "/v1/audit/entries?principal=*",
        "/v1/audit/entries?limit=1000",
    ):
        told = plane.get("ada", path).json()
        owners = {
            one["record"].get("principal") or one["attempt"]["principal"] for one in told["entries"]
        }
        assert (owners, told["is_own"]) == ({"ada"}, True)
    assert plane.get("ada", "/v1/audit/entries?principal=grace").json()["entries"] == []
    told = plane.get("aud", "/v1/audit/entries?principal=grace&verb=select").json()
    assert {
        one["record"]["statement"] for one in told["entries"] if "statement" in one["record"]
    } == {"SELECT city FROM people"}
    number = told["entries"][0]["index"]
    assert plane.get("ada", f"/v1/audit/entries/{number}").json()["code"] == "unknown-record"
    assert plane.get("ada", f"/v1/audit/entries/{number}/proof").json()["code"] == "unknown-record"


def test_an_entry_is_proven_by_the_key_of_the_log(plane):
    """The proof of an entry holds against the key; its receipt leads back to it, and no other."""
    plane.run("ada", "SELECT id FROM people")
    entry = plane.get("ada", "/v1/audit/entries?verb=SELECT").json()["entries"][0]
    proof = EntryProof.parse(plane.get("ada", f"/v1/audit/entries/{entry['index']}/proof").text)
    key = VerifierKey.parse(plane.get("ada", "/v1/audit/key").text)
    proof.verify(proof.line, [key])
    assert plane.get("ada", "/v1/audit/checkpoint").text.startswith(key.name)
    receipt = entry["receipt"]
    assert plane.get("ada", "/v1/audit/entry", params={"receipt": receipt}).json() == entry
    forged = receipt[:-1] + ("0" if receipt[-1] != "0" else "1")
    answer = plane.get("ada", "/v1/audit/entry", params={"receipt": forged})
    assert answer.json()["code"] == "audit-broken"
    assert plane.get("ada", "/v1/audit/entry", params={"receipt": "none"}).status_code == 422


def test_many_search_at_once(plane):
    """Searches of several threads, beside statements that add entries, all get their answers."""
    plane.run("ada", "SELECT id FROM people")
    plane.get("ada", "/v1/whoami")
    plane.get("aud", "/v1/whoami")

    def once(number):
        if number % 4 == 0:
            plane.run("ada", f"SELECT id FROM people WHERE id = {number}")
            return 200
        return plane.get(("ada", "aud")[number % 2], "/v1/audit/entries?limit=5").status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(once, range(32))) == {200}


# ---------------------------------------------------------------- catalog, policy, lineage


def test_a_catalog_holds_what_one_may_touch(plane):
    """Tables that nobody may read are absent; who may touch nothing sees no connection."""
    told = plane.get("ada", "/v1/connections/warehouse/catalog").json()
    assert [one["name"] for one in told["tables"]] == ["numbers", "people"]
    assert plane.get("ada", "/v1/connections").json()["connections"] == [
        {"name": "warehouse", "is_default": True, "is_stopped": False}
    ]
    assert plane.get("olga", "/v1/connections").json() == {"connections": []}
    assert plane.get("ada", "/v1/connections/none/catalog").json()["code"] == "unknown-connection"


def test_the_history_of_a_catalog_is_for_auditors(plane):
    """Auditors see how a connection evolved, hidden tables included; nobody else does."""
    plane.run("ada", "SELECT id FROM people")
    assert plane.get("ada", "/v1/connections/warehouse/history").json()["code"] == "auditor-needed"
    [version] = plane.get("aud", "/v1/connections/warehouse/history").json()["versions"]
    assert (version["version"], version["changes"]) == (1, [])
    answer = plane.get("aud", "/v1/connections/none/history")
    assert answer.json()["code"] == "unknown-connection"


def test_a_dry_run_says_what_would_happen_and_records_nothing(plane):
    """A check tells decision, rules and the text that would run, and adds nothing to the log."""
    plane.get("ada", "/v1/whoami")
    before = plane.house.site.world.audit.checkpoint().checkpoint.size
    body = {"connection": "warehouse", "sql": "SELECT email FROM people"}
    told = plane.ask("ada", "POST", "/v1/check", json=body).json()
    assert (told["decision"], told["rules"]) == ("permit", ["read"])
    assert {
        "kind": "mask",
        "column": "main.people.email",
        "mask": "redact",
        "tag": "pii.email",
    } in told["obligations"]
    for sql in ("SELECT amount FROM salaries", "SELECT 1; DELETE FROM people", "SELEC", ""):
        told = plane.ask("ada", "POST", "/v1/check", json=body | {"sql": sql}).json()
        assert (told["decision"], told["sql"]) == ("deny", None)
    assert plane.house.site.world.audit.checkpoint().checkpoint.size == before


def test_the_policy_is_for_auditors(plane):
    """Auditors read the text of the policy in force; nobody else does."""
    assert plane.get("ada", "/v1/policy").json()["code"] == "auditor-needed"
    told = plane.get("aud", "/v1/policy").json()
    assert told["text"] == (plane.folder / "policy.yaml").read_text()
    assert told["digest"] == plane.guest("aud").session.policy_digest()


def test_lineage_is_for_whose_reads_it_shows(plane):
    """Who read a dataset sees its lineage, an auditor too, and nobody else."""
    request = Request("warehouse", "SELECT id, city FROM people", dataset="cities")
    with plane.house.ask(plane.guest("ada"), request, surface="t", address="") as result:
        result.to_arrow()
    for name, status in (("ada", 200), ("aud", 200), ("grace", 404)):
        answer = plane.get(name, "/v1/lineage", params={"reference": "cities"})
        assert answer.status_code == status, answer.text


# ---------------------------------------------------------------- stopping


def test_what_is_stopped_serves_nobody_until_it_is_lifted(plane):
    """A stopped connection runs nothing and shows nothing; a stopped principal is out."""
    assert (
        plane.ask("grace", "PUT", "/v1/stops/connection/warehouse", json={}).json()["code"]
        == "admin-needed"
    )
    stops = plane.ask(
        "olga", "PUT", "/v1/stops/connection/warehouse", json={"reason": "leak"}
    ).json()
    assert [(one["kind"], one["name"], one["by"]) for one in stops["stops"]] == [
        ("connection", "warehouse", "olga")
    ]
    with pytest.raises(Denied, match="stopped"):
        plane.run("ada", "SELECT id FROM people")
    answer = plane.get("ada", "/v1/connections/warehouse/catalog")
    assert (answer.status_code, answer.json()["why"]) == (403, "leak")
    assert plane.ask("olga", "DELETE", "/v1/stops/connection/warehouse").json() == {"stops": []}
    assert plane.run("ada", "SELECT id FROM people").num_rows == 1000
    plane.ask("olga", "PUT", "/v1/stops/principal/ada", json={"reason": "left"})
    assert plane.get("ada", "/v1/whoami").json()["code"] == "principal-stopped"


def test_what_runs_is_seen_and_cancelled(plane):
    """An open result is a work; its owner and administrators cancel it, and others do not."""
    request = Request("warehouse", "SELECT a FROM numbers", id="big")
    result = plane.house.ask(plane.guest("ada"), request, surface="flight-sql", address="")
    [work] = plane.get("ada", "/v1/works").json()["works"]
    big = work["id"]
    assert big.endswith("-big")
    assert (work["principal"], work["statement"]) == ("ada", "SELECT a FROM numbers")
    assert plane.get("grace", "/v1/works").json() == {"works": []}
    assert [one["id"] for one in plane.get("olga", "/v1/works?all=true").json()["works"]] == [big]
    assert plane.ask("grace", "DELETE", f"/v1/works/{big}").json() == {"count": 0}
    assert plane.ask("olga", "DELETE", f"/v1/works/{big}").json() == {"count": 1}
    with pytest.raises(NbgovError, match="cancelled"):
        result.to_arrow()
    assert plane.get("ada", "/v1/works").json() == {"works": []}


# ---------------------------------------------------------------- health and metrics


def test_readiness_follows_the_policy(plane):
    """A broken policy makes the gateway not ready, by a code and no text of the policy."""
    assert plane.get("", "/readyz").json()["is_ready"] is True
    assert plane.get("", "/healthz").json() == {"status": "ok"}
    (plane.folder / "policy.yaml").write_text("secret: [")
    until = time.monotonic() + WAIT_S
    while (answer := plane.get("", "/readyz")).status_code == 200 and time.monotonic() < until:
        time.sleep(0.05)
    assert (answer.status_code, answer.json()["checks"]["policy"]) == (503, "policy-invalid")
    assert "secret" not in answer.text


def test_metrics_count_and_name_nobody(plane):
    """Statements, refusals and logins are counted by plane and connection; no name is a label."""
    plane.run("ada", "SELECT id FROM people")
    with pytest.raises(NbgovError):
        plane.run("ada", "SELECT amount FROM salaries")
    with pytest.raises(NbgovError):
        plane.house.ask(
            plane.guest("ada"), Request("s3cret", "SELECT 1"), surface="flight-sql", address=""
        )
    plane.get("ada", "/nothing")
    told = plane.get("", "/metrics").text
    assert 'nbgov_statements_total{connection="warehouse",surface="flight-sql"} 1.0' in told
    assert 'nbgov_statement_rows_total{connection="warehouse",surface="flight-sql"} 1000.0' in told
    assert (
        'nbgov_refusals_total{code="unknown-table",connection="warehouse",surface="flight-sql"} 1.0'
        in told
    )
    assert (
        'nbgov_refusals_total{code="unknown-connection",connection="",surface="flight-sql"} 1.0'
        in told
    )
    assert 'nbgov_requests_total{method="GET",status="404"} 1.0' in told
    assert 'nbgov_ready{check="audit"} 1.0' in told
    # As words: a digest in hexadecimal may well hold the letters of a name.
    hidden = re.compile(r"\b(ada|salaries|s3cret|127\.0\.0\.1)\b")
    assert [line for line in told.splitlines() if hidden.search(line)] == []


def test_a_failure_inside_tells_a_number_only(tmp_path, caplog):
    """What nobody expected is a problem with a reference; its text is in the server's log alone."""

    def fail():
        raise RuntimeError("s3cret")

    made = Plane(tmp_path, checks={"more": fail})
    try:
        answer = made.get("", "/readyz")
    finally:
        made.close()
    assert (answer.status_code, answer.json()["code"]) == (500, "gateway-failed")
    assert not any(word in answer.text for word in ("s3cret", "Traceback", ".py"))
    reference = answer.json()["why"].rpartition(" ")[2]
    assert reference in caplog.text
    assert "s3cret" in caplog.text


# ---------------------------------------------------------------- HTTP


def test_every_answer_forbids_framing_guessing_and_keeping(plane):
    """Headers against framing, guessing types, keeping and referring are on every answer."""
    for path in ("/healthz", "/v1/whoami", "/nothing", "/openapi.json", "/metrics"):
        held = plane.get("", path).headers
        assert held["x-content-type-options"] == "nosniff"
        assert held["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in held["content-security-policy"]
        assert "server" not in held


def test_a_body_has_a_bound_however_it_is_sent(plane):
    """A body above 256 KiB is refused, with its length told and in chunks."""
    large = b"x" * (256 * 1024 + 1)
    for data in (large, iter([large[:100_000]] * 3)):
        answer = requests.post(plane.url + "/v1/check", data=data, timeout=WAIT_S)
        assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_wrong_shape_is_not_told_back(plane):
    """A body of a wrong shape is refused by place and kind, without what was in it."""
    body = {"is_approval": "s3cret", "more": "s3cret"}
    answer = plane.ask("ada", "POST", "/v1/approvals/abc/votes", json=body)
    assert answer.status_code == 422
    assert "s3cret" not in answer.text
    answer = plane.ask(
        "ada", "POST", "/v1/check", json={"connection": "warehouse", "sql": "\ud800"}
    )
    assert answer.status_code == 422


def test_an_address_that_is_taken_is_told(plane):
    """Two planes do not share a port unless they are meant to."""
    with pytest.raises(NbgovError) as caught:
        start_control_plane(plane.house, None, f"127.0.0.1:{plane.server.port}")
    assert caught.value.code == "address-unavailable"
    for address in ("nowhere", "127.0.0.1:port", ":"):
        with pytest.raises(NbgovError):
            start_control_plane(plane.house, None, address)


def test_it_speaks_tls_and_wants_a_certificate_where_it_is_told_to(tmp_path, certificates):
    """With TLS plain HTTP gets nothing; with a client authority, neither does who has no proof."""
    server, client, authority = certificates
    tls = Tls(server[0].read_bytes(), server[1].read_bytes(), authority.read_bytes())
    made = Plane(tmp_path, tls=tls)
    url = f"https://127.0.0.1:{made.server.port}/healthz"
    try:
        answer = requests.get(
            url, verify=str(authority), cert=tuple(map(str, client)), timeout=WAIT_S
        )
        assert answer.json() == {"status": "ok"}
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url, verify=str(authority), timeout=WAIT_S)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url.replace("https", "http"), timeout=WAIT_S)
        old = ssl.create_default_context(cafile=str(authority))
        old.check_hostname = False
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection(("127.0.0.1", made.server.port), WAIT_S) as link,
            pytest.raises(ssl.SSLError),
        ):
            old.wrap_socket(link)
    finally:
        made.close()


# ---------------------------------------------------------------- the document


def test_the_document_and_the_reference_page_list_the_same_calls(plane):
    """docs/reference/control-plane.md has a row for each call of the OpenAPI document, in order."""
    page = (Path(__file__).parents[2] / "docs/reference/control-plane.md").read_text()
    rows = [
        line.split("|")[1].strip().strip("`")
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    assert sorted(rows) == sorted(f"{method} {path}" for method, path in operations(plane))


def test_the_document_says_how_each_call_can_fail(plane):
    """Every call that takes a token documents 401 and 403 as problems, and names the scheme."""
    held = plane.get("", "/openapi.json").json()
    for path, methods in held["paths"].items():
        for call in methods.values():
            if path in PUBLIC:
                continue
            assert {"401", "403"} <= set(call["responses"]), path
            assert "application/problem+json" in call["responses"]["401"]["content"]
            assert call["security"], path
            assert call["summary"]
