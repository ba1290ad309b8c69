"""Why is the retrained model different? Asked of everything that people hold, and told to them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv, parquet

from nbgov import Cause, DriftReport, Run, RunInput, compare, connect
from nbgov.cli import main
from nbgov.core.visible import cells_wide, visible
from nbgov.errors import RequestInvalid
from nbgov.retraining.outline import outline
from nbgov.retraining.page import report_html, report_page
from nbgov.retraining.pictures import picture
from nbgov.retraining.telling import report_text
from tests.flights import ADA
from tests.surfaces.seasons import SQL, build, nbgov

hostile = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '" onmouseover="alert(1)',
            "<a href='javascript:alert(1)'>x</a>",
            "</style></title><script>alert(1)</script>",
            "]]>--><svg/onload=alert(1)>",
        ]
    ),
    st.text(max_size=60),
)
TAGS = {
    "b": set(), "body": set(), "desc": set(), "div": {"class"}, "figcaption": set(),
    "figure": set(), "h4": {"class"}, "head": set(), "html": {"lang"},
    "line": {"class", "x1", "x2", "y1", "y2"},
    "main": set(), "mark": {"class"}, "meta": {"charset", "content", "http-equiv", "name"},
    "p": {"class"}, "path": {"class", "d"}, "rect": {"class", "height", "width", "x", "y"},
    "small": set(), "span": {"class"}, "strong": set(), "style": set(),
    "svg": {"aria-hidden", "class", "preserveaspectratio", "role", "viewbox"}, "table": set(),
    "tbody": set(), "td": {"class"}, "text": {"text-anchor", "x", "y"}, "th": {"class"},
    "thead": set(), "title": set(), "tr": set(),
}  # fmt: skip
VOID = {"line", "meta", "path", "rect"}


class Page(HTMLParser):
    """Reads HTML as a browser would, and takes no tag and no attribute that is not ours."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.words, self.tags = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        assert {name for name, _ in attrs} <= TAGS[tag]
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


MOVED = Cause(
    "distribution",
    "train.air_time",
    "train.air_time: distribution moved, PSI 8.31",
    0.31,
    {"shape": {"edges": [0, 10, 20, 30], "baseline": [0.5, 0.4, 0.1], "current": [0, 0.5, 0.5]}},
)


def report(**more):
    fields = {
        "baseline": "january",
        "current": "june",
        "is_same_data": False,
        "causes": (MOVED, Cause("params", "leaves", "leaves: 31 -> 63", 1.0)),
        "verdict": "Drifted: train.air_time moved. Also changed: params.",
        "status": "drifted",
    }
    return DriftReport(**(fields | more))


# ---------------------------------------------------------------- in a terminal


def test_a_report_reads_as_verdict_then_causes_then_what_it_means():
    """The verdict is first, then the metrics, every cause in order, remarks, and what would hold."""
    causes = (
        Cause("statement", "train", "train: another filter", 1.0),
        Cause("rows", "train", "train: rows 10 -> 20 (+100.0 %)", 0.5, because="statement"),
        MOVED,
        Cause("values", "train", "train: 1 of 3 columns holds other values: air_time", 0.0),
        Cause("metrics", "auc", "auc: 0.93 -> 0.91 (-0.02)", 0.0),
    )
    holds = (f"distribution: {MOVED.sentence}", "stale data")
    assert report_text(report(causes=causes, holds=holds), width=80) == (
        "Drift of june from january: drifted\n"
        "  Drifted: train.air_time moved. Also changed: params.\n"
        "\n"
        "What came of it\n"
        "  auc: 0.93 -> 0.91 (-0.02)\n"
        "\n"
        "What changed, ranked\n"
        "               statement     train: another filter\n"
        "  ███     50%    └ rows      train: rows 10 -> 20 (+100.0 %)\n"
        "  █▉      31%  distribution  train.air_time: distribution moved, PSI 8.31\n"
        "\n"
        "Remarks\n"
        "  values        train: 1 of 3 columns holds other values: air_time\n"
        "\n"
        "Would hold a promotion\n"
        "  distribution of train.air_time; stale data"
    )


def test_a_report_without_causes_is_its_verdict():
    """Two equal runs are reported in two lines."""
    same = report(causes=(), verdict="Same data.", status="stable", is_same_data=True)
    assert report_text(same) == "Drift of june from january: stable\n  Same data."
    assert Page(report_html(same)).text.split() == (
        "Drift of june from january stable Same data.".split()
    )


def test_causes_beyond_the_limit_are_counted():
    """A report with very many causes says how many it leaves out."""
    causes = tuple(Cause("packages", f"p{i}", "changed", 1.0) for i in range(43))
    assert report_text(report(causes=causes)).endswith("… 3 more causes")
    assert "… 3 more causes" in Page(report_html(report(causes=causes))).text


@given(name=hostile, sentence=hostile, width=st.integers(40, 120))
def test_a_line_is_never_wider_than_the_terminal(name, sentence, width):
    """Whatever a report holds, each of its lines fits, prints, and has no colour of its own."""
    causes = (Cause("params", name, sentence, 1.0), Cause("rows", name, sentence, 0.3))
    shown = report(baseline=name, verdict=sentence, causes=causes, holds=(sentence,))
    for line in report_text(shown, width=width).split("\n"):
        assert cells_wide(line) <= width
        assert line.isprintable()


@given(st.data())
def test_every_cause_is_told_once(data):
    """Causes that follow from one another, even in a circle, are all told, each in one place."""
    kinds = ["statement", "rows", "params", "nulls"]
    causes = tuple(
        Cause(
            data.draw(st.sampled_from(kinds)),
            f"c{number}",
            "changed",
            data.draw(st.sampled_from([0.0, 0.5])),
            because=data.draw(st.sampled_from(["", *kinds])),
        )
        for number in range(data.draw(st.integers(0, 6)))
    )
    found = outline(report(causes=causes))
    told = [one.cause.subject for one in found.changes] + [one.subject for one in found.remarks]
    assert sorted(told) == [one.subject for one in causes]


def test_moods_are_painted():
    """The status and what would hold are marked for who sees colours, in the same words."""
    shown = report(holds=("stale data",))
    painted = report_text(shown, paint=lambda text, mood: f"<{mood}>{text}</>")
    assert "<bad>drifted</>" in painted
    assert "<bad>Would hold a promotion</>" in painted
    assert re.sub(r"</?\w*>", "", painted) == report_text(shown)


# ---------------------------------------------------------------- as a page


@given(name=hostile, sentence=hostile)
def test_a_page_is_inert_whatever_it_shows(name, sentence):
    """No run, subject, level or sentence can add a tag, an attribute or a link."""
    shape = {"labels": [name, sentence], "baseline": [0.5, 0.5], "current": [1.0, 0.0]}
    causes = (Cause("levels", name, sentence, 0.5, {"shape": shape}),)
    shown = report(baseline=name, verdict=sentence, causes=causes, holds=(sentence,))
    page = Page(report_page(shown))
    assert visible(sentence) in page.text


def test_a_page_needs_nothing_from_outside():
    """A page names no address, and forbids the browser to load any."""
    text = report_page(report())
    assert "default-src &#x27;none&#x27;" in text
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img", text)
    assert report_page(report()) == text


def test_a_moved_column_has_a_picture_for_everybody():
    """One picture a column, with a name and a description for who does not see it."""
    twice = (MOVED, Cause("tail", MOVED.subject, "tail", 0.1, MOVED.detail))
    page = Page(report_html(report(causes=twice)))
    assert page.tags.count("figure") == 1
    assert "train.air_time, baseline and current" in page.text
    assert "The most are near 0 in the baseline, and near 10 now." in page.text


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"edges": [0, 1], "baseline": [], "current": []},
        {"edges": [0, 1], "baseline": [1], "current": [1, 2]},
        {"edges": [0, 1, 2], "baseline": [1], "current": [1]},
        {"labels": ["a"], "baseline": [1, 2], "current": [1, 2]},
    ],
)
def test_what_is_no_shape_is_not_drawn(shape):
    """A shape whose parts do not fit together makes no picture."""
    assert picture("x", shape) == ""


def test_shapes_of_any_scale_are_drawn():
    """Moments, far outliers, one value and many levels have a picture within its frame."""
    halves = {"baseline": [0.5, 0.5], "current": [1, 0]}
    many = {"labels": list("abcdefgh"), "baseline": [0.125] * 8, "current": [1, *[0] * 7]}
    shapes = [
        {"edges": ["2013-01-01T00:00:00", "2013-02-01T00:00:00", "2013-03-01T00:00:00"], **halves},
        {"edges": [0, 1, 1e9], **halves},
        {"edges": [3, 3, 3], **halves},
        many,
    ]
    drawn = [picture("x", shape) for shape in shapes]
    for text in drawn:
        numbers = map(float, re.findall(r"(?<=[ ML\"])-?\d+\.\d", text))
        assert all(-1 <= number <= 260 for number in numbers)
        Page(text)
    assert "2013-01-01" in drawn[0]
    assert ">other<" in drawn[3]


# ---------------------------------------------------------------- what can be compared


TABLE = pa.table({"x": range(1000), "carrier": ["UA", "AA", "DL", "B6"] * 250})


def test_data_of_every_kind_is_compared(tmp_path):
    """A pandas frame, a polars frame, Arrow data, a Parquet and a CSV file of equal rows are equal."""
    parquet.write_table(TABLE, tmp_path / "june.parquet")
    csv.write_csv(TABLE, tmp_path / "june.csv")
    forms = [
        TABLE.to_pandas(),
        pl.from_arrow(TABLE),
        TABLE.to_reader(),
        tmp_path / "june.parquet",
        str(tmp_path / "june.csv"),
    ]
    for form in forms:
        found = compare(TABLE, form)
        assert (found.status, found.is_same_data) == ("stable", True)
    assert found.current == "june.csv"


def test_a_change_of_held_data_is_named():
    """What moved in a frame is told with its values: they are the caller's own."""
    frame = TABLE.to_pandas()
    frame.loc[:499, "carrier"] = "F9"
    found = compare(TABLE.to_pandas(), frame)
    assert found.status == "drifted"
    assert (found.baseline, found.current) == ("the first DataFrame", "the second DataFrame")
    assert any("'F9'" in cause.sentence for cause in found.causes)


@pytest.mark.parametrize("thing", [None, 7, object(), [1, 2]])
def test_what_is_no_data_is_refused(thing):
    """A value that is neither a run, a reference nor data is wrong usage."""
    with pytest.raises(RequestInvalid) as caught:
        compare(TABLE, thing)
    assert caught.value.code == "usage"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The house, in which both seasons were read, and the first one once more."""
    folder = build(tmp_path_factory.mktemp("house"))
    with connect(folder, as_=ADA) as session:
        for season in (0, 1):
            session.sql(SQL, season=season, dataset="train").to_arrow()
        table = session.sql("SELECT * EXCLUDE (id) FROM flights WHERE season = 1").to_arrow()
    parquet.write_table(table, folder / "summer.parquet")
    return folder


@pytest.fixture(scope="module")
def ada(house):
    """Ada's session in the house."""
    with connect(house, as_=ADA) as session:
        yield session


@pytest.fixture(scope="module")
def versions(ada):
    """The ids of both versions, the winter's first."""
    return [one.version_id for one in reversed(ada.versions("train"))]


def test_a_version_is_meant_by_id_start_or_name(ada, versions):
    """An id, its start, NAME@vSTART and the name of the newest version mean what they say."""
    winter, summer = versions
    for first, second in [
        (winter, summer),
        (winter[:8], f"train@v{summer[:6]}"),
        (f"train@v{winter}", "train"),
    ]:
        found = compare(first, second, config=ada)
        assert found.baseline == f"train@v{winter[:12]}"
        assert found.current == f"train@v{summer[:12]}"
        assert found.status == "drifted"


def test_a_file_is_compared_with_what_nbgov_delivered(ada, house):
    """A dataset version and a file pair by their columns; what the file cannot know is a remark."""
    found = compare("train", house / "summer.parquet", config=ada)
    assert found.status == "drifted"
    kinds = {cause.kind for cause in found.causes if cause.effect}
    assert not kinds & {"statement", "binds", "policy", "masks"}
    assert any("is not known" in cause.sentence for cause in found.causes)
    assert not any("private.test" in cause.sentence for cause in found.causes)
    back = compare(house / "summer.parquet", "train", config=ada)
    assert back.current.startswith("train@v")


def test_closed_columns_of_a_file_are_held_against_the_governed_ones(ada, tmp_path):
    """Columns that are closed in a version compare with a file's, under the version's own keys."""
    rows = ada.sql(SQL, season=1).to_arrow()
    parquet.write_table(rows, tmp_path / "same.parquet")
    same = compare("train", tmp_path / "same.parquet", config=ada)
    assert (same.status, same.is_same_data) == ("stable", True)
    other = rows.set_column(0, "distance", [[0.0] * len(rows)])
    changed = compare("train", other, config=ada)
    [values] = [cause for cause in changed.causes if cause.kind == "values"]
    assert values.detail["columns"] == ["distance"]


def test_a_run_is_compared_with_data_by_its_data(ada, versions):
    """A run against a dataset version is judged by the input of that name, and by nothing else."""
    read = [RunInput(name, versions[0], "training", "explicit") for name in ("train", "other")]
    run = Run("r1", "winter", tuple(read), {"depth": "3"}, {"auc": 0.9})
    found = compare(run, "train", config=ada)
    assert (found.baseline, found.status) == ("winter", "drifted")
    assert not {"params", "metrics", "inputs"} & {cause.kind for cause in found.causes}
    with pytest.raises(RequestInvalid, match="not clear"):
        compare(run, TABLE, config=ada)


def test_runs_as_values_bring_their_versions_or_find_them(ada, versions):
    """Two Run values are compared by the versions that are given, or that the state folder holds."""
    runs = [
        Run(
            f"r{number}", f"run {number}", (RunInput("train", one, "training", "explicit"),), {}, {}
        )
        for number, one in enumerate(versions)
    ]
    assert compare(*runs, versions={}).status == "unknown"
    assert compare(*runs, config=ada).status == "drifted"


# ---------------------------------------------------------------- the command


def test_a_dataset_alone_is_compared_with_its_version_before(ada, house, versions, monkeypatch):
    """``nbgov drift NAME`` takes the last two versions; the report is the one that Python gives."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = nbgov(house, "drift", "train")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout == report_text(compare(*versions, config=ada)) + "\n"
    assert nbgov(house, "drift", "compare", "train").stdout == shown.stdout


def test_json_is_the_whole_report(ada, house, versions):
    """``--json`` writes one object with every field."""
    shown = nbgov(house, "drift", "--json", *versions)
    held = json.loads(shown.stdout)
    assert held == json.loads(json.dumps(compare(*versions, config=ada).to_dict()))
    assert "private.test" not in shown.stdout


def test_a_page_is_written_where_it_is_asked_for(house, tmp_path):
    """``--html`` writes the page, with pictures, and says what is wrong with the place if it must."""
    page = tmp_path / "drift.html"
    assert nbgov(house, "drift", "train", "--html", str(page)).exit_code == 0
    assert "figure" in Page(page.read_text(encoding="utf-8")).tags
    lost = nbgov(house, "drift", "train", "--html", str(tmp_path / "no" / "drift.html"))
    assert (lost.exit_code, "code    file-unwritable" in lost.stderr) == (1, True)


def test_a_replay_names_its_metric(house):
    """``--replay`` without ``--metric`` is wrong usage."""
    shown = nbgov(house, "drift", "train", "--replay", "json:dumps")
    assert (shown.exit_code, "--metric" in shown.stderr) == (2, True)


def test_a_terminal_gets_colours(house, monkeypatch):
    """Colours are for terminals, and for those who have not asked for none."""
    words = ["--config", str(house), "--as", ADA, "drift", "train"]
    assert "\x1b[" in CliRunner().invoke(main, words, color=True).stdout
    assert "\x1b[" not in CliRunner().invoke(main, words).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in CliRunner().invoke(main, words, color=True).stdout


def test_continuous_integration_gets_an_exit_code(house, versions):
    """With ``--fail-on`` drift and holds end with 4, without it they end well, and no drift does."""
    winter, summer = versions
    assert nbgov(house, "drift", winter, summer).exit_code == 0
    assert nbgov(house, "drift", winter, summer, "--fail-on", "drifted").exit_code == 4
    assert nbgov(house, "drift", winter, summer, "--fail-on", "held").exit_code == 4
    assert nbgov(house, "drift", winter, winter, "--fail-on", "drifted").exit_code == 0
    assert nbgov(house, "drift", winter, winter, "--fail-on", "held").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["trian"], "unknown-reference", "did you mean train?"),
        (["train", "no.parquet"], "file-unreadable", "no.parquet"),
        (["{house}/summer.parquet"], "no-baseline", "name both"),
        (["train", "{house}/summer.parquet", "--attach"], "usage", "--html"),
        (["train", "--replay", "json:dumps", "--metric", "auc"], "usage", "replayed"),
        (["{winter}"], "no-baseline", "first version"),
    ],
)
def test_an_error_says_what_was_tried_and_what_next(house, versions, words, code, hint):
    """A reference that means nothing, or has nothing before it, is named with what to do."""
    words = [word.format(house=house, winter=versions[0]) for word in words]
    shown = nbgov(house, "drift", *words)
    assert shown.exit_code == 1
    assert f"code    {code}" in shown.stderr
    assert hint in shown.stderr
    assert len(shown.stderr.strip().splitlines()) <= 6
