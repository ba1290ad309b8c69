"""What people call the things that they compare: runs, model versions, dataset versions, files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.core.drift.inputs import used_inputs
from nbgov.errors import RequestInvalid
from nbgov.model import DatasetVersion, DriftTerms, Run, RunInput
from nbgov.retraining.held import Closed, closed_levels, held_version, is_keyed
from nbgov.tables import FORMATS

if TYPE_CHECKING:
    from nbgov.session import Session

RUN_MARKS = ("runs:/", "models:/")
VERSION_CHARS = 12
# Asking a run store for what cannot be an id would load MLflow to answer a slip of the pen.
RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison.

    Attributes:
        run: The run; for data, a run that did nothing but read it.
        versions: Dataset versions by id, as far as they are known.
        is_training: Whether it is a run that trained, rather than data.
        is_held: Whether it is data that the caller holds, so that nothing says how it was made.
    """

    run: Run
    versions: Mapping[str, DatasetVersion]
    is_training: bool = True
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Data that the caller holds and that nobody has read yet: a stream can be read once."""

    what: Any


class Ground:
    """Where references are looked up. A session is opened when the first thing needs one.

    Args:
        config: An ``nbgov.yaml``, its folder, an open session, or ``None`` for the nearest.
        opened: Closes what is opened here.
        versions: Dataset versions of runs that are given as values.
    """

    def __init__(
        self,
        config: str | Path | Session | None,
        opened: ExitStack,
        versions: Mapping[str, DatasetVersion] | None = None,
    ) -> None:
        self.config = config
        self.opened = opened
        self.given = versions
        self.found: Session | None = None

    @property
    def session(self) -> Session:
        """The session behind it."""
        from nbgov.session import Session, connect

        if self.found is None:
            self.found = (
                self.config
                if isinstance(self.config, Session)
                else self.opened.enter_context(connect(self.config))
            )
        return self.found

    def terms(self) -> DriftTerms:
        """What counts as drift where references are looked up; else nbgov's own terms."""
        is_wanted = self.found is not None or self.config is not None
        return self.session.terms() if is_wanted else DriftTerms()

    def pair(self, first: Any, second: Any) -> tuple[Side, Side]:
        """Two sides, of whatever they are.

        Raises:
            RequestInvalid: One is nothing that can be compared.
        """
        found = self.find(first), self.find(second)
        return self.read(found[0], found[1]), self.read(found[1], found[0])

    def read(self, one: Side | Data, beside: Side | Data) -> Side:
        """A side, read if that has not been done; held data as closed as what it stands beside."""
        if isinstance(one, Side):
            return one
        version = only_version(beside) if isinstance(beside, Side) else None
        return of_held(held_version(one.what, None if version is None else self.closed(version)))

    def closed(self, version: DatasetVersion) -> Closed | None:
        """How a version is closed, if it is."""
        levels = closed_levels(version)
        if not levels and not is_keyed(version):
            return None
        return Closed(levels, is_keyed(version), self.session)

    def find(self, what: Any) -> Side | Data:
        """What something is.

        Raises:
            RequestInvalid: It is a reference that means nothing.
        """
        match what:
            case Run():
                return self.training(what)
            case DatasetVersion():
                return of_version(what)
            case str():
                return self.named(what)
            case _:
                return Data(what)

    def named(self, reference: str) -> Side | Data:
        """What a reference means."""
        if reference.startswith(RUN_MARKS):
            return self.training(self.session.run(reference))
        if is_path(reference):
            return Data(Path(reference))
        try:
            return of_version(self.session.dataset(reference))
        except RequestInvalid as error:
            if error.code != "unknown-dataset":
                raise
            return self.run_or_file(reference, error)

    def run_or_file(self, reference: str, no_dataset: RequestInvalid) -> Side | Data:
        """What a reference means that is no dataset.

        Raises:
            RequestInvalid: It is no run and no file either.
        """
        if Path(reference).is_file():
            return Data(Path(reference))
        if RUN_ID.fullmatch(reference):
            with suppress(RequestInvalid):
                return self.training(self.session.run(reference))
        if not no_dataset.what.startswith("There is no"):
            raise no_dataset  # Several versions start so, and their list is what helps.
        near = no_dataset.next_step if "did you mean" in no_dataset.next_step else ""
        raise RequestInvalid(
            f"There is nothing called {reference!r} to compare.",
            code="unknown-reference",
            why="it is no dataset, no version of one, no run's id and no file",
            next_step=near
            or "use a run's id, models:/NAME@ALIAS, a name of nbgov datasets list, or a data file",
        )

    def training(self, run: Run) -> Side:
        """A run with the dataset versions that it read."""
        if self.given is not None:
            return Side(run, self.given)
        ids = {one.version_id for one in run.inputs}
        found = ((one, self.session.version(one)) for one in sorted(ids))
        return Side(run, {key: version for key, version in found if version is not None})


def only_version(side: Side) -> DatasetVersion | None:
    """The version of a side's one input, if that is known."""
    ids = {one.version_id for one in used_inputs(side.run)}
    return side.versions.get(ids.pop()) if len(ids) == 1 else None


def of_version(version: DatasetVersion) -> Side:
    """A dataset version as a side."""
    return Side(
        Run(version.version_id, version_label(version), (as_input(version),), {}, {}),
        {version.version_id: version},
        is_training=False,
    )


def of_held(version: DatasetVersion) -> Side:
    """Data that the caller holds as a side."""
    run = Run(version.version_id, version.name, (as_input(version),), {}, {})
    return Side(run, {version.version_id: version}, is_training=False, is_held=True)


def as_input(version: DatasetVersion) -> RunInput:
    """A version as the input of a run."""
    return RunInput(version.name, version.version_id, "data", "explicit")


def version_label(version: DatasetVersion) -> str:
    """How a version is called, such as ``train@v0123456789ab``; a reference too."""
    return f"{version.name}@v{version.version_id[:VERSION_CHARS]}"


def is_path(reference: str) -> bool:
    """Whether a text can only be meant as a path."""
    return os.sep in reference or Path(reference).suffix.lower() in FORMATS
