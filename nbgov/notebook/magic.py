"""``%%govsql``, ``%govsql`` and ``%nbgov``: governed SQL in IPython.

The magics translate: what was typed becomes a call of the session, what comes back becomes a frame,
a display or an error. Every decision is the session's. Errors are raised, so that "Run all" stops;
a variable keeps its old value on any error or interrupt; nothing is displayed that differs from run
to run. Cases are in ``tests/surfaces/test_magic.py``.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections import ChainMap
from collections.abc import Callable, MutableMapping
from functools import partial
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

from nbgov.core.approval import write_binds
from nbgov.core.statement import find_binds, take_values
from nbgov.errors import ApprovalNeeded, NbgovError
from nbgov.model import Result
from nbgov.notebook import housekeeping
from nbgov.notebook.command import Command, parsed, read_command, with_options
from nbgov.notebook.front import has_front_end, put
from nbgov.notebook.preview import Previews, delivered_text, metadata
from nbgov.notebook.slip import Slip
from nbgov.notebook.waiting import await_waiting, blocked, waited
from nbgov.notebook.worker import Desk, Errand, Order, stopped
from nbgov.retraining.page import report_html
from nbgov.retraining.telling import report_text
from nbgov.session import Session, connect

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbgov.core.drift import DriftReport
    from nbgov.notebook.inbox import Inbox

FRAMES: dict[str, Callable[[Result], Any]] = {
    "pandas": Result.to_pandas,
    "arrow": Result.to_arrow,
    "polars": Result.to_polars,
}
REPORT = ("nbgov.core.drift.report", "DriftReport")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics with a shell. Nothing is opened until one of them is used."""
    shell.register_magics(GovernedMagics(shell))
    bundles(shell).for_type_by_name(*REPORT, report_bundle)
    if await_waiting not in shell.input_transformers_post:
        shell.input_transformers_post.append(await_waiting)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics back and close the session. Frames that were delivered stay."""
    manager = shell.magics_manager
    magics = manager.registry.pop(GovernedMagics.__name__, None)
    if magics is None:
        return
    for kind, names in GovernedMagics.magics.items():
        for name in names:
            manager.magics[kind].pop(name, None)
    shell.input_transformers_post.remove(await_waiting)
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
        self.desk = Desk()
        self.inbox: Inbox | None = None
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
        return self.run_or_ask(*self.read(line, cell, local_ns or {}))

    async def awaited(self, line: str, cell: str) -> Any:
        """Do what ``%%govsql`` does, and wait for votes: the cell that has ``--wait`` awaits it."""
        session, order, command = self.read(line, cell, {})
        try:
            result = self.obtain(order)
        except ApprovalNeeded as need:
            if not command.is_waiting:
                self.ask(session, order, need)
                raise
            errand = self.follow(session, order, need, is_awaited=True)
            # Of a denial, the session tells.
            result = await waited(errand, wait_s=command.wait_s) or self.obtain(order)
        return self.deliver(result, command)

    @line_magic
    def nbgov(self, line: str) -> Any:
        """Look after governed work; ``%nbgov`` alone shows the status."""
        return housekeeping.keep_house(self, line)

    # ------------------------------------------------------------ one statement

    def read(
        self, line: str, cell: str | None, local_ns: MutableMapping[str, Any]
    ) -> tuple[Session, Order, Command]:
        """What was typed, as something that can be run, and run again."""
        session = self.connected()
        command = read_command(
            line, cell, connections=session.connections, parse_options=self.options
        )
        binds = self.binds(session, command, local_ns)
        shape = (command.sql, command.connection, command.rows_max, command.dataset)
        run = partial(
            session.sql,
            command.sql,
            command.connection,
            binds=binds,
            rows_max=command.rows_max,
            dataset=command.dataset,
            origin=self.origin(),
        )
        order = Order(
            key=lambda: (*shape, write_binds(binds)),
            run=lambda request, ticket: run(request=request, ticket=ticket),
        )
        return session, order, command

    def options(self, text: str) -> Namespace:
        """Decode the option words of ``%govsql``."""
        magic = cast("Any", type(self)).govsql
        return parsed(lambda: parse_argstring(magic, text), "%govsql")

    def binds(
        self, session: Session, command: Command, local_ns: MutableMapping[str, Any]
    ) -> dict[str, Any]:
        """The values of the variables that the statement marks as ``:name``; no other is read."""
        known = ChainMap(local_ns, self.ip.user_ns)
        found: dict[str, Any] = {}
        try:
            markers = find_binds(command.sql, session.dialect(command.connection))
            found = {one.name: known[one.name] for one in markers if one.name in known}
            # A list that the notebook changes later does not change what was asked for.
            return take_values(markers, found)
        except NbgovError:
            # The session meets the same error, and records it.
            return found

    def origin(self) -> dict[str, str]:
        """Where the request comes from, as far as the kernel knows; a claim, not a proof."""
        notebook = os.environ.get("JPY_SESSION_NAME", "")
        # IPython counts on before a cell runs, or after it, by version; its inputs tell in both.
        cell = str(len(self.ip.user_ns["In"]) - 1)
        found = {"surface": "magic", "cell": cell, "notebook": PurePath(notebook).name}
        return {key: value for key, value in found.items() if value}

    def run_or_ask(self, session: Session, order: Order, command: Command | None = None) -> Any:
        """Run an order and deliver what comes of it; or show where it waits, and raise that."""
        try:
            result = self.obtain(order)
        except ApprovalNeeded as need:
            # Where somebody could click, a cell that blocks the kernel would hear no click.
            if command is None or not command.is_waiting or has_front_end(self.ip):
                self.ask(session, order, need)
                raise
            errand = self.follow(session, order, need, is_awaited=True)
            result = blocked(errand, wait_s=command.wait_s) or self.obtain(order)
        return self.deliver(result, command)

    def obtain(self, order: Order) -> Result:
        """What a worker has parked for the cell, else what the session gives, read to its end."""
        try:
            parked = self.desk.claim(order)
            if parked is not None:
                return parked
            with order.run("", "") as result:
                # A write without RETURNING has no columns, so there is no frame to speak of.
                if result.schema.names:
                    result.to_arrow()
                return result
        except NbgovError as error:
            self.last = (error.record, error.receipt)
            raise
        except KeyboardInterrupt:
            raise stopped() from None

    def deliver(self, result: Result, command: Command | None = None) -> Any:
        """Hand a finished result over: to the variable, to the cell, or to both."""
        form, target, is_returned = ("pandas", "", True)
        if command is not None:
            form, target, is_returned = command.form, command.target, command.is_returned
        frame = FRAMES[form](result) if result.schema.names else None
        details = metadata(result)
        self.last = (details["nbgov"]["record"], details["nbgov"]["receipt"])
        if frame is not None:
            self.previews.add(frame, result)
        if target:
            self.ip.user_ns[target] = frame
        for remark in result.summary.remarks:
            put({"text/plain": remark})
        if frame is None or not is_returned:
            put({"text/plain": delivered_text(target, result)}, details)
        return frame if is_returned else None

    # ------------------------------------------------------------ approvals

    def ask(self, session: Session, order: Order, need: ApprovalNeeded) -> None:
        """Show the card where somebody can click, and say in the error what to do."""
        if has_front_end(self.ip):
            need.next_step = "when a voter has approved it, run this cell again"
            self.follow(session, order, need)
        else:
            need.next_step = (
                f"nbgov approvals approve {need.ticket} --as NAME, then run the cell again"
            )

    def follow(
        self, session: Session, order: Order, need: ApprovalNeeded, *, is_awaited: bool = False
    ) -> Errand:
        """Watch a ticket and run its statement, with a card where somebody can click."""
        errand = Errand(session, order, session.approval(need.ticket))
        errand.is_awaited = is_awaited
        if has_front_end(self.ip):
            # Without a front end, no widget is ever made (sparkmagic hangs under papermill).
            from nbgov.notebook.card import Card

            Card(errand).show()
        else:
            slip = Slip(errand)
            slip.show()
            errand.listeners.append(slip.paint)
        self.desk.add(errand)
        return errand

    # ------------------------------------------------------------ the session

    def connected(self) -> Session:
        """The session, opened at first use with the nearest nbgov.yaml."""
        if self.session is None:
            self.session = connect()
        return self.session

    def connect(self, session: Session) -> None:
        """Speak to another session, and leave the one before."""
        self.close()
        self.session = session

    def keep(self, inbox: Inbox | None) -> None:
        """Keep the inbox that is on the screen, in place of an earlier one."""
        if self.inbox is not None:
            self.inbox.close()
        self.inbox = inbox

    def close(self) -> None:
        """Leave the session and everything that looks at it; parked results are dropped."""
        self.keep(None)
        self.desk.close()
        if self.session is not None:
            self.session.close()
            self.session = None


def bundles(shell: InteractiveShell) -> Any:
    """The part of IPython that asks an object for HTML and text at once."""
    assert shell.display_formatter is not None
    return shell.display_formatter.mimebundle_formatter


def report_bundle(report: DriftReport) -> dict[str, str]:
    """A drift report as IPython shows it."""
    return {"text/plain": report_text(report), "text/html": report_html(report)}
