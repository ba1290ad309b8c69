"""Where training runs and registered models are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nbgov.model import DatasetVersion, Delivery, DriftTerms, ModelVersion, Run


@runtime_checkable
class RunStore(Protocol):
    """Knows training runs and shows lineage on them. MLflow is one.

    ``product`` is the name of the product's Python module.
    """

    product: str

    def run(self, reference: str) -> Run:
        """The run behind a reference: an id, ``runs:/ID``, or the run that made a model version.

        Raises:
            RequestInvalid: There is no such run, or the model version names none.
            BackendFailed: The product did not answer.
        """
        ...

    def model(self, reference: str) -> ModelVersion:
        """The model version behind ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.

        Raises:
            RequestInvalid: There is no such version.
            BackendFailed: The product did not answer, or the model's files cannot be read.
        """
        ...

    def baseline(self, run_id: str, terms: DriftTerms) -> str | None:
        """The id of the run that a run is to be compared with; ``None`` without one."""
        ...

    def attach(self, run_id: str, files: Mapping[str, str]) -> None:
        """Put texts on a run's page, by their path below nbgov's own folder there.

        Raises:
            BackendFailed: The product did not take them.
        """
        ...

    def contents(
        self, run_id: str, *, folder: Path, wanted: Callable[[str], bool]
    ) -> Iterator[tuple[str, Sequence[str] | Path | None]]:
        """All that a run holds, for whoever looks for what should not be there.

        Args:
            run_id: The run.
            folder: Where copies of files may be put; whoever asks clears it.
            wanted: Says by its path whether a file is to be fetched.

        Yields:
            First what the run states, such as ``("params", ["depth=3"])``; then each file by its
            path, with a copy on this machine, or ``None`` where it is not wanted.

        Raises:
            RequestInvalid: There is no such run.
            BackendFailed: The product did not answer, or a file cannot be fetched.
        """
        ...

    def active_run(self) -> str:
        """The id of the open run that a delivered result is bound to, or empty.

        Never raises, and asks no server.
        """
        ...

    def delivered(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Hear that a result was delivered; bind it to the active run, if there is one.

        Never raises: a run store that is away must not fail a query.
        """
        ...

    def track(
        self, delivery: Delivery, *, run_id: str | None, context: str, labels: Sequence[str] = ()
    ) -> str:
        """Bind a delivery to a run explicitly and return the run's id."""
        ...
