"""``%%govsql --wait``: a cell that waits for the vote, and stays deaf to nothing meanwhile.

A cell that blocks its kernel hears no click, whichever front end and kernel it has; one that awaits
does on some. So an input transformer turns the cell into an awaited call, and the wait ends with
the store's word, which every kernel hears. An idle event loop sees Stop only when it wakes, hence
the tick. Where nothing can be awaited and nobody can click, the cell polls the store and blocks.
Cases are in ``tests/surfaces/test_card.py``.
"""

from __future__ import annotations

import ast
import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress

from IPython.core.getipython import get_ipython

from nbgov.core.approval import conflict
from nbgov.errors import ApprovalNeeded, NbgovError
from nbgov.model import ApprovalState, Result
from nbgov.notebook.worker import Errand, Stage

TICK_S = 0.25
AWAITED = "await get_ipython().magics_manager.registry['GovernedMagics'].awaited({}, {})\n"
# An option of this name anywhere on the first line will do: the awaited call reads the line as
# any other does, and need not wait.
WAIT = re.compile(r"(?:^|\s)--wait(?:-s)?(?=[\s=]|$)")


def await_waiting(lines: list[str]) -> list[str]:
    """IPython's lines of a cell, with a ``%%govsql --wait`` as an awaited call where that works."""
    shell = get_ipython()
    return [*map(awaited_line, lines)] if shell is not None and shell.autoawait else lines


def awaited_line(line: str) -> str:
    r"""One line; the awaited call, if it is a waiting cell magic.

    Example:
        >>> line = "get_ipython().run_cell_magic('govsql', '--wait ops', 'SELECT 1\\n')\n"
        >>> awaited_line(line) == AWAITED.format("'--wait ops'", r"'SELECT 1\n'")
        True
    """
    if not line.startswith("get_ipython().run_cell_magic('govsql', "):
        return line
    try:
        call = ast.parse(line.strip(), mode="eval").body
    except SyntaxError:
        return line
    if not isinstance(call, ast.Call):
        return line
    _, options, cell = (ast.literal_eval(argument) for argument in call.args)
    return AWAITED.format(repr(options), repr(cell)) if WAIT.search(options) else line


async def waited(errand: Errand, *, wait_s: int | None) -> Result | None:
    """What came of an errand, awaited.

    Args:
        errand: What is waited for; somebody else watches and runs it.
        wait_s: Seconds to wait for the votes at most, or ``None`` for as long as the ticket lives.

    Returns:
        The result, or ``None`` where the ticket was denied, so that the session says why.

    Raises:
        NbgovError: For every other reason why there is none; a ticket that is open stays open.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        # A loop that was closed meanwhile has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(news.set)

    until = deadline_of(wait_s)
    errand.listeners.append(tell)
    try:
        while not errand.settled.is_set() and not has_waited(errand, until):
            with suppress(TimeoutError):
                # Python 3.11's wait_for loses a Stop that comes together with the news.
                async with asyncio.timeout(TICK_S):
                    await news.wait()
            news.clear()
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise interrupted(errand) from None
    finally:
        leave(errand, tell)
    return answer(errand, wait_s)


def blocked(errand: Errand, *, wait_s: int | None) -> Result | None:
    """What came of an errand, as :func:`waited`, for a place that cannot await."""
    until = deadline_of(wait_s)
    try:
        while not errand.settled.wait(TICK_S) and not has_waited(errand, until):
            pass
    except KeyboardInterrupt:
        raise interrupted(errand) from None
    finally:
        leave(errand)
    return answer(errand, wait_s)


def deadline_of(wait_s: int | None) -> float:
    """When the wait for votes ends, on the monotonic clock."""
    return float("inf") if wait_s is None else time.monotonic() + wait_s


def has_waited(errand: Errand, until: float) -> bool:
    """Whether votes were awaited long enough; a run that has begun is waited for to its end."""
    return errand.stage is Stage.WAITING and time.monotonic() >= until


def leave(errand: Errand, listener: Callable[[], None] | None = None) -> None:
    """Wait no longer: whatever comes now is parked for the cell, as without ``--wait``."""
    if listener in errand.listeners:
        errand.listeners.remove(listener)
    errand.is_awaited = errand.settled.is_set()


def answer(errand: Errand, wait_s: int | None) -> Result | None:
    """What an errand came to."""
    approval = errand.approval
    if not errand.settled.is_set():
        raise still_open(errand, f"nobody completed the vote within {wait_s} s")
    if errand.stage is Stage.OVER and approval.state is not ApprovalState.DENIED:
        raise conflict(approval, errand.session.world.clock.now())
    return errand.hand_over()


def interrupted(errand: Errand) -> NbgovError:
    """The error of a wait that Stop ended."""
    if errand.stage is Stage.RUNNING:
        return errand.stop()
    return still_open(errand, "the wait was stopped")


def still_open(errand: Errand, why: str) -> ApprovalNeeded:
    """The error of a wait that ended before its ticket."""
    approval = errand.approval
    return ApprovalNeeded(
        f"{approval.verb} on {', '.join(approval.tables)} still waits for approval.",
        ticket=approval.ticket,
        why=f"{why}; the ticket {approval.ticket} stays open",
        next_step="run this cell again when it is approved, or cancel the request",
    )
