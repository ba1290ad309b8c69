"""A real Chromium whose windows remember what wanted to leave the machine, and take pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Frame,
    FrameLocator,
    Page,
    Route,
    expect,
    sync_playwright,
)

Scheme = Literal["light", "dark"]
WAIT_MS = 30_000
WIDTH, HEIGHT = 1600, 1000
OURS = ("about:", "blob:", "file:")  # Where our own documents live; MLflow's pages are http.
# MLflow opens its assistant over a fifth of the page when it sees a browser for the first time.
QUIET = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
OVERFLOW = """
() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const scrolls = (node) => node && (/auto|scroll|hidden/.test(getComputedStyle(node).overflowX)
    || scrolls(node.parentElement));
  const cut = [...document.querySelectorAll("body *")].filter((node) =>
    !node.closest("svg") && node.getClientRects().length
    && node.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && !scrolls(node));
  return (wide > 0 ? [`the page is ${wide} px too wide`] : [])
    .concat(cut.map((node) => `${node.tagName} ${node.textContent.slice(0, 40)}`));
}
"""
# WCAG 2.2, 1.4.3: 4.5 to 1, and 3 to 1 for large text. The canvas brings any colour down to bytes.
CONTRAST = """
() => {
  const brush = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const bytes = (colours) => {
    brush.clearRect(0, 0, 1, 1);
    for (const colour of colours) { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); }
    return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (colours) => {
    const [r, g, b] = bytes(colours).map((byte) => byte / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => node
    ? [...behind(node.parentElement), getComputedStyle(node).backgroundColor]
    : [matchMedia("(prefers-color-scheme: dark)").matches ? "#121212" : "#ffffff"];
  const told = (node) => [...node.childNodes]
    .some((child) => child.nodeType === 3 && child.textContent.trim());
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    if (!told(node) || !node.getClientRects().length || node.closest("svg")) continue;
    const style = getComputedStyle(node), ground = behind(node);
    const pair = [light([...ground, style.color]), light(ground)].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05), size = parseFloat(style.fontSize);
    const enough = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    if (ratio < enough) found.push(`${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
  }
  return found;
}
"""


@dataclass  # Playwright keeps its own attributes on whatever listens to it, so no slots.
class Window:
    """A window of the browser.

    Attributes:
        page: Playwright's own.
        shots: Where pictures go.
        left: What wanted to leave this machine; none of it did.
        said: Warnings and errors of the console, each with the document that they are about.
    """

    page: Page
    shots: Path
    left: list[str] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)

    def open(self, url: str, *until: str) -> Page:
        """Show a page from anew and wait for texts on it: MLflow's pages never come to rest."""
        # MLflow takes another address of its own for a click, and keeps what it showed before.
        self.page.goto("about:blank")
        self.page.goto(url, wait_until="domcontentloaded")
        for text in until:
            self.sees(text)
        return self.page

    def sees(self, text: str) -> None:
        """Wait until a text is on the page, to be seen."""
        expect(self.page.get_by_text(text).first).to_be_visible()

    def shot(self, name: str, *, is_whole: bool = False) -> None:
        """Keep a picture, for a person to look at."""
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=is_whole)

    def inner(self) -> tuple[FrameLocator, Frame]:
        """The frame in which MLflow shows an HTML artifact, to look things up in and to run code."""
        place = self.page.locator("iframe")
        expect(place).to_be_visible()
        frame = place.element_handle().content_frame()
        assert frame is not None
        frame.wait_for_load_state()
        return place.content_frame, frame

    @property
    def complaints(self) -> list[str]:
        """What the browser found wrong with documents of ours: refused, broken or not loaded."""
        return [
            f"{place} {text}"
            for text, place in self.said
            if place.startswith(OURS) or "Content Security Policy" in text
        ]

    def keep(self, route: Route) -> None:
        """Let a request through that stays on the machine."""
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.left.append(route.request.url)
            route.abort()

    def hear(self, message: ConsoleMessage) -> None:
        """Remember a warning or an error of the console."""
        if message.type in {"error", "warning"}:
            self.said.append((message.text, str(message.location.get("url", ""))))


@dataclass(frozen=True, slots=True)
class Chromium:
    """A running browser that opens windows."""

    browser: Browser
    shots: Path

    @contextmanager
    def window(
        self, scheme: Scheme = "light", *, width: int = WIDTH, height: int = HEIGHT
    ) -> Iterator[Window]:
        """A fresh window that knows nothing of the others, in a reader's colour scheme."""
        context = self.browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}
        )
        context.add_init_script(f"if (location.protocol === 'http:') {{{QUIET}}}")
        context.set_default_timeout(WAIT_MS)
        window = Window(context.new_page(), self.shots)
        context.route(lambda url: url.startswith(("http", "ws")), window.keep)
        context.on("console", window.hear)
        try:
            yield window
        finally:
            context.close()


@contextmanager
def chromium(shots: Path) -> Iterator[Chromium]:
    """The machine's own Chromium; the test is skipped where there is none.

    Args:
        shots: Where pictures go, unless ``NBGOV_SHOTS`` names another folder.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed")
    folder = Path(os.environ.get("NBGOV_SHOTS", "") or shots)
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        # A container gives the browser no sandbox of its own; it shows nothing but our own server.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Chromium(browser, folder)
        browser.close()
