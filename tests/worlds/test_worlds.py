"""Non-interference: no generated statement tells two worlds apart that differ in masked values.

``make test-worlds`` goes on until ``NBGOV_WORLDS`` statements (10,000) were permitted on each engine;
the everyday suite takes a sample. Masks are constants here; tokens have worlds of their own, which
are bijective images of one another.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from nbgov.assurance.proving import Bench, Proof, bench
from tests.worlds.shop import policy, subject

ENGINES = ("duckdb", "sqlite", "postgres", "mysql")
BATCH = 50
SAMPLE = 80
WHOLE = int(os.environ.get("NBGOV_WORLDS", "10000"))
ROUNDS_MAX = 40
TOKENS = policy(name="token", email="token", ssn="token")
pytestmark = pytest.mark.timeout(0)


@pytest.fixture
def settings_of(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the engine of a test is opened."""
    dialect = request.getfixturevalue("dialect")
    if dialect in {"duckdb", "sqlite"}:
        return {}
    urls = {"postgres": "postgres_url", "mysql": "mariadb_url"}
    return {"url": request.getfixturevalue(urls[dialect])}


def explore(made: Bench, wanted: int) -> Proof:
    """Run batches of generated statements until as many different ones were permitted."""
    proof, tried = made.proof, set[str]()

    @settings(
        max_examples=1 + wanted // BATCH,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(st.randoms(use_true_random=True))
    def batch(chance: Any) -> None:
        for _ in range(BATCH):
            sql = made.statement(chance)
            if proof.permitted < wanted and sql not in tried:
                tried.add(sql)
                made.tell_apart(sql)

    for turn in range(ROUNDS_MAX):
        seed(turn)(batch)()
        if proof.permitted >= wanted:
            break
    made.check_state()
    return proof


def expect_equal(proof: Proof, wanted: int) -> None:
    """Nothing told the worlds apart, nothing changed, and enough was tried that could have."""
    assert proof.leaks == []
    assert proof.crashed == []
    assert proof.changed == []
    assert proof.permitted >= wanted
    assert proof.permitted >= 0.6 * proof.statements
    assert proof.revealing >= 0.3 * proof.permitted


@pytest.mark.parametrize("dialect", ENGINES)
def test_a_sample_of_statements_tells_no_worlds_apart(
    dialect: str, settings_of: dict[str, Any]
) -> None:
    """A few statements on each engine see no masked value and change nothing."""
    with bench(subject(dialect, settings_of)) as made:
        expect_equal(explore(made, SAMPLE), SAMPLE)


@pytest.mark.parametrize("dialect", ENGINES[:3])
def test_no_statement_sees_hidden_rows(dialect: str, settings_of: dict[str, Any]) -> None:
    """Rows that a filter hides may be there or not, and nobody can tell.

    MariaDB is left out: it joins in an order that depends on how many rows there are, hidden or
    not, and shows rows in that order where the text asks for none.
    """
    with bench(subject(dialect, settings_of, text=policy(row_filter="amount > 2"))) as made:
        assert made.proof.exposure.filters
        expect_equal(explore(made, SAMPLE), SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ENGINES)
def test_no_statement_tells_two_worlds_apart(dialect: str, settings_of: dict[str, Any]) -> None:
    """Rows, order, headers, types, counts, masks, versions and errors are equal in both worlds."""
    with bench(subject(dialect, settings_of)) as made:
        expect_equal(explore(made, WHOLE), WHOLE)


# ------------------------------------------------------------ tokens


@pytest.mark.parametrize("dialect", ENGINES)
def test_a_sample_of_statements_tells_no_images_apart(
    dialect: str, settings_of: dict[str, Any]
) -> None:
    """With tokens, bijective images give the same rows once tokens are renamed."""
    with bench(subject(dialect, settings_of, text=TOKENS)) as made:
        expect_equal(explore(made, SAMPLE), SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ENGINES)
def test_no_statement_tells_two_images_apart(dialect: str, settings_of: dict[str, Any]) -> None:
    """A token shows which values are equal, and how often, and nothing else."""
    with bench(subject(dialect, settings_of, text=TOKENS)) as made:
        expect_equal(explore(made, WHOLE // 5), WHOLE // 5)
