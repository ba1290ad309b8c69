"""A session on real files: what one text may hold, and when a profile is made."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nbgov
from nbgov import session as session_module
from nbgov.backends.memory import MemoryRunStore
from nbgov.core.audit import decode
from nbgov.core.datasets import rows_key
from nbgov.model import Run
from tests.surfaces.house import build


@pytest.fixture
def session(tmp_path):
    with nbgov.connect(build(tmp_path), as_="ada@acme.test") as opened:
        yield opened


def attempts(session):
    records = [decode(line).record for line in session.world.audit.entries()]
    told = [one for one in records if one.kind.value in {"attempt", "outcome"}]
    return [(record.kind.value, record.status, record.verb) for record in told]


def test_several_reads_are_several_requests(session):
    """Each statement of a text has its own records, and the result is the last one's."""
    table = session.sql("SELECT 1 AS a; SELECT 2 AS b;").to_arrow()
    assert table.to_pydict() == {"b": [2]}
    assert (
        attempts(session)
        == [
            ("attempt", None, "SELECT"),
            ("outcome", "ok", "SELECT"),
        ]
        * 2
    )


def test_all_are_decided_before_the_first_one_runs(session):
    """A statement that is denied stops the whole text, and is recorded."""
    with pytest.raises(nbgov.Denied):
        session.sql("SELECT 1; DROP TABLE people")
    assert attempts(session) == [("outcome", "denied", "DROP")]


def test_a_write_stands_alone(session):
    """A write may wait for approval or fail, and the others must not run twice then."""
    with pytest.raises(nbgov.RequestInvalid) as caught:
        session.sql("SELECT 1; UPDATE people SET team = 'x' WHERE id = 1")
    assert caught.value.code == "not-one-statement"


def test_a_profile_is_made_when_somebody_asks(session):
    """The version of a result that nobody named learns its profile when it is looked up."""
    result = session.sql("SELECT 1 AS a")
    result.to_arrow()
    version = result.summary.version
    assert not version.profile
    assert session.version(version.version_id).profile["rows"] == 1
    assert session.world.datasets.version(version.version_id).profile["rows"] == 1
    assert session.version("nowhere") is None


def read(session, sql="SELECT id, team FROM people", **more):
    result = session.sql(sql, **more)
    result.to_arrow()
    return result.summary.version


@pytest.fixture
def keeping(tmp_path):
    """A session that keeps the rows of named results."""
    folder = build(tmp_path)
    with (folder / "nbgov.yaml").open("a") as config:
        config.write("rows: {keep: named}\n")
    with (folder / "policy.yaml").open("a") as policy:
        policy.write("content: {entities: []}\n")
    with nbgov.connect(folder, as_="ada@acme.test") as opened:
        yield opened


def test_a_version_is_found_by_what_people_write(session):
    """By its id, by a start of it, by its name with a start, and by the name alone; with its profile."""
    version = read(session, dataset="train")
    for text in (
        "train",
        version.version_id,
        version.version_id[:6],
        f"train@v{version.version_id[:8]}",
    ):
        assert session.dataset(text) == version
    assert session.dataset("train").profile
    with pytest.raises(nbgov.RequestInvalid, match="did you mean train"):
        session.dataset("trains")
    assert [one.name for one in session.deliveries("train")] == ["train"]
    assert session.deliveries("test") == ()  # fmt: skip


def test_kept_rows_come_back_checked(keeping):
    """Rows are those that were delivered, or an error; what was not kept is none."""
    version, other = read(keeping, dataset="train"), read(keeping, "SELECT 1 AS a")
    assert keeping.rows(version.version_id).to_pydict() == {
        "id": [1, 2, 3],
        "team": ["red", "red", "blue"],
    }
    assert keeping.rows(other.version_id) is None
    assert keeping.rows("nowhere") is None
    store, key = keeping.world.rows, rows_key(version)
    path = store.path(key)
    pq.write_table(pa.table({"id": [1, 2, 4], "team": ["red", "red", "blue"]}), path)
    with pytest.raises(nbgov.IntegrityFailed) as caught:
        keeping.rows(version.version_id)
    assert caught.value.code == "rows-damaged"


def test_kept_rows_are_for_whom_they_were_delivered_to(keeping):
    """Another principal may be shown less of the same table, so the rows are not theirs."""
    version = read(keeping, dataset="train")
    with nbgov.connect(keeping.path, as_="grace@acme.test") as other:
        assert other.version(version.version_id) == version
        assert other.rows(version.version_id) is None


def test_rows_come_back_in_the_columns_of_their_version(keeping):
    """Equal rows under another order of columns are another result."""
    first = read(keeping, dataset="a")
    second = read(keeping, "SELECT team, id FROM people", dataset="b")
    assert first.content_id == second.content_id
    assert keeping.rows(first.version_id).column_names == ["id", "team"]
    assert keeping.rows(second.version_id).column_names == ["team", "id"]


def test_a_veiled_fingerprint_is_recognised(keeping):
    """Whoever holds the rows finds the columns of a version by their images, under any name."""
    version = read(keeping, "SELECT id AS n, note FROM people, range(20)", dataset="train")
    rows = keeping.rows(version.version_id).rename_columns(["x", "y"])
    veiled = keeping.veiled(nbgov.fingerprint(rows))
    kept = {name: digest for name, _, digest, _ in version.columns}
    assert veiled.columns[1][2] == kept["note"] != ""
    assert nbgov.fingerprint(rows).columns[0][2] == kept["n"]


def test_terms_are_those_of_the_policy(session):
    """A policy that says nothing of drift leaves the defaults."""
    assert session.terms() == nbgov.DriftTerms()


def test_open_sessions_are_known(session):
    """The sessions of this process are listed while they are open."""
    assert session in nbgov.Session.opened()
    session.close()
    assert session not in nbgov.Session.opened()


def test_a_run_is_asked_of_the_run_store(session, monkeypatch):
    """A session finds runs by reference, and binds what it delivered with its labels."""
    store = MemoryRunStore([Run("r1", "first", (), {}, {})])
    monkeypatch.setattr(session_module, "run_store", lambda: store)
    frame = session.sql("SELECT id, team FROM people").to_pandas()
    assert session.track(frame, run_id="r1", labels=["team"]) == "r1"
    [bound] = session.run("runs:/r1").inputs
    assert (bound.labels, bound.bound_via) == (("team",), "explicit")
    assert bound.sources[0].kind == "duckdb-file"
    with pytest.raises(nbgov.RequestInvalid):
        session.track([1, 2], run_id="r1")


def test_what_a_closed_session_delivered_can_be_looked_up(tmp_path):
    """A frame names its version after its session is gone, though no account means its principal."""
    with nbgov.connect(build(tmp_path), as_="ada@acme.test") as session:
        mark = session.sql("SELECT id FROM people").to_pandas().attrs["nbgov"]
    version, delivery = nbgov.lookup(mark)
    assert (version.version_id, delivery.read_id) == (mark["version"], mark["read"])
    assert nbgov.lookup({"read": "nowhere"}) is None
