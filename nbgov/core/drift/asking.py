"""How two inputs were asked for: statement, bound values, policy, masks, place, and their reach.

Such a difference explains differences of the data, as far as it reaches: a mask explains its
column, an expression its column, a condition all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbgov.core.checks import listed
from nbgov.core.drift.circumstances import DIGEST_CHARS, differences
from nbgov.core.drift.freshness import moved_sources
from nbgov.core.drift.inputs import InputPair, columns_of
from nbgov.core.drift.nesting import nesting
from nbgov.core.drift.report import Cause
from nbgov.core.drift.statements import bound_columns, statement_difference
from nbgov.core.drift.trees import StatementText
from nbgov.model import DatasetVersion

EVERYTHING: frozenset[str] | None = None
DIFFERENCES_SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """A difference in how an input was asked for.

    Attributes:
        cause: The difference.
        columns: The result columns that it can explain; ``None`` for all of them, and the rows.
    """

    cause: Cause
    columns: frozenset[str] | None

    def explains(self, columns: Sequence[str]) -> bool:
        """Whether it can explain changes of all these columns."""
        return self.columns is None or (bool(columns) and self.columns.issuperset(columns))


def origins(pair: InputPair) -> Iterator[Origin]:
    """What was asked otherwise, the narrowest first.

    Where both inputs hold the same rows, none of it can matter: then they are remarks.
    """
    effect = 0.0 if pair.is_same else 1.0
    yield from mask_origins(pair, effect)
    yield from statement_origins(pair, effect)
    yield from bind_origins(pair, effect)
    yield from source_origins(pair, effect)


def statement_text(version: DatasetVersion) -> StatementText:
    """The statement of a version, as far as it is kept."""
    return StatementText(
        version.statement, version.dialect, version.literals, version.statement_mac
    )


def statement_origins(pair: InputPair, effect: float) -> Iterator[Origin]:
    """What differs in the tree of the statement."""
    left, right = (statement_text(version) for version in pair.known)
    found = statement_difference(left, right)
    if found is None:
        return
    rest = len(found.sentences) - DIFFERENCES_SHOWN_MAX
    more = f", and {rest} more differences" if rest > 0 else ""
    told = "; ".join(found.sentences[:DIFFERENCES_SHOWN_MAX])
    detail = {
        "baseline": left.redacted,
        "current": right.redacted,
        "differences": list(found.sentences),
    }
    cause = Cause(
        "statement",
        pair.name,
        f"{pair.name}: {told}{more}",
        0.0 if found.is_spelling else effect,
        detail,
    )
    yield Origin(cause, frozenset() if found.is_spelling else found.columns)


def bind_origins(pair: InputPair, effect: float) -> Iterator[Origin]:
    """Bound values; what they are is known by their keyed digest only."""
    left, right = pair.known
    detail = {"baseline": list(left.binds), "current": list(right.binds)}
    if left.binds != right.binds:
        before, after = (", ".join(one.binds) or "none" for one in pair.known)
        sentence = f"{pair.name}: binds {before} -> {after}"
    elif left.binds_mac != right.binds_mac:
        sentence = f"{pair.name}: other values are bound to {', '.join(right.binds)}"
    else:
        return
    columns = bound_columns(statement_text(right))
    yield Origin(Cause("binds", pair.name, sentence, effect, detail), columns)


def mask_origins(pair: InputPair, effect: float) -> Iterator[Origin]:
    """Columns that are masked otherwise; a remark where the values stayed all the same."""
    left, right = pair.known
    columns = [{one.name: one for one in columns_of(version).values()} for version in pair.known]
    for column, before, after in differences(left.masked, right.masked, absent="none"):
        old, new = (side.get(column) for side in columns)
        is_felt = old is not new if old is None or new is None else not new.has_values_of(old)
        detail = {"input": pair.name, "baseline": before, "current": after}
        subject = pair.prefix + column
        sentence = f"{subject}: mask {before} -> {after}"
        cause = Cause("masks", subject, sentence, effect * is_felt, detail)
        yield Origin(cause, frozenset({column}))


def source_origins(pair: InputPair, effect: float) -> Iterator[Origin]:
    """Rows that came from another place. That one place holds new rows is no difference."""
    left, right = pair.known
    before, after = (f"{one.connection} ({one.dialect})" for one in pair.known)
    if before != after:
        sentence = f"{pair.name}: read from {before} -> {after}"
        yield Origin(Cause("inputs", pair.name, sentence, effect), EVERYTHING)
    elif left.tables != right.tables and left.statement == right.statement:
        tables = [listed(one.tables) or "no table" for one in pair.known]
        sentence = f"{pair.name}: reads {tables[0]} -> {tables[1]}"
        yield Origin(Cause("inputs", pair.name, sentence, effect), EVERYTHING)


def policy_causes(pairs: Sequence[InputPair]) -> Iterator[Cause]:
    """Policies that differ: a remark, for masks are causes of their own, unless rows went too.

    A filter of the policy's is in no version. So a policy that differs may explain another number
    of rows where the statement, the values and the masks are the same.
    """
    found: dict[tuple[str, str], bool] = {}
    for pair in pairs:
        left, right = pair.known
        if left.policy != right.policy:
            key = (left.policy, right.policy)
            found[key] = found.get(key, False) or may_be_filtered(pair)
    for (before, after), is_filter in sorted(found.items()):
        rest = ", which may filter other rows" if is_filter else ""
        sentence = f"policy {before[:DIGEST_CHARS]} -> {after[:DIGEST_CHARS]}{rest}"
        detail = {"baseline": before, "current": after}
        yield Cause("policy", "policy", sentence, float(is_filter), detail)


def may_be_filtered(pair: InputPair) -> bool:
    """Whether only the policy is left to explain that there are other rows."""
    left, right = pair.known
    if pair.is_same is not False or left.masked != right.masked:
        return False
    if (left.statement_mac, left.binds_mac) != (right.statement_mac, right.binds_mac):
        return False
    moved = moved_sources(pair)
    # New rows come by themselves. Rows that are gone and nothing else are what a filter leaves.
    return moved == [] or (moved is None and nesting(pair) == "part")


def policy_origins(pair: InputPair) -> Iterator[Origin]:
    """The policy, where its filters explain the rows."""
    left, right = pair.known
    if left.policy != right.policy and may_be_filtered(pair):
        [cause] = policy_causes([pair])
        yield Origin(cause, EVERYTHING)
