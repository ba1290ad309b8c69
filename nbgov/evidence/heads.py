"""Whether the logs of several gateways contain what the log over their checkpoints says of them.

Section 5 of ``docs/spec/audit-log-postgresql.md``. Who signed and cosigned the logs is checked
elsewhere; here they are held against one another, and this gateway's heads against its key.
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbgov.core.audit import decode, verify
from nbgov.core.audit.note import Note, VerifierKey
from nbgov.core.checks import Check, counted
from nbgov.errors import IntegrityFailed
from nbgov.model import RecordKind
from nbgov.sinks import HEADS_SUFFIX, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nbgov.ports import Evidence
    from nbgov.session import Session


@dataclass(frozen=True, slots=True)
class HeadsReport:
    """What holding logs against their heads showed.

    Attributes:
        sizes: How many entries of each log the newest head covers.
        problems: What does not hold, one sentence for each log at most.
    """

    sizes: Mapping[str, int]
    problems: tuple[str, ...]


def heads_check(session: Session) -> Check | None:
    """What holding the logs of all gateways against the heads of a session's shows.

    ``None`` where the log shares no database.

    Raises:
        BackendFailed: A log cannot be read (code ``state-unavailable``).
    """
    heads = session.world.heads
    if heads is None:
        return None
    name = own_name(session.config.audit) + HEADS_SUFFIX
    try:
        report = check_heads(heads, heads.beside)
        problem = unsigned(heads, VerifierKey(name, session.world.signer.public_key()))
    except IntegrityFailed as error:
        return Check("heads", "fails", error.what)
    if report.problems:
        return Check("heads", "fails", " ".join(report.problems))
    if problem:
        return Check("heads", "fails", problem)
    if not report.sizes:
        # Security: heads that somebody took away must not read as logs that agree with them.
        return Check("heads", "unchecked", "no checkpoint of any log was stated yet")
    told = f"{counted(len(report.sizes), 'log')} of this database, as their checkpoints say"
    return Check("heads", "holds", told)


def check_heads(heads: Evidence, chain: Callable[[str], Evidence]) -> HeadsReport:
    """Hold each gateway's log against every checkpoint that was stated of it.

    Args:
        heads: The log over the checkpoints.
        chain: A gateway's log, by its name.

    Raises:
        IntegrityFailed: The log over the checkpoints holds something else (``audit-broken``).
        BackendFailed: A log cannot be read (code ``state-unavailable``).
    """
    report = verify(heads.entries())
    if not report.is_intact:
        problem = f"The log over the checkpoints does not add up at entry {report.problem_index}."
        raise IntegrityFailed(problem)
    stated = claims(heads.entries())
    problems = {origin: problem_of(chain(origin), roots) for origin, roots in stated.items()}
    return HeadsReport(
        {origin: max(roots) for origin, roots in stated.items()},
        tuple(f"The log {origin} {problem}." for origin, problem in problems.items() if problem),
    )


def unsigned(heads: Evidence, key: VerifierKey) -> str:
    """Why the log over the checkpoints is not the one that a key signed; empty where it is.

    Raises:
        IntegrityFailed: What is kept as its checkpoint is none (``checkpoint-invalid``).
    """
    text = heads.note("checkpoint")
    if not text:
        is_empty = next(iter(heads.entries()), None) is None
        return "" if is_empty else "The log over the checkpoints is not signed."
    note = Note.parse(text)
    if note.checkpoint.origin != key.name or note.signed_by(key) is None:
        return "The log over the checkpoints is not signed by this gateway."
    problem = problem_of(heads, {note.checkpoint.size: note.checkpoint.root})
    return problem and f"The log over the checkpoints {problem}."


def claims(lines: Iterable[bytes]) -> dict[str, dict[int, bytes]]:
    """By log and size, the root that was stated.

    Raises:
        IntegrityFailed: A head is malformed, or two of one size differ (``audit-broken``).
    """
    stated: dict[str, dict[int, bytes]] = defaultdict(dict)
    for line in lines:
        record = decode(line).record
        if record.kind is RecordKind.HEADS:
            for origin, head in (record.heads or {}).items():
                size, root = parsed(head)
                if stated[origin].setdefault(size, root) != root:
                    problem = f"Two checkpoints of one size were stated of the log {origin}."
                    raise IntegrityFailed(problem)
    return stated


def parsed(head: str) -> tuple[int, bytes]:
    """Size and root of a head.

    Raises:
        IntegrityFailed: It is none (``audit-broken``).
    """
    size, _, encoded = head.partition(" ")
    try:
        return int(size), base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise IntegrityFailed("A head reads SIZE ROOT.") from error


def problem_of(chain: Evidence, roots: Mapping[int, bytes]) -> str:
    """What is wrong with a log of which these roots were stated; empty where nothing is."""
    report = verify(chain.entries(), sizes=roots)
    if not report.is_intact:
        return f"does not add up at entry {report.problem_index}"
    if report.entries < max(roots):
        return f"has {report.entries} entries, fewer than the {max(roots)} that were stated of it"
    wrong = [size for size, root in sorted(roots.items()) if report.roots.get(size) != root]
    return f"is another one than the log of {wrong[0]} entries that was stated" if wrong else ""
