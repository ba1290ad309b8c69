"""What two runs were made with, and what came of it: exact differences, no statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from nbgov.core.drift.report import Cause, listed
from nbgov.model import DatasetVersion, Run

VALUE_CHARS_MAX = 60
DIGEST_CHARS = 12
ABSENT = "not set"


def circumstance_causes(pairs: Sequence[tuple[DatasetVersion, DatasetVersion]]) -> Iterator[Cause]:
    """Differences between statements, bound values, policies and masks of matched inputs."""
    for pair in pairs:
        yield from source_causes(*pair)
        yield from statement_causes(*pair)
        yield from bind_causes(*pair)
        yield from mask_causes(*pair)
    policies = {(left.policy, right.policy) for left, right in pairs if left.policy != right.policy}
    for before, after in sorted(policies):
        sentence = f"policy {before[:DIGEST_CHARS]} -> {after[:DIGEST_CHARS]}"
        yield Cause("policy", "policy", sentence, 1.0, {"baseline": before, "current": after})


def source_causes(left: DatasetVersion, right: DatasetVersion) -> Iterator[Cause]:
    """A remark if the rows came from another place."""
    before, after = (f"{one.connection} ({one.dialect})" for one in (left, right))
    if before != after:
        sentence = f"{right.name}: read from {before} -> {after}"
        yield Cause("inputs", right.name, sentence, 0.0)
    elif left.tables != right.tables:
        tables = [listed(one.tables) or "no table" for one in (left, right)]
        sentence = f"{right.name}: reads {tables[0]} -> {tables[1]}"
        yield Cause("inputs", right.name, sentence, 0.0)


def statement_causes(left: DatasetVersion, right: DatasetVersion) -> Iterator[Cause]:
    """The text that was asked; its literals are known by their keyed digest only."""
    detail = {"baseline": left.statement, "current": right.statement}
    if left.statement != right.statement:
        yield Cause("statement", right.name, f"{right.name}: the statement differs", 1.0, detail)
    elif left.statement_mac != right.statement_mac:
        sentence = f"{right.name}: the statement differs in its literals or spacing"
        yield Cause("statement", right.name, sentence, 1.0, detail)


def bind_causes(left: DatasetVersion, right: DatasetVersion) -> Iterator[Cause]:
    """Bound values; what they are is known by their keyed digest only."""
    detail = {"baseline": list(left.binds), "current": list(right.binds)}
    if left.binds != right.binds:
        before, after = (", ".join(one.binds) or "none" for one in (left, right))
        sentence = f"{right.name}: binds {before} -> {after}"
        yield Cause("binds", right.name, sentence, 1.0, detail)
    elif left.binds_mac != right.binds_mac:
        sentence = f"{right.name}: other values are bound to {', '.join(right.binds)}"
        yield Cause("binds", right.name, sentence, 1.0, detail)


def mask_causes(left: DatasetVersion, right: DatasetVersion) -> Iterator[Cause]:
    """Columns that are masked otherwise."""
    for column, before, after in differences(left.masked, right.masked, absent="none"):
        detail = {"input": right.name, "baseline": before, "current": after}
        yield Cause("masks", column, f"{column}: mask {before} -> {after}", 1.0, detail)


def run_causes(baseline: Run, current: Run) -> Iterator[Cause]:
    """Differences between parameters, code, packages and metrics of the runs."""
    for name, before, after in differences(baseline.params, current.params):
        detail = {"baseline": before, "current": after}
        sentence = f"{name}: {shortened(before)} -> {shortened(after)}"
        yield Cause("params", name, sentence, 1.0, detail)
    if baseline.code and current.code:
        for name, before, after in differences(baseline.code, current.code):
            if name == "cells" and is_continued(before, after):
                continue
            detail = {"baseline": before, "current": after}
            sentence = f"code: {name} {before[:DIGEST_CHARS]} -> {after[:DIGEST_CHARS]}"
            if name == "cells":
                sentence = f"code: {cells_changed(before, after)}"
            yield Cause("code", name, sentence, 1.0, detail)
    yield from package_causes(baseline.packages, current.packages)
    yield from metric_causes(baseline.metrics, current.metrics)


def is_continued(before: str, after: str) -> bool:
    """Whether one list of cells is the other, and more: the same notebook, further on."""
    left, right = before.split(), after.split()
    shorter = min(len(left), len(right))
    return left[:shorter] == right[:shorter]


def cells_changed(before: str, after: str) -> str:
    """How many cells of two notebooks have no equal in the other."""
    left, right = set(before.split()), set(after.split())
    return f"{len(right - left)} notebook cells are new or changed, {len(left - right)} are gone"


def package_causes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    """One cause for all packages; a run that recorded none has no packages to compare."""
    changed = differences(before, after, absent="not installed")
    if not before or not after or not changed:
        return
    shown = listed([f"{name} {old} -> {new}" for name, old, new in changed])
    detail = {name: [old, new] for name, old, new in changed}
    yield Cause("packages", "packages", f"packages: {shown}", 1.0, detail)


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
