"""Which ways of waiting for a person work, on which kernel, and in which kind of front end.

nbgov builds on the rows that are all yes. The others are held too, yes and no alike: a kernel that
changes a rule, for better or for worse, fails here before it fails at somebody's desk.
"""

from __future__ import annotations

import pytest

from tests.kernels import patterns
from tests.kernels.frontend import GENERATIONS, VIEW

pytestmark = pytest.mark.slow

# Two letters for each kernel: with comms on a subshell, and without. y: the cell heard the answer
# while it ran; n: it did not.
HEARD = """
                6.31  7.1  7.3  7.4
SLEEP            nn    yn   yn   nn
EVENT            nn    yn   yn   nn
UI_POLL          yy    yn   yn   nn
AWAIT            nn    yn   yn   yy
MAGIC            nn    yn   yn   yy
CUSTOM_SLEEP     nn    yn   yn   nn
CUSTOM_AWAIT     nn    yn   yn   yy
NESTED           nn    yn   yn   nn
"""
# For how long a cell waits that will be answered, and one that will not.
LONG_S, SHORT_S = 30, 1
# They patch the event loop of their kernel.
MEDDLERS = {"UI_POLL", "NESTED"}


def rows():
    """The rows of the table: the name of a pattern, and what is heard in each place."""
    heads, *lines = HEARD.split("\n")[1:-1]
    assert tuple(heads.split()) == GENERATIONS
    for line in lines:
        name, *cells = line.split()
        heard = dict(zip(GENERATIONS, cells, strict=True))
        yield pytest.param(name, heard, id=name.lower())


@pytest.fixture
def prepared(front):
    """The front end, with everything defined that a pattern uses."""

    def prepare(wait_s):
        cell = front.run(f"WAIT_S = {wait_s}\n{patterns.SETUP}")
        assert cell.error is None, cell.error
        return front

    return prepare


def test_the_kernel_is_of_its_generation(front, place):
    """A kernel runs the ipykernel that its environment is locked to, and nbgov beside it."""
    cell = front.run("import ipykernel, nbgov; print(ipykernel.__version__)")
    assert cell.error is None
    assert cell.printed.startswith(f"{place[0]}.")
    assert (front.subshell is not None) == (place[1] == "subshell" and place[0] != "6.31")


@pytest.mark.parametrize(("pattern", "heard"), list(rows()))
def test_a_running_cell_hears_a_click_exactly_where_the_table_says(prepared, place, pattern, heard):
    """A cell that waits hears the answer on the kernels and front ends that the table names."""
    generation, mode = place
    expected = heard[generation][mode == "no-subshell"] == "y"
    front = prepared(LONG_S if expected else SHORT_S)
    cell = front.send(getattr(patterns, pattern))
    if pattern.startswith("CUSTOM"):
        front.tell(front.find(_model_name="AnyModel"), {"kind": "decision"})
    else:
        front.click("Approve")
    front.until(lambda: cell.is_done, "the end of the cell")
    if pattern in MEDDLERS:
        front.restart()
    assert cell.printed.split()[-1:] == ["heard" if expected else "silence"], cell.error


def test_a_click_after_the_cell_has_ended_is_heard_everywhere(prepared):
    """A card whose cell has ended acts on a click, and paints through a trait."""
    front = prepared(SHORT_S)
    cell = front.run(patterns.CARD)
    assert cell.error is None
    assert VIEW in cell.outputs[-1]
    front.click("Approve")
    front.find(value="heard")


def test_a_blocked_cell_hears_an_answer_to_its_question_everywhere(prepared):
    """Input that a cell asks for reaches it, though it blocks."""
    front = prepared(LONG_S)
    cell = front.send(patterns.INPUT)
    front.answer(cell, "yes")
    front.until(lambda: cell.is_done, "the end of the cell")
    assert cell.printed == "heard\n"


def test_a_blocked_cell_that_polls_a_store_hears_a_vote_everywhere(prepared):
    """What another process writes reaches a cell that looks for it, though it blocks."""
    front = prepared(LONG_S)
    vote = front.folder / "vote"
    vote.unlink(missing_ok=True)
    cell = front.send(patterns.STORE)
    front.until(lambda: cell.printed, "a cell that polls")
    vote.touch()
    front.until(lambda: cell.is_done, "the end of the cell")
    assert cell.printed == "polls\nheard\n"


@pytest.mark.parametrize("where", ["callback", "thread"])
def test_a_trait_and_a_display_handle_paint_from_anywhere(prepared, where):
    """What a callback or a thread writes to a trait or a display handle arrives in the right cell."""
    front = prepared(SHORT_S)
    cell = front.run(patterns.PAINT + patterns.PAINTERS[where])
    assert cell.error is None
    other = front.run("1")
    front.click("Approve")
    front.find(value="painted")
    front.until(lambda: "'painted'" in cell.shown(), "the update of the display")
    assert "'painted'" not in other.shown()


@pytest.mark.parametrize(
    ("pattern", "names"), list(patterns.STOPPED.items()), ids=["sleep", "await", "worker"]
)
def test_stop_ends_a_cell_that_waits(prepared, pattern, names):
    """The Stop button ends every way of waiting that nbgov uses, and the kernel is usable after it."""
    front = prepared(LONG_S)
    cell = front.send(pattern)
    front.until(lambda: "waits" in cell.printed, "a cell that waits")
    front.interrupt()
    front.until(lambda: cell.is_done, "the end of the cell")
    assert cell.error is not None
    assert cell.error[0] in names
    assert front.run("print(6 * 7)").printed == "42\n"
