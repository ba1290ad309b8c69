"""``nbgov audit verify|prove``: what the audit log can prove."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.audit import audit
from nbgov.cli.commands import with_session, write_file
from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.core.audit.note import Purpose, VerifierKey
    from nbgov.core.audit.proof import Proof
    from nbgov.core.checks import Check
    from nbgov.evidence.bundles import Bundle
    from nbgov.evidence.examining import Trust
    from nbgov.model import Receipt
    from nbgov.session import Session

MARKS = {"holds": "holds", "fails": "FAILS", "unchecked": "not checked"}
TEXT_BYTES_MAX = 1024 * 1024
NAME_CHARS_MAX = 255


@audit.command()
@click.option(
    "--from",
    "source",
    metavar="BUNDLE",
    type=click.Path(exists=True),
    help="A bundle, or a state folder. Default: the log of the nbgov.yaml nearby.",
)
@click.option(
    "--key", metavar="VKEY|FILE", help="The key of the log, as nbgov audit key prints it."
)
@click.option("--witness", metavar="VKEY|FILE", multiple=True, help="The key of a witness.")
@click.option(
    "--quorum",
    metavar="N",
    type=click.IntRange(min=1),
    help="How many of the witnesses must have cosigned. Default: all.",
)
@click.option(
    "--receipt",
    metavar="TEXT|FILE",
    multiple=True,
    help="A receipt, or a file that holds some, such as a notebook.",
)
@click.option(
    "--checkpoint",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A checkpoint of the log that was kept elsewhere.",
)
@click.option("--deep", is_flag=True, help="Decode every entry, which takes ten times as long.")
@click.option(
    "--proof",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Check this proof of one entry, and nothing else.",
)
@click.pass_context
def verify(ctx: click.Context, /, *, deep: bool, proof: str | None, **options: Any) -> None:
    """Check the log against keys, witnesses, receipts and kept checkpoints. Exit 1 when one fails.

    Without --key, the log is held against the key on its own host, which proves nothing against
    whoever owns that host. What --from names comes with no key, and needs one of --key, --witness,
    --receipt and --checkpoint.
    """
    from nbgov.evidence.bundles import open_bundle
    from nbgov.session import connect

    source, given = options["source"], read_trust(options)
    if source is not None and given.is_empty:
        raise nothing_given()
    with ExitStack() as stack:
        session = None
        if source is None and (proof is None or given.key is None):
            session = stack.enter_context(connect(ctx.obj["config"], as_=ctx.obj["principal"]))
        if proof is not None:
            click.echo(proven(read_proof(proof), given, session))
            return
        if session is not None:
            checks = checks_of_own(session, given, is_deep=deep)
        elif Path(source).is_dir():
            checks = checks_of_folder(Path(source), given, is_deep=deep)
        else:
            bundle = stack.enter_context(open_bundle(Path(source)))
            checks = checks_of_bundle(bundle, given, is_deep=deep)
    ctx.exit(0 if tell(checks) else 1)


@audit.command()
@click.argument("index", metavar="N", type=click.IntRange(min=0))
@click.option("-o", "--out", metavar="FILE", help="Write to this file. Default: standard output.")
@with_session
def prove(session: Session, *, index: int, out: str | None) -> None:
    """Prove that entry N is in the log, for somebody who has only the proof and the key.

    The proof is a C2SP tlog-proof that carries the entry along. It leads to the newest checkpoint,
    or to the one that witnesses cosigned where that covers the entry.
    """
    from nbgov.evidence.verification import prove_entry

    proof = str(prove_entry(session, index))
    if out is None:
        click.echo(proof, nl=False)
    else:
        write_file(out, proof.encode())
        click.echo(f"{out}: entry {index}; check it with nbgov audit verify --proof {out}")


# ---------------------------------------------------------------- checks


def checks_of_own(session: Session, given: Trust, *, is_deep: bool) -> Sequence[Check]:
    """What holding the log of the nbgov.yaml nearby against somebody's trust shows."""
    from nbgov.evidence.verification import examine_log

    return examine_log(session, given, is_deep=is_deep, watch=watched).checks


def checks_of_folder(folder: Path, given: Trust, *, is_deep: bool) -> Sequence[Check]:
    """What holding a copy of a state folder against somebody's trust shows."""
    from nbgov.backends.files import FileEvidence
    from nbgov.evidence.verification import verify as verify_evidence

    return verify_evidence(FileEvidence(folder), given, is_deep=is_deep, watch=watched).checks


def checks_of_bundle(bundle: Bundle, given: Trust, *, is_deep: bool) -> Sequence[Check]:
    """What holding a bundle against somebody's trust shows."""
    from nbgov.evidence.selections import verify_selection
    from nbgov.evidence.verification import verify as verify_evidence

    if bundle.is_whole:
        return verify_evidence(bundle, given, is_deep=is_deep, watch=watched).checks
    return verify_selection(bundle, given).checks


def tell(checks: Sequence[Check]) -> bool:
    """Print every check, and say whether none of them fails."""
    for one in checks:
        click.echo(f"  {MARKS[one.outcome]:<12} {one.name:<14} {one.told}")
    is_sound = all(one.outcome != "fails" for one in checks)
    if is_sound and any(one.name == "scope" for one in checks):
        # Security: a part that verifies must not be taken for a whole that does.
        click.echo("These entries are in the log; this is not the whole log.")
    else:
        click.echo("The audit log verifies." if is_sound else "The audit log does NOT verify.")
    return is_sound


def watched(lines: Iterable[bytes]) -> Iterable[bytes]:
    """The same entries, with a count of them on a terminal where that takes long."""
    from tqdm import tqdm

    bar: Iterable[bytes] = tqdm(
        lines, unit=" entries", unit_scale=True, delay=1, leave=False, disable=None
    )
    return bar


def proven(proof: Proof, given: Trust, session: Session | None) -> str:
    """What a proof shows, in a sentence.

    Raises:
        IntegrityFailed: It shows nothing.
        RequestInvalid: There is no key to check it by.
    """
    from nbgov.core.audit.proof import invalid
    from nbgov.evidence.verification import own_trust, verify_proof

    is_newest, trust = True, given
    if given.key is not None:
        proof.verify(proof.line, [given.key])
    elif session is not None:
        is_newest, trust = verify_proof(session, proof), own_trust(session, given)
    else:
        raise RequestInvalid(
            "There is no key to check the proof by.",
            code="usage",
            next_step="give the key of the log with --key",
        )
    point = proof.note.checkpoint
    names = {key.name for key in trust.witnesses if proof.note.signed_by(key) is not None}
    if (given.witnesses or given.quorum) and len(names) < trust.needed:
        raise invalid(f"{len(names)} of {trust.needed} witnesses cosigned its checkpoint")
    by = f", cosigned by {', '.join(sorted(names))}" if names else ""
    under = "" if is_newest else ", under a key that was replaced since"
    return f"Entry {proof.index} is in the log {point.origin}, signed at {point.size:,}{under}{by}."


def nothing_given() -> RequestInvalid:
    """The error of a log from elsewhere that is to be held against nothing."""
    return RequestInvalid(
        "There is nothing to hold the log against.",
        code="usage",
        why="whoever made it could have made all of it anew",
        next_step="give --key, --witness, --receipt or --checkpoint, from somewhere else",
    )


# ---------------------------------------------------------------- what is given


def read_trust(options: Mapping[str, Any]) -> Trust:
    """What the options of the command give to hold a log against."""
    from nbgov.core.audit.note import Note
    from nbgov.evidence.examining import Trust

    return Trust(
        key=None if options["key"] is None else read_vkey(options["key"], "log"),
        witnesses=[read_vkey(one, "witness") for one in options["witness"]],
        quorum=options["quorum"],
        receipts=[receipt for one in options["receipt"] for receipt in read_receipts(one)],
        notes=[Note.parse(read_text(Path(one))) for one in options["checkpoint"]],
    )


def read_vkey(text: str, purpose: Purpose) -> VerifierKey:
    """The key that an option gives, or that stands in the file that it names."""
    from nbgov.evidence.verification import read_key

    return read_key(read_text(Path(text)) if is_file(text) else text, purpose)


def read_receipts(text: str) -> Sequence[Receipt]:
    """The receipt that an option gives, or those in the file that it names."""
    from nbgov.evidence.receipts import find_receipts
    from nbgov.model import Receipt

    return find_receipts(Path(text)) if is_file(text) else [Receipt.parse(text)]


def read_proof(path: str) -> Proof:
    """The proof in a file."""
    from nbgov.core.audit.proof import Proof

    return Proof.parse(read_text(Path(path)))


def is_file(text: str) -> bool:
    """Whether an option names a file, and is not itself what the file would hold."""
    return len(text) <= NAME_CHARS_MAX and Path(text).is_file()


def read_text(path: Path) -> str:
    """The text of a small file.

    Raises:
        RequestInvalid: It cannot be read (``file-unreadable``).
    """
    try:
        with path.open("rb") as file:
            return file.read(TEXT_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestInvalid(
            f"{path.name} cannot be read.",
            code="file-unreadable",
            why=getattr(error, "strerror", None) or "it is no text",
            next_step="check the path and its permissions",
        ) from error
