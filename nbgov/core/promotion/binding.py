"""What a consent to a promotion is bound to, as digests: ``docs/concepts/promotion.md``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from nbgov.core.approval import exact, prefixed
from nbgov.model import DatasetVersion, ModelVersion, Run

LINEAGE_SPEC = "nbgov/lineage-digest/1"
BINDING_DOMAIN = b"nbgov promotion binding 1"


def lineage_digest(run: Run, versions: Mapping[str, DatasetVersion]) -> bytes:
    """Digest of what made a model, so that a consent to one training is none to another.

    It covers the run's id, its inputs (the version, which is itself a digest of content, statement,
    bound values, policy and schema; what it was used for, and how that is known), what else it was
    fitted on, its parameters, its code, and the models that it started from. It leaves out what may
    still change when the training is over, or differs from machine to machine: metrics, importance,
    packages, hardware, times.

    Args:
        run: The run.
        versions: Its dataset versions, as far as they are kept: their content counts too.
    """
    inputs = sorted(
        [one.name, one.version_id, content(versions, one.version_id), one.context, one.bound_via]
        for one in run.inputs
    )
    stated = {
        "spec": LINEAGE_SPEC,
        "run": run.run_id,
        "inputs": inputs,
        "ungoverned": sorted(run.ungoverned),
        "params": dict(run.params),
        "code": dict(run.code),
        "models": dict(run.models),
    }
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()


def content(versions: Mapping[str, DatasetVersion], version_id: str) -> str:
    """The fingerprint of a version's rows, or nothing where it is not kept."""
    found = versions.get(version_id)
    return found.content_id if found is not None else ""


def binding(model: ModelVersion, lineage: bytes, baseline: str) -> bytes:
    """Digest of everything that a consent to a promotion is about.

    Args:
        model: The model version, with the digest of its files.
        lineage: Its :func:`lineage_digest`.
        baseline: Id of the run that it was compared with, or empty.

    Example:
        >>> one, other = ModelVersion("m", "1", "r", "00"), ModelVersion("m", "2", "r", "00")
        >>> binding(one, b"", "") == binding(other, b"", "")
        False
    """
    digest = hashlib.sha256()
    parts = [exact(text) for text in (model.name, model.version, model.digest, baseline)]
    # Security: its own domain, and each part behind its length, so that no consent to a statement
    # and none to another model version has these bytes.
    for part in (BINDING_DOMAIN, *parts, lineage):
        digest.update(prefixed(part))
    return digest.digest()
