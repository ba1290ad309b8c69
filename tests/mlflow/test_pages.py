"""What a person sees of governed training on a stock MLflow, in a real browser.

One small story with real parts: a model of arrival delay is trained, trained again on the same
data, trained after the source changed the unit of a column, and trained on a file that nbgov never
delivered. Pictures of every page go to the folder that ``NBGOV_SHOTS`` names, for a person to look
at; the tests read words.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import mlflow
import pytest
from playwright.sync_api import expect

from nbgov.backends.accounts import own_account
from tests.flights import build
from tests.mlflow.browser import CONTRAST, OVERFLOW, chromium

# A busy machine needs minutes for a server and three processes that train.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {kind: duckdb, path: warehouse.duckdb}
principals:
  ada@acme.test: {accounts: ["%s"], groups: [analysts]}
"""
FLIGHTS = """
CREATE TABLE flights AS
SELECT 1 + i % 12 AS month, ['AA', 'B6', 'DL', 'UA'][1 + i * 7 % 4] AS carrier,
       (200 + (i * 7919) % 2300)::DOUBLE AS distance,
       20.0 + ((i * 7919) % 2300) / 7.5 + i % 13 AS air_time,
       (air_time / 5 + (i * 104729) % 40 - 20 + i % 12)::DOUBLE AS arr_delay,
       'person' || i || '@private.test' AS email
FROM range(6000) t(i)
"""
HOURS = "UPDATE flights SET air_time = air_time / 60"
# What a person's own training script looks like; each time in a process of its own.
TRAINING = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas, nbgov
from sklearn.linear_model import Ridge

mlflow.set_experiment("arrival delay")
mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)

def fit(name, frame):
    with mlflow.start_run(run_name=name, description=NOTES.get(name)):
        model = Ridge(alpha=0.5)
        model.fit(frame[["month", "distance", "air_time"]], frame["arr_delay"])
        # MLflow works the requirements out in a process of its own, which takes half a minute.
        mlflow.sklearn.log_model(
            model, name="model", pip_requirements=["scikit-learn"],
            registered_model_name="arrival-delay",
        )

NOTES = {"retrain-november": "Ask **Ada** before you ship this one."}
SQL = "SELECT month, carrier, distance, air_time, arr_delay, email FROM flights WHERE month <= :last"
for name in sys.argv[1:]:
    with nbgov.connect() as session:
        frame = session.sql(SQL, last=6).to_pandas()
        if name == "retrain-from-a-file":
            frame.to_csv("flights.csv")
            frame = pandas.read_csv("flights.csv").query("arr_delay < 60")
        fit(name, frame)
"""
FLAG = re.compile(r"nbgov\.(?:drift|gate)\s*:\s*(\w+)")
NAME = "warehouse.main.flights"
NAMES = ("retrain-september", "retrain-october", "retrain-november", "retrain-from-a-file")


@dataclass(frozen=True, slots=True)
class Story:
    """What was trained, and where it can be seen.

    Attributes:
        url: The MLflow server.
        experiment: The experiment's id.
        runs: The ids of the runs by name.
        version, model: The dataset version that the drifted run was trained on, and its model.
    """

    url: str
    experiment: str
    runs: dict[str, str]
    version: str
    model: str

    def list(self, query: str = "") -> str:
        """The address of the experiment's list of runs."""
        return f"{self.url}/#/experiments/{self.experiment}/runs?{query}"

    def page(self, name: str, *more: str) -> str:
        """The address of a run's page."""
        run = self.runs[name]
        return "/".join((f"{self.url}/#/experiments/{self.experiment}/runs/{run}", *more))


def told(url: str, folder: Path) -> Story:
    """Make the warehouse, let the trainings happen, and set an alias as a person would."""
    build(folder, FLIGHTS, config=CONFIG % own_account())
    train(url, folder, *NAMES[:2])
    execute(folder, HOURS)
    client = mlflow.MlflowClient(url, url)
    client.set_registered_model_alias("arrival-delay", "champion", "1")
    for name in NAMES[2:]:
        train(url, folder, name)
    [experiment] = [one for one in client.search_experiments() if one.name == "arrival delay"]
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_name: run.info.run_id for run in runs}
    drifted = client.get_run(names["retrain-november"])
    [changed], [model] = drifted.inputs.dataset_inputs, drifted.outputs.model_outputs
    return Story(url, experiment.experiment_id, names, changed.dataset.digest, model.model_id)


def execute(folder: Path, statement: str) -> None:
    """What happens to the warehouse without nbgov."""
    with duckdb.connect(folder / "warehouse.duckdb") as database:
        database.execute(statement)


def train(url: str, folder: Path, *names: str) -> None:
    """Run the training script, as many times as there are names."""
    outcome = subprocess.run(
        [sys.executable, "-c", TRAINING, *names],
        cwd=folder, env=os.environ | {"MLFLOW_TRACKING_URI": url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr[-4000:]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The folder of the warehouse, the policy and nbgov's own state."""
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def story(mlflow_server, house):
    """The story, told once."""
    return told(mlflow_server.url, house)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for this file."""
    with chromium(tmp_path_factory.mktemp("shots")) as running:
        yield running


@pytest.fixture
def window(browser):
    """A window of its own for each test; nothing that it shows may leave the machine."""
    with browser.window() as opened:
        yield opened
        assert opened.left == []


# ---------------------------------------------------------------- the eyes

BAD = """
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="script-src 'none'">
<p style="color: #999">faint</p><p style="width: 3000px">wide</p>
<img src="http://elsewhere.test/pixel.png"><script>1</script>
"""


def test_the_browser_notices_what_is_wrong(browser, tmp_path):
    """Faint and cut text, a request that leaves and a refused script do not go unseen."""
    (tmp_path / "bad.html").write_text(BAD)
    with browser.window() as window:
        page = window.open((tmp_path / "bad.html").as_uri(), "faint")
        assert [found[:4] for found in page.evaluate(CONTRAST)] == ["2.85"]
        assert "too wide" in page.evaluate(OVERFLOW)[0]
        assert window.left == ["http://elsewhere.test/pixel.png"]
        assert any("script" in complaint for complaint in window.complaints)


# ---------------------------------------------------------------- the run page


def test_the_run_page_tells_which_data_and_that_it_drifted(window, story):
    """Chip, tags and the first line of the description answer without a click."""
    page = window.open(story.page("retrain-november"), f"flights@v{story.version[:8]}", "DRIFTED")
    window.shot("run")
    chip = page.get_by_text(f"{NAME}@v{story.version[:8]} ({story.version})")
    expect(chip).to_be_visible()
    # MLflow writes the context with a capital by style alone.
    expect(page.get_by_role("button", name=story.version).get_by_text("training")).to_be_visible()
    expect(tag(page, "nbgov.drift", "drifted")).to_be_visible()
    first = first_line(page)
    assert first.startswith("DRIFTED air_time")
    assert "unit" in first
    assert re.search(r"compared with retrain-(september|october)", first)
    assert "person" not in page.locator("body").inner_text()


def test_the_description_keeps_what_the_user_wrote(window, story):
    """Below nbgov's lines stands the user's own text, once "Show more" is clicked."""
    page = window.open(story.page("retrain-november"), "DRIFTED")
    page.get_by_text("Show more").first.click()
    window.shot("run-note")
    expect(page.get_by_text("Ask Ada before you ship this one.")).to_be_visible()
    cells = page.locator("table", has_text="Used as").locator("td").all_inner_texts()
    assert [cell.strip() for cell in cells[:2]] == [f"{NAME}@v{story.version[:8]}", "3,000"]


def test_the_same_data_is_called_the_same(window, story):
    """A training on the same data says so on line 1, with a link to the run that it compares with."""
    page = window.open(story.page("retrain-october"), "SAME DATA")
    window.shot("run-stable")
    assert first_line(page).startswith("SAME DATA")
    expect(tag(page, "nbgov.drift", "stable")).to_be_visible()
    link = page.get_by_role("link", name="retrain-september").first
    assert str(link.get_attribute("href")).endswith(f"/runs/{story.runs['retrain-september']}")


def test_a_first_training_is_a_baseline(window, story):
    """A run with nothing to compare with says that, and not that all is well."""
    page = window.open(story.page("retrain-september"), "BASELINE")
    window.shot("run-baseline")
    assert first_line(page).startswith("BASELINE")
    expect(tag(page, "nbgov.drift", "baseline")).to_be_visible()


def test_data_that_nobody_governed_shows(window, story):
    """A fit on a file says so in the first line of the description and in the tags."""
    page = window.open(story.page("retrain-from-a-file"), "UNGOVERNED INPUT")
    window.shot("run-ungoverned")
    assert first_line(page).startswith("UNGOVERNED INPUT")
    assert "DataFrame of 3 columns" in first_line(page)
    expect(tag(page, "nbgov.ungoverned", "2 inputs")).to_be_visible()
    expect(page.get_by_role("link", name="nbgov.rows/")).to_be_visible()
    expect(page.get_by_role("link", name="nbgov.drift/")).to_have_count(0)
    expect(tag(page, "nbgov.drift", "unknown")).to_be_visible()
    window.open(story.page("retrain-from-a-file", "artifacts", "nbgov", "lineage.html"))
    shown, _ = window.inner()
    expect(shown.get_by_text("Ungoverned").first).to_be_visible()
    window.shot("lineage-ungoverned")


def test_the_drawer_tells_where_the_data_came_from(window, story):
    """A click on the dataset shows source, query, policy and masks, and the schema with its marks."""
    page = window.open(story.page("retrain-november"), f"flights@v{story.version[:8]}")
    page.get_by_text(f"({story.version})").first.click()
    drawer = page.get_by_role("dialog")
    # The drawer slides in; it is there when its right-most column is.
    mask = drawer.get_by_text("text · masked redact pii.email")
    expect(mask).to_be_in_viewport(ratio=1)
    window.shot("drawer")
    shown = " ".join(drawer.inner_text().split())
    assert "num rows: 3000" in shown
    assert "source: warehouse (duckdb)" in shown
    assert "tables: main.flights" in shown
    assert "query: SELECT month, carrier" in shown
    assert "masked columns: email (redact pii.email)" in shown
    assert "Source type" in shown


# ---------------------------------------------------------------- over many runs


def test_the_list_of_runs_names_the_versions(window, story):
    """The dataset column tells two versions apart by the start of the name alone."""
    page = window.open(story.list(), "retrain-november")
    expect(page.get_by_text(f"{NAME}@v{story.version[:8]}").first).to_be_visible()
    window.shot("runs")
    names = page.get_by_text(f"{NAME}@v").all_inner_texts()
    assert len({name[: len(NAME) + 10] for name in names}) == 2


def test_the_drift_has_a_section_of_charts(window, story):
    """The charts of an experiment have a section for drift, with the drifted run in it."""
    page = window.open(story.list("compareRunsMode=CHART"), "retrain-november")
    heading = page.get_by_text(re.compile(r"^nbgov\.drift"))
    expect(heading.first).to_be_visible()
    expect(page.get_by_text("max_psi").first).to_be_visible()
    window.shot("charts")


def test_compare_shows_what_differs(window, story):
    """The compare page has rows for the verdict and for the inputs, which differ."""
    runs = ",".join(f'"{story.runs[name]}"' for name in ("retrain-october", "retrain-november"))
    page = window.open(
        f'{story.url}/#/compare-runs?runs=[{runs}]&experiments=["{story.experiment}"]'
    )
    row = page.get_by_role("row", name=re.compile(r"^nbgov\.drift\b(?!\.)"))
    row.first.scroll_into_view_if_needed()
    window.shot("compare")
    assert cells(row.first)[1:] == ["stable", "drifted"]
    inputs = cells(page.get_by_role("row", name=re.compile(r"^nbgov\.inputs")).first)[1:]
    assert len(set(inputs)) == 2
    assert inputs[1].startswith(f"{NAME}@v{story.version[:8]}")


# ---------------------------------------------------------------- the model


def test_the_model_page_names_the_dataset(window, story):
    """The datasets used by a logged model hold the governed version that it was trained on."""
    page = window.open(f"{story.url}/#/experiments/{story.experiment}/models/{story.model}")
    used = page.get_by_text(f"{NAME}@v{story.version[:8]}")
    expect(used.first).to_be_visible()
    window.shot("model")


def test_the_versions_of_a_model_carry_flags(window, story):
    """The list of versions shows beside each alias whether its data drifted and whether it is held."""
    page = window.open(f"{story.url}/#/models/arrival-delay", "champion", "nbgov.gate")
    window.shot("versions")
    rows = {
        found[0]: row.inner_text()
        for row in page.get_by_role("row").all()
        if (found := re.findall(r"Version \d", row.inner_text()))
    }
    assert FLAG.findall(rows["Version 1"]) == ["baseline", "clear"]
    assert FLAG.findall(rows["Version 2"]) == ["stable", "clear"]
    assert FLAG.findall(rows["Version 3"]) == ["drifted", "held"]
    assert FLAG.findall(rows["Version 4"]) == ["unknown", "held"]


# ---------------------------------------------------------------- the artifacts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_lineage_page_shows_in_its_frame(browser, story, scheme):
    """The page is whole and readable where MLflow shows it, and asks for nothing from anywhere."""
    with browser.window(scheme) as window:
        window.open(story.page("retrain-november", "artifacts", "nbgov", "lineage.html"))
        shown, frame = window.inner()
        expect(shown.get_by_role("heading", name="retrain-november")).to_be_visible()
        window.shot(f"lineage-{scheme}")
        for each in shown.locator("details").all():
            each.evaluate("node => node.open = true")
        text = shown.locator("body").inner_text()
        assert "What changed?" in text
        assert "air_time" in text
        assert story.version in text
        assert "ada@acme.test" in text
        assert "\ufffd" not in text
        assert "â" not in text
        assert frame.evaluate(OVERFLOW) == []
        assert frame.evaluate(CONTRAST) == []
        assert window.complaints == []
        assert window.left == []


def test_the_causes_show_as_a_table(window, story):
    """MLflow shows the ranked causes as a table with the strongest first."""
    page = window.open(
        story.page("retrain-november", "artifacts", "nbgov", "drift.csv"), "sentence"
    )
    expect(page.get_by_role("columnheader", name="sentence")).to_be_visible()
    window.shot("causes")
    first = page.get_by_role("row").nth(1)
    assert cells(first)[0] == "1"
    assert "air_time" in first.inner_text()


# ---------------------------------------------------------------- what the command line writes


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 420])
@pytest.mark.parametrize("name", ["drift", "lineage"])
def test_a_report_on_the_disk_is_readable(browser, reports, name, scheme, width):
    """The HTML of the command line fits any window, can be read, and loads nothing."""
    with browser.window(scheme, width=width) as window:
        window.open(reports[name].as_uri(), "air_time")
        for each in window.page.locator("details").all():
            each.evaluate("node => node.open = true")
        window.shot(f"{name}-{scheme}-{width}", is_whole=True)
        assert window.page.evaluate(OVERFLOW) == []
        assert window.page.evaluate(CONTRAST) == []
        assert window.complaints == []
        assert window.left == []


@pytest.fixture(scope="module")
def reports(story, house):
    """What ``nbgov drift --html`` and ``nbgov lineage show --html`` write about the story."""
    before, after = (story.runs[name] for name in ("retrain-october", "retrain-november"))
    asked = {"drift": ["drift", before, after], "lineage": ["lineage", "show", after]}
    for name, words in asked.items():
        outcome = subprocess.run(
            [Path(sys.executable).with_name("nbgov"), *words, "--html", f"{name}.html"],
            cwd=house, env=os.environ | {"MLFLOW_TRACKING_URI": story.url},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert outcome.returncode in {0, 4}, outcome.stderr
    return {name: house / f"{name}.html" for name in asked}


def tag(page, key, value):
    """The chip of a run's tag."""
    return page.get_by_text(re.compile(rf"^{re.escape(key)}:\s*{re.escape(value)}$")).first


def first_line(page):
    """What a person reads of the description before the first blank line."""
    return page.locator("p", has=page.locator("strong")).first.inner_text()


def cells(row):
    """The texts of a row's cells."""
    return [
        cell.strip()
        for cell in row.locator("td, th, [role=cell], [role=gridcell]").all_inner_texts()
    ]
