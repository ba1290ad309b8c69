"""Whether a bundle adds up by itself: section 6 of ``docs/spec/custody.md``.

Every check says what holds, what does not, or what could not be checked; none of them is left out
in silence. Nothing here knows a key, a file or a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nbgov.core.audit import Entry, decode
from nbgov.core.audit.merkle import is_included
from nbgov.core.audit.note import Checkpoint, Note
from nbgov.core.checks import Check, check, counted, listed
from nbgov.core.custody.statement import (
    DIGEST,
    Custody,
    materials,
    own,
    read_statement,
    subject,
)
from nbgov.core.datasets import version_id_of
from nbgov.core.promotion import lineage_digest
from nbgov.errors import IntegrityFailed
from nbgov.model import Delivery, Receipt, RecordKind


def examine(payload: bytes) -> tuple[Custody | None, tuple[Check, ...]]:
    """Hold the payload of a bundle against the format and against itself.

    Returns:
        What it states, ``None`` where it cannot be read; and each check, in the order of the spec.
    """
    try:
        custody, statement = read_statement(payload)
    except IntegrityFailed as error:
        return None, (Check("statement", "fails", f"{error.what} {error.why}"),)
    found = [Check("statement", "holds", "an in-toto statement of this format, in canonical form")]
    for examined in EXAMINATIONS:
        found += examined(custody, statement)
    return custody, tuple(found)


def of_subject(custody: Custody, statement: Mapping[str, Any]) -> Iterator[Check]:
    """The subject is the model version that the lineage is of."""
    model, run = custody.lineage.model, custody.lineage.run
    assert model is not None
    assert run is not None
    problems = []
    if statement["subject"] != [subject(model)]:
        problems.append("the subject is another model version than that of the lineage")
    if not DIGEST.fullmatch(model.digest):
        problems.append("the subject has no digest")
    if model.run_id != run.run_id:
        problems.append("another run made the model version")
    yield check("subject", problems, f"models:/{model.name}/{model.version} by run {run.run_id}")


def of_versions(custody: Custody, _: Mapping[str, Any]) -> Iterator[Check]:
    """The id of each version follows from its facts."""
    versions, run = custody.lineage.versions, custody.lineage.run
    assert run is not None
    problems = [
        f"version {key[:12]} has other facts than its id says"
        for key, one in versions.items()
        if not key == one.version_id == version_id_of(one)
    ]
    yield check(
        "versions",
        problems,
        f"{counted(len(versions), 'dataset version')}, each with the id of its facts",
    )
    absent = [one.name for one in run.inputs if one.version_id not in versions]
    if absent:
        told = f"the bundle does not hold the versions of {listed(absent)}"
        yield Check("inputs", "unchecked", told)
    if run.ungoverned or not run.inputs:
        told = f"ungoverned: {listed(run.ungoverned)}" if run.ungoverned else "no governed input"
        yield Check("inputs", "unchecked", told)


def of_lineage(custody: Custody, statement: Mapping[str, Any]) -> Iterator[Check]:
    """Lineage digest and materials follow from the lineage."""
    lineage, predicate = custody.lineage, statement["predicate"]
    assert lineage.run is not None
    problems = []
    if predicate["lineage_digest"] != lineage_digest(lineage.run, lineage.versions).hex():
        problems.append("the lineage has another digest than the bundle says")
    if predicate["materials"] != list(materials(lineage)):
        problems.append("the materials are others than those of the lineage")
    # Types that only read alike would let two verifiers see two things in one bundle.
    if predicate["lineage"] != lineage.to_dict():
        problems.append("the lineage is not written as the format says")
    if lineage != own(lineage):
        problems.append("the lineage holds more than that of the model")
    yield check("lineage", problems, "its digest and the materials follow from it")


def of_audit(custody: Custody, _: Mapping[str, Any]) -> Iterator[Check]:
    """Each read has its entries in the audit log, and they say the same as the lineage."""
    entries: dict[tuple[str, int], Entry] = {}
    problems = []
    for line in custody.entries:
        try:
            entry = decode(line)
        except IntegrityFailed as error:
            problems.append(error.what)
        else:
            entries[entry.origin, entry.index] = entry
    for delivery in custody.lineage.deliveries:
        problems += read_problems(custody, delivery, entries)
    reads = counted(len(custody.lineage.deliveries), "read")
    told = f"{reads}, recorded by {len(entries)} entries"
    yield check("audit entries", problems, told)
    brought = {one.version_id for one in custody.lineage.deliveries}
    lone = [one.name for one in custody.lineage.current if one.version_id not in brought]
    if lone:
        yield Check("reads", "unchecked", f"the bundle holds no read of {listed(lone)}")
    yield from of_approvals(custody, entries)
    yield of_proofs(custody)


def of_proofs(custody: Custody) -> Check:
    """Each entry is shown to stand in the log that the checkpoint is of."""
    name = "inclusion proofs"
    if not custody.checkpoint:
        if any(path is not None for path in custody.paths):
            return Check(name, "fails", "there is no checkpoint that they lead to")
        return Check(name, "unchecked", "the bundle holds none")
    try:
        point = Note.parse(custody.checkpoint).checkpoint
    except IntegrityFailed as error:
        return Check(name, "fails", error.why)
    problems = [
        problem
        for line, path in zip(custody.entries, custody.paths, strict=True)
        if (problem := unproved(line, path, point))
    ]
    held = f"{len(custody.entries)} entries stand in the log {point.origin} of {point.size} entries"
    return check(name, problems, held)


def unproved(line: bytes, path: tuple[bytes, ...] | None, point: Checkpoint) -> str:
    """Why an entry is not shown to stand in a log; empty where it is."""
    try:
        entry = decode(line)
    except IntegrityFailed as error:
        return error.what
    if entry.origin != point.origin:
        return f"entry {entry.index} is of another log than the checkpoint"
    if path is None or not is_included(entry.digest, entry.index, point.size, path, point.root):
        return f"nothing shows that entry {entry.index} stands in the log"
    return ""


def read_problems(
    custody: Custody, delivery: Delivery, entries: Mapping[tuple[str, int], Entry]
) -> Iterator[str]:
    """What does not fit between a read and the entries that record it."""
    version = custody.lineage.versions.get(delivery.version_id)
    origin = delivery.receipt.rpartition("#")[0].rpartition("/")[0]
    attempt = entries.get((origin, delivery.record))
    if version is None:
        yield f"the read of {delivery.name} is of a version that is not here"
    elif attempt is None:
        yield f"the entry of the read of {delivery.name} is not here"
    else:
        receipt = Receipt(attempt.origin, attempt.index, attempt.digest)
        facts = attempt.record
        said = (str(receipt), facts.kind, facts.principal, facts.statement_mac, facts.policy)
        stated = (
            delivery.receipt, RecordKind.ATTEMPT, delivery.principal, version.statement_mac,
            version.policy,
        )  # fmt: skip
        if said != stated:
            yield f"the entry of the read of {delivery.name} records something else"
        ends = [one.record for one in entries.values() if one.record.attempt == delivery.record]
        if version.version_id not in [one.version for one in ends]:
            yield f"no entry records which version the read of {delivery.name} delivered"


def of_approvals(custody: Custody, entries: Mapping[tuple[str, int], Entry]) -> Iterator[Check]:
    """Each ticket that a read was cleared by is here, approved, with its votes in the log."""
    approvals = {one.ticket: one for one in custody.lineage.approvals}
    votes = {
        (one.record.ticket, one.record.principal)
        for one in entries.values()
        if one.record.kind is RecordKind.VOTE and one.record.note in {"approve", "break-glass"}
    }
    wanted = dict.fromkeys(one.ticket for one in custody.lineage.deliveries if one.ticket)
    problems = [f"ticket {ticket} is not here" for ticket in wanted if ticket not in approvals]
    for ticket in [*wanted] + [one for one in approvals if one not in wanted]:
        found = approvals.get(ticket)
        if found is None:
            continue
        if ticket in wanted and not found.is_cleared:
            problems.append(f"ticket {ticket} was not approved")
        voters = [vote.voter for vote in found.votes if vote.is_approval]
        if found.is_given and not voters:
            problems.append(f"nobody approved ticket {ticket}")
        # Whoever went ahead without votes has an entry for that in the place of the votes.
        voters += [found.requester] if found.is_emergency else []
        if not all((ticket, voter) in votes for voter in voters):
            problems.append(f"no entry records the votes on ticket {ticket}")
    yield check(
        "approvals", problems, f"{counted(len(approvals), 'ticket')} with votes in the entries"
    )


EXAMINATIONS: tuple[Callable[[Custody, Mapping[str, Any]], Iterator[Check]], ...] = (
    of_subject,
    of_versions,
    of_lineage,
    of_audit,
)
