"""A requester whose cells attack the consent that they wait for, on a kernel of their own.

Each test looks at what is left from another process: the ticket, the rows, and what the log says.
What a cell can do all the same, because it owns the process and its files, is the last test's and
``docs/concepts/threat-model.md``'s.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

import nbgov
from nbgov.cli import main
from nbgov.core.audit import decode
from nbgov.model import ApprovalState, RecordKind
from tests.kernels.frontend import OWN, FrontEnd

ADA, GRACE = "ada@acme.test", "grace@acme.test"
CONFIG = """
version: 1
policy: policy.yaml
default_connection: shop
connections:
  shop: {kind: sqlite, path: shop.sqlite}
  spare: {kind: sqlite, path: spare.sqlite}
principals:
  ada@acme.test: {groups: [analysts], roles: [approver]}
  grace@acme.test: {roles: [approver]}
"""
# Ada could approve what others ask for, so that nothing but four eyes stands between.
POLICY = """
version: 1
tags: {public: ["*.main.customers.*"]}
rules:
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [read, update]
    on: ["*.main.customers"]
    obligations: {approval: {by: {roles: [approver]}}}
"""
UPDATE = "UPDATE customers SET tier = 'gold' WHERE id = :id"
ENTER = f"""
from dataclasses import replace
from datetime import timedelta
import nbgov
from nbgov.core import approval as rules
from nbgov.errors import ApprovalNeeded
from nbgov.model import ApprovalState, Emergency, Principal, Vote

session = nbgov.connect(as_={ADA!r})
store = session.world.approvals
now = session.world.clock.now
UPDATE = {UPDATE!r}

def ask(sql=UPDATE, connection="shop", **binds):
    try:
        session.sql(sql, connection, **(binds or {{"id": 1}}))
    except ApprovalNeeded as error:
        return error.ticket

def attack(function):
    try:
        function()
    except Exception as error:
        print(getattr(error, "code", type(error).__name__))
    else:
        print("done")

def vote(voter, state=ApprovalState.REQUESTED):
    ticket = store.get(T)
    cast = Vote(voter, True, "", now(), ("change",))
    until = now() + timedelta(hours=1) if state is ApprovalState.APPROVED else None
    return ticket, replace(ticket, votes=(cast,), state=state, valid_until=until)
"""

# The card believes that there is a consent, and is made to run.
PATCH = """
import gc
import threading
from nbgov.notebook import card, slip, worker

(errand,) = [
    one
    for one in gc.get_objects()
    if isinstance(one, worker.Errand) and one.stage is worker.Stage.WAITING
]
card.Card.paint = card.Card.paint_controls = slip.Slip.paint = lambda self: None
worker.Errand.look = lambda self: None
errand.approval = replace(errand.approval, state=ApprovalState.APPROVED)
errand.start()
for one in threading.enumerate():
    if one.name == "nbgov-run":
        one.join(60)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    front = FrontEnd(OWN, tmp_path_factory.mktemp("kernel"))
    yield front
    front.close()


@pytest.fixture
def shop(tmp_path):
    """A folder with two databases, of which every change needs a vote."""
    for name in ("shop", "spare"):
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as link, link:
            link.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, tier TEXT)")
            link.executemany("INSERT INTO customers VALUES (?, 'basic')", [(1,), (2,), (3,)])
    (tmp_path / "nbgov.yaml").write_text(CONFIG)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def ada(kernel, shop):
    """Ada's kernel, with a session of its own and a ticket ``T`` that waits."""
    kernel.widgets.clear()
    run(kernel, f"%cd -q {shop}\n{ENTER}\nT = ask()")
    yield kernel
    run(kernel, "for one in nbgov.Session.opened():\n    one.close()")


def run(front, code):
    """Run a cell, and return what it printed."""
    cell = front.run(code)
    assert cell.error is None, cell.error
    return cell.printed.strip()


def attack(front, expression):
    """What becomes of an attack: the code of an error, or ``done``."""
    return run(front, f"attack(lambda: {expression})")


def approve(shop, ticket):
    """Grace's own vote, in her own process."""
    with nbgov.connect(shop, as_=GRACE) as session:
        session.vote(ticket, is_approval=True)


def state(shop, ticket):
    """Where a ticket stands, as somebody else sees it who has just come."""
    with nbgov.connect(shop, as_=GRACE) as session:
        return session.approval(ticket).state


def tiers(shop, name="shop"):
    """The rows, as the file holds them."""
    with closing(sqlite3.connect(shop / f"{name}.sqlite")) as link:
        return [tier for (tier,) in link.execute("SELECT tier FROM customers ORDER BY id")]


def log(shop, **wanted):
    """The entries of the log that have these facts."""
    with nbgov.connect(shop, as_=GRACE) as session:
        records = [decode(line).record for line in session.world.audit.entries()]
    return [one for one in records if all(getattr(one, k) == v for k, v in wanted.items())]


def found(shop, *terms):
    """What ``nbgov audit search`` tells."""
    told = CliRunner().invoke(
        main, ["--config", str(shop), "--as", GRACE, "audit", "search", *terms]
    )
    assert told.exit_code == 0, told.stderr
    return told.output


def untouched(shop, ticket):
    """Whether ticket and rows stand as they did before."""
    return state(shop, ticket) is ApprovalState.REQUESTED and tiers(shop) == ["basic"] * 3


# ---------------------------------------------------------------- the vote and the click


def test_a_vote_for_oneself_is_refused_and_in_the_log(ada, shop):
    """Whoever asks has no vote, by whichever of the session's ways."""
    ticket = run(ada, "print(T)")
    for way in (
        "session.vote(T, is_approval=True)",
        f"session.voting.vote(T, is_approval=True, reason='', claim={ADA!r})",
    ):
        assert attack(ada, way) == "self-approval", way
    claimed = "session.voting.vote(T, is_approval=True, reason='', claim='ADA@acme.test')"
    assert attack(ada, claimed) == "unknown-principal"
    assert untouched(shop, ticket)
    refused = log(shop, kind=RecordKind.VOTE, note="approve", ticket=ticket)
    assert [(one.principal, one.code) for one in refused] == [
        (ADA, "self-approval"),
        (ADA, "self-approval"),
        ("ADA@acme.test", "unknown-principal"),
    ]
    assert "denied self-" in found(shop, "--principal", ADA, "--status", "denied")


def test_a_forged_click_is_a_vote_for_oneself(ada, shop):
    """A button that a cell presses, or a message that a front end makes up, votes as the requester."""
    ticket = run(ada, "print(T)")
    run(
        ada,
        "import ipywidgets\n"
        "button = ipywidgets.Button(description='Approve')\n"
        "button.on_click(lambda _: session.vote(T, is_approval=True))\n"
        "display(button)",
    )
    assert ada.run("button.click()").error[0] == "Denied"
    ada.click("Approve")
    ada.tell("0" * 32, {"event": "click"})
    run(ada, "1")
    assert untouched(shop, ticket)
    refused = log(shop, note="approve", status="denied", code="self-approval", ticket=ticket)
    assert len(refused) == 2


def test_the_inbox_has_no_button_that_approves_what_one_asked_for(ada, shop):
    """Pressing every button that the requester's own inbox shows consents to nothing."""
    ticket = run(ada, "print(T)")
    known = "from ipywidgets.widgets.widget import _instances\nknown = set(_instances)"
    run(ada, f"{known}\n%load_ext nbgov\n%nbgov connect --as {ADA}\n%nbgov approvals")
    run(
        ada,
        "import ipywidgets\n"
        "from ipywidgets.widgets.widget import _instances\n"
        "shown = [_instances[name] for name in set(_instances) - known]\n"
        "buttons = [one for one in shown if isinstance(one, ipywidgets.Button)]\n"
        "approving = [one for one in buttons if 'approve' in one.description.lower()]\n"
        "for one in approving:\n"
        "    one.disabled = False",
    )
    for _ in range(2):  # One to choose, one to confirm.
        cell = ada.run("for one in approving:\n    one.click()")
        assert cell.error is None or cell.error[0] == "Denied"
    assert untouched(shop, ticket)


# ---------------------------------------------------------------- the store, past the rules


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(f"vote({ADA!r}, ApprovalState.APPROVED)", id="a vote of the requester"),
        pytest.param(f"vote({GRACE!r}, ApprovalState.APPROVED)", id="a vote of another name"),
        pytest.param(f"vote({GRACE!r})", id="a vote without its effect"),
        pytest.param(
            "(store.get(T), replace(store.get(T), state=ApprovalState.APPROVED,"
            " valid_until=now() + timedelta(hours=1)))",
            id="no vote at all",
        ),
        pytest.param(
            "(store.get(T), replace(store.get(T), state=ApprovalState.CONSUMED, uses=1))",
            id="a use without consent",
        ),
        pytest.param(
            "(store.get(T), replace(store.get(T), quorums=()))", id="a ticket that asks for nobody"
        ),
        pytest.param(
            "(store.get(T), replace(store.get(T), sql='DELETE FROM customers'))", id="another text"
        ),
        pytest.param(
            "(store.get(T), replace(store.get(T), requester='eve'))", id="another requester"
        ),
    ],
)
def test_a_forged_step_is_refused_by_the_store_and_in_the_log(ada, shop, step):
    """What no room would do, the store does not do either, and says who tried."""
    ticket = run(ada, "print(T)")
    assert attack(ada, f"store.swap(*{step})") == "ticket-forged"
    assert attack(ada, "session.sql(UPDATE, id=1)") == "approval-needed"
    assert untouched(shop, ticket)
    tries = log(shop, kind=RecordKind.VOTE, note="store", ticket=ticket)
    assert [(one.principal, one.status, one.code) for one in tries] == [
        (ADA, "error", "ticket-forged")
    ]
    assert "error ticket-" in found(shop, "--principal", ADA, "--status", "error")


def test_a_ticket_that_was_opened_approved_is_refused_and_in_the_log(ada, shop):
    """A ticket stands at its beginning when it is opened, whoever opens it."""
    made = (
        "replace(store.get(T), ticket='forged', binding_digest=bytes(32),"
        " state=ApprovalState.APPROVED, valid_until=now() + timedelta(hours=1))"
    )
    assert attack(ada, f"store.open({made})") == "ticket-forged"
    assert [one.principal for one in log(shop, note="store", ticket="forged")] == [ADA]


def test_objects_that_a_cell_changed_or_made_clear_nothing(ada, shop):
    """Core's functions give values, and a value in memory is no consent."""
    ticket = run(ada, "print(T)")
    grace = f"Principal({GRACE!r}, frozenset(), frozenset(['approver']))"
    ballot = f"Vote({GRACE!r}, True, '', now())"
    run(
        ada,
        f"made = rules.vote(store.get(T), {ballot}, voter={grace}, now=now())\n"
        "held = store.get(T)\n"
        "object.__setattr__(held, 'state', ApprovalState.APPROVED)\n"
        "object.__setattr__(held, 'votes', made.votes)\n"
        "print(made.state.value)",
    )
    assert attack(ada, "session.sql(UPDATE, id=1)") == "approval-needed"
    assert attack(ada, "session.sql(UPDATE, id=1, ticket=T)") == "approval-needed"
    assert attack(ada, "store.swap(store.get(T), made)") == "ticket-forged"
    assert untouched(shop, ticket)
    assert len(log(shop, note="store", code="ticket-forged", ticket=ticket)) == 1


# ---------------------------------------------------------------- what was approved, and what runs


def test_a_consent_clears_nothing_but_its_own_statement(ada, shop):
    """Other text, values, types of values and connections wait for a consent of their own."""
    ticket = run(ada, "print(T)")
    approve(shop, ticket)
    others = (
        "session.sql(UPDATE, id=2)",
        "session.sql(UPDATE, id='1')",
        "session.sql(UPDATE, id=True)",
        "session.sql(UPDATE + ' ', id=1)",
        "session.sql(UPDATE.replace('gold', 'Gold'), id=1)",
        "session.sql(UPDATE.replace('= :id', '>= :id'), id=1)",
        "session.sql(UPDATE + ' /* the same? */', id=1)",
        "session.sql(UPDATE, 'spare', id=1)",
    )
    for other in others:
        assert attack(ada, other) == "approval-needed", other
        named = other[:-1] + ", ticket=T)"
        assert attack(ada, named) == "ticket-conflict", named
    assert state(shop, ticket) is ApprovalState.APPROVED
    assert tiers(shop) == tiers(shop, "spare") == ["basic"] * 3
    asked = {one.ticket for one in log(shop, kind=RecordKind.VOTE, note="request")}
    assert len(asked) == 1 + len(others)
    tries = log(shop, code="ticket-conflict", principal=ADA)
    assert len(tries) == len(others)
    assert "error ticket-" in found(shop, "--principal", ADA, "--status", "error")


def test_a_grant_is_used_once_and_not_again(ada, shop):
    """After its one use it clears nothing, by name, by the store, or by asking again."""
    ticket = run(ada, "print(T)")
    approve(shop, ticket)
    assert attack(ada, "globals().update(before=store.get(T))") == "done"
    assert attack(ada, "session.sql(UPDATE, id=1)") == "done"
    assert tiers(shop) == ["gold", "basic", "basic"]
    with closing(sqlite3.connect(shop / "shop.sqlite")) as link, link:
        link.execute("UPDATE customers SET tier = 'basic'")
    assert attack(ada, "session.sql(UPDATE, id=1, ticket=T)") == "ticket-conflict"
    again = "replace(store.get(T), state=ApprovalState.APPROVED, uses=0)"
    assert attack(ada, f"store.swap(store.get(T), {again})") == "ticket-forged"
    assert (
        run(
            ada,
            "used = replace(before, state=ApprovalState.CONSUMED, uses=1)\n"
            "print(store.swap(before, used))",
        )
        == "False"
    )
    assert attack(ada, "session.sql(UPDATE, id=1)") == "approval-needed"
    assert state(shop, ticket) is ApprovalState.CONSUMED
    assert tiers(shop) == ["basic"] * 3
    assert log(shop, note="store", code="ticket-forged", ticket=ticket)
    assert log(shop, code="ticket-conflict", principal=ADA)


# ---------------------------------------------------------------- the card


@pytest.fixture
def renewed(kernel):
    """A kernel that is new again behind a test that changed nbgov itself."""
    yield
    kernel.restart()


@pytest.mark.usefixtures("renewed")
def test_a_card_whose_methods_were_replaced_runs_nothing_without_a_vote(ada, shop):
    """The card asks the session, and the session asks the store, whatever the card shows."""
    run(ada, f"%load_ext nbgov\n%nbgov connect --as {ADA}")
    text = "UPDATE customers SET tier = 'silver' WHERE id = 3"
    assert ada.run(f"%%govsql\n{text}").error[0] == "ApprovalNeeded"
    run(ada, PATCH)
    assert run(ada, "print(errand.result)") == "None"
    assert ada.run(f"%%govsql\n{text}").error is not None
    with nbgov.connect(shop, as_=GRACE) as session:
        tickets = {one.sql: one for one in session.tickets()}
    assert tickets[text].state is ApprovalState.REQUESTED
    assert tiers(shop) == ["basic"] * 3
    assert not log(shop, kind=RecordKind.ATTEMPT, plan=None)
    tries = log(shop, kind=RecordKind.OUTCOME, ticket=tickets[text].ticket, principal=ADA)
    assert len(tries) >= 2
    assert {one.code for one in tries} <= {"approval-needed", "ticket-conflict"}


# ---------------------------------------------------------------- what embedded mode withstands not


def test_a_vote_in_the_name_of_somebody_else_is_told_by_its_account(ada, shop):
    """Embedded mode believes a claim, as the threat model says; the log shows whose account it was."""
    ticket = run(ada, "print(T)")
    assert attack(ada, f"nbgov.connect(as_={GRACE!r}).vote(T, is_approval=True)") == "done"
    assert attack(ada, "session.sql(UPDATE, id=1)") == "done"
    (request,) = log(shop, kind=RecordKind.VOTE, note="request", ticket=ticket)
    (voted,) = log(shop, kind=RecordKind.VOTE, note="approve", ticket=ticket)
    assert (voted.principal, voted.via, voted.assurance) == (GRACE, "claim", "advisory")
    assert voted.account == request.account
