"""Plain spelling and splitting of texts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.statement import normalise, parse, split
from nbgov.core.statement.text import literals, redact
from nbgov.errors import Denied, NbgovError, RequestInvalid
from tests.core.conftest import make_catalog

DIALECTS = ["duckdb", "mysql", "postgres", "sqlite"]


@pytest.mark.parametrize(
    ("dialect", "sql", "plain"),
    [
        ("postgres", r'SELECT U&"\0065mail" FROM t', 'SELECT "email" FROM t'),
        ("postgres", r'SELECT u&"d!0061""x" UESCAPE ' + "'!' FROM t", 'SELECT "da""x" FROM t'),
        ("postgres", r"SELECT U&'\0061\\''\+000062'", r"SELECT 'a\''b'"),
        ("postgres", r"SELECT U&'\d83d\de00' UESCAPE", "SELECT '\N{GRINNING FACE}' UESCAPE"),
        ("postgres", 'SELECT a&b, u & "c", \'U&"x"\'', 'SELECT a&b, u & "c", \'U&"x"\''),
        ("postgres", "SELECT u&c", None),
        ("duckdb", r"SELECT 1 -- U&'\0061'", r"SELECT 1 -- U&'\0061'"),
        ("mysql", "SELECT /*!50000 email */ FROM t", "SELECT          email    FROM t"),
        ("mysql", "SELECT /*! 1 */", "SELECT     1   "),
        ("mysql", "SELECT '/*! x */', \"/*!\", `/*!`", "SELECT '/*! x */', \"/*!\", `/*!`"),
        ("mysql", "SELECT 1 -- /*! x\n# /*!\n/* /*! */ * 2", None),
        ("mysql", r"SELECT 'a\' /*! */', 2", None),
        ("mysql", "SELECT 2*/*!*/1", "SELECT 2*     1"),
        ("mysql", "SELECT 1 */ 2", None),
        ("postgres", "TABLE t", "SELECT * FROM t"),
        ("duckdb", "(TABLE t) UNION ALL TABLE u", "(SELECT * FROM t) UNION ALL SELECT * FROM u"),
        ("mysql", "WITH c AS (TABLE t) TABLE c", "WITH c AS (SELECT * FROM t) SELECT * FROM c"),
        ("postgres", "CREATE TABLE x AS TABLE ONLY t", "CREATE TABLE x AS SELECT * FROM ONLY t"),
        ("postgres", "SELECT 1; TABLE t", "SELECT 1; SELECT * FROM t"),
        ("postgres", 'SELECT 1 AS table, "TABLE" t', None),
        ("postgres", "DROP TABLE t", None),
        ("postgres", "SELECT DISTINCT table t", None),
        ("sqlite", "TABLE t", None),
    ],
)
def test_hidden_spellings_are_written_plainly(dialect: str, sql: str, plain: str | None) -> None:
    """Escapes, executable comments and TABLE become what the server makes of them."""
    assert normalise(sql, dialect) == (sql if plain is None else plain)


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("mysql", "SELECT 1 /*!80000 INTO OUTFILE 'x' */"),
        ("mysql", "SELECT 1 /*!050000 x */"),
        ("mysql", "SELECT 1 /*M! x */"),
        ("mysql", "SELECT 1 /*! x"),
        ("mysql", "SELECT 1 /*! /*! x */ */"),
        ("singlestore", "SELECT 1 /*! x */"),
        ("postgres", r"SELECT U&'\'"),
        ("postgres", r"SELECT U&'\0000'"),
        ("postgres", r"SELECT U&'\+110000'"),
        ("postgres", r"SELECT U&'\d83d'"),
        ("postgres", r'SELECT U&"x" UESCAPE ' + "'ab'"),
        ("postgres", 'SELECT U&"'),
    ],
)
def test_what_only_some_servers_run_is_refused(dialect: str, sql: str) -> None:
    """A comment of a later version, and an escape without a meaning, are nobody's text."""
    with pytest.raises(NbgovError):
        parse(sql, make_catalog(dialect))


def test_a_quote_that_two_lexers_end_differently_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the tokenizer and PostgreSQL see another end of an escape, nothing runs."""
    from nbgov.core.statement import spelling, text

    tokens = text.tokenize("SELECT U&'a', 'b'", "postgres")
    monkeypatch.setattr(spelling, "tokenize", lambda *_: tokens)
    with pytest.raises(Denied, match="not closed"):
        normalise("SELECT U&'a'',' 'b'", "postgres")


@pytest.mark.parametrize("dialect", DIALECTS)
@given(sql=st.text(alphabet="uU&'\"\\ \n/*!M5012#-`;tableTABLE(x", max_size=40))
def test_a_plain_text_stays_as_it_is(dialect: str, sql: str) -> None:
    """Writing plainly twice changes no more than once."""
    with contextlib.suppress(NbgovError):
        plain = normalise(sql, dialect)
        assert normalise(plain, dialect) == plain


def test_a_text_splits_into_its_statements() -> None:
    """Semicolons in strings, comments and names do not part statements."""
    assert split("SELECT 1; SELECT ';' /* ; */ ;; -- x", "postgres") == ("SELECT 1", "SELECT ';'")
    assert split(" SELECT 1; ", "postgres") == (" SELECT 1; ",)
    with pytest.raises(RequestInvalid):
        split("; -- nothing", "postgres")


def test_a_statement_behind_explain_is_read_by_its_words() -> None:
    """What the tokenizer takes for one string has its own markers and literals."""
    statement = parse("EXPLAIN SELECT name FROM people WHERE id = :id", make_catalog("postgres"))
    assert [marker.name for marker in statement.binds] == ["id"]
    assert statement.redacted == "EXPLAIN SELECT name FROM people WHERE id = :id"
    assert statement.sql == "EXPLAIN SELECT name FROM people WHERE id = :id"


def test_literals_are_what_is_redacted() -> None:
    """There is one literal for each ``?`` of the redacted text, in order; none where it is not read."""
    sql = "SELECT 'a', 2.5, true FROM t WHERE b = 'it''s' AND c = :d -- 'no'"
    assert literals(sql, "duckdb") == ("'a'", "2.5", "'it''s'")
    assert redact(sql, "duckdb").count("?") == 3
    assert literals("SELECT 'open", "duckdb") == ()
