"""MLflow's own SQL registry, with a gate in front of everything that can promote a model version.

Every method of the registry that this version of MLflow has was decided on; a test lists them, so
that a new one in a newer MLflow fails there until somebody decides. What is refused is refused for
every client, since the server is the only way to the database.
Cases: ``tests/mlflow/test_gate.py``.
"""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import ModelVersion, ModelVersionTag
from mlflow.entities.model_registry.model_version_stages import (
    DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS,
    STAGE_NONE,
    get_canonical_stage,
)
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS, IS_PROMPT_TAG_KEY
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
)

import nbgov
from mlflow_plugin.runs import MlflowRuns

with warnings.catch_warnings():
    # MLflow's tables use what SQLAlchemy is about to give up, and say so when they are imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
    from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore

if TYPE_CHECKING:
    from nbgov import Promotion

logger = logging.getLogger(__name__)
OWN = "nbgov."
GATE_TAG = "nbgov.gate"
DRIFT_TAG = "nbgov.drift"
# "None" and "Archived" take a version out of use, which is nobody's harm.
ACTIVE_STAGES = frozenset(DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS) - {STAGE_NONE}


class GatedStore(SqlAlchemyStore):
    """A registry in an SQL database that refuses what nbgov holds.

    It asks the ``nbgov.yaml`` of the server (``NBGOV_CONFIG``) each time, and keeps no answer.
    Whatever it cannot find out is a refusal.
    """

    # ------------------------------------------------------------ what promotes

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version, if the version may be promoted."""
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
        self.admit(name, version, f"alias {alias}")
        super().set_registered_model_alias(name, alias, version)

    def transition_model_version_stage(
        self,
        name: str,
        version: str,
        stage: str,
        archive_existing_versions: bool,  # noqa: FBT001 - MLflow's own signature
    ) -> ModelVersion:
        """Move a version to another stage, if it may be promoted or the stage is out of use."""
        if get_canonical_stage(stage) in ACTIVE_STAGES:
            self.admit(name, version, f"stage {get_canonical_stage(stage)}")
        moved: ModelVersion = super().transition_model_version_stage(
            name, version, stage, archive_existing_versions
        )
        return moved

    def rename_registered_model(self, name: str, new_name: str) -> Any:
        """Rename a model of which no version is in use.

        Security: aliases and stages would come along, and whoever loads the new name by them would
        get versions that were never judged as versions of that model.
        """
        model = super().get_registered_model(name)
        active = self.get_latest_versions(name, sorted(ACTIVE_STAGES))
        if model.aliases or active:
            raise refused(
                f"The model {name} is not renamed: versions of it are in use.",
                "their aliases and stages would come along without a question",
                "delete the aliases, archive the versions, rename it, and set them again",
            )
        return super().rename_registered_model(name, new_name)

    # ------------------------------------------------------------ what claims to be our word

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Register a version, and tag it with what nbgov says of it.

        A new version is in use by nobody, so it is never refused. Tags of ours that it comes with,
        as those of a copy do, are left out: they are the client's word, or another version's.
        """
        made = super().create_model_version(
            name,
            source,
            run_id,
            [tag for tag in tags or () if not is_own(tag.key)],
            run_link,
            description,
            local_model_path,
            model_id,
        )
        if not self.is_prompt(made):
            self.flag(made.name, str(made.version))
        tagged: ModelVersion = super().get_model_version(made.name, str(made.version))
        return tagged

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[Any] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> Any:
        """Register a model, without tags of ours."""
        for tag in tags or ():
            refuse_own(tag.key)
        return super().create_registered_model(name, tags, description, deployment_job_id)

    def set_registered_model_tag(self, name: str, tag: Any) -> None:
        """Tag a model, unless the tag is ours or turns the model into a prompt."""
        refuse_own(tag.key, IS_PROMPT_TAG_KEY)
        super().set_registered_model_tag(name, tag)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a model, unless it is ours or says what the model is."""
        refuse_own(key, IS_PROMPT_TAG_KEY)
        super().delete_registered_model_tag(name, key)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        """Tag a version, unless the tag is ours."""
        refuse_own(tag.key)
        super().set_model_version_tag(name, version, tag)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Remove a tag of a version, unless it is ours."""
        refuse_own(key)
        super().delete_model_version_tag(name, version, key)

    # ------------------------------------------------------------ the gate

    def admit(self, name: str, version: str, wish: str) -> None:
        """Let a version be promoted and write that down, or refuse.

        Raises:
            MlflowException: There is no such version; or it is held, or nbgov cannot say
                (``PERMISSION_DENIED``).
        """
        found = super().get_model_version(name, version)
        if self.is_prompt(found):
            return
        reference = f"models:/{found.name}/{found.version}"
        try:
            with nbgov.promotions(store=MlflowRuns()) as gate:
                promotion = gate.admit(reference, wish=wish, account=caller())
        except nbgov.NbgovError as error:
            if error.code == "promotion-held":
                self.flag(found.name, str(found.version))
            raise refused(error.what, error.why, error.next_step) from error
        except Exception as error:
            # Security: a gate that fails in a way that nobody thought of is shut.
            # Security: the places, and not the error's own text, which may quote data.
            places = "".join(traceback.format_tb(error.__traceback__))
            logger.error("nbgov: the gate failed (%s)\n%s", type(error).__name__, places)  # noqa: TRY400
            raise refused(
                f"{reference} is not promoted.",
                f"the gate failed with {type(error).__name__}",
                "see the server's log",
            ) from error
        self.mark(found.name, str(found.version), promotion)

    def flag(self, name: str, version: str) -> None:
        """Tag a version with what nbgov says of it now; held where it cannot say. Never raises."""
        promotion = None
        try:
            with nbgov.promotions(store=MlflowRuns()) as gate:
                promotion = gate.judge(f"models:/{name}/{version}")
        except Exception as error:  # noqa: BLE001 - a registration is not refused, its promotion is
            logger.warning("nbgov: %s is held, unjudged (%s)", name, type(error).__name__)
        self.mark(name, version, promotion)

    def mark(self, name: str, version: str, promotion: Promotion | None) -> None:
        """Write our own tags."""
        drift, gate = (promotion.drift, promotion.status) if promotion else ("unknown", "held")
        for key, value in ((DRIFT_TAG, drift), (GATE_TAG, gate)):
            super().set_model_version_tag(name, version, ModelVersionTag(key, value))

    def is_prompt(self, version: ModelVersion) -> bool:
        """Whether a version is a prompt, which has no files that a model could be loaded from.

        Security: the tag alone would be the client's word, and the source alone too.
        """
        if version.source not in _PROMPT_SOURCE_PLACEHOLDERS:
            return False
        return bool(super().get_registered_model(version.name)._is_prompt())  # noqa: SLF001 - MLflow asks it itself


class GatedWorkspaceStore(GatedStore, WorkspaceAwareSqlAlchemyStore):
    """The same for a server with workspaces."""


def caller() -> str:
    """Who asks, if the server's own authentication says so; empty otherwise."""
    from flask import g, has_request_context

    return str(getattr(g, "mlflow_authenticated_user", "") or "") if has_request_context() else ""


def is_own(key: str) -> bool:
    """Whether a tag's key is one of ours, however it is spelled.

    >>> is_own("nbgov.gate"), is_own(" NBGOV.gate"), is_own("team")
    (True, True, False)
    """
    return key.strip().casefold().startswith(OWN)


def refuse_own(key: str, *others: str) -> None:
    """Refuse to write a tag that only nbgov, or only MLflow itself, has a say in."""
    if is_own(key) or key in others:
        raise refused(
            f"The tag {key} is not written.",
            "on this server it is the gate's own word",
            "use another key",
        )


def refused(what: str, why: str, next_step: str) -> MlflowException:
    """The error that a client gets: what, why, and what to do."""
    parts = {"": what, "Why: ": why, "Next: ": next_step}
    text = " ".join(f"{lead}{part.rstrip('.')}." for lead, part in parts.items() if part)
    return MlflowException(f"nbgov: {text}", error_code=PERMISSION_DENIED)
