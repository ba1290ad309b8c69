"""``nbgov custody``: signed bundles that say what a model version was made of."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbgov.cli.commands import main, with_session, write_file
from nbgov.errors import ConfigInvalid, IdentityFailed, RequestInvalid

if TYPE_CHECKING:
    from nbgov.session import Session

MARKS = {"holds": "holds", "fails": "FAILS", "unchecked": "not checked"}


@main.group()
def custody() -> None:
    """Export and check the chain of custody of a model version."""


@custody.command()
@click.argument("reference", metavar="MODEL_VERSION")
@click.option("-o", "--out", metavar="FILE", help="Write to this file. Default: standard output.")
@with_session
def export(session: Session, reference: str, *, out: str | None) -> None:
    """Write a signed bundle: the data, statements, people, policy and code behind a model version.

    MODEL_VERSION is models:/NAME/VERSION or models:/NAME@ALIAS.
    """
    from nbgov.lineage.bundles import export_bundle
    from nbgov.lineage.envelope import key_id

    bundle = export_bundle(session, reference)
    if out is None:
        click.echo(bundle, nl=False)
        return
    write_file(out, bundle)
    click.echo(f"{out}: {len(bundle):,} bytes, key {key_id(session.world.signer.public_key())}")


@custody.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="The public key that it must be signed by, as PEM. Default: that of the state folder.",
)
@click.option(
    "--model",
    metavar="PATH",
    type=click.Path(exists=True),
    help="The model's files, to be checked.",
)
@click.pass_context
def verify(ctx: click.Context, bundle: str, *, key: str | None, model: str | None) -> None:
    """Check a bundle offline. Exit 1 when anything fails, or when its signature is not checked.

    Without an nbgov.yaml nearby, --key is needed.
    """
    from nbgov.lineage.bundles import verify_bundle
    from nbgov.lineage.envelope import read_key

    with ExitStack() as stack:
        session = nearby(ctx, stack)
        report = verify_bundle(
            read(bundle),
            key=read_key(read(key)) if key is not None else None,
            model=Path(model) if model is not None else None,
            session=session,
        )
    click.echo(report.subject or "a bundle that cannot be read")
    for one in report.checks:
        click.echo(f"  {MARKS[one.outcome]:<12} {one.name:<18} {one.told}")
    click.echo("The bundle is sound." if report.is_sound else "The bundle is NOT sound.")
    ctx.exit(0 if report.is_sound else 1)


@custody.command()
@with_session
def key(session: Session) -> None:
    """Print the public key that bundles are signed under, as PEM."""
    from nbgov.lineage.envelope import key_text

    click.echo(key_text(session.world.signer.public_key()), nl=False)


def nearby(ctx: click.Context, stack: ExitStack) -> Session | None:
    """The session of the ``nbgov.yaml`` that is meant; ``None`` where there is none nearby."""
    from nbgov.session import connect

    try:
        return stack.enter_context(connect(ctx.obj["config"], as_=ctx.obj["principal"]))
    except (ConfigInvalid, IdentityFailed):
        if ctx.obj["config"] is not None:
            raise
        return None


def read(path: str) -> bytes:
    """The bytes of a file.

    Raises:
        RequestInvalid: It cannot be read (``file-unreadable``).
    """
    from nbgov.lineage.envelope import BUNDLE_BYTES_MAX

    try:
        with Path(path).open("rb") as file:
            return file.read(BUNDLE_BYTES_MAX + 1)
    except OSError as error:
        raise RequestInvalid(
            f"{Path(path).name} cannot be read.",
            code="file-unreadable",
            why=error.strerror or type(error).__name__,
            next_step="check the path and its permissions",
        ) from error
