"""What DuckDB's own parser makes of a text. It binds nothing, opens nothing and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from nbgov.model import EngineOpinion, TableName

READ_NODES = {"CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"}
RELATION_NODES = {"BASE_TABLE", "SHOW_REF"}


def opinion(parser: duckdb.DuckDBPyConnection, sql: str) -> EngineOpinion:
    """How many statements DuckDB counts, whether it is one read, and what a read names."""
    statements = parser.extract_statements(sql)
    if len(statements) != 1:
        return EngineOpinion(len(statements))
    if statements[0].type != duckdb.StatementType.SELECT:
        is_explain = statements[0].type == duckdb.StatementType.EXPLAIN
        return EngineOpinion(1, is_read=None if is_explain else False)
    (text,) = parser.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchall()[0]
    tree = json.loads(text)
    if tree["error"]:
        return EngineOpinion(1)
    nodes = list(scoped_nodes(tree))
    if any("cte_map" in node and node["type"] not in READ_NODES for node, _ in nodes):
        return EngineOpinion(1, is_read=False)
    paths = {
        tuple(node["qualified_name"]["path"])
        for node, hidden in nodes
        if node.get("type") in RELATION_NODES and names_relation(node, hidden)
    }
    tables = frozenset(TableName(".".join(path[:-1]), path[-1]) for path in paths)
    return EngineOpinion(1, is_read=True, tables=tables)


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
