"""Statements put together from pieces that engines disagree about.

A piece is chosen by a function from a number of choices to one of them, so that atheris and
Hypothesis can both choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Choose = Callable[[int], int]

NAMES = ["t", "u", "a", "b", "v", "x", '"t"', "main.t", "s", "`t`", "[t]", 'U&"\\0074"', "T", "é"]
VALUES = [
    "1", "0", "-1", "1e3", "0x1F", "1_000", "NULL", "TRUE", "'x'", "''", "'it''s'", "'1'", "E'\\''", "$$x$$",
    "$q$;$q$", "X'00'", "b'1'", "DATE '2020-01-01'", "INTERVAL '1 day'", "ARRAY[1]", "[1, 2]", "{'a': 1}",
    "'x'::text", ":value", "?", "$1", "@v", "@@version", "CURRENT_DATE", "current_user", "N'x'", "_utf8'x'",
]  # fmt: skip
FUNCTIONS = [
    "upper", "abs", "count", "sum", "max", "coalesce", "nullif", "length", "random", "now", "substring", "replace",
    "concat", "row_number", "lag", "range", "generate_series", "unnest", "json_each", "json_extract", "printf",
    "nextval", "setval", "currval", "lastval", "set_config", "current_setting", "pg_advisory_lock", "pg_notify",
    "pg_sleep", "sleep", "benchmark", "get_lock", "last_insert_id", "lo_create", "lo_unlink", "pg_read_file",
    "pg_ls_dir", "load_file", "read_text", "read_csv", "glob", "query", "query_table", "query_to_xml", "ts_stat",
    "dblink", "error", "getvariable", "load_extension", "writefile", "randomblob", "txid_current", "pg_switch_wal",
    "pg_stat_reset", "extractvalue", "updatexml", "stats", "histogram", "mine", "s.upper", "pg_catalog.upper",
    "to_regclass", "pg_export_snapshot", "pg_logical_emit_message", "gen_random_uuid", "setseed", "char", "date",
]  # fmt: skip
OPERATORS = ["+", "-", "*", "/", "||", "=", "<>", "<", "~", "->", "->>", "@>", "#*#", "LIKE", "IS", "AND", "OR", "::", "<=>"]  # fmt: skip
TYPES = ["int", "text", "date", "numeric(3, 1)", "regclass", "mine", "varchar(3)", "int[]", "json"]
FREE = [
    "SELECT", "FROM", "WHERE", "WITH", "AS", "(", ")", "INSERT INTO", "UPDATE", "DELETE FROM", "RETURNING", "INTO",
    "FOR UPDATE", "LIMIT", "UNION", "VALUES", "EXPLAIN", "ANALYZE", "QUERY PLAN", "DROP TABLE", "CREATE TABLE",
    "COPY", "PRAGMA", "SET", "SHOW", "ATTACH", "CALL", "DO", "EXECUTE", "PREPARE", "BEGIN", "COMMIT", "VACUUM",
    "MERGE INTO", "USING", "ON", "JOIN", "NATURAL JOIN", "LATERAL", "CASE WHEN", "THEN", "END", "CAST(", "OVER (",
    "--", "/*", "*/", "/*!50000", "/*!99999", "/*M!", ";", ",", ".", "'", '"', "`", "$$", "\\", "\n", "\0", "#",
    "REPLACE INTO", "TRUNCATE", "GRANT ALL ON", "TABLE", "DESCRIBE", "SUMMARIZE", "PIVOT", "ORDER BY", "GROUP BY",
    "TABLESAMPLE", "EXCLUDE", "COLUMNS(", "lambda x:", "NOT", "IN", "EXISTS", "ALL", "DISTINCT", "HANDLER", "LOCK",
]  # fmt: skip
SEEDS = [
    "SELECT a, upper(b) FROM t WHERE a > 1 ORDER BY b",
    "WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d",
    "EXPLAIN ANALYZE DELETE FROM t",
    "EXPLAIN (ANALYZE, FORMAT json) INSERT INTO t VALUES (1, 'x')",
    "SELECT nextval('s')",
    "SELECT a FROM t FOR UPDATE",
    "SELECT a INTO n FROM t",
    "SELECT 1 /*!50000 INTO OUTFILE 'x' */",
    "PRAGMA table_info(t)",
    "PRAGMA writable_schema = 1",
    "VACUUM INTO 'x'",
    "SELECT * FROM query('DELETE FROM t')",
    "FROM t SELECT a",
    "SHOW search_path",
    "COPY (SELECT 1) TO 'x'",
    "SELECT a FROM t UNION ALL SELECT b FROM u",
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT x FROM n",
    "SELECT sum(a) OVER (PARTITION BY b ORDER BY a ROWS 1 PRECEDING) FROM t",
    "SELECT $$;$$, 'x' -- ; DROP TABLE t",
    'SELECT U&"\\0061" FROM t',
]


def statement(choose: Choose) -> str:
    """One text."""
    kind = choose(10)
    if kind == 0:
        return SEEDS[choose(len(SEEDS))]
    if kind == 1:
        return " ".join(pick(choose, [*FREE, *NAMES, *VALUES]) for _ in range(choose(12)))
    if kind == 2:
        seed = SEEDS[choose(len(SEEDS))]
        cut = choose(len(seed) + 1)
        return seed[:cut] + pick(choose, [" ", *FREE, *VALUES]) + seed[cut:]
    heads = ["", "", "", "EXPLAIN ", "EXPLAIN ANALYZE ", "EXPLAIN QUERY PLAN ", "(", "WITH w AS (DELETE FROM t RETURNING a) ",
             "WITH w AS (SELECT 1 AS x) ", "DESCRIBE ", "-- \n", "/* x */ "]  # fmt: skip
    tails = ["", "", "", " FOR UPDATE", " LIMIT 1", "; ", "; DROP TABLE t", " UNION SELECT 1", " -- x", ")", " INTO n",
             " RETURNING a", " ORDER BY 1", " /*! x */"]  # fmt: skip
    return pick(choose, heads) + query(choose) + pick(choose, tails)


def query(choose: Choose, depth: int = 2) -> str:
    """A query, or a write."""
    match choose(12):
        case 0 if depth:
            return f"INSERT INTO {pick(choose, NAMES)} {query(choose, depth - 1)}"
        case 1:
            return f"UPDATE {pick(choose, NAMES)} SET a = {expression(choose, depth)}"
        case 2:
            return f"DELETE FROM {pick(choose, NAMES)} WHERE {expression(choose, depth)}"
        case 3:
            return f"VALUES ({expression(choose, depth)})"
    items = ", ".join(expression(choose, depth) for _ in range(1 + choose(3)))
    return f"SELECT {items}{source(choose, depth)}"


def source(choose: Choose, depth: int) -> str:
    """A FROM clause, or none."""
    where = f" WHERE {expression(choose, depth)}" if choose(3) == 0 else ""
    match choose(6):
        case 0:
            return where
        case 1:
            return f" FROM {call(choose, depth)} AS f{where}"
        case 2 if depth:
            return f" FROM ({query(choose, depth - 1)}) AS q{where}"
        case 3:
            return f" FROM {pick(choose, NAMES)} JOIN {pick(choose, NAMES)} ON {expression(choose, 0)}{where}"
    return f" FROM {pick(choose, NAMES)}{where}"


def expression(choose: Choose, depth: int) -> str:
    """A value."""
    if depth <= 0:
        return pick(choose, [*VALUES, *NAMES, "*"])
    left = expression(choose, depth - 1)
    forms = [
        lambda: left,
        lambda: f"{left} {pick(choose, OPERATORS)} {expression(choose, depth - 1)}",
        lambda: call(choose, depth - 1),
        lambda: call(choose, depth - 1),
        lambda: f"({query(choose, depth - 1)})",
        lambda: f"CAST({left} AS {pick(choose, TYPES)})",
        lambda: f"{call(choose, depth - 1)} OVER (ORDER BY {left})",
    ]
    return forms[choose(len(forms))]()


def call(choose: Choose, depth: int) -> str:
    """A call of a function."""
    arguments = ", ".join(expression(choose, depth - 1) for _ in range(choose(3)))
    return f"{pick(choose, FUNCTIONS)}({arguments})"


def pick(choose: Choose, items: Sequence[str]) -> str:
    """One of several."""
    return items[choose(len(items))]
