"""What DuckDB's own parser makes of a text. It binds nothing, opens nothing and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbgov.core.statement import tokenize
from nbgov.model import Effect, EngineOpinion, TableName

if TYPE_CHECKING:
    import duckdb

READ_NODES = {"CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"}
RELATION_NODES = {"BASE_TABLE", "SHOW_REF"}
READ = frozenset({Effect.READ})
UNKNOWN = frozenset({Effect.UNKNOWN})
# Security: a kind of statement that is not here is unknown.
KINDS = {
    kind: effect
    for effect, kinds in {
        Effect.WRITE: "DELETE INSERT MERGE_INTO UPDATE",
        Effect.DDL: "ALTER CREATE CREATE_FUNC DROP",
        Effect.SESSION: "PRAGMA PREPARE SET TRANSACTION VARIABLE_SET",
        Effect.MAINTENANCE: "ANALYZE VACUUM",
        Effect.EXEC: "CALL EXECUTE",
        Effect.FILE: "ATTACH COPY COPY_DATABASE DETACH EXPORT LOAD",
    }.items()
    for kind in kinds.split()
}
# The PRAGMAs that tell how the database is made and change nothing.
READ_PRAGMAS = {"SHOW_TABLES", "TABLE_INFO", "VERSION"}
# Words that open the options of EXPLAIN, and no query.
EXPLAIN_OPTIONS = {"ANALYZE", "FORMAT"}
# A table whose name holds one of these is a file, where the catalog has no such table.
FILE_MARKS = set("./\\*:")


def opinion(parser: duckdb.DuckDBPyConnection, sql: str) -> EngineOpinion:
    """How many statements DuckDB counts, what the one does, and what it names and calls.

    Args:
        parser: A connection that holds nothing, for its parser.
        sql: The text.

    Raises:
        RequestInvalid: The text is beyond what nbgov parses.
        duckdb.Error: The text is not DuckDB's SQL.
    """
    tokens = tokenize(sql, "duckdb")
    statements = parser.extract_statements(sql)
    if len(statements) != 1:
        return EngineOpinion(len(statements))
    kind = kind_of(statements[0])
    if kind == "SELECT":
        return select_opinion(parser, sql)
    words = [token.text.upper() for token in tokens]
    if kind == "EXPLAIN":
        start, is_analyze = explained(words)
        inner = opinion(parser, sql[tokens[start].start :])
        return inner if is_analyze else replace(inner, effects=READ)
    if kind == "PRAGMA" and words[1] in READ_PRAGMAS and "=" not in words:
        return EngineOpinion(1, effects=READ)
    return EngineOpinion(1, effects=frozenset({KINDS.get(kind, Effect.UNKNOWN)}))


def kind_of(statement: duckdb.Statement) -> str:
    """DuckDB's name of a kind of statement; empty for one that its Python module cannot name."""
    try:
        return statement.type.name
    except ValueError:
        return ""


def explained(words: Sequence[str]) -> tuple[int, bool]:
    """Which word starts the statement that EXPLAIN is of, and whether it is run to measure it."""
    start, is_analyze = 1, words[1] == "ANALYZE"
    start += is_analyze
    if words[start] == "(" and words[start + 1] in EXPLAIN_OPTIONS:
        end = words.index(")", start)
        # Security: ANALYZE false is taken for true, which is the stricter reading.
        is_analyze = is_analyze or "ANALYZE" in words[start:end]
        start = end + 1
    return start, is_analyze


def select_opinion(parser: duckdb.DuckDBPyConnection, sql: str) -> EngineOpinion:
    """What DuckDB's tree of a query says. Its kind is not trusted: a CTE of a query may write."""
    (text,) = parser.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchall()[0]
    tree = json.loads(text)
    if tree["error"]:
        return EngineOpinion(1)
    nodes = list(scoped_nodes(tree))
    paths = {
        tuple(node["qualified_name"]["path"])
        for node, hidden in nodes
        if str(node.get("type")) in RELATION_NODES and names_relation(node, hidden)
    }
    found = {effect for node, _ in nodes for effect in node_effects(node)}
    found |= {Effect.FILE for path in paths if FILE_MARKS & set(path[-1])}
    return EngineOpinion(
        1,
        effects=frozenset(found) or READ,
        tables=frozenset(TableName(".".join(path[:-1]), path[-1]) for path in paths),
        functions=frozenset(
            ".".join(node["qualified_name"]["path"]).lower()
            for node, _ in nodes
            if "function_name" in node
        ),
        title=title(parser, tree),
    )


def title(parser: duckdb.DuckDBPyConnection, tree: Mapping[str, Any]) -> str | None:
    """The name of the one expression of a query without a FROM clause: as DuckDB writes it."""
    node = tree["statements"][0]["node"]
    is_bare = node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY"
    if not is_bare or len(node["select_list"]) != 1:
        return None
    text = json.dumps(tree)
    ((written,),) = parser.execute("SELECT json_deserialize_sql($1::JSON)", [text]).fetchall()
    return str(written).removeprefix("SELECT ")


def node_effects(node: Mapping[str, Any]) -> Iterator[Effect]:
    """What a node of a query does beyond reading."""
    if "cte_map" in node and node["type"] not in READ_NODES:
        yield Effect.WRITE
    # Security: SHOW of what is no table tells a setting.
    if node.get("type") == "SHOW_REF" and node["show_type"] == "SHOW":
        yield Effect.SESSION


def names_relation(node: Mapping[str, Any], hidden: frozenset[str]) -> bool:
    """Whether a node names something in the catalog, not a CTE in scope."""
    path = node.get("qualified_name", {}).get("path", [])
    return len(path) > 1 or (len(path) == 1 and path[0].lower() not in hidden)


def scoped_nodes(tree: Any) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Every node of a serialised statement, each with the lower-case CTE names that it can see.

    A CTE sees those before it, and itself when it is recursive; the query around sees all.
    """
    todo: list[tuple[Any, frozenset[str]]] = [(tree, frozenset())]
    while todo:
        node, visible = todo.pop()
        if isinstance(node, list):
            todo += [(item, visible) for item in node]
        elif isinstance(node, dict):
            if "cte_name" in node:
                visible |= {node["cte_name"].lower()}
            for entry in node.get("cte_map", {}).get("map", []):
                todo.append((entry["value"], visible))
                visible |= {entry["key"].lower()}
            yield node, visible
            todo += [(value, visible) for key, value in node.items() if key != "cte_map"]
