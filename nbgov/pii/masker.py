"""Masks the columns of a table as planned, redacts what fails, and keeps a report.

A :class:`Masker` is prepared once, from names and options, and takes any number of batches. It
knows Arrow arrays and Python objects, and no frames. The cases are in ``tests/pii/test_frames.py``.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from nbgov import wiring
from nbgov.core import masks
from nbgov.core.masking import no_keys
from nbgov.core.masks import UNKEYED, Keys
from nbgov.core.policy import Policy
from nbgov.core.policy import parse as parse_policy
from nbgov.core.presets import NAMES, load
from nbgov.errors import ConfigInvalid, NbgovError, RequestInvalid
from nbgov.pii.cells import CellMasking
from nbgov.pii.plan import REDACT, Treatment, plan, terms
from nbgov.pii.scanning import Scanner

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

    from nbgov.ports import Detector

T = TypeVar("T")
MODEL_MISSING = "detector-model-missing"


class Masker:
    """Masks the columns of one table, batch by batch.

    What happens to a column is decided by its name and by the options, never by a batch. Only where
    a column cannot be scanned, it is redacted, in that batch and in all that follow.

    Args:
        names: The columns; a name may occur twice.
        policy, operators, table, entities, threshold, language, subject, key, engine, progress: As
            :func:`nbgov.mask` takes them.
        redacted: Columns to redact unread.
        report: Where the report is written, or ``None``.

    Attributes:
        report: For each column a dict: ``column``; ``how`` it was treated (``kept``, ``masked``,
            ``scanned``, ``redacted``); the ``operator`` that masked it; ``why``; and
            ``entities``: for each entity how many texts it was replaced in.
        failed: Code of the error by column, for columns that could not be scanned.
    """

    def __init__(  # noqa: PLR0913 - the keywords of nbgov.mask.
        self,
        names: Sequence[str],
        *,
        policy: str | Path | None = None,
        operators: Mapping[str, str] | None = None,
        table: str = "",
        entities: Sequence[str] | None = None,
        threshold: float | None = None,
        language: str | None = None,
        subject: str | None = None,
        key: str | None = None,
        engine: AnalyzerEngine | Detector | None = None,
        progress: bool | None = None,
        redacted: Collection[str] = (),
        report: list[dict[str, Any]] | None = None,
    ) -> None:
        self.names = tuple(names)
        self.scanner = Scanner(engine, reads="text", progress=progress)
        source = find_policy(policy)
        if policy is None and entities is None and engine is not None:
            entities = self.scanner.known(load("default").operators, language or "en")
        asked = terms(
            self.names,
            source=source,
            table=table,
            operators=operators or {},
            entities=entities,
            threshold=threshold,
            language=language,
        )
        self.content = asked.content
        self.treatments = list(plan(self.names, asked, redacted))
        self.refuse_strangers(operators or {})
        if subject is not None and subject not in self.names:
            raise stranger(subject)
        self.subject = None if subject is None else self.names.index(subject)
        self.keys = find_keys(key) if self.needs_key() else UNKEYED
        self.failed: dict[str, str] = {}
        self.report = [] if report is None else report
        self.report[:] = [
            to_entry(name, one) for name, one in zip(self.names, self.treatments, strict=True)
        ]

    def refuse_strangers(self, operators: Iterable[str]) -> None:
        """Refuse what would never be masked because of a wrong name.

        Raises:
            RequestInvalid: An operator is for no column and no entity, or the detector does not
                know an entity (``usage``).
        """
        others = [name for name in operators if name not in self.names]
        language = self.content.language
        if others and (lost := set(others) - set(self.scanner.known(others, language))):
            raise stranger(min(lost))
        if self.is_scanning():
            self.scanner.refuse_unknown(self.content.entities, language)

    def is_scanning(self) -> bool:
        """Whether some column is looked through."""
        return any(one.how == "scanned" for one in self.treatments)

    def needs_key(self) -> bool:
        """Whether an operator of some column or entity takes a key."""
        used = [one.operator for one in self.treatments if one.operator is not None]
        if self.is_scanning():
            used += [masks.parse_operator(text) for _, text in self.content.operators]
        return any(one.needs_key for one in used)

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch with its columns masked; a column that is not kept may hold nulls."""
        subjects = None if self.subject is None else batch.column(self.subject)
        columns = [
            self.column(position, column, subjects) for position, column in enumerate(batch.columns)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema(batch.schema))

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema of masked batches."""
        fields = [
            field if one.how == "kept" else field.with_nullable(nullable=True)
            for field, one in zip(schema, self.treatments, strict=True)
        ]
        return pa.schema(fields, schema.metadata)

    def column(self, position: int, array: pa.Array, subjects: pa.Array | None = None) -> pa.Array:
        """A column with what is to be masked masked, of the same type."""
        return self.treat(
            position,
            keep=lambda: array,
            cover=lambda one: self.cover(one, array, subjects),
            scan=lambda masking: masking.rewrite(array),
            blank=lambda: pa.nulls(len(array), array.type),
        )

    def cover(
        self, treatment: Treatment, array: pa.Array, subjects: pa.Array | None = None
    ) -> pa.Array:
        """A whole column masked by the operator of its treatment.

        Raises:
            ConfigInvalid: The operator does not fit the type, or needs a key or a subject that is
                not there.
        """
        assert treatment.operator is not None, "what is masked has an operator"
        cover = functools.partial(
            masks.cover, array, keys=self.keys, domain=treatment.domain, subjects=subjects
        )
        try:
            return cover(treatment.operator)
        except ConfigInvalid:
            # A policy speaks of tags, and in SQL too its masks read NULL where they do not fit.
            if treatment.otherwise is None:
                raise
            return cover(treatment.otherwise)

    def treat(
        self,
        position: int,
        *,
        keep: Callable[[], T],
        cover: Callable[[Treatment], T],
        scan: Callable[[CellMasking], T],
        blank: Callable[[], T],
    ) -> T:
        """Do what the plan says with a column, and redact it where that fails.

        What a person got wrong is raised: a wrong name, a wrong operator, a missing key or model.
        """
        treatment = self.treatments[position]
        if treatment.how == "kept":
            return keep()
        if treatment.how == "redacted":
            return blank()
        masking = self.masking(position)
        try:
            done = cover(treatment) if treatment.how == "masked" else scan(masking)
        except ConfigInvalid:
            raise
        except NbgovError as error:
            if error.code == MODEL_MISSING:
                raise
            code, why = error.code, error.why
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the column is redacted.
            # Security: only the type of the error is told, as its text may quote a value.
            code, why = "detector-failed", type(error).__name__
        else:
            self.note(position, masking)
            return done
        self.redact(position, code, why)
        return blank()

    def masking(self, position: int) -> CellMasking:
        """What scans a column: its name stands beside every value."""
        name = self.names[position]
        context = (name,) if name else ()
        return CellMasking(
            self.content, self.scanner.detect, keys=lambda: self.keys, context=context
        )

    def search(self, texts: pa.LargeStringArray, name: str) -> list[str]:
        """The entities that are found in some distinct texts under a name."""
        if not len(texts) or not self.content.entities:
            return []
        found = self.scanner.detect(
            texts,
            entities=self.content.entities,
            score_min=self.content.score_min,
            language=self.content.language,
            context=(name,) if name else (),
        )
        return sorted(set(found["entity"].to_pylist()))

    def redact(self, position: int, code: str, why: str) -> None:
        """Redact a column from now on, and say so once."""
        name = self.names[position]
        self.treatments[position] = Treatment("redacted", REDACT, code)
        self.report[position] |= {"how": "redacted", "operator": REDACT.text, "why": code}
        self.failed[name] = code
        self.warn(
            f"The column {name!r} could not be looked through, so all of it was redacted ({code}):"
            f" {why}"
        )

    def note(self, position: int, masking: CellMasking) -> None:
        """Add what was found in a column to the report."""
        name, entry = self.names[position], self.report[position]
        for entity, count in masking.counts.items():
            entry["entities"][entity] = entry["entities"].get(entity, 0) + count
        if masking.nulled and not entry["why"]:
            entry["why"] = "numbers or dates look like PII: give the column a tag"
        if masking.unreadable and name not in self.failed:
            self.failed[name] = "detector-failed"
            self.warn(
                f"The column {name!r} holds cells that cannot be scanned for PII, such as bytes"
                " that are no UTF-8; those were redacted."
            )

    def warn(self, message: str) -> None:
        """Warn where the caller's own code is."""
        frame, depth = inspect.currentframe(), 1
        while frame is not None and str(frame.f_globals.get("__name__")).startswith("nbgov."):
            frame, depth = frame.f_back, depth + 1
        warnings.warn(message, UserWarning, stacklevel=depth)


def to_entry(name: str, treatment: Treatment) -> dict[str, Any]:
    """What the report says of a column at first."""
    operator = "" if treatment.operator is None else treatment.operator.text
    how, why = treatment.how, treatment.why
    return {"column": name, "how": how, "operator": operator, "why": why, "entities": {}}


def find_policy(policy: str | Path | None) -> Policy | str:
    """The policy in a file, or the name of a preset.

    Raises:
        ConfigInvalid: There is no such file (``policy-missing``), or it does not decode.
    """
    if policy is None or policy in NAMES:
        return str(policy or "default")
    return parse_policy(wiring.read_text(Path(policy).expanduser(), code="policy-missing"))


def find_keys(key: str | None) -> Keys:
    """The keys of masks: those that are named, else those of the project around here.

    Raises:
        ConfigInvalid: No key is named and there is no project (``key-missing``), or the key cannot
            be read, or is too short.
    """
    if key is not None:
        return Keys(wiring.read_key(key, Path.cwd()))
    try:
        path = wiring.find_config(None)
    except ConfigInvalid:
        return no_keys()
    config = wiring.read_config(path)
    return Keys(wiring.pseudonym_key(path.parent, config))


def stranger(name: str) -> RequestInvalid:
    """The error of a name that means nothing here."""
    return RequestInvalid(
        f"{name!r} is no column of the table, and no entity.",
        code="usage",
        why="a wrong name would leave unmasked what it is meant for",
        next_step="correct it; letters count as they are written",
    )
