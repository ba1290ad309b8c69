"""``nbgov audit witness key|serve|show``: a witness of other people's audit logs.

It needs no ``nbgov.yaml``, and belongs on another host, in the hands of another person.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbgov.cli.audit import audit
from nbgov.errors import BackendFailed, IntegrityFailed

if TYPE_CHECKING:
    from nbgov.core.audit.note import VerifierKey

PORT = 7380
MARK = "#"
state_option = click.option(
    "--state", "folder", metavar="DIR", required=True,
    type=click.Path(file_okay=False, path_type=Path), help="The folder of its key and its memory.",
)  # fmt: skip


@audit.group()
def witness() -> None:
    """Watch over the audit logs of other hosts. Needs no nbgov.yaml."""


@witness.command()
@state_option
@click.option("--name", default="", metavar="HOST/NAME", help="Its name, for a new witness.")
def key(folder: Path, name: str) -> None:
    """Print the key by which others check its cosignatures, made now if there is none."""
    from nbgov.witness import Witness

    click.echo(Witness(folder, name=name).key)


@witness.command()
@state_option
@click.option(
    "--log", "logs", metavar="KEY|FILE", multiple=True, required=True,
    help="A log to watch over: its key, or a file with a key a line. Repeatable.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True,
    help="The port to listen on; 0 takes one that is free.",
)  # fmt: skip
@click.option("--name", default="", metavar="HOST/NAME", help="Its name, for a new witness.")
def serve(folder: Path, logs: tuple[str, ...], host: str, port: int, name: str) -> None:
    """Cosign checkpoints until Control-C or SIGTERM. A log that goes back is refused."""
    from nbgov import witness as room

    known = [found for text in logs for found in read_keys(text)]
    this = room.Witness(folder, name=name, logs=known)
    try:
        server = room.Server((host, port), this, tell=tell)
    except OSError as error:
        raise BackendFailed(
            f"The witness cannot listen on {host} port {port}.",
            code="address-unavailable",
            why=error.strerror or type(error).__name__,
            next_step="stop what listens there, or give another --host or --port",
        ) from error
    where = f"http://{host}:{server.server_port}"
    room.serve(server, ready=lambda: announce(where, this.key, len(this.logs)))
    tell("stopped")


@witness.command()
@state_option
def show(folder: Path) -> None:
    """Print what it cosigned last of each log, and the evidence of what it refused. Exit 1 then."""
    from nbgov.witness import Witness

    this = Witness(folder)
    click.echo(f"witness  {this.key}")
    for note in this.store.heads().values():
        click.echo(f"\ncosigned last\n{indented(note)}")
    refusals = this.store.refusals()
    for one in refusals:
        click.echo(f"\nrefused  {one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {one.origin}")
        click.echo(
            "  The log signed two roots of one size: these two notes prove that it was forked."
            if one.is_fork
            else "  The log was not shown to continue; by itself that proves nothing."
        )
        click.echo(f"{indented(one.known)}\n{indented(one.note)}")
    if refusals:
        click.get_current_context().exit(1)


def read_keys(text: str) -> list[VerifierKey]:
    """The keys of logs that an argument names or that a file holds, a key a line."""
    from nbgov.core.audit.note import VerifierKey

    lines = [text]
    if Path(text).is_file():
        lines = Path(text).read_text(encoding="utf-8", errors="replace").splitlines()
    keys = [VerifierKey.parse(line) for line in lines if line.strip() and line[0] != MARK]
    if not keys or any(found.purpose != "log" for found in keys):
        raise IntegrityFailed(
            "A key that was given with --log is none of a log.",
            code="key-invalid",
            why="it is that of a witness, or the file holds none",
            next_step="copy the line that nbgov audit key prints on the host of the log",
        )
    return keys


def announce(where: str, own: VerifierKey, logs: int) -> None:
    """Say where the witness listens, and under which key."""
    tell(f"listening on {where}, logs known {logs}, key {own}")


def tell(line: str) -> None:
    """One line of the witness's own log, with the time."""
    from nbgov.backends.files import SystemClock

    click.echo(f"{SystemClock().now():%Y-%m-%dT%H:%M:%SZ} {line}", err=True)


def indented(note: str) -> str:
    """A note, set off from the text around it."""
    return "\n".join(f"  {line}".rstrip() for line in note.splitlines())
