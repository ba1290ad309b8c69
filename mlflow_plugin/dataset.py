"""A governed dataset version as an MLflow dataset, made without looking at a single row.

MLflow's own constructor infers a schema with a Python loop over every value and hashes the first
10,000 rows of some columns; here the digest is the version id, and schema and profile come from the
version. All three are functions of the version id, since MLflow shows the first writer's for ever.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

# MLflow calls issubclass() on a constructor's return annotation: it must not become a string here.
import json
from typing import TYPE_CHECKING, Any

try:
    from mlflow.data.dataset import Dataset

    from mlflow_plugin.source import CONTENT_ROWS_MIN, GovernedSource
    from mlflow_plugin.text import fitted
except Exception as error:  # MLflow survives an ImportError of a plugin, and nothing else.
    raise ImportError("nbgov's dataset needs mlflow.data") from error

if TYPE_CHECKING:
    from nbgov import DatasetVersion

NAME_MAX = 480
PROFILE_VALUE_MAX = 80
COLUMNS_MAX = 2_000


class GovernedDataset(Dataset):
    """One dataset version; ``digest`` is its version id, 32 hex digits.

    Args:
        version: The version.
        name: The name on the run page; the version's own with the start of its id when ``None``.
    """

    def __init__(self, version: "DatasetVersion", *, name: str | None = None) -> None:
        self.version = version
        super().__init__(GovernedSource.of(version), name or display_name(version))

    def _compute_digest(self) -> str:
        return str(self.version.version_id)

    @property
    def schema(self) -> list[dict[str, Any]]:
        """One entry per column; the type of a masked column says how it is masked."""
        columns = [
            {"name": name, "type": column_type(self.version, name, kind), "required": False}
            for name, kind, _, _ in self.version.columns[:COLUMNS_MAX]
        ]
        hidden = len(self.version.columns) - len(columns)
        if hidden:
            columns.append({"name": f"… and {hidden} more", "type": "", "required": False})
        return columns

    @property
    def profile(self) -> dict[str, Any]:
        """At most twelve short facts, which MLflow's drawer lists as key and value."""
        version = self.version
        masked = ", ".join(f"{name} ({version.masked[name]})" for name in sorted(version.masked))
        stated = {
            "source": f"{version.connection} ({version.dialect})",
            "tables": ", ".join(version.tables),
            "parameters": ", ".join(version.binds),
            "policy": version.policy[:12],
            "masked_columns": masked or "none",
            "query": " ".join(version.statement.split()),
            "content": version.content_id[:16] if version.rows >= CONTENT_ROWS_MIN else "",
        }
        short = {key: fitted(value, PROFILE_VALUE_MAX) for key, value in stated.items() if value}
        return {"num_rows": version.rows, "num_columns": len(version.columns)} | short

    def to_dict(self) -> dict[str, str]:
        """What MLflow stores: name, digest, source, schema and profile, all as text."""
        return super().to_dict() | {
            "schema": json.dumps({"mlflow_colspec": self.schema}),
            "profile": json.dumps(self.profile),
        }


def from_governed(data: Any, name: str | None = None, digest: str | None = None) -> GovernedDataset:
    """The dataset behind a governed frame, as ``mlflow.data.from_governed``.

    Args:
        data: A frame that a session delivered, a :class:`nbgov.Result` read to its end, or the
            mark of either.
        name: A name for the run page, instead of the dataset's own.
        digest: The version id that is expected, or ``None``.

    Raises:
        RequestInvalid: The data carries no mark, its version is not kept here, or is another one.
    """
    import nbgov
    from mlflow_plugin.marks import found, mark_of

    version, _ = found(mark_of(data), nbgov.lookup)
    if digest not in (None, version.version_id):
        raise nbgov.RequestInvalid(
            "The frame holds another dataset version than the digest names.",
            code="usage",
            next_step="Leave the digest out, or read the version that it names.",
        )
    return GovernedDataset(version, name=name)


def display_name(version: "DatasetVersion") -> str:
    """The dataset's name with the start of its version, so that a chip on the page tells it all."""
    return f"{fitted(version.name, NAME_MAX)}@v{version.version_id[:8]}"


def column_type(version: "DatasetVersion", name: str, kind: str) -> str:
    """A column's logical type and, where it is masked, the mask."""
    mask = version.masked.get(name)
    return f"{kind} · masked {mask}" if mask else kind
