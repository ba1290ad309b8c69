"""Statements side by side: what differs in their trees, in sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.drift.statements import bound_columns, statement_difference
from nbgov.core.drift.trees import StatementText
from nbgov.core.statement.text import LITERALS, redact, tokenize

BASE = """SELECT f.a, f.b * 2 AS b2, c FROM flights AS f
JOIN weather w ON w.x = f.x AND w.y = f.y
WHERE f.month <= 3 AND carrier IN ('UA', 'AA') GROUP BY ALL"""
NESTED = """WITH z AS (SELECT * FROM t WHERE a = 1), q AS (SELECT 1 AS x)
SELECT * FROM z UNION ALL SELECT * FROM (SELECT a, b FROM u WHERE b = 1) AS s WHERE a > :low"""


def kept(sql, dialect="duckdb", *, has_literals=True):
    """A statement as a version keeps it; the exact text stands for its keyed digest."""
    literals = [f"<{one.text}>" for one in tokenize(sql, dialect) if one.token_type in LITERALS]
    return StatementText(
        redact(sql, dialect), dialect, tuple(literals) if has_literals else (), sql
    )


def differences(before, after, **options):
    """Sentences, columns, and whether it is spelling only."""
    found = statement_difference(kept(before, **options), kept(after, **options))
    return found and (list(found.sentences), found.columns and set(found.columns))


EDITS = {
    "a value": ("<= 3", "<= 4", ["the value in `flights.month <= ?` is another"], None),
    "an operator": (
        "<= 3", "< 3",
        ["WHERE: condition `flights.month <= ?` is now `flights.month < ?`"], None,
    ),
    "a value of a list": (
        "'AA'", "'DL'", ["1 of 2 values in `carrier IN (?, ?)` are others"], None,
    ),
    "a longer list": (
        "'AA'", "'AA', 'DL'",
        ["WHERE: condition `carrier IN (?, ?)` is now `carrier IN (?, ?, ?)`"], None,
    ),
    "a condition more": (
        "WHERE", "WHERE q IS NOT NULL AND", ["WHERE: condition `NOT q IS NULL` was added"], None,
    ),
    "a condition less": (
        "f.month <= 3 AND ", "", ["WHERE: condition `flights.month <= ?` is gone"], None,
    ),
    "the kind of a join": ("JOIN", "LEFT JOIN", ["JOIN `weather` is now LEFT JOIN"], None),
    "no join": (
        "JOIN weather w ON w.x = f.x AND w.y = f.y", "", ["JOIN `weather` is gone"], None,
    ),
    "a join more": ("WHERE", "JOIN p USING (k) WHERE", ["JOIN `p` was added"], None),
    "the condition of a join": (
        "w.y = f.y", "w.y = f.z",
        ["JOIN `weather`: condition `weather.y = flights.y` is now `weather.y = flights.z`"], None,
    ),
    "an expression": (
        "f.b * 2", "f.b * 2 * 60",
        ["column `b2` is now `flights.b * ? * ?` instead of `flights.b * ?`"], {"b2"},
    ),
    "a value of an expression": (
        "f.b * 2", "f.b * 3", ["the value in column `b2` as `flights.b * ?` is another"], {"b2"},
    ),
    "a column less": (", c FROM", " FROM", ["column `c` is gone"], {"c"}),
    "a column more": (", c FROM", ", c, f.d FROM", ["column `d` was added"], {"d"}),
    "a star more": (", c FROM", ", c, f.* FROM", ["column `flights.*` was added"], None),
    "another name": (
        ", c FROM", ", c AS k FROM", ["column `c` is gone", "column `k` was added as `c`"],
        {"c", "k"},
    ),
    "a limit": ("GROUP BY ALL", "GROUP BY ALL LIMIT 9", ["`LIMIT ?` was added"], None),
    "doubles": ("SELECT f.a", "SELECT DISTINCT f.a", ["`DISTINCT` was added"], None),
    "other groups": (
        "GROUP BY ALL", "GROUP BY f.a", ["`GROUP BY ALL` is now `GROUP BY flights.a`"], None,
    ),
    "no groups": (" GROUP BY ALL", "", ["`GROUP BY ALL` is gone"], None),
    "groups that are few": (
        "GROUP BY ALL", "GROUP BY ALL HAVING c > 1",
        ["HAVING: condition `c > ?` was added"], None,
    ),
    "a bound value": (
        "<= 3", "<= :last",
        ["WHERE: condition `flights.month <= ?` is now `flights.month <= :last`"], None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentences", "columns"), EDITS.values(), ids=EDITS)
def test_one_edit_is_one_sentence(old, new, sentences, columns):
    """An edit of one place is said in its own words, with the columns that it can change."""
    assert differences(BASE, BASE.replace(old, new)) == (sentences, columns)


INSIDE = {
    "a value in a named query": ("a = 1", "a = 2", "in `z`: the value in `a = ?` is another"),
    "a column of a named query": (
        "SELECT 1 AS x", "SELECT 2 AS x",
        "in `q`: the value in column `x` as `?` is another",
    ),
    "a condition of an inner query": (
        "b = 1", "b = 1 AND c = 2",
        "in `second part of the UNION`: in `s`: WHERE: condition `c = ?` was added",
    ),
    "doubles": ("UNION ALL", "UNION", "UNION keeps or drops doubles otherwise"),
    "another operation": ("UNION ALL", "EXCEPT", "the query is built otherwise"),
    "another bound name": (
        ":low", ":lower",
        "in `second part of the UNION`: WHERE: condition `a > :low` is now `a > :lower`",
    ),
    "another source": (
        "FROM u", "FROM v", "in `second part of the UNION`: in `s`: FROM `u` is now `v`",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), INSIDE.values(), ids=INSIDE)
def test_queries_inside_of_queries(old, new, sentence):
    """What differs inside says where, and may change anything."""
    assert differences(NESTED, NESTED.replace(old, new)) == ([sentence], None)


def test_named_queries_come_and_go():
    """A named query that only one side has is named."""
    less = NESTED.replace(", q AS (SELECT 1 AS x)", "")
    assert differences(NESTED, less) == (["the query `q` is gone"], None)
    assert differences(less, NESTED) == (["the query `q` was added"], None)


SPELLINGS = {
    "case": BASE.lower().replace("'ua', 'aa'", "'UA', 'AA'"),
    "the order of a list": BASE.replace("'UA', 'AA'", "'AA', 'UA'"),
    "the order of conditions": BASE.replace(
        "f.month <= 3 AND carrier IN ('UA', 'AA')", "(carrier IN ('UA', 'AA')) AND f.month <= 3"
    ),
    "an alias": BASE.replace("f.", "fl.").replace("AS f", "AS fl"),
    "quotes": BASE.replace("carrier", '"carrier"'),
    "a comment": BASE + " -- for the retraining",
    "white space": BASE.replace("\n", "   "),
    "the order of columns": BASE.replace("f.a, f.b * 2 AS b2, c", "c, f.a, f.b * 2 AS b2"),
    "the order of rows": BASE + " ORDER BY f.a",
}


@pytest.mark.parametrize("after", SPELLINGS.values(), ids=SPELLINGS)
def test_spelling_is_a_remark(after):
    """Another spelling of one statement asks for the same."""
    found = statement_difference(kept(BASE), kept(after))
    assert (found.is_spelling, found.columns) == (True, frozenset())


def test_the_order_of_rows_matters_where_a_limit_cuts_it():
    """ORDER BY decides which rows a limit leaves."""
    cut = "SELECT a FROM t ORDER BY a LIMIT 5"
    for after in (cut.replace("ORDER BY a ", ""), cut.replace("BY a", "BY b")):
        assert statement_difference(kept(cut), kept(after)).columns is None
        assert not statement_difference(kept(cut), kept(after)).is_spelling


def test_values_of_clauses():
    """The value of a limit is known to be another; so is that of a table function."""
    assert differences("SELECT a FROM t LIMIT 5", "SELECT a FROM t LIMIT 6") == (
        ["the value in `LIMIT ?` is another"], None,
    )  # fmt: skip
    assert differences("SELECT * FROM range(5)", "SELECT * FROM range(6)")[1] is None
    assert differences("SELECT CAST(a AS DECIMAL(9, 2)) AS a FROM t",
                       "SELECT CAST(a AS DECIMAL(9, 3)) AS a FROM t") == (
        ["values in column `a` as `CAST(a AS DECIMAL(?, ?))` are others"], {"a"},
    )  # fmt: skip


def test_the_same_text_is_no_difference():
    """Equal texts are equal, whatever they are."""
    for text in (kept(BASE), StatementText("not SQL at all (", "duckdb", (), "m")):
        assert statement_difference(text, text) is None


def test_what_does_not_parse_is_compared_as_text():
    """Texts that no parser takes, and those of two dialects, are compared as a whole."""
    broken = StatementText("SELEC broken ((", "duckdb", (), "m1")
    other = StatementText("SELEC broken (", "duckdb", (), "m2")
    spelled = StatementText("SELEC broken ((", "duckdb", (), "m2")
    unsure = [StatementText("SELEC ? ((", "duckdb", (), mac) for mac in ("m1", "m2")]
    sure = [StatementText("SELEC ? ((", "duckdb", ("d",), mac) for mac in ("m1", "m2")]
    assert statement_difference(broken, other).sentences == ("the statement differs",)
    assert statement_difference(broken, spelled).is_spelling
    assert statement_difference(*unsure).sentences == (
        "the statement differs in its literals or spelling",
    )
    assert statement_difference(*sure).is_spelling
    elsewhere = replace(kept("SELECT b FROM t", "postgres"), mac="m2")
    assert statement_difference(kept(BASE), elsewhere).sentences == ("the statement differs",)
    assert statement_difference(StatementText("", "nobody", (), "a"), broken) is not None


def test_literals_that_are_not_known_are_not_equal():
    """Without digests of the literals, statements of one text may differ in any of them."""
    found = differences("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 2",
                        has_literals=False)  # fmt: skip
    assert found == (["the statement differs in its literals or spelling"], None)


def test_what_is_no_query_is_compared_as_a_whole():
    """Statements that are no SELECT differ or not."""
    assert differences("VALUES (1)", "VALUES (1), (2)")[0] == ["the query is built otherwise"]
    assert differences("DESCRIBE t", "DESCRIBE u")[0] == ["the query is built otherwise"]
    assert statement_difference(kept("VALUES (1)"), kept("values (1)")).is_spelling


def test_what_no_clause_names_is_still_seen():
    """A difference in a place that has no words of its own is not called spelling."""
    for before, after in (
        ("SELECT a FROM t", "SELECT a FROM t FOR UPDATE"),
        ("SELECT a FROM t", "SELECT a INTO b FROM t"),
    ):
        found = statement_difference(kept(before, "postgres"), kept(after, "postgres"))
        assert not found.is_spelling


def test_sources():
    """Tables that come, go, and take one another's place; inner queries are told by their alias."""
    assert differences("SELECT a FROM t", "SELECT a FROM u")[0] == ["FROM `t` is now `u`"]
    assert differences("SELECT 1 AS a", "SELECT 1 AS a FROM u")[0] == ["FROM `u` was added"]
    swapped = differences("SELECT a FROM t JOIN u ON TRUE", "SELECT a FROM u JOIN t ON TRUE")
    assert swapped is not None
    assert differences("SELECT a FROM t JOIN u USING (k)", "SELECT a FROM t JOIN u USING (l)") == (
        ["JOIN `u`: condition `USING k` is now `USING l`"], None,
    )  # fmt: skip
    named = 'SELECT "a b" FROM t'
    assert differences(named, named.replace("a b", "a c"))[1] == {"a b", "a c"}
    both = "SELECT x.a FROM t AS x JOIN t AS y ON x.k = y.k"
    assert differences(both, both.replace("x.a", "y.a"))[1] == {"a"}


def test_long_texts_are_cut():
    """A condition that fills a page does not fill the sentence."""
    long = "SELECT a FROM t WHERE a IN (" + ", ".join("1" * 99) + ")"
    [sentence] = differences("SELECT a FROM t", long)[0]
    assert len(sentence) < 120
    assert "..." in sentence


def test_columns_that_hold_the_bound_values():
    """Bound values reach the columns they stand in, and all rows if they stand elsewhere."""
    assert bound_columns(kept("SELECT a * :k AS a, b FROM t")) == {"a"}
    assert bound_columns(kept("SELECT a * :k AS a, b FROM t WHERE c = :k")) is None
    assert bound_columns(kept("SELECT a FROM t WHERE c = :k")) is None
    assert bound_columns(kept("VALUES (:k)")) is None
    assert bound_columns(StatementText("SELEC ((", "duckdb")) is None


@given(st.text(alphabet="SELECTFROMWHRE abc(),.*?:='\"-", max_size=80), st.integers(0, 3))
def test_any_text_survives(text, literals):
    """No text, SQL or not, makes the comparison fail."""
    one = StatementText(text, "duckdb", ("d",) * literals, "m1")
    other = StatementText(redact(BASE, "duckdb"), "duckdb", (), "m2")
    assert statement_difference(one, other).sentences
    assert statement_difference(other, one).sentences
