"""What two runs were made with, and what came of it: exact differences, no statistics."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from nbgov.core.checks import listed
from nbgov.core.drift.report import Cause
from nbgov.model import Run

VALUE_CHARS_MAX = 60
DIGEST_CHARS = 12
ABSENT = "not set"

SEED = re.compile(r"(?:^|[^a-z])(?:[a-z]*seeds?|random_?state|rng)(?:$|[^a-z])")
HARDWARE = re.compile(r"cpu|gpu|cuda|cores|threads|blas|driver|memory|accelerator")
MODEL = re.compile(r"models:/(?P<name>[^/@]+)[/@](?P<version>.+)")
# Packages whose versions change what a model learns come first; tools come last.
NUMERIC_PACKAGES = frozenset(
    """
    catboost cudf cuml jax jaxlib keras lightgbm numba numpy pandas polars pyarrow pytorch-lightning
    scikit-learn scipy statsmodels tensorflow torch transformers xgboost
    """.split()
)
CODE_WORDS = {
    "commit": "commit",
    "diff": "changes that no commit holds",
    "dirty": "whether the folder is dirty",
}


def is_seed(name: str) -> bool:
    """Whether a parameter or a setting settles what is left to chance.

    >>> [is_seed(name) for name in ("model__random_state", "PYTHONHASHSEED", "seedlings", "depth")]
    [True, True, False, False]
    """
    return SEED.search(name.lower()) is not None


def run_causes(baseline: Run, current: Run) -> Iterator[Cause]:
    """Differences between parameters, code, packages, machine, models and metrics of the runs."""
    yield from param_causes(baseline.params, current.params)
    if baseline.code and current.code:
        yield from code_causes(baseline.code, current.code)
    yield from package_causes(baseline.packages, current.packages)
    if baseline.environment and current.environment:
        yield from environment_causes(baseline.environment, current.environment)
    yield from model_causes(baseline.models, current.models)
    yield from metric_causes(baseline.metrics, current.metrics)


def param_causes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    """Parameters that differ; those that are seeds are told apart."""
    for name, old, new in differences(before, after):
        kind = "seeds" if is_seed(name) else "params"
        yield Cause(kind, name, changed(name, old, new), 1.0, {"baseline": old, "current": new})


def environment_causes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    """What the runs ran on."""
    for name, old, new in differences(before, after):
        kind = "environment"
        if is_seed(name):
            kind = "seeds"
        elif HARDWARE.search(name.lower()):
            kind = "hardware"
        yield Cause(kind, name, changed(name, old, new), 1.0, {"baseline": old, "current": new})


def changed(name: str, old: str, new: str) -> str:
    """One value that became another."""
    return f"{name}: {shortened(old)} -> {shortened(new)}"


def code_causes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    """Commit, changes that no commit holds, and notebook cells."""
    found = differences(before, after)
    names = {name for name, _, _ in found}
    for name, old, new in found:
        if name == "cells" and is_continued(old, new):
            continue
        if name == "dirty" and "diff" in names:
            continue  # The digest of the changes says the same, and more.
        what = CODE_WORDS.get(name, name)
        sentence = f"code: {what} {old[:DIGEST_CHARS]} -> {new[:DIGEST_CHARS]}"
        if name == "cells":
            sentence = f"code: {cells_changed(old, new)}"
        yield Cause("code", name, sentence, 1.0, {"baseline": old, "current": new})


def is_continued(before: str, after: str) -> bool:
    """Whether one list of cells is the other, and more: the same notebook, further on."""
    left, right = before.split(), after.split()
    shorter = min(len(left), len(right))
    return left[:shorter] == right[:shorter]


def cells_changed(before: str, after: str) -> str:
    """How many cells of two notebooks have no equal in the other."""
    left, right = set(before.split()), set(after.split())
    if left == right:
        return "the same notebook cells ran in another order"
    return f"{len(right - left)} notebook cells are new or changed, {len(left - right)} are gone"


def package_causes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    """One cause for all packages; a run that recorded none has no packages to compare."""
    found = differences(before, after, absent="not installed")
    if not before or not after or not found:
        return
    found.sort(key=lambda one: (one[0] not in NUMERIC_PACKAGES, one[0]))
    shown = listed([f"{name} {old} -> {new}" for name, old, new in found])
    detail = {name: [old, new] for name, old, new in found}
    yield Cause("packages", "packages", f"packages: {shown}", 1.0, detail)


def model_causes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    """Models that the runs loaded: another version, another content, or another model."""
    sides: dict[str, list[list[str]]] = defaultdict(lambda: [[], []])
    for place, side in enumerate((before, after)):
        for reference in sorted(side):
            match = MODEL.fullmatch(reference)
            sides[match["name"] if match else reference][place].append(reference)
    for name, (old, new) in sorted(sides.items()):
        digests = [
            sorted(side[one] for one in references)
            for side, references in ((before, old), (after, new))
        ]
        detail = {"baseline": old, "current": new}
        if old != new:
            is_same = digests[0] == digests[1] and all(digests[0])
            rest = ", which is the same model" if is_same else ""
            sentence = f"upstream model {name}: {shown_models(old)} -> {shown_models(new)}{rest}"
            yield Cause("models", name, sentence, 0.0 if is_same else 1.0, detail)
        elif digests[0] != digests[1]:
            is_known = all(digests[0]) and all(digests[1])
            what = "is" if is_known else "may be"
            sentence = (
                f"upstream model {name}: {shown_models(old)} {what} another model than it was"
            )
            yield Cause("models", name, sentence, float(is_known), detail)


def shown_models(references: list[str]) -> str:
    """The versions of one model in a sentence."""
    matches = [MODEL.fullmatch(reference) for reference in references]
    return listed([f"version {match['version']}" if match else "loaded" for match in matches]) or (
        "not loaded"
    )


def metric_causes(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[Cause]:
    """Metrics that both runs logged and that differ: an outcome, so a remark."""
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if old == new or not (math.isfinite(old) and math.isfinite(new)):
            continue
        sentence = f"{name}: {old:.4g} -> {new:.4g} ({new - old:+.4g})"
        yield Cause("metrics", name, sentence, 0.0, {"baseline": old, "current": new})


def differences(
    before: Mapping[str, str], after: Mapping[str, str], *, absent: str = ABSENT
) -> list[tuple[str, str, str]]:
    """``(name, old, new)`` of every entry that differs, by name."""
    names = sorted(before.keys() | after.keys())
    found = ((name, before.get(name, absent), after.get(name, absent)) for name in names)
    return [entry for entry in found if entry[1] != entry[2]]


def shortened(value: str) -> str:
    """A value that fits in a line."""
    return value if len(value) <= VALUE_CHARS_MAX else f"{value[: VALUE_CHARS_MAX - 3]}..."
