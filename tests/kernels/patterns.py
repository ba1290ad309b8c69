"""The ways in which a cell may wait for a person, one small cell each.

Every one displays something to answer with, and prints ``heard`` if the answer came while the cell
ran, or else ``silence``. ``WAIT_S`` says how long it waits. The letters are those of the table in
``docs/concepts/notebook-kernels.md``.
"""

SETUP = """
import asyncio
import threading
import time
from pathlib import Path

import anywidget
import ipykernel
import ipywidgets
from IPython.display import display
from jupyter_ui_poll import ui_events


def card(heard):
    button = ipywidgets.Button(description="Approve")
    button.on_click(lambda _: heard())
    display(button)


class Asking(anywidget.AnyWidget):
    _esm = "export default { render() {} }"


def custom(heard):
    widget = Asking()
    widget.on_msg(lambda *_: heard())
    display(widget)


def sleep_until(is_so):
    end = time.monotonic() + WAIT_S
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    print("heard" if is_so() else "silence")


async def wait_for(make):
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    # A callback may come on any thread.
    make(lambda: loop.call_soon_threadsafe(answer.set_result, True))
    try:
        await asyncio.wait_for(answer, WAIT_S)
    except TimeoutError:
        print("silence")
    else:
        print("heard")


async def asking(line, cell):
    await wait_for(card)


def rewritten(lines):
    start = "get_ipython().run_cell_magic('asking'"
    return ["await " + line if line.startswith(start) else line for line in lines]


get_ipython().register_magic_function(asking, "cell", "asking")
get_ipython().input_transformers_post.append(rewritten)
"""

SLEEP = """
got = threading.Event()
card(got.set)
sleep_until(got.is_set)
"""

EVENT = """
got = threading.Event()
card(got.set)
print("heard" if got.wait(WAIT_S) else "silence")
"""

UI_POLL = """
got = threading.Event()
card(got.set)
end = time.monotonic() + WAIT_S
with ui_events() as poll:
    while not got.is_set() and time.monotonic() < end:
        poll(10)
        time.sleep(0.05)
print("heard" if got.is_set() else "silence")
"""

AWAIT = "await wait_for(card)"

MAGIC = """%%asking
anything
"""

CARD = """
told = ipywidgets.HTML("silence")
def heard():
    told.value = "heard"
card(heard)
display(told)
"""

CUSTOM_SLEEP = """
got = threading.Event()
custom(got.set)
sleep_until(got.is_set)
"""

CUSTOM_AWAIT = "await wait_for(custom)"

NESTED = """
import nest_asyncio2
nest_asyncio2.apply()
asyncio.get_event_loop().run_until_complete(wait_for(card))
"""

INPUT = "print('heard' if input('Approve? ') == 'yes' else 'silence')"

STORE = """
print("polls")
sleep_until(Path("vote").exists)
"""

PAINT = """
trait, handle = ipywidgets.HTML(), display("plain", display_id=True)
display(trait)
def paint():
    trait.value = "painted"
    handle.update("painted")
"""
PAINTERS = {
    "callback": "card(paint)",
    "thread": "card(threading.Thread(target=paint).start)",
}

STOPPED_SLEEP = """
print("waits")
while True:
    time.sleep(0.05)
"""

STOPPED_AWAIT = """
print("waits")
event = asyncio.Event()
while True:
    try:
        await asyncio.wait_for(event.wait(), 0.25)
    except TimeoutError:
        pass
"""

STOPPED_WORKER = """
import sqlite3

database = sqlite3.connect(":memory:", check_same_thread=False)
LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
done = threading.Event()

def work():
    try:
        database.execute(LONG).fetchall()
    except sqlite3.OperationalError:
        pass
    done.set()

threading.Thread(target=work).start()
print("waits")
try:
    while not done.wait(0.05):
        pass
except KeyboardInterrupt:
    database.interrupt()
    done.wait()
    raise
"""

# An interrupt reaches a cell that awaits as one or the other, by kernel.
STOPPED = {
    STOPPED_SLEEP: {"KeyboardInterrupt"},
    STOPPED_AWAIT: {"KeyboardInterrupt", "CancelledError"},
    STOPPED_WORKER: {"KeyboardInterrupt"},
}
