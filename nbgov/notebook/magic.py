"""``%%govsql``, ``%govsql`` and ``%nbgov``: governed SQL in IPython.

The magics translate: what was typed becomes a call of the session, what comes back becomes a frame,
a display or an error. Every decision is the session's. Errors are raised, so that "Run all" stops;
a variable keeps its old value on any error or interrupt; nothing is displayed that differs from run
to run. Cases are in ``tests/surfaces/test_magic.py``.
"""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from IPython.core.magic_arguments import parse_argstring
from IPython.display import display

from nbgov.core.statement import bind_names
from nbgov.errors import ApprovalNeeded, BackendFailed, NbgovError
from nbgov.model import Result, short_receipt
from nbgov.notebook import datasets, render
from nbgov.notebook.command import Command, parsed, read_command, with_options, wrong
from nbgov.notebook.preview import Previews, delivered_text, metadata
from nbgov.retraining import compare
from nbgov.retraining.baseline import faced
from nbgov.retraining.page import report_html
from nbgov.retraining.telling import report_text
from nbgov.session import Session, connect

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbgov.core.drift import DriftReport
    from nbgov.notebook.widget import Card

CARDS_MAX = 32
SUBCOMMANDS = {
    "status": "who asks, of what, under which policy, and the last record",
    "connect [CONFIG] [--as NAME]": "start over with another nbgov.yaml or principal",
    "approvals": "tickets that wait for a vote",
    "drift [A] B": "what changed in a run or dataset, from another or from its baseline",
    "lineage REF": "where the data of a run or model came from, and who approved it",
    "audit [search | tail | show N | verify | prove N | report]": "what the audit log holds",
    "catalog log | diff | show CONNECTION [...]": "how what a connection holds evolved",
    "datasets [list | show REF | diff REF REF | log NAME]": "dataset versions that were delivered",
}


FRAMES: dict[str, Callable[[Result], Any]] = {
    "pandas": Result.to_pandas,
    "arrow": Result.to_arrow,
    "polars": Result.to_polars,
}
NO_FRONT_END = "NBGOV_NONINTERACTIVE"
REPORT = ("nbgov.core.drift.report", "DriftReport")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics with a shell. Nothing is opened until one of them is used."""
    shell.register_magics(GovernedMagics(shell))
    bundles(shell).for_type_by_name(*REPORT, report_bundle)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics back and close the session. Frames that were delivered stay."""
    manager = shell.magics_manager
    magics = manager.registry.pop(GovernedMagics.__name__, None)
    if magics is None:
        return
    for kind, names in GovernedMagics.magics.items():
        for name in names:
            manager.magics[kind].pop(name, None)
    bundles(shell).pop(".".join(REPORT), None)
    magics.previews.clear()
    magics.close()


@magics_class
class GovernedMagics(Magics):
    """The magics of one shell, with the session they speak to."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.ip = shell
        self.previews = Previews(bundles(shell).singleton_printers)
        self.cards: dict[str, Card] = {}
        self.session: Session | None = None
        self.last: tuple[int | None, str | None] = (None, None)

    @with_options
    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def govsql(
        self, line: str, cell: str | None = None, local_ns: MutableMapping[str, Any] | None = None
    ) -> Any:
        """Run one governed SQL statement and return a frame.

        The first word may name a connection of nbgov.yaml. A value comes from a Python variable as
        :name. "x << SELECT ..." assigns the frame to x; "x = << SELECT ..." returns it as well::

            %govsql SELECT count(*) FROM flights
            r = %govsql warehouse SELECT * FROM flights WHERE month = :month
            %%govsql warehouse --as polars
            SELECT ...
        """
        session = self.connected()
        command = read_command(
            line, cell, connections=session.connections, parse_options=self.options
        )
        try:
            with session.sql(
                command.sql,
                command.connection,
                binds=self.binds(session, command, local_ns or {}),
                rows_max=command.rows_max,
                dataset=command.dataset,
                origin=self.origin(),
            ) as result:
                # A write without RETURNING has no columns, so there is no frame to speak of.
                frame = FRAMES[command.form](result) if result.schema.names else None
        except NbgovError as error:
            self.last = (error.record, error.receipt)
            if isinstance(error, ApprovalNeeded):
                self.ask(session, error)
            raise
        except KeyboardInterrupt:
            raise BackendFailed(
                "The statement was stopped.",
                code="cancelled",
                why="the kernel was interrupted; no result was delivered",
                next_step="run the cell again",
            ) from None
        return self.deliver(command, result, frame)

    @line_magic
    def nbgov(self, line: str) -> Any:
        """Look after governed work; ``%nbgov`` alone shows the status."""
        match words_of(line):
            case [] | ["status"]:
                self.status(self.connected())
            case ["connect", *words]:
                self.connect(words)
            case ["approvals"]:
                self.inbox(self.connected())
            case ["drift", first, *second] if len(second) <= 1:
                return faced(self.connected(), first, *second).report
            case ["audit", *words]:
                from nbgov.notebook.audit import audit

                audit(self.connected(), words, put)
            case ["lineage", reference]:
                from nbgov.lineage.telling import shown

                text, html = shown(self.connected(), reference)
                put({"text/plain": text, "text/html": html})
            case ["catalog", *words]:
                from nbgov.notebook.catalogs import told

                story = told(self.connected(), words)
                put({"text/plain": story.text(), "text/html": story.html()})
            case ["datasets", *words]:
                return self.datasets(self.connected(), words)
            case _:
                raise wrong(
                    "%nbgov does not take these words.", f"use one of: {', '.join(SUBCOMMANDS)}"
                )
        return None

    def options(self, text: str) -> Namespace:
        """Decode the option words of ``%govsql``."""
        magic = cast("Any", type(self)).govsql
        return parsed(lambda: parse_argstring(magic, text), "%govsql")

    def binds(
        self, session: Session, command: Command, local_ns: MutableMapping[str, Any]
    ) -> dict[str, Any]:
        """The variables that the statement marks as ``:name``; no others are looked at."""
        try:
            names = bind_names(command.sql, session.dialect(command.connection))
        except NbgovError:
            # The session meets the same error, and records it.
            return {}
        known = ChainMap(local_ns, self.ip.user_ns)
        return {name: known[name] for name in names if name in known}

    def origin(self) -> dict[str, str]:
        """Where the request comes from, as far as the kernel knows; a claim, not a proof."""
        notebook = os.environ.get("JPY_SESSION_NAME", "")
        cell = str(self.ip.execution_count)
        found = {"surface": "magic", "cell": cell, "notebook": PurePath(notebook).name}
        return {key: value for key, value in found.items() if value}

    def deliver(self, command: Command, result: Result, frame: Any) -> Any:
        """Hand a finished result over: to the variable, to the cell, or to both."""
        details = metadata(result)
        self.last = (details["nbgov"]["record"], details["nbgov"]["receipt"])
        if frame is not None:
            self.previews.add(frame, result)
        if command.target:
            self.ip.user_ns[command.target] = frame
        for remark in result.summary.remarks:
            put({"text/plain": remark})
        if frame is None or not command.is_returned:
            put({"text/plain": delivered_text(command.target, result)}, details)
        return frame if command.is_returned else None

    # ------------------------------------------------------------ the session

    def connected(self) -> Session:
        """The session, opened at first use with the nearest nbgov.yaml."""
        if self.session is None:
            self.session = connect()
        return self.session

    def connect(self, words: list[str]) -> None:
        """Open another session, then leave the one before; an error keeps it."""
        match words:
            case []:
                session = connect()
            case ["--as", name]:
                session = connect(as_=name)
            case [config, "--as", name] | ["--as", name, config]:
                session = connect(config, as_=name)
            case [config] if not config.startswith("-"):
                session = connect(config)
            case _:
                raise wrong(
                    "%nbgov connect does not take these words.",
                    "write connect [CONFIG] [--as NAME]",
                )
        self.close()
        self.session = session
        self.status(session)

    def close(self) -> None:
        """Leave the session and everything that looks at it."""
        for card in self.cards.values():
            card.close()
        self.cards.clear()
        if self.session is not None:
            self.session.close()
            self.session = None

    # ------------------------------------------------------------ approvals

    def ask(self, session: Session, need: ApprovalNeeded) -> None:
        """Show the ticket where somebody can click, and say in the error what to do."""
        if not has_front_end(self.ip):
            need.next_step = (
                f"nbgov approvals approve {need.ticket} --as NAME, then run the cell again"
            )
            return
        need.next_step = "ask a voter to approve it, then run this cell again"
        self.show_card(session, need.ticket, is_inbox=False)

    def inbox(self, session: Session) -> None:
        """Show the tickets that wait, with buttons where somebody can click."""
        approvals = session.pending()
        if not approvals:
            show("Approvals", [("waiting", "none")])
        for approval in approvals:
            if has_front_end(self.ip):
                self.show_card(session, approval.ticket, is_inbox=True)
            else:
                html, text = render.approval_html(approval), render.approval_text(approval)
                put({"text/plain": text, "text/html": html})

    def show_card(self, session: Session, ticket: str, *, is_inbox: bool) -> None:
        """Show one card, in place of an earlier one for the ticket."""
        from nbgov.notebook.widget import Card

        stale = ticket if ticket in self.cards else next(iter(self.cards), "")
        if stale == ticket or len(self.cards) >= CARDS_MAX:
            self.cards.pop(stale).close()
        card = self.cards[ticket] = Card(session, session.approval(ticket), is_inbox=is_inbox)
        card.show()

    # ------------------------------------------------------------ what %nbgov shows

    def status(self, session: Session) -> None:
        """Show who asks, of what, under which policy, and where the last request is recorded."""
        principal = session.principal
        record, receipt = self.last
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
            ("mode", "embedded, advisory: whoever owns this kernel can go round it"),
        ]
        show("nbgov", [(label, fact) for label, fact in facts if fact])

    def datasets(self, session: Session, words: list[str]) -> DriftReport | None:
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


def words_of(line: str) -> list[str]:
    """The words of a line, quotes respected.

    Raises:
        RequestInvalid: A quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError:
        raise wrong("A quote is not closed.", "close it") from None


def bundles(shell: InteractiveShell) -> Any:
    """The part of IPython that asks an object for HTML and text at once."""
    assert shell.display_formatter is not None
    return shell.display_formatter.mimebundle_formatter


def has_front_end(shell: InteractiveShell) -> bool:
    """Whether somebody can click: a kernel whose client takes input, and nobody said otherwise."""
    kernel = getattr(shell, "kernel", None)
    can_answer = bool(getattr(kernel, "_allow_stdin", False))
    return can_answer and not os.environ.get(NO_FRONT_END)


def show(title: str, facts: Sequence[tuple[str, str]]) -> None:
    """Display labelled facts."""
    html, text = render.facts_html(title, facts), render.facts_text(title, facts)
    put({"text/plain": text, "text/html": html})


def put(data: dict[str, str], details: dict[str, Any] | None = None) -> None:
    """Display a bundle of one thing in several forms."""
    display(data, raw=True, metadata=details)


def report_bundle(report: DriftReport) -> dict[str, str]:
    """A drift report as IPython shows it."""
    return {"text/plain": report_text(report), "text/html": report_html(report)}
