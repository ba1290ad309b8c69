"""Lineage as people meet it: traced from real stores, as a page, as events, on the command line."""

from __future__ import annotations

import html
import inspect
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import nbgov
from nbgov.cli import main
from nbgov.core.drift import Cause
from nbgov.core.lineage import Lineage
from nbgov.lineage import drawing
from nbgov.lineage.openlineage import FACETS, RUN_EVENT, events
from nbgov.lineage.page import lineage_page
from nbgov.lineage.telling import lineage_text, shown
from nbgov.model import Run
from tests.core.lineages import AT, lineages, version, whole
from tests.surfaces.chain import ADA, GRACE, MODEL, RUN, chain

HOSTILE = "</style><script>alert('x')</script><img src=x onerror=alert(1)>\"'&\u202e\x00]]>"
VOID = {"meta", "wbr"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory):
    with chain(tmp_path_factory.mktemp("lineage")) as made:
        yield made


@pytest.fixture(scope="module")
def traced(house) -> Lineage:
    with nbgov.connect(house.folder, as_=ADA) as session:
        return nbgov.trace(session, MODEL)


def run_cli(house, *words: str):
    return CliRunner().invoke(main, ["--config", str(house.folder), "--as", ADA, *words])


class Reader(HTMLParser):
    """Reads a page and remembers its elements; fails where they do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


# ---- tracing


def test_a_model_version_is_traced_to_its_data_its_approvals_and_its_baseline(traced):
    """From the registry down to the read, the ticket, the table and the run before."""
    assert (traced.model.version, traced.run.run_id, traced.baseline.name) == ("2", RUN, "first")
    [one] = traced.current
    assert one.tables == ("main.people",)
    assert one.masked == {"email": "redact pii.email"}
    assert [read.principal for read in traced.deliveries] == [ADA]
    assert traced.deliveries[0].ticket == traced.approvals[0].ticket
    assert [vote.voter for vote in traced.approvals[0].votes] == [GRACE]
    assert traced.report is not None
    assert {"wh.main.people.email"} <= {edge.source for edge in traced.edges}
    assert len(traced.versions) == 2


def test_a_run_and_a_dataset_version_are_traced_alike(house):
    """A run's id in either spelling, a dataset's name, a version's id and the start of one."""
    with nbgov.connect(house.folder, as_=ADA) as session:
        newest = session.dataset("train")
        runs = [nbgov.trace(session, one) for one in (RUN, f"runs:/{RUN}")]
        names = ("train", newest.version_id, f"train@v{newest.version_id[:8]}")
        versions = [nbgov.trace(session, one) for one in names]
    assert runs[0] == runs[1]
    assert runs[0].model is None
    assert {one.run for one in versions} == {None}
    assert {tuple(one.versions) for one in versions} == {(newest.version_id,)}
    assert all(len(one.deliveries) == len(one.approvals) == 1 for one in versions)


def test_what_is_kept_elsewhere_is_left_out_and_not_made_up(house):
    """A version, a ticket or a read of another state folder is absent; nothing stands for it."""
    run = house.store.runs[RUN]
    gone = replace(run.inputs[0], version_id="0" * 32, read_id="nobody's")
    house.store.runs["elsewhere"] = replace(run, run_id="elsewhere", inputs=(gone,))
    house.store.models.append(replace(house.store.models[0], version="9", run_id=""))
    try:
        with nbgov.connect(house.folder, as_=ADA) as session:
            lineage = nbgov.trace(session, "elsewhere")
            unknown = nbgov.trace(session, "models:/people/9")
    finally:
        del house.store.runs["elsewhere"]
        house.store.models.pop()
    assert (lineage.current, lineage.deliveries, lineage.approvals) == ((), (), ())
    assert "not kept here" in lineage_page(lineage)
    assert (unknown.run, unknown.report) == (None, None)
    assert "people version 9" in lineage_page(unknown)
    assert "Held · what is not known counts as held" in Reader(lineage_page(unknown)).text


def test_a_baseline_that_a_person_chose_is_told_from_one_that_was_found(house, traced):
    """The page says how the run to compare with came to be it."""
    house.store.tagged = {RUN: "b" * 32}
    try:
        with nbgov.connect(house.folder, as_=ADA) as session:
            chosen = nbgov.trace(session, MODEL)
    finally:
        house.store.tagged = {}
    assert (chosen.is_baseline_chosen, traced.is_baseline_chosen) == (True, False)
    assert "chosen by a person" in lineage_page(chosen)
    assert "found by the drift policy" in lineage_page(traced)


def test_a_run_without_a_baseline_says_so(house):
    """The first run of its kind is not called stable."""
    with nbgov.connect(house.folder, as_=ADA) as session:
        lineage = nbgov.trace(session, "b" * 32)
    assert (lineage.baseline, lineage.report.status) == (None, "baseline")
    assert "there is nothing to compare with" in lineage_text(lineage)


@pytest.mark.parametrize(
    ("reference", "code"),
    [("models:/nobody/1", "unknown-run"), ("nothing", "unknown-run"), ("a.b.c", "unknown-dataset")],
)
def test_what_does_not_exist_is_an_error(house, reference, code):
    """A reference that means nothing has a code of its own and no stack."""
    asked = run_cli(house, "lineage", "show", reference)
    assert asked.exit_code == 1
    assert f"code    {code}" in asked.stderr


# ---- the page


def test_the_page_answers_questions_first():
    """Data, sameness, change, approval and shipping stand above everything else, in this order."""
    page = Reader(lineage_page(whole())).text
    questions = ["Which data?", "What else?", "Same as last time?", "What changed most?",
                 "Who approved?", "May it ship?", "What changed?", "Where does it come from?"]  # fmt: skip
    places = [page.index(one) for one in questions]
    assert places == sorted(places)
    assert "Held · unit: distance, ungoverned input: DataFrame of 3 columns" in page
    assert "grace@acme.test (read, ticket T-7K2)" in page
    assert "Ungoverned · DataFrame of 3 columns" in page


def test_the_page_shows_every_part_of_a_lineage():
    """Columns with their origins and masks, statements, principals, policy, receipts and code."""
    lineage = whole()
    page = Reader(lineage_page(lineage)).text
    for part in (
        "wh.main.people.email, wh.main.people.mail", "redact pii.email", "SELECT 1", "month: int",
        "permit by analysts-read", lineage.current[0].policy[:12], "4c1d9e0", "4411",
        "9f8e7d6c5b4a", "pandas", "models:/embedder/3", "80.0 %", "2 ran, the last with digest bb",
        "retrain-10", "another WHERE clause",
        "(follows from the statement)", "read while the run was open", "no column",
    ):  # fmt: skip
        assert part in page, part


@settings(max_examples=15, deadline=None)
@given(lineages())
def test_any_lineage_makes_a_page_that_nests(lineage):
    """Whatever the names are, the page is well-formed and needs nothing from outside."""
    for one in (lineage, replace(lineage, run=None, model=None), replace(lineage, model=None)):
        check_page(lineage_page(one))
        lineage_text(one)


def check_page(page: str) -> Reader:
    """The page is well-formed, runs nothing, loads nothing, links nowhere."""
    assert page.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
    reader = Reader(page)
    assert {tag for tag, _ in reader.found}.isdisjoint(
        {"script", "a", "img", "link", "iframe", "object", "form", "base", "image", "use"}
    )
    for _, attributes in reader.found:
        assert not [name for name in attributes if name.startswith("on") or name in {"href", "src"}]
    assert "url(" not in page
    page.encode()
    return reader


def test_a_hostile_name_stays_text():
    """Names of columns, runs, tables, tags, rules and people cannot become part of the page."""
    lineage = whole()
    run, model = lineage.run, lineage.model
    levels = {"labels": [HOSTILE, None], "baseline": [0.5, 0.5], "current": [0.1, 0.9]}
    cause = Cause(HOSTILE, HOSTILE, HOSTILE, 0.5, {"shape": levels}, HOSTILE)
    report = replace(lineage.report, causes=(cause,), verdict=HOSTILE, holds=(HOSTILE,))
    one = version(
        HOSTILE, HOSTILE, tables=(HOSTILE,), connection=HOSTILE, binds=(HOSTILE,),
        columns=((HOSTILE, HOSTILE, "", 1),), masked={HOSTILE: HOSTILE}, tags={HOSTILE: (HOSTILE,)},
        origins={HOSTILE: (HOSTILE,)},
    )  # fmt: skip
    read = replace(
        lineage.deliveries[0], version_id=one.version_id, name=HOSTILE, principal=HOSTILE,
        rules=(HOSTILE,), receipt=HOSTILE, policy_revision=HOSTILE, ticket=HOSTILE,
        sources=(replace(lineage.deliveries[0].sources[0], table=HOSTILE, kind=HOSTILE, mark=HOSTILE),),
    )  # fmt: skip
    facts = {HOSTILE: HOSTILE}
    bad = replace(
        run, run_id=HOSTILE, name=HOSTILE, code=facts, packages=facts, environment=facts,
        models=facts, ungoverned=(HOSTILE,),
        inputs=(replace(run.inputs[0], name=HOSTILE, version_id=one.version_id, context=HOSTILE, labels=(HOSTILE,)),),
    )  # fmt: skip
    ticket = replace(
        lineage.approvals[0], ticket=HOSTILE, requester=HOSTILE, state=HOSTILE, binding=HOSTILE,
        votes=(replace(lineage.approvals[0].votes[0], voter=HOSTILE),),
    )  # fmt: skip
    page = lineage_page(
        Lineage(
            run=bad,
            model=replace(model, name=HOSTILE, version=HOSTILE, aliases=(HOSTILE,)),
            baseline=replace(bad, inputs=()),
            report=report,
            versions={one.version_id: one},
            deliveries=(read,),
            approvals=(ticket,),
        )
    )
    reader = check_page(page)
    assert "alert('x')" in reader.text
    assert "\u202e" not in page
    assert "\x00" not in page


@pytest.mark.parametrize(
    "shape",
    [
        None, 3, [], {}, {"edges": [0, 1], "baseline": [1]}, {"edges": [0], "baseline": [], "current": []},
        {"edges": [0, 1], "baseline": ["x"], "current": [1]}, {"edges": 5, "baseline": [1], "current": [1]},
        {"edges": [0, 1], "baseline": [2], "current": [1]}, {"labels": ["a"], "baseline": [True], "current": [1]},
        {"labels": ["a", "b"], "baseline": [1], "current": [1]},
    ],
)  # fmt: skip
def test_figures_that_are_no_shape_are_not_drawn(shape):
    """A record may hold anything where a shape is expected; nothing is drawn of it then."""
    assert drawing.plot(shape, subject="x") is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats() | st.integers() | st.text(), min_size=2, max_size=6),
    st.lists(st.floats(0, 1) | st.integers(0, 1), min_size=5, max_size=5),
)
def test_any_axis_makes_a_drawing_of_finite_figures(edges, shares):
    """Edges of any kind and in any order give a path without a figure that no browser reads."""
    count = len(edges) - 1
    shape = {"edges": edges, "baseline": shares[:count], "current": shares[:count]}
    drawn = drawing.plot(shape, subject="x")
    paths = re.findall(r' d="([^"]*)"', drawn)
    assert len(paths) == 2
    assert not any(word in path for path in paths for word in ("nan", "inf", "e+"))


def test_a_mere_read_beside_ungoverned_data_is_not_called_the_training_data():
    """A run that was fitted on something else has inputs that it read, and no known data."""
    lineage = whole()
    run = replace(lineage.run, inputs=lineage.run.inputs[1:])
    page = Reader(lineage_page(replace(lineage, run=run))).text
    assert "Not known · what it read is no proof of what it was trained on" in page
    bare = Reader(lineage_page(Lineage(run=replace(run, inputs=())))).text
    assert "Not known · no governed input is bound to the run" in bare


def test_one_cause_is_told_once():
    """With a single cause the verdict says it all, and no second answer repeats it."""
    lineage = whole()
    one = replace(lineage.report, causes=lineage.report.causes[:1])
    page = Reader(lineage_page(replace(lineage, report=one))).text
    assert "What changed most?" not in page
    none = Reader(lineage_page(replace(lineage, report=replace(one, causes=())))).text
    assert "Nothing · that nbgov sees" in none


def test_a_ticket_that_nobody_approved_is_no_approval():
    """Refused and open tickets are listed, and the answer is that nobody approved."""
    lineage = whole()
    open_ticket = replace(lineage.approvals[0], state="requested", votes=())
    page = Reader(lineage_page(replace(lineage, approvals=(open_ticket,)))).text
    assert "Nobody · no ticket is approved" in page
    assert "no vote" in page
    bare = Reader(lineage_page(replace(lineage, approvals=()))).text
    assert bare.count("no read of these inputs needed an approval") == 2


def test_a_large_graph_is_cut_and_says_so():
    """Of many tables the first are drawn, and the rest is counted."""
    many = version(tables=tuple(f"main.t{place}" for place in range(20)))
    run = Run("r", "r", (replace(whole().run.inputs[0], version_id=many.version_id),), {}, {})
    page = Reader(lineage_page(Lineage(run=run, versions={many.version_id: many}))).text
    assert "8 more are not drawn." in page


def test_what_counts_as_no_drift_is_folded_away():
    """Remarks and packages are there, but closed; the first input's columns are open."""
    found = [a for tag, a in Reader(lineage_page(whole())).found if tag == "details"]
    assert [a.get("open") for a in found].count("open") == 1
    assert len(found) >= 4


def test_a_released_model_is_not_called_held():
    """An approved promotion releases what the policy holds, and the page names the reason still."""
    lineage = whole()
    promotion = replace(lineage.approvals[0], subject="promotion", state="approved")
    page = Reader(lineage_page(replace(lineage, approvals=(promotion,)))).text
    assert "Released · by an approval, although: unit: distance" in page
    free = replace(lineage, report=replace(lineage.report, holds=()))
    assert "Nothing holds it" in Reader(lineage_page(free)).text
    unknown = replace(lineage, report=None, baseline=None)
    assert "what is not known counts as held" in Reader(lineage_page(unknown)).text


# ---- the notebook and the command line


def test_the_notebook_shows_the_page_in_a_frame_that_may_run_nothing(house):
    """The output cell holds one sandboxed frame, and the page inside it unchanged."""
    with nbgov.connect(house.folder, as_=ADA) as session:
        text, markup = shown(session, MODEL)
        page = lineage_page(nbgov.trace(session, MODEL))
    assert text.startswith("people version 2")
    [(tag, attributes)] = Reader(markup).found
    assert (tag, attributes["sandbox"]) == ("iframe", "")
    assert html.unescape(attributes["srcdoc"]) == html.unescape(page)


def test_the_command_shows_answers_and_writes_the_page_and_the_record(house, tmp_path):
    """``lineage show`` answers in text; --html and --json hold the page and the record."""
    told = run_cli(house, "lineage", "show", MODEL)
    assert told.exit_code == 0, told.stderr
    for part in ("people version 2", "Same as last time?", "email <- wh.main.people.email", GRACE):
        assert part in told.stdout
    path = tmp_path / "page.html"
    assert run_cli(house, "lineage", "show", MODEL, "--html", str(path)).stdout == ""
    check_page(path.read_text())
    record = json.loads(run_cli(house, "lineage", "show", MODEL, "--json").stdout)
    assert Lineage.from_dict(record).model.name == "people"
    lost = run_cli(house, "lineage", "show", MODEL, "--html", str(tmp_path / "no" / "page.html"))
    assert "code    file-unwritable" in lost.stderr


def test_a_line_of_the_terminal_holds_no_control_character():
    """A name with an escape sequence cannot move the cursor."""
    one = version("\x1b[31mred\nline")
    text = lineage_text(Lineage(versions={one.version_id: one}))
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("line")]


# ---- OpenLineage


def exported(house, tmp_path: Path) -> list[dict]:
    path = tmp_path / "events.jsonl"
    done = run_cli(house, "lineage", "export", MODEL, "--format", "openlineage", "-o", str(path))
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_exported_events_decode_with_the_client_library(house, tmp_path):
    """Every event, and every facet that OpenLineage defines, is one of its client's own classes."""
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, RunEvent, RunState
    from openlineage.client.event_v2 import Run as ClientRun
    from openlineage.client.serde import Serde

    found = exported(house, tmp_path)
    for one in found:
        event = RunEvent(
            eventType=RunState[one["eventType"]],
            eventTime=one["eventTime"],
            run=ClientRun(one["run"]["runId"], decoded(one["run"]["facets"])),
            job=Job(one["job"]["namespace"], one["job"]["name"], decoded(one["job"]["facets"])),
            producer=one["producer"],
            inputs=[
                InputDataset(
                    i["namespace"], i["name"], facets=decoded(i["facets"]),
                    inputFacets=decoded(i.get("inputFacets", {})),
                )
                for i in one["inputs"]
            ],
            outputs=[
                OutputDataset(
                    o["namespace"], o["name"], facets=decoded(o["facets"]),
                    outputFacets=decoded(o.get("outputFacets", {})),
                )
                for o in one["outputs"]
            ],
        )  # fmt: skip
        assert event.schemaURL == one["schemaURL"] == RUN_EVENT
        assert without_nothing(Serde.to_dict(event)) == without_nothing(one)
    kinds = [one["eventType"] for one in found]
    assert kinds == ["START", "COMPLETE"] * 2


def decoded(facets: dict) -> dict:
    """The facets as objects of the client's classes; ours as its base class with more members."""
    from openlineage.client.facet_v2 import BaseFacet

    found = {}
    for name, members in facets.items():
        stated = {key: value for key, value in members.items() if not key.startswith("_")}
        if name.startswith("nbgov_"):
            made = BaseFacet(producer=members["_producer"]).with_additional_properties(**stated)
            object.__setattr__(made, "_schemaURL", members["_schemaURL"])
        else:
            made = client_facet(members["_schemaURL"])(**stated, producer=members["_producer"])
            assert made._schemaURL == members["_schemaURL"]
        found[name] = made
    return found


def client_facet(url: str):
    """The client's class of a facet's schema."""
    from openlineage.client import facet_v2

    name = url.rpartition("/")[2]
    homes = [one for one in vars(facet_v2).values() if getattr(one, name, None) is not None]
    return getattr(homes[0], name)


def without_nothing(value):
    """The value without members that are null or empty, which mean the same."""
    if isinstance(value, dict):
        kept = {key: without_nothing(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one not in (None, [], {}, "")}
    return [without_nothing(one) for one in value] if isinstance(value, list) else value


def test_facets_have_the_versions_of_the_client_library():
    """A client of another release would move the schema's version, and this list with it."""
    base = import_module("openlineage.client.facet_v2")
    known = {
        item._get_schema()
        for module in vars(base).values()
        if inspect.ismodule(module)
        for item in vars(module).values()
        if inspect.isclass(item) and hasattr(item, "_get_schema")
    }
    urls = [
        f"https://openlineage.io/spec/facets/{p}.json#/$defs/{p.split('/')[1]}"
        for p in FACETS.values()
    ]
    assert set(urls) <= known


def test_column_lineage_says_what_was_masked(house, tmp_path):
    """A masked column comes from its base column by a masking transformation, a plain one not."""
    read = exported(house, tmp_path)[1]
    fields = read["outputs"][0]["facets"]["columnLineage"]["fields"]
    [email], [team] = fields["email"]["inputFields"], fields["team"]["inputFields"]
    assert (email["namespace"], email["name"], email["field"]) == (
        "duckdb://wh",
        "main.people",
        "email",
    )
    assert email["transformations"][0]["masking"] is True
    assert email["transformations"][0]["description"] == "redact pii.email"
    assert team["transformations"][0]["masking"] is False


def test_events_hold_no_literal_and_no_value(house, tmp_path):
    """The statement is the redacted one, and nothing of the table is in an event."""
    text = json.dumps(exported(house, tmp_path))
    assert "lovelace" not in text
    assert "red'" not in text
    assert "WHERE team = ?" in text


def test_events_of_any_lineage_have_valid_run_ids():
    """An id that is no UUID gets one of its own, the same each time."""
    found = [list(events(whole(), AT)) for _ in range(2)]
    assert found[0] == found[1]
    pattern = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    assert all(pattern.fullmatch(one["run"]["runId"]) for one in found[0])
    later = datetime(2027, 1, 1, tzinfo=UTC)
    bare = replace(
        whole(), model=None, versions={}, run=replace(whole().run, started_at=None, code={})
    )
    assert [one["eventTime"] for one in events(bare, later)] == ["2027-01-01T00:00:00+00:00"] * 2


def test_events_go_to_standard_output_by_default(house):
    """Without -o, one JSON object a line is printed."""
    done = run_cli(house, "lineage", "export", "train")
    assert [json.loads(line)["eventType"] for line in done.stdout.splitlines()] == [
        "START",
        "COMPLETE",
    ]
