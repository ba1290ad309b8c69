"""One suite for every dataset store, then what only SQLite can suffer."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbgov.backends.memory import MemoryDatasetStore
from nbgov.backends.sqlite import datasets
from nbgov.backends.sqlite.datasets import SqliteDatasetStore
from nbgov.errors import BackendFailed
from nbgov.model import DatasetVersion, Delivery, SourceVersion

START = datetime(2026, 1, 1, tzinfo=UTC)
PROFILE = {
    "rows": 3,
    "columns": [{"name": "e-mail ü😀", "mean": 0.1, "top": [["a", 2], [None, 1]]}],
}


def version(version_id="v1", name="warehouse.main.flights", **changes):
    plain = DatasetVersion(
        version_id=version_id,
        content_id="c" * 64,
        schema_id="s" * 64,
        name=name,
        connection="warehouse",
        dialect="duckdb",
        tables=("main.flights", "main.planes"),
        statement="SELECT ? FROM flights",
        statement_mac="0f" * 32,
        binds_mac="",
        binds=("month: int",),
        policy="3f9c",
        rows=3,
        columns=(("email", "string", "ab" * 32, 2), ("month", "int64", "cd" * 32, 3)),
        masked={"email": "redact pii.email"},
        literals=("0f" * 8,),
        tags={"email": ("pii.email",), "month": ("public", "time")},
        origins={"email": ("warehouse.main.flights.email",), "month": ()},
        profile=PROFILE,
    )
    return replace(plain, **changes)


def delivery(read_id="r1", version_id="v1", **changes):
    plain = Delivery(
        read_id=read_id,
        version_id=version_id,
        name="warehouse.main.flights",
        principal="ada@acme.test",
        decision="permit",
        rules=("analysts-read",),
        record=12,
        receipt="log/12#abcd",
        at=START,
        sources=(
            SourceVersion("main.flights", "duckdb-file", "7:4096:1", START),
            SourceVersion("main.planes", "postgresql-relation", "1:2", snapshot="9:9:"),
        ),
        policy_revision="4f2c",
        ticket="aabbccdd",
        order="12" * 16,
    )
    return replace(plain, **changes)


def unavailable():
    return pytest.raises(BackendFailed, match="state-unavailable")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.sqlite"


@pytest.fixture
def sqlite(path):
    store = SqliteDatasetStore(path)
    yield store
    store.close()


@pytest.fixture(params=["memory", "sqlite"])
def store(request):
    if request.param == "memory":
        return MemoryDatasetStore()
    return request.getfixturevalue("sqlite")


# ---- every store


def test_a_version_comes_back_as_it_went_in(store):
    """Every field of a version and of its delivery survives the store, the profile too."""
    store.put(version(), delivery())
    assert store.version("v1") == version()
    assert store.version("v1").profile == PROFILE
    assert store.delivery("r1") == delivery()


def test_what_was_not_kept_is_none(store):
    """An unknown id finds nothing."""
    assert store.version("v1") is None
    assert store.delivery("r1") is None
    assert store.versions() == store.versions("warehouse.main.flights") == ()


def test_a_version_is_kept_once(store):
    """Reading the same data again adds a delivery and no version."""
    store.put(version(), delivery())
    store.put(version(profile={}), delivery("r2"))
    assert store.versions() == (version(),)
    assert store.version("v1").profile == PROFILE
    assert [store.delivery(read).read_id for read in ("r1", "r2")] == ["r1", "r2"]


def test_versions_are_listed_newest_first(store):
    """Versions come in the order in which they were first kept, the last one first."""
    for number, name in enumerate(["flights", "planes", "flights", "FLIGHTS"]):
        store.put(version(f"v{number}", name), delivery(f"r{number}", f"v{number}"))
    store.put(version("v0", "flights"), delivery("r9", "v0"))
    assert [found.version_id for found in store.versions()] == ["v3", "v2", "v1", "v0"]
    assert [found.version_id for found in store.versions("flights")] == ["v2", "v0"]
    assert store.versions("weather") == ()


def test_deliveries_are_listed_newest_first(store):
    """Deliveries come in the order in which they were kept, the last one first; of one name, or all."""
    for number, name in enumerate(["flights", "planes", "flights"]):
        store.put(version(), delivery(f"r{number}", name=name))
    store.put(version(), delivery("r0", name="flights"))
    assert [found.read_id for found in store.deliveries()] == ["r2", "r1", "r0"]
    assert [found.read_id for found in store.deliveries("flights")] == ["r2", "r0"]
    assert store.deliveries("weather") == ()
    assert store.deliveries("planes")[0] == delivery("r1", name="planes")


def test_putting_twice_is_putting_once(store):
    """A delivery that is put again unchanged does no harm; one that differs is refused."""
    for _ in range(2):
        store.put(version(), delivery())
    with unavailable():
        store.put(version("v2"), delivery(version_id="v2"))
    with unavailable():
        store.put(version(), delivery(principal="eve@acme.test"))
    assert store.delivery("r1") == delivery()
    assert store.versions() == (version(),)


def test_moments_are_equal_in_every_zone(store):
    """A delivery's time comes back as the same moment, whatever zone it was in."""
    east = delivery(at=START.astimezone(timezone(timedelta(hours=5, minutes=45))))
    store.put(version(), east)
    assert store.delivery("r1") == east


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_failed_put_is_there_or_not(is_kept):
    """A put that failed was either kept whole or not at all, and can be repeated."""
    store = MemoryDatasetStore()
    (store.faults.after if is_kept else store.faults.before)("put")
    with unavailable():
        store.put(version(), delivery())
    assert (store.delivery("r1") is not None) == is_kept
    assert (store.version("v1") is not None) == is_kept
    store.put(version(), delivery())
    assert store.versions() == (version(),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_any_profile_comes_back(profile, tmp_path_factory):
    """A profile of any JSON shape is kept exactly."""
    store = SqliteDatasetStore(tmp_path_factory.mktemp("state") / "state.sqlite")
    store.put(version(profile=profile), delivery())
    assert store.version("v1").profile == profile
    store.close()


# ---- SQLite


def test_a_profile_with_no_number_comes_back(sqlite):
    """NaN and the infinities of a profile are kept as such."""
    sqlite.put(version(profile={"all": [math.nan, math.inf, -math.inf]}), delivery())
    nan, *rest = sqlite.version("v1").profile["all"]
    assert math.isnan(nan)
    assert rest == [math.inf, -math.inf]


def test_profiles_are_compressed(sqlite, path):
    """A profile that repeats itself takes a fraction of its size."""
    profile = {"columns": [{"name": f"column_{n}", "quantiles": [0.0] * 100} for n in range(200)]}
    sqlite.put(version(profile=profile), delivery())
    with sqlite.database.reading() as connection:
        [size] = connection.execute("SELECT length(profile) FROM versions").fetchone()
    assert size < 5_000
    assert sqlite.version("v1").profile == profile


def test_a_version_that_is_known_is_not_written_again(sqlite, monkeypatch):
    """A second delivery of a version costs neither its facts nor its profile."""
    sqlite.put(version(), delivery())
    for name in ("version_facts", "write_profile"):
        monkeypatch.setattr(datasets, name, None)
    sqlite.put(version(), delivery("r2"))
    assert len(sqlite.deliveries()) == 2


@pytest.mark.parametrize("number", [1, 1000])
def test_a_file_of_another_format_is_refused(path, number):
    """What an older or a newer nbgov wrote is an error that says so."""
    SqliteDatasetStore(path).versions()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")
    with unavailable() as caught:
        SqliteDatasetStore(path).versions()
    assert f"version {number}" in caught.value.why


def test_a_dataset_survives_the_process(path):
    """Another store over the same file finds the same versions and deliveries."""
    first = SqliteDatasetStore(path)
    first.put(version(), delivery())
    first.close()
    second = SqliteDatasetStore(path)
    assert (second.version("v1"), second.delivery("r1")) == (version(), delivery())
    second.close()


def test_a_delivery_needs_its_version(sqlite):
    """A delivery of a version that is not there cannot be kept, and nor can its version."""
    with unavailable():
        sqlite.put(version("v1"), delivery(version_id="v2"))
    assert sqlite.versions() == ()
    assert sqlite.delivery("r1") is None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE versions SET profile = x'00'",
        "UPDATE versions SET facts = '{}'",
        "UPDATE versions SET facts = '[]'",
        "UPDATE versions SET facts = json_set(facts, '$.surprise', 1)",
    ],
)
def test_a_version_that_makes_no_sense_is_an_error(sqlite, path, sql):
    """A row that somebody else wrote is an error with a code, not a crash."""
    sqlite.put(version(), delivery())
    with sqlite.database.writing() as connection:
        connection.execute(sql)
    with unavailable():
        sqlite.version("v1")
    with unavailable():
        sqlite.versions()


@pytest.mark.parametrize("facts", ["{}", "7", '{"rules": [], "at": "soon"}'])
def test_a_delivery_that_makes_no_sense_is_an_error(sqlite, facts):
    """A delivery that somebody else wrote is an error with a code, not a crash."""
    sqlite.put(version(), delivery())
    with sqlite.database.writing() as connection:
        connection.execute("UPDATE deliveries SET facts = ?", (facts,))
    with unavailable():
        sqlite.delivery("r1")


def test_a_locked_file_is_an_error_in_the_end(sqlite, path):
    """A neighbour that never ends its transaction makes a put fail, and nothing is kept."""
    sqlite.put(version(), delivery())
    with sqlite.database.reading() as connection:
        connection.execute("PRAGMA busy_timeout = 0")
    neighbour = sqlite3.connect(path, isolation_level=None)
    neighbour.execute("BEGIN IMMEDIATE")
    with unavailable():
        sqlite.put(version("v2"), delivery("r2", "v2"))
    neighbour.execute("ROLLBACK")
    neighbour.close()
    assert sqlite.versions() == (version(),)
    sqlite.put(version("v2"), delivery("r2", "v2"))


def test_a_profile_may_come_later_and_only_once(store):
    """A version that is kept without a profile learns it once, from whoever makes it first."""
    store.put(version(profile={}), delivery())
    assert store.version("v1").profile == {}
    store.describe("v1", PROFILE)
    store.describe("v1", {"rows": 9})
    store.put(version(profile={"rows": 9}), delivery())
    assert store.version("v1").profile == PROFILE
    store.describe("nowhere", PROFILE)
    assert store.version("nowhere") is None
