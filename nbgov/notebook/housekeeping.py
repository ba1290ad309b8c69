"""``%nbgov``: looking after governed work, one word at a time. The session does what is done.

Cases are in ``tests/surfaces/test_magic.py``.
"""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from nbgov.model import short_receipt
from nbgov.notebook import datasets
from nbgov.notebook.command import wrong
from nbgov.notebook.front import has_front_end, put, show
from nbgov.notebook.worker import Order
from nbgov.retraining import compare
from nbgov.retraining.baseline import faced
from nbgov.session import Session, connect
from nbgov.shown.tickets import ticket_html, ticket_text

if TYPE_CHECKING:
    from nbgov.core.drift import DriftReport
    from nbgov.notebook.magic import GovernedMagics

SUBCOMMANDS = {
    "status": "who asks, of what, under which policy, and the last record",
    "connect [CONFIG] [--as NAME]": "start over with another nbgov.yaml or principal",
    "login [--issuer NAME] [--browser] [--remember]": "log in at the gateway",
    "logout": "end every login at the gateway",
    "whoami": "who one is at the gateway, with groups and roles",
    "approvals": "tickets that wait for a vote",
    "undo RECORD": "take an approved write back, which needs approval too",
    "break-glass TICKET --reason TEXT": "go ahead without votes, where the policy lets you",
    "drift [A] B": "what changed in a run or dataset, from another or from its baseline",
    "lineage REF": "where the data of a run or model came from, and who approved it",
    "audit [search | tail | show N | verify | prove N | report]": "what the audit log holds",
    "catalog log | diff | show CONNECTION [...]": "how what a connection holds evolved",
    "datasets [list | show REF | diff REF REF | log NAME]": "dataset versions that were delivered",
}


def keep_house(magics: GovernedMagics, line: str) -> Any:
    """Do what a line behind ``%nbgov`` says; its value is the cell's.

    Raises:
        RequestInvalid: It says nothing that there is (``usage``).
    """
    match words_of(line):
        case [] | ["status"]:
            status(magics)
        case ["connect", *words]:
            magics.connect(opened(words))
            status(magics)
        case ["approvals", *words]:
            from nbgov.notebook.inbox import inbox

            magics.keep(inbox(magics.connected(), words, can_click=has_front_end(magics.ip)))
        case ["undo", *words]:
            return undone(magics, words)
        case ["break-glass", ticket, "--reason", reason] | [
            "break-glass",
            "--reason",
            reason,
            ticket,
        ]:
            approval = magics.connected().break_glass(ticket, reason=reason)
            put({"text/plain": ticket_text(approval), "text/html": ticket_html(approval)})
        case ["login", *words]:
            from nbgov.notebook.login import log_in

            log_in(magics.connected(), words)
        case ["logout"]:
            from nbgov.notebook.login import log_out

            log_out(magics.connected())
        case ["whoami"]:
            from nbgov.notebook.login import whoami

            whoami(magics.connected())
        case words:
            return report(magics, words)
    return None


def report(magics: GovernedMagics, words: list[str]) -> Any:
    """Show what is known of data, runs and the log.

    Raises:
        RequestInvalid: The words say nothing that there is (``usage``).
    """
    match words:
        case ["drift", first, *second] if len(second) <= 1:
            return faced(magics.connected(), first, *second).report
        case ["audit", *more]:
            from nbgov.notebook.audit import audit

            audit(magics.connected(), more, put)
        case ["lineage", reference]:
            from nbgov.lineage.telling import shown

            text, html = shown(magics.connected(), reference)
            put({"text/plain": text, "text/html": html})
        case ["catalog", *more]:
            from nbgov.notebook.catalogs import told

            story = told(magics.connected(), more)
            put({"text/plain": story.text(), "text/html": story.html()})
        case ["datasets", *more]:
            return versions(magics.connected(), more)
        case _:
            raise wrong(
                "%nbgov does not take these words.", f"use one of: {', '.join(SUBCOMMANDS)}"
            )
    return None


def words_of(line: str) -> list[str]:
    """The words of a line, quotes respected.

    Raises:
        RequestInvalid: A quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError:
        raise wrong("A quote is not closed.", "close it") from None


def opened(words: list[str]) -> Session:
    """The session that ``connect`` asks for."""
    match words:
        case []:
            return connect()
        case ["--as", name]:
            return connect(as_=name)
        case [config, "--as", name] | ["--as", name, config]:
            return connect(config, as_=name)
        case [config] if not config.startswith("-"):
            return connect(config)
    raise wrong("%nbgov connect does not take these words.", "write connect [CONFIG] [--as NAME]")


def status(magics: GovernedMagics) -> None:
    """Show who asks, of what, under which policy, and where the last request is recorded."""
    session = magics.connected()
    principal = session.principal
    record, receipt = magics.last
    memberships = [*sorted(principal.groups), *sorted(principal.roles)]
    connections = (
        f"{name} (default)" if name == session.default_connection else name
        for name in session.connections
    )
    facts = [
        ("principal", f"{principal.name} ({', '.join(memberships) or 'no group, no role'})"),
        ("connections", ", ".join(connections)),
        ("policy", session.policy_digest()[:12]),
        ("record", "none yet" if record is None else str(record)),
        ("receipt", short_receipt(receipt or "")),
        ("state", session.state.name),
        ("mode", mode_of(session)),
    ]
    show("nbgov", [(label, fact) for label, fact in facts if fact])


def mode_of(session: Session) -> str:
    """What keeps whoever owns the kernel from going round the policy."""
    remote = len(session.config.gateways)
    if session.is_remote:
        return "gateway: statements are decided there, out of reach of this kernel"
    own = "embedded, advisory: whoever owns this kernel can go round it"
    return f"{own}; {remote} of {len(session.connections)} at a gateway" if remote else own


def undone(magics: GovernedMagics, words: list[str]) -> Any:
    """Undo a write, which is asked for as any statement is; or show what can be undone."""
    from nbgov.notebook.undo import undo

    session = magics.connected()
    if len(words) != 1 or words == ["list"]:
        return undo(session, words)
    run = partial(session.undo, words[0], origin=magics.origin())
    order = Order(
        key=lambda: ("undo", *words),
        run=lambda request, ticket: run(request=request, ticket=ticket),
    )
    return magics.run_or_ask(session, order)


def versions(session: Session, words: list[str]) -> DriftReport | None:
    """Show the dataset versions that were delivered, one of them, or how two differ."""
    match words:
        case [] | ["list"]:
            sheet = datasets.listing(session)
        case ["show", reference]:
            sheet = datasets.shown(session, reference)
        case ["log", name]:
            sheet = datasets.log(session, name)
        case ["diff", baseline, current]:
            first, second = session.dataset(baseline), session.dataset(current)
            return compare(first, second, config=session)
        case _:
            raise wrong(
                "%nbgov datasets does not take these words.",
                "write datasets list, show REF, diff REF REF or log NAME",
            )
    put({"text/plain": sheet.text(), "text/html": sheet.html()})
    return None
