"""The data of the model in production, read again: what is said of it, in one line and in one code."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import duckdb
import pytest

from nbgov import connect
from nbgov.errors import RequestInvalid
from nbgov.evidence.verification import verify_log
from nbgov.retraining.watch import Watched, rounds
from tests.flights import ADA, POLICY
from tests.surfaces.seasons import SQL, build, nbgov

WINTER = SQL.replace(":season", "0")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A house in which the winter was read once, under the name that a model was trained on."""
    folder = build(tmp_path_factory.mktemp("house"))
    (folder / "winter.sql").write_text(WINTER)
    with connect(folder, as_=ADA) as session:
        session.sql(WINTER, dataset="train").to_arrow()
    return folder


@pytest.fixture
def house(built, tmp_path):
    """A copy of the house for one test."""
    return Path(shutil.copytree(built, tmp_path / "house"))


def watch(folder, *words, file="winter.sql"):
    """Look once at the dataset, against the version that is kept of it."""
    what = ["warehouse", "--dataset", "train", "--file", str(folder / file)]
    against = [] if "--model" in words or "--baseline" in words else ["--baseline", "train"]
    return nbgov(folder, "drift", "watch", *what, *against, *words)


def change(folder, statement):
    """Change the warehouse as its owner does."""
    with duckdb.connect(str(folder / "warehouse.duckdb")) as database:
        database.execute(statement)


def test_data_that_is_as_it_was_is_stable(house):
    """Equal rows are one line that says so, an audit record of the read, and exit code 0."""
    shown = watch(house)
    assert shown.exit_code == 0, shown.stderr
    [line] = shown.stdout.splitlines()
    assert " stable " in line
    assert "2,000 rows  record " in line
    assert "Same data" in line
    with connect(house, as_=ADA) as session:
        assert verify_log(session).is_sound
        assert len(session.deliveries("train")) == 2


def test_drift_is_known_before_the_next_training(house):
    """Data that moved ends with 4, and the line names the first cause."""
    change(house, "UPDATE flights SET air_time = air_time * 60")
    shown = watch(house)
    assert shown.exit_code == 4
    assert " drifted " in shown.stdout
    assert "air_time" in shown.stdout
    assert "private.test" not in shown.stdout


def test_another_schema_and_another_statement_are_told(house):
    """A statement that is another than the baseline's is said to be, with what it changes."""
    (house / "other.sql").write_text(WINTER.replace("carrier, ", ""))
    with connect(house, as_=ADA) as session:
        first = session.dataset("train").version_id
    shown = watch(house, "--json", "--baseline", first, file="other.sql")
    found = json.loads(shown.stdout)
    assert (shown.exit_code, found["status"]) == (4, "drifted")
    assert found["is_other_statement"]
    assert {"statement", "schema"} <= {cause["kind"] for cause in found["report"]["causes"]}
    told = watch(house, "--baseline", first, file="other.sql").stdout
    assert "(another statement than the baseline's)" in told


@pytest.mark.slow
def test_another_configuration_of_equal_rows_is_told(house):
    """Rows that come out equal under another statement are no drift, and are not called stable."""
    (house / "same.sql").write_text(WINTER + " AND id >= 0")
    shown = watch(house, "--json", file="same.sql")
    found = json.loads(shown.stdout)
    assert (shown.exit_code, found["status"]) == (4, "changed")
    assert found["report"]["is_same_data"]


@pytest.mark.slow
def test_data_that_is_too_old_is_stale(house):
    """A limit of age that the policy sets is kept by every round."""
    terms = "drift: {freshness: [{on: [train], age_max: 30d, column: flown_at}]}"
    (house / "policy.yaml").write_text(POLICY + terms)
    (house / "old.sql").write_text(
        WINTER.replace("distance,", "distance, TIMESTAMP '2013-01-01' AS flown_at,")
    )
    watch(house, file="old.sql")
    shown = watch(house, file="old.sql")
    assert shown.exit_code == 4
    assert " stale " in shown.stdout


@pytest.mark.slow
def test_a_profile_that_is_missing_is_not_called_stable(house):
    """Where the baseline cannot be compared the round is unknown, and ends with 5."""
    with connect(house, as_=ADA) as session:
        bare = session.sql(SQL, season=0, rows_max=1999).to_pandas().attrs["nbgov"]["version"]
    shown = watch(house, "--baseline", bare)
    assert (shown.exit_code, " unknown " in shown.stdout) == (5, True), shown.stdout


@pytest.mark.slow
def test_values_that_are_bound_move_with_the_window(house):
    """Binds are given as for ``nbgov sql``."""
    (house / "bound.sql").write_text(SQL)
    shown = watch(house, "--bind", "season=0", file="bound.sql")
    assert "Same data" in shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["--model", "m"], 2, "one of --model and --baseline"),
        (["--every", "0h"], 2, "30s, 15m, 1h or 1d"),
        (["--every", "soon"], 2, "30s, 15m, 1h or 1d"),
        (["--baseline", "trian"], 1, "did you mean train?"),
        (["--baseline", "train", "--bind", "x"], 1, "code    usage"),
    ],
)
def test_wrong_usage_is_named(house, words, code, hint):
    """Words that do not read are answered before anything is read."""
    words = [*words, "--baseline", "train"] if words[0] in {"--model", "--every"} else words
    shown = watch(house, *words)
    assert (shown.exit_code, hint in shown.stderr) == (code, True), shown.stderr


def test_only_a_read_can_be_watched(house):
    """A statement that changes data is refused before it runs, and so is what the policy refuses."""
    (house / "change.sql").write_text("UPDATE flights SET delay = 0 WHERE id = 1")
    (house / "drop.sql").write_text("DROP TABLE flights")
    for file in ("change.sql", "drop.sql"):
        assert watch(house, file=file).exit_code == 1


def seen(house, count):
    """Statuses of some rounds, where a pause is nothing but a chance to change the warehouse."""
    with connect(house, as_=ADA) as session:
        watched = Watched("warehouse", WINTER, {}, "train", session.versions("train")[0].version_id)
        steps = iter(count)
        looks = rounds(session, watched, pause=lambda: next(steps)(session))
        yield from itertools.islice(looks, len(count) + 1)


@pytest.mark.slow
def test_it_looks_again_after_each_pause(house):
    """Every round reads the data as it is then, and keeps a version and a record of its own."""

    def move(session):
        session.engines.pop("warehouse").close()
        change(house, "UPDATE flights SET air_time = air_time * 60")

    found = list(seen(house, [lambda _: None, move]))
    assert [one.status for one in found] == ["stable", "stable", "drifted"]
    assert len({one.record for one in found}) == 3


@pytest.mark.slow
def test_a_database_that_is_away_is_a_round_that_failed(house):
    """A round that a product fails is told, and the next one looks again."""
    place = house / "warehouse.duckdb"

    def lose(session):
        session.engines.pop("warehouse").close()
        place.rename(house / "gone.duckdb")

    def find(_):
        (house / "gone.duckdb").rename(place)

    found = list(seen(house, [lose, find]))
    assert [one.status for one in found] == ["stable", "failed", "stable"]
    assert "  failed  " in found[1].line()
    assert found[1].to_dict()["report"] is None
    lost = place.rename(house / "gone.duckdb")
    assert watch(house).exit_code == 1
    lost.rename(place)


def test_a_refusal_ends_the_watch(house):
    """What the policy refuses is not asked again."""
    with connect(house, as_=ADA) as session:
        watched = Watched("warehouse", "UPDATE flights SET delay = 0", {}, "train", "train")
        with pytest.raises(RequestInvalid):
            next(rounds(session, watched, pause=lambda: None))
