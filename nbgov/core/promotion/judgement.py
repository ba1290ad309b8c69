"""Whether a model version is held: what is not known about it, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nbgov.core.checks import listed
from nbgov.core.drift.inputs import used_inputs
from nbgov.core.drift.report import DriftReport, Status
from nbgov.core.promotion.binding import binding, lineage_digest
from nbgov.core.promotion.values import Basis, Candidate, Promotion
from nbgov.model import DriftTerms, ModelVersion, Release, Run

# A read in the session of a run, or while it was open, proves nothing about its training.
LOOSE_LINKS = frozenset({"in_run", "session"})

NO_RUN = "It names no run that made its files, so nobody can say what it was trained on."
NO_FILES = "The model's files cannot be read, so an approval could not be bound to them."
NO_INPUT = "Its run has no governed input, so nobody can say what it was trained on."
NO_BASELINE = "No release before it is there to compare its training data with."
FIRST = "Baseline: no release is there before it."
LOST_BASELINE = "The run of the release to compare its training data with cannot be read."
OTHER_MODEL = "The run of the last release made it, yet it is another model than that release."
NOT_COMPARED = "Its training data could not be compared with that of the baseline."


def choose_basis(
    candidate: Candidate,
    terms: DriftTerms,
    releases: Sequence[Release],
    *,
    champion: ModelVersion | None,
    tagged: str,
    earlier: str = "",
) -> Basis | None:
    """The release that a candidate is compared with; ``None`` for a first one.

    Security: where there is a release, only releases count. Otherwise training twice on data that
    drifted would make the second run equal to the first, and a tag is the client's word. That
    records are nbgov's own is why deleting or renaming a model resets nothing. Where there is none,
    the run before this one is better than nothing.

    Args:
        candidate: The model version.
        terms: The order in which to look.
        releases: All releases, newest first.
        champion: The model version behind the alias ``champion`` of the model.
        tagged: Id of the run that a person named on the run, or empty.
        earlier: Id of the last finished run with the same inputs, released or not, or empty.
    """
    model, run = candidate.model, candidate.run
    if run is None:
        return None
    lineage = lineage_digest(run, candidate.versions).hex()
    names = input_names(run)
    this = (model.name, model.version, model.digest, lineage)
    for one in releases:
        known = (one.model, one.version, one.model_digest, one.lineage_digest)
        if model.digest and known == this:
            return Basis(run.run_id, model.digest, "itself", one.ticket)
    mine = [one for one in releases if one.model == model.name]
    own = [Basis(r.run_id, r.model_digest, "release") for r in mine]
    alike = [Basis(r.run_id, r.model_digest, "release") for r in releases if r.inputs == names]
    found = {
        "champion": [Basis(champion.run_id, champion.digest, "champion")] if champion else [],
        # Security: a first release under another name is cheap, and would be a baseline to order.
        "tag": [Basis(r.run_id, r.model_digest, "tag") for r in mine if r.run_id == tagged],
        "last": own,
    }
    chosen = [one for place in (*terms.baseline, "last") for one in found[place]]
    unreleased = [Basis(earlier, "", "run")] if earlier else []
    return next(iter([*chosen, *alike, *unreleased]), None)


def input_names(run: Run) -> tuple[str, ...]:
    """Names of the datasets that a run was trained on, each once, sorted."""
    return tuple(sorted({one.name for one in used_inputs(run)}))


def weigh(
    candidate: Candidate, basis: Basis | None, report: DriftReport | None, terms: DriftTerms
) -> Promotion:
    """Say whether a model version is held, before anybody's consent.

    Args:
        candidate: The model version.
        basis: The release to compare with, or ``None`` for a first one.
        report: How the candidate's run differs from the run of the basis, or from itself where
            there is none; ``None`` where they could not be compared.
        terms: What holds.
    """
    model, run = candidate.model, candidate.run
    holds = dict.fromkeys((*unknowns(candidate), *(report.holds if report is not None else ())))
    drift: Status = "unknown" if report is None else report.status
    if terms.is_first_held and (basis is None or basis.origin == "run"):
        holds[NO_BASELINE] = None
    if basis is None:
        drift = "baseline" if drift == "stable" else drift
    elif run is not None and report is None:
        holds[LOST_BASELINE] = None
    elif run is not None and basis.run_id == run.run_id and basis.model_digest != model.digest:
        # Security: a run equals itself, so that every file put beside its model would pass.
        holds[OTHER_MODEL] = None
    if drift == "unknown" and not holds:
        # Security: a comparison that knows nothing and holds nothing is no permission.
        holds[NOT_COMPARED] = None
    lineage = lineage_digest(run, candidate.versions) if run is not None else b""
    compared, ticket = (basis.run_id, basis.ticket) if basis is not None else ("", "")
    return Promotion(
        model=model.name,
        version=model.version,
        status="open" if not holds else "approved" if ticket else "held",
        holds=tuple(holds),
        drift=drift,
        verdict=verdict(drift, run, report),
        run_id=run.run_id if run is not None else "",
        baseline=compared,
        model_digest=model.digest,
        lineage_digest=lineage.hex(),
        binding=binding(model, lineage, compared).hex(),
        excluded=trainers(candidate),
        ticket=ticket,
    )


def verdict(drift: Status, run: Run | None, report: DriftReport | None) -> str:
    """How the training data compares, in a sentence."""
    if drift == "baseline":
        return FIRST
    if report is not None:
        return report.verdict
    return LOST_BASELINE if run is not None else NO_RUN


def unknowns(candidate: Candidate) -> Iterator[str]:
    """What is not known about a candidate, whatever it is compared with.

    Security: a run store holds what clients wrote into it. A version or a read that nbgov's own
    store does not know is a claim, and a claim that cannot be checked is held.
    """
    run = candidate.run
    if not candidate.model.digest:
        yield NO_FILES
    if run is None:
        yield NO_RUN
        return
    if not run.inputs:
        yield NO_INPUT
    if run.ungoverned:
        yield f"ungoverned input: {listed(run.ungoverned)}"
    reads = {one.read_id: one for one in candidate.deliveries}
    for one in used_inputs(run):
        if one.version_id not in candidate.versions:
            yield f"The version {one.version_id[:8]} of {one.name} is not in nbgov's dataset store."
        elif not any(d.version_id == one.version_id for d in candidate.deliveries):
            yield f"The version {one.version_id[:8]} of {one.name} was delivered to nobody."
        elif one.read_id and getattr(reads.get(one.read_id), "version_id", "") != one.version_id:
            yield f"The read of {one.name} that its run names delivered another version, or none."
        if one.bound_via in LOOSE_LINKS:
            yield (
                f"{one.name} was read in its run or session, and nobody knows whether it was "
                "trained on: nbgov.track(frame) says so."
            )


def trainers(candidate: Candidate) -> tuple[str, ...]:
    """To whom the training data was delivered: by the reads that the run names, else by any.

    They take no part in a vote: the model is theirs.
    """
    if candidate.run is None:
        return tuple(sorted({one.principal for one in candidate.deliveries}))
    found: set[str] = set()
    for one in used_inputs(candidate.run):
        of_version = [d for d in candidate.deliveries if d.version_id == one.version_id]
        named = [d for d in of_version if d.read_id == one.read_id]
        found |= {delivery.principal for delivery in named or of_version}
    return tuple(sorted(found))
