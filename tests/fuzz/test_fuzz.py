"""A few hundred texts with every run of the suite; ``make test-fuzz`` looks for ten minutes."""

from __future__ import annotations

import adbc_driver_postgresql.dbapi as driver
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nbgov.backends.postgresql.engine import conninfo
from tests.fuzz.grammar import SEEDS, statement
from tests.fuzz.targets import SCHEMA, no_read_writes, no_text_fails

EXAMPLES = 150


@st.composite
def texts(draw):
    """A statement put together piece by piece."""
    return statement(lambda count: draw(st.integers(0, count - 1)) if count else 0)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.one_of(texts(), st.text(max_size=40)))
def test_no_text_fails(sql):
    """No text makes a stage fail with anything but an error of nbgov's own."""
    no_text_fails(sql)


@pytest.mark.parametrize("sql", SEEDS)
def test_no_seed_fails(sql):
    """The texts that all others grow from hold the same."""
    no_text_fails(sql)
    no_read_writes(sql)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@example("WITH w AS (DELETE FROM t RETURNING a) SELECT a FROM w")
@given(texts())
def test_no_read_is_refused_as_a_write(sql):
    """What is called a read never meets a refusal to write, in DuckDB and SQLite."""
    no_read_writes(sql)


@pytest.fixture(scope="module")
def server(postgres_url):
    """Runs a text in a read-only transaction and tells whether the server refused a write."""
    with driver.connect(conninfo(sa.make_url(postgres_url))) as link:
        with link.cursor() as cursor:
            cursor.execute("CREATE SCHEMA fuzz")
            cursor.execute("SET search_path = fuzz")
            for one in [
                *SCHEMA.split(";")[:-1],
                "CREATE SEQUENCE s",
                "SET statement_timeout = 500",
            ]:
                cursor.execute(one)
        link.commit()
        yield lambda sql: refusal(link, sql)
        with link.cursor() as cursor:
            cursor.execute("DROP SCHEMA fuzz CASCADE")
        link.commit()


def refusal(link, sql):
    """The error of a write that a read-only transaction stopped, or nothing."""
    with link.cursor(adbc_stmt_kwargs={"adbc.postgresql.use_copy": "false"}) as cursor:
        try:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(sql)
            cursor.fetchmany(10)
        except driver.Error as error:
            return str(error) if error.sqlstate == "25006" else None
        finally:
            link.rollback()
    return None


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(sql=texts())
def test_no_read_is_refused_as_a_write_by_postgresql(server, sql):
    """What is called a read never meets a refusal to write, in PostgreSQL."""
    no_read_writes(sql, server)
