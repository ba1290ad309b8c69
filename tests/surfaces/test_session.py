"""A session on real files: what one text may hold, and when a profile is made."""

from __future__ import annotations

import pytest

import nbgov
from nbgov.core.audit import decode
from tests.surfaces.house import build


@pytest.fixture
def session(tmp_path):
    with nbgov.connect(build(tmp_path), as_="ada@acme.test") as opened:
        yield opened


def attempts(session):
    records = [decode(line).record for line in session.world.audit.entries()]
    return [(record.kind.value, record.status, record.verb) for record in records]


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
