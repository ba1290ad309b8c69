"""``nbgov doctor`` and ``nbgov harden``: is it sound, does it hide, can the server do it."""

from __future__ import annotations

import json
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from nbgov.cli.commands import main, with_session
from nbgov.errors import NbgovError, RequestInvalid
from nbgov.model import Principal

if TYPE_CHECKING:
    from pathlib import Path

    from nbgov.assurance.proving import Proof
    from nbgov.assurance.scratch import Subject
    from nbgov.core.harden import Exposure
    from nbgov.session import Session

STATEMENTS = 2000
LEAKS_SHOWN_MAX = 20
MODE_MAX = 0o077
SOUND = "No statement told the two worlds apart."
UNSOUND = "The policy does not hide what it masks."
# What stands behind the rewrite on each kind of connection.
SECOND_LINES = {
    "duckdb": "opened read-only for reads, without files, extensions or settings",
    "sqlite": "opened read-only for reads, every access judged by SQLite's authorizer",
    "postgresql": "read-only transactions, one statement each, the server names its columns",
    "sqlalchemy": "read-only transactions where the product has them",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``ok``, ``warn`` or ``fail``, and what was found."""

    state: str
    subject: str
    found: str


@main.command()
@click.option(
    "--prove", "connection", metavar="CONNECTION", help="Prove that masked data is hidden."
)
@click.option(
    "--statements", type=click.IntRange(min=1), default=STATEMENTS, show_default=True,
    help="Statements to try.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Which statements are tried.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@with_session
def doctor(
    session: Session, connection: str | None, statements: int, seed: int, *, as_json: bool
) -> None:
    """Look at the set-up, or prove the policy on synthetic data. Exit 1 on a finding."""
    if connection is not None:
        prove_connection(session, connection, statements, seed, as_json=as_json)
        return
    findings = [*examine(session)]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{finding.state:<5} {finding.subject:<24} {finding.found}")
    if any(finding.state == "fail" for finding in findings):
        sys.exit(1)


# ------------------------------------------------------------ the set-up


def examine(session: Session) -> Iterator[Finding]:
    """Look at files, policy and connections."""
    yield Finding(
        "ok", "config", f"{session.path.name} names {len(session.connections)} connections"
    )
    yield from files(session.state)
    yield from evidence(session)
    if not session.is_remote:
        try:
            digest = session.policy_digest()
        except NbgovError as error:
            yield Finding("fail", "policy", error.what)
            return
        yield Finding("ok", "policy", f"decodes; digest {digest[:12]}")
    for name in session.connections:
        yield from source(session, name)


def files(state: Path) -> Iterator[Finding]:
    """Whether keys and logs are for their owner only."""
    for path in [state, *sorted(state.glob("*.key")), *sorted(state.glob("*.sqlite"))]:
        if not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        is_open = mode & MODE_MAX
        found = f"mode {mode:04o}" + (", so that other accounts can reach it" if is_open else "")
        yield Finding("fail" if is_open else "ok", path.name, found)


def copies(session: Session) -> Iterator[Finding]:
    """How far the copies of the audit log have followed it."""
    from nbgov.mirroring import Mirroring

    states = {"level": "ok", "behind": "warn", "diverged": "fail"}
    mirroring = session.world.mirroring
    if isinstance(mirroring, Mirroring):
        # The last look, which waits a few seconds at most.
        mirroring.close()
        for one in mirroring.states():
            yield Finding(states[one.state], "copy", str(one))


def evidence(session: Session) -> Iterator[Finding]:
    """How the audit log stands, and what its witnesses say of it now."""
    from nbgov.cosigning import CLOSE_WAIT_S, Cosigning
    from nbgov.evidence.standing import standing

    states = {"cosigned": "ok", "away": "warn", "refused": "fail"}
    cosigning = session.world.cosigning
    try:
        for cosigner in cosigning.cosigners if isinstance(cosigning, Cosigning) else ():
            for one in cosigner.round(wait_s=CLOSE_WAIT_S).answers:
                why = one.error.why if one.error else "cosigns"
                yield Finding(states[one.state], "witness", f"{one.witness}: {why}")
        yield from copies(session)
        found = standing(session)
    except NbgovError as error:
        yield Finding("fail", "audit log", error.what)
        return
    seen = found.witnessed
    told = f"{found.entries:,} entries, {found.signed:,} signed, {seen.size:,} witnessed"
    yield Finding("ok", "audit log", told)
    if seen.is_refused:
        yield Finding("fail", "audit log", "a witness refuses it, so nothing runs")
    if not found.witnesses:
        why = "no witness, so that whoever owns this host could rewrite it unseen"
        yield Finding("warn", "audit log", why)


def source(session: Session, name: str) -> Iterator[Finding]:
    """Whether a connection answers, and what is enforced on it for this principal."""
    if name in session.config.gateways:
        yield from remote(session, name)
        return
    try:
        catalog = session.engine(name).catalog()
        seen = exposure_of(session, name)
    except NbgovError as error:
        yield Finding("fail", name, error.what)
        return
    yield Finding("ok", name, f"answers; {len(catalog.tables)} tables and views")
    kind = session.config.connections[name].kind
    yield Finding("ok", name, f"second line: {SECOND_LINES.get(kind, 'none known')}")
    masks = ", ".join(
        f"{column.table.name}.{column.name} {mask}" for column, mask in sorted(seen.masks.items())
    )
    who = session.principal.name
    state = "ok" if seen.masks or seen.hidden or seen.filters else "warn"
    yield Finding(state, name, f"masked for {who}: {masks or 'nothing'}")
    rest = f"{len(seen.hidden)} columns; row filters: {len(seen.filters)}"
    yield Finding("ok", name, f"not readable for {who}: {rest}")


def remote(session: Session, name: str) -> Iterator[Finding]:
    """Whether the gateway of a connection answers, and to whom."""
    try:
        count = len(session.catalog(name).tables)
        who = session.gateways.principal.name
    except NbgovError as error:
        yield Finding("fail", name, error.what)
        return
    yield Finding("ok", name, f"its gateway answers; {who} sees {count} tables and views there")


def exposure_of(session: Session, name: str) -> Exposure:
    """What this session's principal sees of a connection."""
    from nbgov.assurance.exposure import expose

    catalog = session.engine(name).catalog()
    return expose(catalog, name, session.world.policy, session.principal)


# ------------------------------------------------------------ the proof


def prove_connection(
    session: Session, connection: str, statements: int, seed: int, *, as_json: bool
) -> None:
    """Run the proof, record that it ran, and print what it found."""
    from nbgov.assurance.deeds import Deed, recorded
    from nbgov.assurance.proving import prove

    subject = subject_of(session, connection)
    progress = Progress(statements, is_shown=sys.stderr.isatty() and not as_json)
    deed = Deed("PROVE", connection, f"{statements} statements, seed {seed}, synthetic data")
    with recorded(session.world, deed, session=session.id, principal=session.principal):
        proof = prove(subject, statements=statements, seed=seed, tell=progress.tell)
        deed.note += f"; {len(proof.leaks)} leaks, {len(proof.changed)} changes"
        deed.status = "ok" if proof.holds else "leaks"
    progress.end()
    seconds = time.monotonic() - progress.began
    if as_json:
        click.echo(json.dumps(as_dict(proof, seconds, seed)))
    else:
        show_proof(proof, session.principal.name, seconds, seed)
    if not proof.holds:
        sys.exit(1)


def subject_of(session: Session, connection: str) -> Subject:
    """What a proof is about: this session's principal on one of its connections."""
    from nbgov.assurance.scratch import Subject
    from nbgov.wiring import connection_settings

    engine = session.engine(connection)
    settings = connection_settings(session.path.parent, session.config, connection)
    return Subject(
        kind=session.config.connections[connection].kind,
        connection=connection,
        settings=settings,
        catalog=engine.catalog(),
        policy=session.world.policy,
        principal=session.principal,
    )


class Progress:
    """One line that counts, on a terminal."""

    def __init__(self, whole: int, *, is_shown: bool) -> None:
        self.whole = whole
        self.is_shown = is_shown
        self.began = time.monotonic()

    def tell(self, proof: Proof) -> None:
        """Show how far the proof is."""
        if self.is_shown and proof.statements % 20 == 0:
            leaks = f", {len(proof.leaks)} LEAKS" if proof.leaks else ""
            click.echo(
                f"\r{proof.statements:,} of {self.whole:,} statements{leaks} ", nl=False, err=True
            )

    def end(self) -> None:
        """Leave the line."""
        if self.is_shown:
            click.echo("\r" + " " * 60 + "\r", nl=False, err=True)


def as_dict(proof: Proof, seconds: float, seed: int) -> dict[str, Any]:
    """A proof for machines. It holds no value: statements are generated, and rows are left out."""
    return {
        "holds": proof.holds,
        "statements": proof.statements,
        "permitted": proof.permitted,
        "revealing": proof.revealing,
        "refused": dict(proof.refused),
        "leaks": [
            {"statement": one.statement, "differs": list(one.observables)} for one in proof.leaks
        ],
        "crashed": proof.crashed,
        "changed": proof.changed,
        "masked": {
            str(column): kind.value for column, kind in sorted(proof.exposure.masks.items())
        },
        "left_out": list(proof.left_out),
        "seconds": round(seconds, 3),
        "seed": seed,
    }


def show_proof(proof: Proof, who: str, seconds: float, seed: int) -> None:
    """A proof for people."""
    click.echo(SOUND if proof.holds else UNSOUND)
    refused = ", ".join(f"{code} {count:,}" for code, count in proof.refused.most_common())
    rows = [
        ("principal", who),
        ("masked", f"{len(proof.exposure.masks)} columns"),
        ("not readable", f"{len(proof.exposure.hidden)} columns"),
        ("statements", f"{proof.statements:,}, seed {seed}"),
        ("permitted", f"{proof.permitted:,}, of which {proof.revealing:,} read what is hidden"),
        ("refused", refused or "none"),
        ("leaks", f"{len(proof.leaks):,}"),
        ("changed by reads", f"{len(proof.changed):,}"),
        ("time", f"{seconds:.1f} s"),
        *(("left out", text) for text in proof.left_out),
    ]
    leaks = [f"{', '.join(leak.observables)}: {leak.statement}" for leak in proof.leaks]
    for label, found in (("leak", leaks), ("crash", proof.crashed), ("changed", proof.changed)):
        rows += [(label, text) for text in found[:LEAKS_SHOWN_MAX]]
    for label, text in rows:
        click.echo(f"  {label:<17} {text}")
    if proof.has_tokens:
        click.echo("  tokens show which values are equal and how often; that is not a leak here")


# ------------------------------------------------------------ native mode


@main.command()
@click.argument("connection")
@click.option("--apply", "is_applied", is_flag=True, help="Install it, in one transaction.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask before installing.")
@click.option("--group", metavar="NAME", help="For the members of a group.")
@click.option("--role", metavar="NAME", help="The database role to make.  [default: nbgov_GROUP]")
@click.option("--schema", default="nbgov", show_default=True, help="The schema of the views.")
@click.option("--admin", metavar="CONNECTION", help="Install through this connection's account.")
@with_session
def harden(
    session: Session,
    connection: str,
    group: str | None,
    role: str | None,
    schema: str,
    admin: str | None,
    *,
    is_applied: bool,
    is_sure: bool,
) -> None:
    """Print, or install, masked views and a role made from the policy."""
    from nbgov.assurance import hardening

    who = Principal(f"a member of {group}", frozenset({group})) if group else session.principal
    made = hardening.plan(
        session.world,
        connection,
        session.engine(connection).catalog(),
        audience=who,
        role=role or f"nbgov_{group or who.name}",
        schema=schema,
    )
    click.echo("".join(f"{text};\n" for text in made.statements), nl=False)
    for note in made.notes:
        click.echo(f"-- {note}", err=not is_applied)
    if not is_applied:
        return
    question = f"Run {len(made.statements)} statements on {connection}?"
    if not is_sure and not click.confirm(question, err=True):
        raise RequestInvalid(
            "Nothing was installed.", code="usage", next_step="answer y, or give --yes"
        )
    install(session, made, connection, admin or connection)
    click.echo(f"Installed on {connection}.", err=True)


def install(session: Session, made: Any, connection: str, admin: str) -> None:
    """Install on a connection, through the account of another one."""
    from nbgov.assurance import hardening
    from nbgov.wiring import connection_settings

    # An unknown name is an error of the engine's own, said in the usual way.
    session.engine(admin)
    settings = connection_settings(session.path.parent, session.config, admin)
    hardening.install(
        session.world,
        made,
        kind=session.config.connections[connection].kind,
        connection=connection,
        settings=settings,
        session=session.id,
        principal=session.principal,
    )
