"""``nbgov keys``: the key behind pseudonyms and surrogates, without ever showing it."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session
from nbgov.errors import ConfigInvalid
from nbgov.wiring import PSEUDONYM_KEY, load_config, pseudonym_key

if TYPE_CHECKING:
    from nbgov.session import Session

CHECK_DIGITS = 16


@main.group()
def keys() -> None:
    """Look after the key behind tokens and surrogates."""


@keys.command()
@click.pass_context
def show(ctx: click.Context) -> None:
    """Say where the key is, and its check value: two keys with one value are the same key."""
    path, config = load_config(ctx.obj["config"])
    key = pseudonym_key(path.parent, config)
    where = config.pseudonym_key or str(Path(config.state) / PSEUDONYM_KEY)
    click.echo(f"key    {where}")
    click.echo(f"check  {check_value(key)}")


@keys.command()
@with_session
def rotate(session: Session) -> None:
    """Replace the key in the state folder. The old one is kept beside it.

    From then on the same value has another token, in sessions that start anew: tables and results
    masked before do not join with those masked after.
    """
    from nbgov.assurance.deeds import Deed, recorded
    from nbgov.backends.files import FileKey

    config = session.config
    if config.pseudonym_key is not None:
        raise ConfigInvalid(
            "The key is not nbgov's to rotate.",
            code="config-invalid",
            why=f"nbgov.yaml takes it from {config.pseudonym_key}",
            next_step="put another key in that place, and keep the old one",
        )
    key = FileKey(session.state / PSEUDONYM_KEY)
    before = check_value(key.secret())
    deed = Deed("REKEY", "", "the key of tokens and surrogates", changes=(f"from {before}",))
    with recorded(session.world, deed, session=session.id, principal=session.principal):
        kept = key.rotate(session.world.clock.now())
        after = check_value(key.secret())
        deed.changes = (f"from {before}", f"to {after}")
    click.echo(f"The key with the check value {before} is kept as {kept.name}.")
    click.echo(f"The new key has the check value {after}.")
    click.echo("Sessions that are open keep the old one until they end.", err=True)


def check_value(key: bytes) -> str:
    """What tells keys apart and gives nothing of them away."""
    return hmac.digest(key, b"nbgov key check value", "sha256").hex()[:CHECK_DIGITS]
