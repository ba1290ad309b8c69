"""``nbgov gateway init`` and ``doctor``: what a gateway starts from, and whether it holds."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbgov.cli.gateway import gateway
from nbgov.core.visible import visible
from nbgov.errors import BackendFailed, RequestInvalid

if TYPE_CHECKING:
    from nbgov.gateway.deploying import Draft


@gateway.command()
@click.option(
    "--host", metavar="NAME", help="Serve the network under this name, with a certificate for it."
)
@click.option("--force", is_flag=True, help="Write files anew that are there already.")
@click.pass_context
def init(ctx: click.Context, host: str | None, *, force: bool) -> None:
    """Prepare a gateway: a section of nbgov.yaml, a certificate, a unit and a manifest.

    A section that nbgov.yaml has already stays as it is.
    """
    from nbgov.backends.files import SystemClock
    from nbgov.gateway.deploying import certificate, section, services
    from nbgov.wiring import find_config, read_config

    path = find_config(ctx.obj["config"])
    config = read_config(path)
    is_new = config.gateway is None
    made = certificate(host, now=SystemClock().now()) if host else ()
    is_tls = bool(host) if config.gateway is None else config.gateway.tls is not None
    command = [shutil.which("nbgov", path=str(Path(sys.executable).parent)) or "nbgov"]
    made += services(path, path.parent / config.state, command=command, is_tls=is_tls)
    there = [draft.name for draft in made if (path.parent / draft.name).exists()]
    if there and not force:
        raise RequestInvalid(
            f"{', '.join(there)} would be written over.",
            code="file-exists",
            next_step="move what is there away, or add --force",
        )
    for draft in made:
        write(path.parent, draft)
        click.echo(f"wrote {draft.name}")
    if is_new:
        with path.open("a", encoding="utf-8") as file:
            file.write(section(host))
        click.echo(f"added gateway: to {path.name}")
    click.echo("Next: name an issuer under gateway: issuers:, then run nbgov gateway doctor")


def write(folder: Path, draft: Draft) -> None:
    """Write a file, or leave the one that was there.

    Raises:
        BackendFailed: It cannot be written (``file-unwritable``).
    """
    new = folder / f".{draft.name}.new"
    try:
        new.unlink(missing_ok=True)
        # Security: a key is its owner's from the first byte on.
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, draft.mode)
        with os.fdopen(file, "wb") as opened:
            opened.write(draft.text)
        new.replace(folder / draft.name)
    except OSError as error:
        raise BackendFailed(
            f"{draft.name} cannot be written.",
            code="file-unwritable",
            why=error.strerror or type(error).__name__,
            next_step="check the folder of nbgov.yaml",
        ) from None


@gateway.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of text.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Look at what the gateway stands on, as its account. Exit 1 on a finding."""
    from nbgov.gateway.examining import examine
    from nbgov.wiring import find_config

    found = []
    for one in examine(find_config(ctx.obj["config"])):
        found.append(one)
        if not as_json:
            click.echo(f"{one.state:<5} {visible(one.subject):<24} {visible(one.found)}")
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
    if any(one.state == "fail" for one in found):
        sys.exit(1)
