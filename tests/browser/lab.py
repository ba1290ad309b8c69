"""A JupyterLab server on 127.0.0.1, and a person at a notebook in it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect

from tests.mlflow.browser import Scheme
from tests.mlflow.serving import free_port

START_MAX_S = 90
STOP_MAX_S = 20
KERNEL_MS = 60_000
# A key that is pressed before the kernel has answered is lost.
READY = """
async () => {
  const pause = () => new Promise((done) => setTimeout(done, 100));
  while (!window.jupyterapp?.shell?.currentWidget?.sessionContext) await pause();
  const context = window.jupyterapp.shell.currentWidget.sessionContext;
  await context.ready;
  await context.session.kernel.info;
  while (context.session.kernel.status !== "idle") await pause();
}
"""
RAN = re.compile(r"\[\d+\]:")
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
# WCAG 2.2 at level AA is what axe can check of it, best practices left out.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@dataclass(frozen=True, slots=True)
class Lab:
    """A server that answers."""

    url: str
    token: str
    folder: Path

    def address(self, notebook: str, *, workspace: str) -> str:
        """The page of a notebook, in a workspace of its own."""
        return f"{self.url}/lab/workspaces/{workspace}/tree/{notebook}?token={self.token}"


@contextmanager
def serving(folder: Path, *, scheme: Scheme = "light") -> Iterator[Lab]:
    """JupyterLab on a folder of notebooks, in a theme, with no settings of the machine's own."""
    home = folder / ".jupyter"
    settings = home / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": THEMES[scheme]}))
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    port, token = free_port(), secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    environ = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "lab" / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "NBGOV_CONFIG": str(folder / "nbgov.yaml"),
    }
    environ.pop("NBGOV_NONINTERACTIVE", None)
    with (folder / "lab.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    lab = Lab(f"http://127.0.0.1:{port}", token, folder)
    try:
        wait_for(lab, process)
        yield lab
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_MAX_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    """Return when the server answers; fail with what it printed."""
    until = time.monotonic() + START_MAX_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{lab.url}/api?token={lab.token}", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
    printed = (lab.folder / "lab.log").read_text(errors="replace")
    message = f"JupyterLab does not answer:\n{printed[-4000:]}"
    raise AssertionError(message)


class Desk:
    """A person at one notebook in JupyterLab.

    Args:
        page: Playwright's page.
        lab: The server.
        notebook: Its file name.
    """

    def __init__(self, page: Page, lab: Lab, notebook: str) -> None:
        self.page = page
        self.lab = lab
        self.notebook = notebook
        self.workspace = notebook.partition(".")[0]

    def open(self) -> None:
        """Open the notebook, and wait until its kernel is idle."""
        self.page.goto(self.lab.address(self.notebook, workspace=self.workspace))
        self.rest()

    def rest(self) -> None:
        """Wait until the kernel answers and has nothing to do."""
        self.page.evaluate(READY)

    def cell(self, number: int) -> Locator:
        """A cell by its place, counted from 0."""
        return self.page.locator(".jp-NotebookPanel .jp-Notebook > * .jp-CodeCell").nth(number)

    def output(self, number: int) -> Locator:
        """The output area of a cell."""
        return self.cell(number).locator(".jp-Cell-outputWrapper")

    def run(self, number: int) -> None:
        """Run one cell, as a person does with Shift and Enter, and wait for its end."""
        before = self.prompt(number).inner_text()
        self.start(number)
        expect(self.prompt(number)).not_to_have_text(before, timeout=KERNEL_MS)
        expect(self.prompt(number)).to_have_text(RAN, timeout=KERNEL_MS)

    def prompt(self, number: int) -> Locator:
        """Where a cell says whether it ran, such as ``[3]:``."""
        return self.cell(number).locator(".jp-InputArea-prompt")

    def start(self, number: int) -> None:
        """Run one cell, and do not wait."""
        editor = self.cell(number).locator(".cm-content")
        editor.scroll_into_view_if_needed()
        editor.click()
        self.page.keyboard.press("Control+Enter")

    def rewrite(self, number: int, text: str) -> None:
        """Put another text into a cell."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def command(self, name: str, arguments: Any = None) -> None:
        """Carry out one of JupyterLab's own commands, such as ``docmanager:save``."""
        self.page.evaluate(
            "([name, given]) => window.jupyterapp.commands.execute(name, given ?? undefined)",
            [name, arguments],
        )

    def restart(self) -> None:
        """Restart the kernel through the menu's command, and say yes."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('kernelmenu:restart'); }")
        self.page.get_by_role("button", name="Confirm Kernel Restart").or_(
            self.page.locator(".jp-Dialog .jp-mod-warn")
        ).first.click()
        self.rest()

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook, and read what is in the file then."""
        self.command("docmanager:save")
        expect(self.page.locator(".jp-NotebookPanel .jp-mod-dirty")).to_have_count(0)
        return nbformat.read(self.lab.folder / self.notebook, as_version=4)


def complaints(page: Page, within: str) -> list[str]:
    """What axe-core finds wrong with a part of a page, a line each; nothing where it is not there.

    `make test-browser` installs it; the everyday suite needs no npm.
    """
    if not AXE.exists():
        return []
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "async ([within, rules]) => (await axe.run(within, {runOnly: {type: 'tag', values: rules}}))"
        ".violations.flatMap(({id, nodes}) => nodes.map((node) =>"
        " `${id}: ${node.html.slice(0, 120)} ${node.failureSummary}`))",
        [within, RULES],
    )
    return list(found)
