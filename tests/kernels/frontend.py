"""A front end without a screen: it starts a kernel and speaks the Jupyter protocol as JupyterLab does.

It runs cells, keeps what they show up to date, holds the state of every widget, clicks, interrupts
and restarts. With ``has_subshell`` it sends what concerns widgets on a subshell of the kernel where
the kernel has them, as JupyterLab 4.6 does unless told not to; without, as other front ends do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager

ROOT = Path(__file__).resolve().parents[2]
GENERATIONS = ("6.31", "7.1", "7.3", "7.4")
OWN = "own"
# What a busy machine needs at worst. Nothing is proven by a wait: it only ends a test that hangs.
WAIT_S = 60.0
POLL_MS = 50
WIDGETS = "jupyter.widget"
VIEW = "application/vnd.jupyter.widget-view+json"


def python_of(generation: str) -> Path:
    """The interpreter whose kernel is of a generation; ``own`` is the one that runs the tests."""
    if generation == OWN:
        return Path(sys.executable)
    return ROOT / f".venv-kernel-{generation}" / "bin" / "python"


@dataclass
class Cell:
    """What one execution of a cell gave so far.

    Attributes:
        outputs: What it displays, each a mapping of forms, as a saved notebook would hold it.
        printed: What it printed.
        error: Name, value and lines of the error that ended it.
        status: ``ok``, ``error`` or ``aborted``, once the kernel answered.
        is_idle: Whether the kernel told that all of it has been sent.
        is_waiting: Whether it asked for input, and none was given yet.
    """

    outputs: list[dict[str, Any]] = field(default_factory=list)
    printed: str = ""
    error: tuple[str, str, Sequence[str]] | None = None
    status: str = ""
    is_idle: bool = False
    is_waiting: bool = False

    @property
    def is_done(self) -> bool:
        return bool(self.status) and self.is_idle

    def shown(self, form: str = "text/plain") -> str:
        """What it displays in a form, one output after the other."""
        return "\n".join(output[form] for output in self.outputs if form in output)


class FrontEnd:
    """A kernel, and everything that a person can do to it.

    Args:
        generation: One of :data:`GENERATIONS`, or :data:`OWN` for the kernel beside the tests.
        folder: Where the kernel works, and where its files are kept.
        has_subshell: Whether messages of widgets go on a subshell.
        can_ask: Whether a cell may ask for input; nbclient and papermill say that it may not.
        env: Variables for the kernel, on top of this process's own.
        prefix: What starts the kernel's command, in place of this process itself.
    """

    def __init__(
        self,
        generation: str,
        folder: Path,
        *,
        has_subshell: bool = False,
        can_ask: bool = True,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        spec = folder / "kernels" / "tested"
        spec.mkdir(parents=True)
        command = [
            *prefix,
            str(python_of(generation)),
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ]
        text = {"argv": command, "display_name": generation, "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(text))
        specs = KernelSpecManager(kernel_dirs=[str(spec.parent)])
        self.manager = KernelManager(
            kernel_name=spec.name,
            kernel_spec_manager=specs,
            connection_file=str(folder / "connection.json"),
        )
        self.folder = folder
        self.has_subshell = has_subshell
        self.subshell: str | None = None
        self.can_ask = can_ask
        self.cells: dict[str, Cell] = {}
        self.displays: dict[str, list[dict[str, Any]]] = {}
        self.replies: dict[str, dict[str, Any]] = {}
        self.widgets: dict[str, dict[str, Any]] = {}
        self.log = (folder / "kernel.log").open("ab")
        self.manager.start_kernel(
            cwd=str(folder),
            env={**os.environ, "IPYTHONDIR": str(folder / ".ipython"), **(env or {})},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.client = self.manager.client()
        self.client.allow_stdin = can_ask
        self.client.start_channels()
        self.meet()

    def meet(self) -> None:
        """Wait for the kernel, and open a subshell for widgets where both sides have them."""
        self.client.wait_for_ready(timeout=WAIT_S)
        info = self.reply_to(self.client.kernel_info())
        self.subshell = None
        if self.has_subshell and "kernel subshells" in info.get("supported_features", ()):
            request = self.client.session.msg("create_subshell_request")
            self.client.control_channel.send(request)
            self.subshell = self.reply_to(request["header"]["msg_id"])["subshell_id"]

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.log.close()

    # ---------------------------------------------------------------- what a person does

    def send(self, code: str) -> Cell:
        """Send a cell and go on, as "Run all" does for each cell."""
        asked = self.client.execute(code, allow_stdin=self.can_ask)
        return self.cells.setdefault(asked, Cell())

    def run(self, code: str) -> Cell:
        """Send a cell and wait until it has ended, well or not."""
        cell = self.send(code)
        self.until(lambda: cell.is_done, f"the end of {code!r}")
        return cell

    def click(self, label: str) -> None:
        """Press the newest enabled button of a label, once it is on the screen."""
        self.tell(self.find(description=label, disabled=False), {"event": "click"})

    def write(self, label: str, text: str) -> None:
        """Type into the newest field of a label."""
        self.send_comm(
            self.find(description=label),
            {"method": "update", "state": {"value": text}, "buffer_paths": []},
        )

    def tell(self, widget: str, content: Mapping[str, Any]) -> None:
        """Send a widget a message of its own."""
        self.send_comm(widget, {"method": "custom", "content": dict(content)})

    def answer(self, cell: Cell, text: str) -> None:
        """Give a cell the input that it asks for."""
        self.until(lambda: cell.is_waiting, "a cell that asks")
        cell.is_waiting = False
        self.client.input(text)

    def interrupt(self) -> None:
        """Press "Stop"."""
        self.manager.interrupt_kernel()

    def restart(self) -> None:
        """Restart the kernel; what cells showed stays on the screen, widgets are dead."""
        self.manager.restart_kernel(now=True)
        self.widgets.clear()
        self.displays.clear()
        self.meet()

    def rest(self) -> None:
        """Clear the screen for another test, and restart a kernel that is still busy."""
        self.widgets.clear()
        if all(cell.is_done for cell in self.cells.values()):
            return
        self.cells.clear()
        self.restart()

    # ---------------------------------------------------------------- what a person sees

    def find(self, **traits: Any) -> str:
        """The newest widget on the screen that has these traits, once there is one."""
        self.until(lambda: self.having(traits), f"a widget with {traits}")
        return self.having(traits)[-1]

    def having(self, traits: Mapping[str, Any]) -> list[str]:
        """The widgets on the screen that have these traits, in the order in which they were made."""
        seen = self.screen()
        return [
            name
            for name, state in self.widgets.items()
            if name in seen and all(state.get(trait) == value for trait, value in traits.items())
        ]

    def screen(self) -> set[str]:
        """The widgets that a cell displays, and those inside them.

        Nobody clicks what is made and not yet displayed. On a subshell, such a click would come
        before the cell has said what to do with it.
        """
        outputs = [output for cell in self.cells.values() for output in cell.outputs]
        waiting = [output[VIEW]["model_id"] for output in outputs if VIEW in output]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in self.widgets and name not in seen:
                seen.add(name)
                children = self.widgets[name].get("children", ())
                waiting += (child.removeprefix("IPY_MODEL_") for child in children)
        return seen

    def until(self, is_so: Callable[[], object], what: str) -> None:
        """Take messages until something is so."""
        ends = time.monotonic() + WAIT_S
        while not is_so():
            if time.monotonic() > ends:
                shown = [(cell.status, cell.printed, cell.error) for cell in self.cells.values()]
                raise AssertionError(f"waited in vain for {what}; cells: {shown[-3:]}")
            self.take()

    # ---------------------------------------------------------------- the protocol

    def send_comm(self, widget: str, data: Mapping[str, Any]) -> None:
        """Send a message to a widget, on the subshell if there is one."""
        message = self.client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def reply_to(self, request: str) -> dict[str, Any]:
        """The reply to a request, once it is there."""
        self.until(lambda: request in self.replies, "a reply")
        return self.replies[request]

    def take(self) -> None:
        """Take what the kernel has sent; wait a moment for it if there is nothing."""
        client = self.client
        channels = (
            client.iopub_channel,
            client.shell_channel,
            client.control_channel,
            client.stdin_channel,
        )
        poller = zmq.Poller()
        for channel in channels:
            poller.register(channel.socket, zmq.POLLIN)
        ready = dict(poller.poll(POLL_MS))
        for channel in channels:
            if channel.socket in ready:
                message = channel.get_msg(timeout=1)
                parent = message["parent_header"].get("msg_id", "")
                self.read(message["msg_type"], message["content"], parent)

    def read(self, kind: str, content: dict[str, Any], parent: str) -> None:
        """Take in one message."""
        cell = self.cells.get(parent) or Cell()
        if kind.endswith("_reply"):
            self.replies[parent] = content
            cell.status = content.get("status", "")
        elif kind == "status":
            cell.is_idle = content["execution_state"] == "idle"
        elif kind == "stream":
            cell.printed += content["text"]
        elif kind == "error":
            cell.error = (content["ename"], content["evalue"], content["traceback"])
        elif kind == "input_request":
            cell.is_waiting = True
        elif kind in {"display_data", "execute_result", "update_display_data"}:
            self.read_display(cell, kind, content)
        elif kind in {"comm_open", "comm_msg", "comm_close"}:
            self.read_comm(kind, content)

    def read_display(self, cell: Cell, kind: str, content: dict[str, Any]) -> None:
        """Take in something displayed, or its next state, in whichever cell it stands."""
        name = content.get("transient", {}).get("display_id")
        if kind == "update_display_data":
            for output in self.displays.get(name, ()):
                output.clear()
                output.update(content["data"])
        else:
            cell.outputs.append(content["data"])
            self.displays.setdefault(name, []).append(content["data"])

    def read_comm(self, kind: str, content: dict[str, Any]) -> None:
        """Take in what became of a widget."""
        widget = content["comm_id"]
        if kind == "comm_close":
            self.widgets.pop(widget, None)
        elif kind == "comm_open" and content["target_name"] == WIDGETS:
            self.widgets[widget] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            self.widgets.get(widget, {}).update(content["data"]["state"])
