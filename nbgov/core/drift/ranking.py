"""Which cause stands first: by what it explains, and by what the model leans on.

The rules are written down in ``docs/concepts/drift.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nbgov.core.drift.asking import Origin
from nbgov.core.drift.inputs import InputPair
from nbgov.core.drift.report import KINDS, Cause
from nbgov.model import Run

# A column that carries less of the model than this, beside the one that carries most, is a column
# that the model does not lean on.
LEAN_MIN = 0.02
# What a certain change weighs at least: nobody knows how many of the rows it touched.
CERTAIN_WEIGHT = 0.5
# Circumstances that work on the model by themselves, the likeliest to matter first.
DIRECT_KINDS = ("models", "params", "code", "packages", "environment", "seeds", "hardware")
# Remarks that are there to be told, and are never an answer.
LAST_KINDS = ("values", "freshness", "metrics")


@dataclass(frozen=True, slots=True)
class Family:
    """Causes that are told together: what explains, then what follows from it.

    Attributes:
        causes: In the order of the report.
        weight: Effect times what the model leans on it; the largest of the family.
        is_leaned_on: Whether the model leans on anything of it.
    """

    causes: tuple[Cause, ...]
    weight: float
    is_leaned_on: bool = True


class Leaning:
    """How much the model leans on the columns of an input, from 0 to 1.

    Either run's model counts: a column that the new one no longer leans on may be a lost one.
    """

    def __init__(self, runs: tuple[Run, Run], pair: InputPair) -> None:
        self.pair = pair
        names = {name for version in pair.known for name, *_ in version.columns}
        tops = [max(run.importance.values(), default=0.0) for run in runs]
        shares = [
            {name: value / top for name, value in run.importance.items() if name in names}
            for run, top in zip(runs, tops, strict=True)
            if top > 0
        ]
        self.shares = [side for side in shares if side]

    def of(self, cause: Cause) -> float:
        """The largest share of the columns that a cause is about; 1 where nothing is known."""
        columns = columns_of(cause, self.pair)
        if not self.shares or not columns or cause.kind == "labels":
            return 1.0
        if not self.pair.labels.isdisjoint(columns):
            return 1.0
        return max(max(0.0, side.get(name, 0.0)) for side in self.shares for name in columns)


def columns_of(cause: Cause, pair: InputPair) -> tuple[str, ...]:
    """The columns that a cause is about; none if it is about the rows."""
    if "columns" in cause.detail:
        return tuple(cause.detail["columns"])
    column = pair.column_of(cause)
    return () if cause.subject == pair.name else (column,)


def input_families(
    causes: Sequence[Cause], origins: Sequence[Origin], pair: InputPair, leaning: Leaning
) -> Iterator[Family]:
    """The causes about one input, each with what it follows from."""
    is_asked = any(one.cause.effect and one.columns is None for one in origins)
    roots = [*origins, *(() if is_asked else row_origin(causes))]
    own = [cause for cause in causes if not any(cause is root.cause for root in roots)]
    followers: dict[int, list[Cause]] = {}
    for cause in own:
        place = next(
            (
                place
                for place, root in enumerate(roots)
                if explains(root, cause, columns_of(cause, pair))
            ),
            None,
        )
        if place is None:
            yield Family((cause,), weight(cause, leaning), leaning.of(cause) >= LEAN_MIN)
        else:
            after = replace(cause, because=roots[place].cause.kind)
            followers.setdefault(place, []).append(after)
    for place, root in enumerate(roots):
        yield rooted(root.cause, followers.get(place, []), leaning)


def explains(root: Origin, cause: Cause, columns: tuple[str, ...]) -> bool:
    """Whether a cause follows from another one. Freshness follows from nothing here."""
    is_felt = root.cause.effect > 0 or root.cause.kind == "rows"
    return is_felt and cause.kind not in {"freshness", "inputs"} and root.explains(columns)


def row_origin(causes: Sequence[Cause]) -> Iterator[Origin]:
    """Rows that were only added or only removed: they explain what followed."""
    for cause in causes:
        if cause.kind == "rows" and cause.detail.get("is_nested"):
            yield Origin(cause, None)


def rooted(root: Cause, followers: Sequence[Cause], leaning: Leaning) -> Family:
    """A family with its root first. Few rows that explain a drift are the drift."""
    moved = [cause for cause in followers if cause.effect]
    weights = [weight(cause, leaning) for cause in moved]
    leans = [leaning.of(cause) for cause in moved]
    if root.kind == "rows" and moved and not root.effect:
        before, after = root.detail["baseline"], root.detail["current"]
        root = replace(root, effect=abs(after - before) / max(before, after))
    ordered = sorted(followers, key=lambda cause: (-weight(cause, leaning), *place_of(cause)))
    own = weight(root, leaning) if root.kind in {"rows", "masks"} else 0.0
    lean = leaning.of(root) if root.kind == "masks" else 1.0
    return Family((root, *ordered), max([own, *weights]), max([lean, *leans]) >= LEAN_MIN)


def weight(cause: Cause, leaning: Leaning) -> float:
    """Effect times what the model leans on it."""
    effect = max(cause.effect, CERTAIN_WEIGHT) if cause.detail.get("is_certain") else cause.effect
    return effect * leaning.of(cause)


def ranked(families: Sequence[Family]) -> tuple[Cause, ...]:
    """All causes in the order of a report.

    What changed the data comes first, then what changed the training, then data that the model
    does not lean on, then remarks.
    """
    felt = sorted(
        (family for family in families if family.causes[0].effect),
        key=lambda family: (tier(family), -family.weight, *place_of(family.causes[0])),
    )
    told = [cause for family in felt for cause in family.causes if cause.effect]
    remarks = [cause for family in families for cause in family.causes if not cause.effect]
    remarks.sort(key=lambda cause: (cause.kind in LAST_KINDS, *place_of(cause)))
    return (*told, *remarks)


def tier(family: Family) -> tuple[int, int]:
    """The group of a family: data, training, what the model does not lean on."""
    first = family.causes[0]
    if first.kind in DIRECT_KINDS:
        return 1, DIRECT_KINDS.index(first.kind)
    if first.is_stale:
        return 2, 0  # Old data explains why a model is as it was, hardly why it is another.
    return (0 if family.is_leaned_on else 2), 0


def place_of(cause: Cause) -> tuple[int, str]:
    """What settles a tie."""
    return KINDS.index(cause.kind), cause.subject
