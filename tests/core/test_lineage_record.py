"""The lineage of a model as one value: its record, its edges, and what may not be in it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings

from nbgov.core.lineage import ApprovalSummary, Lineage, LineageEdge
from nbgov.errors import IntegrityFailed
from nbgov.model import Approval, ApprovalState, Run, Vote
from tests.core.lineages import AT, lineages, version, whole


def reread(lineage: Lineage) -> Lineage:
    return Lineage.from_dict(json.loads(json.dumps(lineage.to_dict())))


@settings(max_examples=40, deadline=None)
@given(lineages())
def test_a_record_reads_back_as_the_lineage_that_it_states(lineage):
    """Through JSON and back, every lineage is itself."""
    assert reread(lineage) == lineage


def test_every_part_of_a_lineage_reads_back():
    """Report, baseline, approvals and reads survive too, whatever is in them."""
    lineage = whole()
    assert reread(lineage) == lineage
    assert reread(Lineage()) == Lineage()
    assert lineage.to_dict()["spec"] == "nbgov/lineage/2"


def test_a_figure_that_json_cannot_write_reads_back():
    """A metric that is not a finite number is written as a word, and read as what it was."""
    run = replace(whole().run, metrics={"loss": math.inf, "auc": math.nan})
    text = json.dumps(Lineage(run=run).to_dict(), allow_nan=False)
    metrics = Lineage.from_dict(json.loads(text)).run.metrics
    assert metrics["loss"] == math.inf
    assert math.isnan(metrics["auc"])


def test_no_profile_is_in_a_record():
    """Statistics of a version stay where the version is kept."""
    one = replace(version(), profile={"columns": [{"name": "distance", "min": 80}]})
    assert "profile" not in json.dumps(Lineage(versions={one.version_id: one}).to_dict())


def broken(change):
    record = whole().to_dict()
    change(record)
    return record


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "text",
        {},
        broken(lambda record: record.update(spec="nbgov/lineage/1")),
        broken(lambda record: record.update(surprise=1)),
        broken(lambda record: record["run"].update(params={"depth": 5})),
        broken(lambda record: record["run"].update(surprise=1)),
        broken(lambda record: record.update(versions=[])),
        broken(lambda record: record["report"].update(status="fine")),
        broken(lambda record: record.update(edges=[])),
        broken(lambda record: record.pop("edges")),
    ],
)
def test_a_record_of_another_form_is_refused(record):
    """Anything but a record of the format is an error that repeats nothing of it."""
    with pytest.raises(IntegrityFailed, match="lineage-invalid") as caught:
        Lineage.from_dict(record)
    assert "surprise" not in str(caught.value)


def test_edges_name_what_each_column_shows():
    """A column has an edge from each base column that it shows, with the mask on the way."""
    one = version()
    wh = "wh.main"
    assert Lineage(versions={one.version_id: one}).edges == (
        LineageEdge(f"{wh}.flights.distance", "train", one.version_id, "distance", ""),
        LineageEdge(f"{wh}.people.email", "train", one.version_id, "email", "redact pii.email"),
        LineageEdge(f"{wh}.people.mail", "train", one.version_id, "email", "redact pii.email"),
    )


def test_the_versions_of_the_baseline_are_not_current():
    """What a run is made of are its own inputs; without a run, all versions are asked about."""
    lineage = whole()
    wanted = [one.version_id for one in lineage.run.inputs]
    assert [one.version_id for one in lineage.current] == wanted
    assert {edge.version_id for edge in lineage.edges} <= {*wanted}
    assert replace(lineage, run=None).current == tuple(lineage.versions.values())
    gone = replace(lineage, versions={})
    assert gone.current == ()


def test_only_what_is_sure_counts_as_trained_on():
    """An input that somebody bound outweighs what was read on the way."""
    assert [one.name for one in whole().trained_on] == ["train"]
    assert Lineage().trained_on == ()


@pytest.mark.parametrize(("verb", "subject"), [("SELECT", "read"), ("PROMOTE", "promotion")])
def test_a_summary_of_a_ticket_holds_neither_statement_nor_reason(verb, subject):
    """What voters were shown, and what they wrote, may hold values and stays out of the record."""
    ticket = Approval(
        ticket="T-1",
        binding_digest=b"\x01" * 32,
        connection="wh",
        sql="SELECT 'secret'",
        binds="name: 'secret'",
        requester="ada@acme.test",
        quorums=(),
        verb=verb,
        tables=("main.people",),
        requested_at=AT,
        decide_by=AT,
        votes=(Vote("grace@acme.test", is_approval=True, reason="secret", at=AT),),
        state=ApprovalState.APPROVED,
    )
    summary = ApprovalSummary.of(ticket)
    assert (summary.subject, summary.state, summary.binding) == (subject, "approved", "01" * 32)
    assert [vote.voter for vote in summary.votes] == ["grace@acme.test"]
    assert "secret" not in json.dumps(Lineage(approvals=(summary,)).to_dict())


def test_a_run_without_inputs_has_no_version():
    """A run that read nothing governed has neither versions nor edges."""
    lineage = Lineage(run=Run("r", "", (), {}, {}))
    assert (lineage.current, lineage.edges, lineage.trained_on) == ((), (), ())
