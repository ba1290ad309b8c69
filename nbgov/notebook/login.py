"""``%nbgov login``, ``logout`` and ``whoami``: who one is at a gateway, from a notebook.

Address and code are shown while they are waited for, and gone from the cell once they are used, so
that a saved notebook holds neither.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, NoReturn

from IPython.display import DisplayHandle

from nbgov.core.markup import element
from nbgov.core.visible import visible
from nbgov.errors import IdentityFailed
from nbgov.notebook.command import above_zero, wrong
from nbgov.notebook.front import show

if TYPE_CHECKING:
    from nbgov.login import Credentials
    from nbgov.session import Session

WAITING = "Waiting; Stop gives up."


class Parser(ArgumentParser):
    """Takes the words behind ``%nbgov login``; a wrong one is an error of ours."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        raise wrong(
            f"%nbgov login: {message}.",
            "write login [--issuer NAME] [--browser [--port N]] [--remember] [--gateway URL]",
        )


def parsed(words: list[str]) -> Namespace:
    """The options of ``%nbgov login``."""
    parser = Parser(prog="%nbgov login", add_help=False, allow_abbrev=False)
    parser.add_argument("--issuer", default="")
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--remember", action="store_true")
    parser.add_argument("--port", type=above_zero, default=0)
    parser.add_argument("--gateway")
    return parser.parse_args(words)


def credentials_of(session: Session, gateway: str | None = None) -> Credentials:
    """The credentials at the gateway of a session.

    Raises:
        RequestInvalid: It has none, or several (``usage``).
    """
    from nbgov.login import credentials_among

    return credentials_among(session.config.gateways.values(), session.path.parent, gateway)


def log_in(session: Session, words: list[str]) -> None:
    """Log in, with a code that somebody types in where they have a browser.

    Raises:
        IdentityFailed: It was refused, given up, or not finished in time.
        BackendFailed: The gateway or the issuer does not answer.
    """
    import webbrowser

    from nbgov.login.device import by_device
    from nbgov.login.loopback import by_browser

    asked, notice = parsed(words), Notice()

    def open_browser(address: str) -> None:
        notice.ask(address, "")
        webbrowser.open(address)

    way = by_browser(open_browser, port=asked.port) if asked.browser else by_device(notice.ask)
    try:
        name = credentials_of(session, asked.gateway).log_in(
            way, issuer=asked.issuer, is_remembered=asked.remember
        )
    except KeyboardInterrupt:
        notice.tell("Not logged in.")
        raise IdentityFailed(
            "The login was given up.",
            code="login-failed",
            why="the kernel was interrupted",
            next_step="run the cell again",
        ) from None
    except BaseException:
        notice.tell("Not logged in.")
        raise
    notice.tell(f"Logged in as {visible(name)}.")


def log_out(session: Session) -> None:
    """End every login at the gateway, and forget it here."""
    credentials_of(session).log_out()
    Notice().tell("Logged out.")


def whoami(session: Session) -> None:
    """Show what the gateway knows of the one who is logged in."""
    from nbgov.login import facts_of

    show("gateway", facts_of(credentials_of(session).whoami()))


class Notice:
    """One line of a cell, which can be replaced."""

    def __init__(self) -> None:
        self.handle: DisplayHandle | None = None

    def put(self, data: dict[str, str]) -> None:
        """Show something, in the place of what was shown before."""
        if self.handle is None:
            self.handle = DisplayHandle()
            self.handle.display(data, raw=True)
        else:
            self.handle.update(data, raw=True)

    def ask(self, address: str, code: str) -> None:
        """Show where to go, and what to type in there."""
        shown = visible(address)
        # Security: an address of another kind would run in the page when it is clicked.
        is_link = address.startswith(("https://", "http://"))
        link = element("a", shown, href=address, target="_blank") if is_link else shown
        confirm = [" and confirm the code ", element("strong", visible(code))] if code else []
        text = f"Open {shown}" + (f" and confirm the code {visible(code)}" if code else "")
        html = element("div", "Open ", link, *confirm, ". ", WAITING)
        self.put({"text/plain": f"{text}. {WAITING}", "text/html": html})

    def tell(self, text: str) -> None:
        """Say how it ended."""
        self.put({"text/plain": text})
