"""``nbgov keys``: the key behind pseudonyms and surrogates, without ever showing it."""

from __future__ import annotations

import hmac
from pathlib import Path

import click

from nbgov.cli.commands import main
from nbgov.errors import ConfigInvalid
from nbgov.wiring import PSEUDONYM_KEY, load_config, pseudonym_key

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
@click.pass_context
def rotate(ctx: click.Context) -> None:
    """Replace the key in the state folder. The old one is kept beside it.

    From then on the same value has another token, in sessions that start anew: tables and results
    masked before do not join with those masked after.
    """
    from nbgov.backends.files import FileKey, SystemClock

    path, config = load_config(ctx.obj["config"])
    if config.pseudonym_key is not None:
        raise ConfigInvalid(
            "The key is not nbgov's to rotate.",
            code="config-invalid",
            why=f"nbgov.yaml takes it from {config.pseudonym_key}",
            next_step="put another key in that place, and keep the old one",
        )
    key = FileKey(path.parent / config.state / PSEUDONYM_KEY)
    before = check_value(key.secret())
    kept = key.rotate(SystemClock().now())
    click.echo(f"The key with the check value {before} is kept as {kept.name}.")
    click.echo(f"The new key has the check value {check_value(key.secret())}.")
    click.echo("Sessions that are open keep the old one until they end.", err=True)


def check_value(key: bytes) -> str:
    """What tells keys apart and gives nothing of them away."""
    return hmac.digest(key, b"nbgov key check value", "sha256").hex()[:CHECK_DIGITS]
