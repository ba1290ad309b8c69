"""``nbgov gateway``: serve the connections of an ``nbgov.yaml`` to others, and look after it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.commands import main
from nbgov.core.checks import counted
from nbgov.core.visible import visible
from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.gateway.house import House
    from nbgov.gateway.process import Serving
    from nbgov.model import StopKind

PROCESSES_MAX = 64
STARTED = "from nbgov.cli import main; main()"


@main.group()
def gateway() -> None:
    """Serve the connections of an nbgov.yaml to others, under an account of its own."""


@gateway.command()
@click.option(
    "--processes",
    type=click.IntRange(1, PROCESSES_MAX),
    default=1,
    show_default=True,
    help="How many processes listen on the same ports.",
)
@click.option("--shared", "is_shared", is_flag=True, help="Others listen on the ports, too.")
@click.pass_context
def serve(ctx: click.Context, processes: int, *, is_shared: bool) -> None:
    """Serve until it is stopped: SIGTERM lets what runs end first, SIGHUP rereads the policy."""
    from nbgov.gateway.process import serve as run
    from nbgov.wiring import find_config

    path = find_config(ctx.obj["config"])
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level="INFO")
    if processes > 1:
        ctx.exit(supervise(str(path), processes))
    run(path, is_shared=is_shared, ready=tell_ready)


def tell_ready(serving: Serving) -> None:
    """Say where a process listens."""
    terms = serving.house.terms
    hosts = [one.rpartition(":")[0] for one in (terms.data, terms.control)]
    ports = (serving.data.port, serving.control.port)
    kind = "http" if terms.tls is None else "https"
    flight = "grpc" if terms.tls is None else "grpc+tls"
    click.echo(
        f"Serving {counted(len(serving.house.site.config.connections), 'connection')}: "
        f"data {flight}://{hosts[0]}:{ports[0]}, control {kind}://{hosts[1]}:{ports[1]}"
    )
    sys.stdout.flush()


def supervise(config: str, processes: int) -> int:
    """Run several processes on the same ports until one signal ends them all.

    A process that ends by itself ends the others, so that whoever runs the gateway starts it anew
    as a whole.
    """
    command = [sys.executable, "-c", STARTED, "--config", config, "gateway", "serve"]
    running = [subprocess.Popen([*command, "--shared"]) for _ in range(processes)]  # noqa: S603

    told: set[int] = set()

    def pass_on(number: int, _: Any) -> None:
        told.add(number)
        for one in running:
            one.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    _, status = os.wait()
    if told <= {signal.SIGHUP}:
        for one in running:
            one.terminate()
    codes = [one.wait() for one in running]
    return max(abs(code) for code in (os.waitstatus_to_exitcode(status), *codes))


# ---------------------------------------------------------------- who is in


@contextmanager
def opened(config: str | None) -> Iterator[House]:
    """The house of the ``nbgov.yaml`` that is meant, beside the processes that serve it."""
    from nbgov.gateway.opening import open_house
    from nbgov.wiring import find_config

    house = open_house(find_config(config))
    try:
        yield house
    finally:
        house.close()


@gateway.group()
def sessions() -> None:
    """Who is logged in."""


@sessions.command("list")
@click.pass_context
def list_sessions(ctx: click.Context) -> None:
    """List the logins that are open, newest first."""
    with opened(ctx.obj["config"]) as house:
        now = house.site.world.clock.now()
        for one in house.store.logins(now=now):
            left_s = int((one.expires_at - now).total_seconds())
            words = (one.id, one.principal.name, one.audience, one.address, f"{left_s} s left")
            click.echo("  ".join(map(visible, words)))


@sessions.command()
@click.argument("login", required=False)
@click.option("--principal", default="", metavar="NAME", help="End all logins of this principal.")
@click.option("--reason", default="", help="Why, for the owner and the record.")
@click.pass_context
def revoke(ctx: click.Context, login: str | None, principal: str, reason: str) -> None:
    """End a login, or all of a principal, and what they run. It is felt within a second."""
    if bool(login) == bool(principal):
        raise RequestInvalid(
            "One login or one principal is meant.",
            code="usage",
            next_step="nbgov gateway sessions revoke LOGIN, or --principal NAME",
        )
    with opened(ctx.obj["config"]) as house:
        ended = house.end(
            login=login or "", principal=principal, by=house.site.principal, reason=reason
        )
    click.echo(f"{counted(len(ended), 'login')} ended.")


@gateway.group()
def names() -> None:
    """Which name belongs to whom."""


@names.command("list")
@click.pass_context
def list_names(ctx: click.Context) -> None:
    """List the names, and the subjects that they belong to."""
    with opened(ctx.obj["config"]) as house:
        for name, subject in house.store.names():
            click.echo(f"{visible(name)}  {visible(subject)}")


@names.command()
@click.argument("name")
@click.pass_context
def free(ctx: click.Context, name: str) -> None:
    """Let somebody else have a name: the next subject that comes with it."""
    with opened(ctx.obj["config"]) as house:
        is_freed = house.free_name(name, by=house.site.principal)
    click.echo(f"{visible(name)} is free." if is_freed else f"Nobody has the name {visible(name)}.")


# ---------------------------------------------------------------- what is stopped

KIND = click.argument("kind", type=click.Choice(["connection", "principal"]))


@gateway.command()
@KIND
@click.argument("name")
@click.option("--reason", required=True, help="Why; whoever is turned away is told.")
@click.pass_context
def stop(ctx: click.Context, kind: str, name: str, reason: str) -> None:
    """Stop a connection for everybody, or a principal, and cancel what they run."""
    from nbgov.model import Stop

    with opened(ctx.obj["config"]) as house:
        by = house.site.principal
        now: datetime = house.site.world.clock.now()
        house.stop(Stop(kind_of(kind), name, reason, by.name, now), by=by)
    click.echo(f"The {kind} {visible(name)} is stopped.")


@gateway.command()
@KIND
@click.argument("name")
@click.pass_context
def lift(ctx: click.Context, kind: str, name: str) -> None:
    """Let a connection, or a principal, that was stopped go on."""
    with opened(ctx.obj["config"]) as house:
        found = house.lift(kind_of(kind), name, by=house.site.principal)
    click.echo(
        f"The {kind} {visible(name)} goes on."
        if found
        else f"The {kind} {visible(name)} was not stopped."
    )


@gateway.command()
@click.pass_context
def stops(ctx: click.Context) -> None:
    """List what is stopped, since when, by whom and why."""
    with opened(ctx.obj["config"]) as house:
        for one in house.store.stops():
            words = (one.kind, one.name, f"{one.at:%Y-%m-%d %H:%M}", one.by, one.reason)
            click.echo("  ".join(map(visible, words)))


def kind_of(kind: str) -> StopKind:
    """What a word of the command line means."""
    from nbgov.model import StopKind

    return StopKind(kind)
