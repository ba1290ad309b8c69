"""``nbgov audit status|cosign``: how the log stands, and what its witnesses say of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from nbgov.cli.audit import audit
from nbgov.cli.commands import with_session
from nbgov.errors import ConfigInvalid

if TYPE_CHECKING:
    from nbgov.cosigning import Answered
    from nbgov.session import Session


@audit.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@with_session
def status(session: Session, *, as_json: bool) -> None:
    """Say how many entries there are, signed, witnessed and neither. Verifies nothing."""
    from nbgov.cli.telling import plain
    from nbgov.evidence.standing import standing

    if session.world.mirroring is not None:
        # The last look at the copies, which waits a few seconds at most.
        session.world.mirroring.close()
    found = standing(session)
    if as_json:
        click.echo(json.dumps(plain(found) | {"window": found.window}))
        return
    for label, text in found.facts():
        click.echo(f"{label:<10} {text}")


@audit.command()
@with_session
def cosign(session: Session) -> None:
    """Bring the newest checkpoint to every witness now. Exit 1 unless enough of them cosign.

    After a witness refused the log nothing runs any more. This command says why; once enough
    witnesses cosign again and none refuses, it lets statements run again.
    """
    from nbgov.assurance.deeds import record_admin
    from nbgov.cosigning import Cosigning

    cosigning, who = session.world.cosigning, session.principal
    if not isinstance(cosigning, Cosigning):
        raise ConfigInvalid(
            "There is no witness.",
            why="nbgov.yaml names none under audit: witnesses:",
            next_step="have somebody run one: nbgov audit witness serve",
        )
    is_well = True
    for cosigner in cosigning.cosigners:
        found = cosigner.round()
        if found.note is None:
            click.echo("The log has no entries yet.")
            continue
        for answer in found.answers:
            click.echo(line_of(answer))
        is_well &= found.is_witnessed and cosigner.refusal is None
        if found.is_witnessed and cosigner.refusal is None:
            if cosigner.standing() is not None:
                # The record comes first: that somebody let statements run again is evidence too.
                record_admin(session.world, "FORGIVE", session=session.id, principal=who)
                cosigner.forgive()
            click.echo(f"Witnessed up to {found.note.checkpoint.size:,} entries.")
    if not is_well:
        click.get_current_context().exit(1)


def line_of(answer: Answered) -> str:
    """What a witness answered, on one line."""
    size = answer.note.checkpoint.size
    told = f"{size:,} entries" if answer.error is None else answer.error.why
    return f"{answer.state:<9} {answer.witness:<32} {told}"
