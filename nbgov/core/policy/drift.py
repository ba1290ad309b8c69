"""``drift:`` of ``policy.yaml``: what a project calls drift, and what holds a promotion.

It decodes into :class:`~nbgov.model.DriftTerms`; what the terms mean is the business of
:mod:`nbgov.core.drift` and :mod:`nbgov.core.promotion`. What could never match is an error here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from nbgov.core.policy.audience import NOBODY, STRICT, ApprovalTerms
from nbgov.model import ColumnTerms, DriftTerms, FreshnessTerms

AGE = re.compile(r"(?P<count>[1-9][0-9]{0,5})(?P<unit>[mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
DEFAULTS = DriftTerms()
# What every comparison tells apart; a test holds the list against nbgov.core.drift.report.
CauseKind = Literal[
    "inputs", "rows", "schema", "pairing", "values", "labels", "nulls", "unit", "levels",
    "cardinality", "distribution", "tail", "freshness",
    "statement", "binds", "policy", "masks", "params", "seeds", "code", "packages", "environment",
    "hardware", "models", "metrics",
]  # fmt: skip
Share = Annotated[float, Field(gt=0, le=1, strict=True)] | None


def read_age(text: Any) -> timedelta:
    """The length of time that a text such as ``30d`` or ``12h`` states.

    Raises:
        ValueError: It states none.

    >>> read_age("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    found = AGE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("an age is a number and a unit: 45m, 12h, 30d or 4w")
    return timedelta(**{UNITS[found["unit"]]: int(found["count"])})


Age = Annotated[
    timedelta,
    BeforeValidator(read_age),
    WithJsonSchema({"type": "string", "pattern": f"^{AGE.pattern.replace('?P<count>', '')}$"}),
]


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """What counts as drift of some columns.

    Attributes:
        on: Patterns of ``DATASET.COLUMN``, with ``*`` for any text.
        tags: Patterns of tags.
        ignore: Whether changes of their values are left out.
        ks, psi, cramers_v, nulls: The least effect that counts.
    """

    __pydantic_config__ = STRICT
    on: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    ignore: bool = False
    ks: Share = None
    psi: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] | None = None
    cramers_v: Share = None
    nulls: Share = None

    @property
    def is_measured(self) -> bool:
        """Whether it sets a threshold."""
        return any(one is not None for one in (self.ks, self.psi, self.cramers_v, self.nulls))

    def terms(self) -> ColumnTerms:
        """The same as terms of a comparison."""
        return ColumnTerms(
            on=self.on,
            tags=self.tags,
            is_ignored=self.ignore,
            ks=self.ks,
            psi=self.psi,
            cramers_v=self.cramers_v,
            nulls=self.nulls,
        )


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old training data may be.

    Attributes:
        on: Patterns of dataset names.
        age_max: The oldest that is still fresh when the run starts.
        column: The column whose newest value tells the age.
    """

    __pydantic_config__ = STRICT
    on: tuple[str, ...]
    age_max: Age
    column: str | None = None


@dataclass(frozen=True, slots=True)
class DriftSection:
    """``drift:`` as written.

    Attributes:
        baseline: Where to look for the run to compare with, in this order.
        columns: Thresholds; of those that meet a column, the last one wins.
        freshness: Limits of age.
        holds: Kinds of causes that hold a promotion, beside what always does.
        first: Whether a model is held whose training data nothing can be compared with.
        approval: Whose consent releases a held promotion; without it, nobody's does.
        keyed: Patterns of ``connection.schema.table``, of tables whose fingerprints are keyed.
    """

    __pydantic_config__ = STRICT
    baseline: tuple[Literal["tag", "champion", "last"], ...] = DEFAULTS.baseline
    columns: tuple[ColumnDrift, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    holds: tuple[CauseKind, ...] | None = None
    first: Literal["open", "held"] = "open"
    approval: ApprovalTerms | None = None
    keyed: tuple[str, ...] = ()

    def terms(self) -> DriftTerms:
        """The same as terms of a comparison and of a promotion."""
        # Security: who is not named may not release a promotion.
        by = NOBODY if self.approval is None else self.approval.by
        return DriftTerms(
            baseline=self.baseline,
            columns=tuple(one.terms() for one in self.columns),
            freshness=tuple(FreshnessTerms(f.on, f.age_max, f.column) for f in self.freshness),
            holds=DEFAULTS.holds if self.holds is None else frozenset(self.holds),
            is_first_held=self.first == "held",
            votes=1 if self.approval is None else self.approval.votes,
            by_names=by.names,
            by_groups=by.groups,
            by_roles=by.roles,
            keyed=self.keyed,
        )

    def problem(self) -> tuple[str, str] | None:
        """What makes no sense in it, with what to do about that."""
        if not self.baseline or len(set(self.baseline)) < len(self.baseline):
            return "drift.baseline is empty or names a place twice", "list tag, champion, last"
        for place, one in enumerate(self.columns):
            where = f"drift.columns.{place}"
            if not (one.on or one.tags):
                return f"{where} can never match", "give it at least one of each: on, tags"
            if one.ignore == one.is_measured:
                why = "both ignores its columns and measures them" if one.ignore else "does nothing"
                return f"{where} {why}", "write ignore: true, or a threshold, and not both"
            for text in one.on:
                if not names_column(text):
                    return f"{where}.on holds a pattern without a column", "write DATASET.COLUMN"
        for place, limit in enumerate(self.freshness):
            if not all(limit.on) or not limit.on or limit.column == "":
                where = f"drift.freshness.{place}"
                return f"{where} can never match", "name datasets under on, and no empty column"
        return None


def names_column(pattern: str) -> bool:
    """Whether a pattern can match a dataset's name, a dot and a column's name.

    >>> names_column("flights.delay"), names_column("*"), names_column("delay"), names_column("a.")
    (True, True, False, False)
    """
    head, _, last = pattern.rpartition(".")
    return "*" in pattern or bool(head and last)
