"""Which input of a run is compared with which of its baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nbgov.core.checks import listed
from nbgov.core.drift.report import Cause
from nbgov.core.fingerprint.mixing import unique_labels
from nbgov.model import DatasetVersion, Run, RunInput

# Links that somebody or MLflow made; a run that has any is not judged by what else it read.
FIRM_LINKS = frozenset({"explicit", "autolog"})


@dataclass(frozen=True, slots=True)
class DigestedColumn:
    """A column of a version, as its fingerprint knows it, with the policy's tags on it."""

    name: str
    type: str
    digest: str
    nonnull: int
    tags: tuple[str, ...] = ()

    def has_values_of(self, other: DigestedColumn) -> bool:
        """Whether the values are known to be equal; a digest that was not kept says nothing."""
        if self.nonnull == other.nonnull == 0:
            return True
        return bool(self.digest) and (self.digest, self.nonnull) == (other.digest, other.nonnull)

    def has_other_values(self, other: DigestedColumn) -> bool:
        """Whether the values are known to be others.

        Digests of one column say nothing of each other where its tags are others: then one may be
        kept as it is, and the other as its keyed image.
        """
        if self.nonnull != other.nonnull:
            return True
        is_told = bool(self.digest) and bool(other.digest) and self.tags == other.tags
        return is_told and self.digest != other.digest


@dataclass(frozen=True, slots=True)
class InputPair:
    """An input of the current run and the one that it is compared with.

    Attributes:
        name: What sentences call it.
        inputs: The input of the baseline and of the current run.
        versions: The versions that are compared, or ``None`` where one is not kept.
        is_same: Whether both hold equal rows, or ``None`` where that is not known.
        prefix: What subjects of columns start with; empty if there is one input.
    """

    name: str
    inputs: tuple[RunInput, RunInput]
    versions: tuple[DatasetVersion, DatasetVersion] | None
    is_same: bool | None
    prefix: str

    @property
    def known(self) -> tuple[DatasetVersion, DatasetVersion]:
        """The versions of a pair that has both."""
        assert self.versions is not None
        return self.versions

    @property
    def labels(self) -> frozenset[str]:
        """Columns that either run learned to predict."""
        return frozenset(self.inputs[0].labels) | frozenset(self.inputs[1].labels)

    def column_of(self, cause: Cause) -> str:
        """The name of the column that a cause is about."""
        return cause.subject.removeprefix(self.prefix)


def used_inputs(run: Run) -> list[RunInput]:
    """The inputs that a run is judged by, each version once.

    What a run merely read counts where nothing firmer is known. It does not where the run was
    fitted on foreign data: then nothing says that it was trained on what it read.
    """
    firm = [one for one in run.inputs if one.bound_via in FIRM_LINKS]
    judged = firm if firm or run.ungoverned else run.inputs
    return list({(one.name, one.version_id): one for one in judged}.values())


def match_inputs(
    left: Sequence[RunInput], right: Sequence[RunInput]
) -> tuple[list[tuple[RunInput, RunInput]], list[tuple[RunInput, bool]]]:
    """Match inputs by name and context, by name, then by order.

    Returns:
        The matches, and the inputs without one, with whether they are the current run's.
    """
    keys: tuple[Callable[[RunInput], object], ...] = (
        lambda one: (one.name, one.context),
        lambda one: one.name,
        lambda _: None,
    )
    before, after = list(left), list(right)
    matched = []
    for key in keys:
        for one in tuple(after):
            match = next((other for other in before if key(other) == key(one)), None)
            if match is not None:
                matched.append((match, one))
                before.remove(match)
                after.remove(one)
    return matched, [(one, False) for one in before] + [(one, True) for one in after]


def paired(
    matched: Sequence[tuple[RunInput, RunInput]], versions: Mapping[str, DatasetVersion]
) -> list[InputPair]:
    """The versions behind matched inputs."""
    names = Counter(one.name for _, one in matched)
    pairs = []
    for ids in matched:
        one = ids[1]
        name = one.name if names[one.name] == 1 else f"{one.name} ({one.context})"
        left, right = (versions.get(side.version_id) for side in ids)
        both = (left, right) if left is not None and right is not None else None
        prefix = f"{name}." if len(matched) > 1 else ""
        pairs.append(InputPair(name, ids, both, has_same_rows(ids, both), prefix))
    return pairs


def has_same_rows(
    ids: tuple[RunInput, RunInput], versions: tuple[DatasetVersion, DatasetVersion] | None
) -> bool | None:
    """Whether two inputs hold equal rows, as far as their fingerprints can tell."""
    if ids[0].version_id == ids[1].version_id:
        return True
    if versions is None:
        return None
    left, right = (version.content_id for version in versions)
    is_alike = left.rpartition(":")[0] == right.rpartition(":")[0]
    return left == right if is_alike else None


def is_same_data(pairs: Sequence[InputPair], *, has_lone: bool) -> bool | None:
    """Whether all inputs hold equal rows, or ``None`` where that is not known."""
    if has_lone or any(pair.is_same is False for pair in pairs):
        return False
    return True if pairs and all(pair.is_same for pair in pairs) else None


def what_is_unknown(runs: tuple[Run, Run], pairs: Sequence[InputPair]) -> str:
    """Why data cannot be compared in full, or nothing."""
    unbound = [run.name or run.run_id for run in runs if not used_inputs(run)]
    if unbound:
        return f"no governed input is bound to {' and '.join(unbound)}"
    absent = [pair.name for pair in pairs if pair.is_same is None and pair.versions is None]
    if absent:
        return f"the dataset store does not hold both versions of {listed(absent)}"
    alien = [pair.name for pair in pairs if pair.is_same is None]
    if alien:
        return f"the fingerprints of {listed(alien)} were made with and without a key"
    bare = [
        pair.name
        for pair in pairs
        if not pair.is_same and not all(version.profile for version in pair.known)
    ]
    return f"the rows are others, and there is no profile of {listed(bare)}" if bare else ""


def input_causes(
    matched: Sequence[tuple[RunInput, RunInput]], lone: Sequence[tuple[RunInput, bool]]
) -> Iterator[Cause]:
    """Inputs that one run has and the other has not, or has under another name."""
    for one, is_current in lone:
        who = "the current run" if is_current else "the baseline"
        yield Cause("inputs", one.name, f"{one.name}: an input of {who} only", 1.0)
    for left, right in matched:
        if left.name != right.name:
            sentence = f"{right.name}: compared with {left.name}, which stood in its place"
            yield Cause("inputs", right.name, sentence, 0.0)


def columns_of(version: DatasetVersion) -> dict[str, DigestedColumn]:
    """The columns of a version by label, in order."""
    columns = [
        DigestedColumn(*column, tags=version.tags.get(column[0], ())) for column in version.columns
    ]
    return dict(zip(unique_labels(one.name for one in columns), columns, strict=True))


def profile_columns(version: DatasetVersion) -> dict[str, Mapping[str, object]]:
    """The columns of a profile by label."""
    columns = version.profile.get("columns", ())
    return dict(zip(unique_labels(one["name"] for one in columns), columns, strict=True))
