"""Where a governed dataset comes from, in MLflow's terms.

MLflow keeps one row for a (name, digest) pair and shows the first writer's source for ever. So a
source states functions of the dataset version only; who read it, when and under which record stands
in the tags of the run's input. Cases: ``tests/surfaces/test_mlflow.py``.
"""

import json
from typing import TYPE_CHECKING, Any

try:
    from mlflow.data.dataset_source import DatasetSource
except Exception as error:  # MLflow survives an ImportError of a plugin, and nothing else.
    raise ImportError("nbgov's dataset source needs mlflow.data") from error

from mlflow_plugin.text import fitted

if TYPE_CHECKING:
    from nbgov import DatasetVersion

KIND = "nbgov/1"
SCHEME = "nbgov://"
STATEMENT_BYTES_MAX = 40_000
LISTED_MAX = 50
# Security: a digest over fewer rows is inverted by trying likely values; many read a run page.
CONTENT_ROWS_MIN = 20


class GovernedSource(DatasetSource):
    """A dataset version as MLflow keeps it: connection, tables, statement, policy, content.

    Args:
        facts: JSON-ready; a pure function of the version id.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = dict(facts)

    @classmethod
    def of(cls, version: "DatasetVersion") -> "GovernedSource":
        """The source of a version: equal versions give equal bytes."""
        return cls(facts(version))

    @staticmethod
    def _get_source_type() -> str:
        # The drawer of a stock MLflow shows nothing of a custom type; this one is free.
        return "external"

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, str) and raw_source.startswith(SCHEME)

    @classmethod
    def _resolve(cls, raw_source: Any) -> "GovernedSource":
        return cls({"kind": KIND, "uri": raw_source})

    def to_dict(self) -> dict[str, Any]:
        """The facts, JSON-ready."""
        return dict(self.facts)

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "GovernedSource":
        """The source that :meth:`to_dict` gave."""
        return cls(source_dict)

    def load(self) -> Any:
        """Refuse: governed rows are delivered by a session, which decides, masks and records.

        Raises:
            RequestInvalid: Always.
        """
        from nbgov import RequestInvalid

        raise RequestInvalid(
            "A governed dataset cannot be loaded through MLflow.",
            code="usage",
            why="MLflow holds no rows, and the statement without its values.",
            next_step="Run the statement again in a session and compare the versions.",
        )


def facts(version: "DatasetVersion") -> dict[str, Any]:
    """What MLflow may know of a version, JSON-ready and below its limit of 65,535 characters.

    The keyed digests of statement and binds stay out: without them nobody finds the contents behind
    a version's id by trying.
    """
    stated: dict[str, Any] = {
        "kind": KIND,
        "uri": f"{SCHEME}{version.name}@{version.version_id}",
        "connection": version.connection,
        "dialect": version.dialect,
        "tables": list(version.tables[:LISTED_MAX]),
        "statement": shortened(version.statement),
        "parameters": [fitted(bind, 100) for bind in version.binds[:LISTED_MAX]],
        "policy": version.policy,
        "masked": {name: version.masked[name] for name in sorted(version.masked)[:LISTED_MAX]},
        "rows": version.rows,
        "schema": version.schema_id,
    }
    if version.rows >= CONTENT_ROWS_MIN:
        stated["content"] = version.content_id
    return stated


def shortened(statement: str) -> str:
    """A statement that takes at most :data:`STATEMENT_BYTES_MAX` bytes as JSON."""
    text = statement
    while len(json.dumps(text)) > STATEMENT_BYTES_MAX:
        text = text[: len(text) * 9 // 10]
    return text if text == statement else text + " …"
