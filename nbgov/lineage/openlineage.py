"""A lineage as OpenLineage run events, for Marquez, DataHub and whatever else reads them.

Each read is a job that writes a dataset version from base tables, and the training is a job that
writes a model version from dataset versions. An event holds what the lineage record holds, which
is no row and no bound value. The mapping is in ``docs/spec/lineage.md``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from nbgov.core.lineage import Lineage, edges_of
from nbgov.model import DatasetVersion, Delivery, Run, RunInput

PRODUCER = "urn:nbgov"
SPEC = "https://openlineage.io/spec"
RUN_EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = {
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "ownership": "1-0-1/OwnershipJobFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
    "sourceCodeLocation": "1-1-0/SourceCodeLocationJobFacet",
    "sql": "1-1-0/SQLJobFacet",
    "tags": "1-0-0/TagsDatasetFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet",
}
DATASETS, JOBS, MODELS = "nbgov://datasets", "nbgov://jobs", "nbgov://models"

Event = dict[str, Any]


def events(lineage: Lineage, at: datetime) -> Iterator[Event]:
    """The events of a lineage: each read, then the training.

    Args:
        lineage: What to tell of.
        at: The time of what has no known time of its own.
    """
    for delivery in lineage.deliveries:
        version = lineage.versions.get(delivery.version_id)
        if version is not None:
            yield from of_read(version, delivery)
    if lineage.run is not None:
        yield from of_training(lineage, lineage.run, at)


def of_read(version: DatasetVersion, delivery: Delivery) -> Iterator[Event]:
    """A read: a job that writes the version from the base tables."""
    job = {
        "namespace": JOBS,
        "name": f"read {version.name}",
        "facets": {
            "jobType": facet(
                "jobType", processingType="BATCH", integration="NBGOV", jobType="QUERY"
            ),
            "sql": facet("sql", query=version.statement, dialect=version.dialect),
            "ownership": owned(delivery.principal, "REQUESTER"),
        },
    }
    governance = {
        "principal": delivery.principal,
        "decision": delivery.decision,
        "rules": list(delivery.rules),
        "policy": version.policy,
        "policyRevision": delivery.policy_revision,
        "ticket": delivery.ticket,
        "receipt": delivery.receipt,
        "boundValues": list(version.binds),
    }
    run = {
        "runId": run_id(delivery.read_id),
        "facets": {"nbgov_governance": own_facet("governance", governance)},
    }
    states = {one.table: f"{one.kind} {one.mark}" for one in delivery.sources}
    inputs = [base_table(version, name, states.get(name, "")) for name in version.tables]
    outputs = [
        dataset(version)
        | {"outputFacets": {"outputStatistics": facet("outputStatistics", rowCount=version.rows)}}
    ]
    yield event("START", delivery.at, run, job, [], [])
    yield event("COMPLETE", delivery.at, run, job, inputs, outputs)


def of_training(lineage: Lineage, run: Run, at: datetime) -> Iterator[Event]:
    """The training: a job that writes the model version from the versions that it read."""
    model = lineage.model
    name = model.name if model is not None else run.name or run.run_id
    facets = {
        "jobType": facet("jobType", processingType="BATCH", integration="MLFLOW", jobType="MODEL")
    }
    commit = run.code.get("commit", "")
    if commit:
        facets["sourceCodeLocation"] = facet(
            "sourceCodeLocation", type="git", url=f"urn:nbgov:code:{commit}", version=commit
        )
    stated: dict[str, Any] = {
        "nbgov_training": own_facet("training", training(lineage, run)),
    }
    if run.environment.get("python"):
        version = run.environment["python"]
        stated["processing_engine"] = facet("processing_engine", name="Python", version=version)
    job = {"namespace": JOBS, "name": f"train {name}", "facets": facets}
    ran = {"runId": run_id(run.run_id), "facets": stated}
    inputs = [used(lineage, one) for one in unique(run)]
    outputs: list[Event] = []
    if model is not None:
        named = facet("version", datasetVersion=model.version)
        outputs.append({"namespace": MODELS, "name": model.name, "facets": {"version": named}})
    yield event("START", run.started_at or at, ran, job, [], [])
    yield event("COMPLETE", run.started_at or at, ran, job, inputs, outputs)


def training(lineage: Lineage, run: Run) -> dict[str, Any]:
    """What no facet of OpenLineage has room for."""
    report, model = lineage.report, lineage.model
    return {
        "run": run.run_id,
        "modelDigest": model.digest if model is not None else "",
        "inputs": [
            {"name": one.name, "version": one.version_id, "use": one.context, "via": one.bound_via}
            for one in run.inputs
        ],
        "ungoverned": list(run.ungoverned),
        "drift": report.status if report is not None else "unknown",
        "baseline": lineage.baseline.run_id if lineage.baseline is not None else "",
    }


def unique(run: Run) -> list[RunInput]:
    """The inputs, each version once."""
    return list({one.version_id: one for one in run.inputs}.values())


# ---------------------------------------------------------------- datasets


def base_table(version: DatasetVersion, table: str, state: str) -> Event:
    """A base table, as the source of a read."""
    source = facet("dataSource", name=version.connection, uri=namespace(version))
    stated = {"version": facet("version", datasetVersion=state)} if state else {}
    return {
        "namespace": namespace(version),
        "name": table,
        "facets": {"dataSource": source, **stated},
    }


def used(lineage: Lineage, one: RunInput) -> Event:
    """A dataset version, as an input of the training."""
    version = lineage.versions.get(one.version_id)
    if version is None:
        stated = {"version": facet("version", datasetVersion=one.version_id)}
        return {"namespace": DATASETS, "name": one.name, "facets": stated}
    rows = facet("inputStatistics", rowCount=version.rows)
    return dataset(version) | {"inputFacets": {"inputStatistics": rows}}


def dataset(version: DatasetVersion) -> Event:
    """A dataset version with its columns, where each comes from, and how it was masked."""
    fields = [
        {"name": name, "type": kind, "ordinal_position": place}
        for place, (name, kind, *_) in enumerate(version.columns, 1)
    ]
    facets = {
        "version": facet("version", datasetVersion=version.version_id),
        "schema": facet("schema", fields=fields),
        "dataSource": facet("dataSource", name=version.connection, uri=namespace(version)),
        "columnLineage": facet("columnLineage", fields=column_lineage(version), dataset=[]),
        "nbgov_content": own_facet(
            "content", {"content": version.content_id, "schema": version.schema_id}
        ),
    }
    tags = [
        {"key": tag, "value": "true", "source": "NBGOV", "field": column}
        for column, names in version.tags.items()
        for tag in names
    ]
    if tags:
        facets["tags"] = facet("tags", tags=tags)
    return {"namespace": DATASETS, "name": version.name, "facets": facets}


def column_lineage(version: DatasetVersion) -> dict[str, Any]:
    """The base columns that each result column shows."""
    fields: dict[str, Any] = {}
    for edge in edges_of(version):
        place = edge.source.removeprefix(f"{version.connection}.")
        table, _, column = place.rpartition(".")
        how: dict[str, Any] = {"type": "DIRECT", "subtype": "TRANSFORMATION", "masking": False}
        if edge.mask:
            how |= {"masking": True, "description": edge.mask}
        fields.setdefault(edge.column, {"inputFields": []})["inputFields"].append(
            {
                "namespace": namespace(version),
                "name": table,
                "field": column,
                "transformations": [how],
            }
        )
    return fields


def namespace(version: DatasetVersion) -> str:
    """Where base tables live: the connection, since its address is nobody else's business."""
    return f"{version.dialect}://{version.connection}"


# ---------------------------------------------------------------- events and facets


def event(
    kind: str,
    at: datetime,
    run: Event,
    job: Event,
    inputs: list[Event],
    outputs: list[Event],
) -> Event:
    """A run event."""
    return {
        "eventType": kind,
        "eventTime": at.astimezone(UTC).isoformat(),
        "run": run,
        "job": job,
        "inputs": inputs,
        "outputs": outputs,
        "producer": PRODUCER,
        "schemaURL": RUN_EVENT,
    }


def facet(name: str, /, **members: Any) -> dict[str, Any]:
    """A facet that OpenLineage defines."""
    place = FACETS[name]
    definition = place.partition("/")[2]
    url = f"{SPEC}/facets/{place}.json#/$defs/{definition}"
    return {"_producer": PRODUCER, "_schemaURL": url, **members}


def own_facet(name: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """A facet of ours; its members are in ``docs/spec/lineage.md``."""
    return {"_producer": PRODUCER, "_schemaURL": f"urn:nbgov:openlineage:{name}:1", **members}


def owned(owner: str, kind: str) -> dict[str, Any]:
    """Who answers for something."""
    return facet("ownership", owners=[{"name": f"user:{owner}", "type": kind}])


def run_id(identifier: str) -> str:
    """A UUID for a read or a run: their own where they are one, else one made of the text."""
    try:
        return str(uuid.UUID(identifier))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}:{identifier}"))
