"""``nbgov login``, ``nbgov logout`` and ``nbgov whoami``: who one is at a gateway."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main
from nbgov.core.visible import visible
from nbgov.errors import ConfigInvalid

if TYPE_CHECKING:
    from nbgov.login import Credentials

GATEWAY = click.option(
    "--gateway", metavar="URL", help="The control plane; not needed where nbgov.yaml names one."
)


@main.command()
@GATEWAY
@click.option("--issuer", default="", metavar="NAME", help="Where to log in, if it is not clear.")
@click.option("--browser", "is_browser", is_flag=True, help="Use the browser of this machine.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    metavar="N",
    help="With --browser: the port that the issuer knows, if it takes no other.",
)
@click.option(
    "--remember",
    "is_remembered",
    is_flag=True,
    help="Keep the login until it is ended, in the keychain of the system if it has one.",
)
@click.pass_context
def login(
    ctx: click.Context,
    gateway: str | None,
    issuer: str,
    port: int | None,
    *,
    is_browser: bool,
    is_remembered: bool,
) -> None:
    """Log in at a gateway, with a code to be typed in wherever there is a browser."""
    from nbgov.login.device import by_device
    from nbgov.login.loopback import by_browser

    way = by_browser(open_browser, port=port or 0) if is_browser else by_device(show)
    credentials = credentials_of(ctx.obj["config"], gateway)
    name = credentials.log_in(way, issuer=issuer, is_remembered=is_remembered)
    click.echo(f"Logged in as {visible(name)}.")


@main.command()
@GATEWAY
@click.pass_context
def logout(ctx: click.Context, gateway: str | None) -> None:
    """End every login at a gateway, and forget it here."""
    credentials_of(ctx.obj["config"], gateway).log_out()
    click.echo("Logged out.")


@main.command()
@GATEWAY
@click.pass_context
def whoami(ctx: click.Context, gateway: str | None) -> None:
    """Say who one is at a gateway, with groups and roles."""
    from nbgov.login import facts_of

    credentials = credentials_of(ctx.obj["config"], gateway)
    for label, text in facts_of(credentials.whoami()):
        click.echo(f"{label:8}{text}")


def show(address: str, code: str) -> None:
    """Show people where to go, and what to type in there."""
    # Security: both come from the issuer, and could move the cursor over what stands above.
    click.echo(f"Open {visible(address)}\nand confirm the code {visible(code)}.")
    click.echo("Waiting ... (Ctrl-C to give up)")


def open_browser(address: str) -> None:
    """Open an address in the browser of this machine, and show it for others."""
    click.echo(f"Opening {visible(address)}", err=True)
    webbrowser.open(address)


def credentials_of(config: str | None, gateway: str | None) -> Credentials:
    """The credentials at the gateway that is meant.

    Raises:
        RequestInvalid: None is named, or several are (``usage``).
        ConfigInvalid: There is no ``nbgov.yaml`` to look in.
    """
    from nbgov.login import credentials_among
    from nbgov.wiring import load_config

    try:
        path, found = load_config(config)
    except ConfigInvalid as error:
        if gateway is None or error.code != "config-missing":
            raise
        # On a machine without any file, a gateway can be named all the same.
        return credentials_among((), Path(), gateway)
    return credentials_among(found.gateways.values(), path.parent, gateway)
