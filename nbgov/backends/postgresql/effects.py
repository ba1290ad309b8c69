"""What a statement does and calls, read off the tree of PostgreSQL's own grammar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from nbgov.core.functions.postgres import METADATA, OPERATORS, TYPES
from nbgov.model import Effect

HOME = "pg_catalog"
# Security: a kind of statement that is not here is unknown, a new one of a later grammar too.
KINDS = {
    kind: effect
    for effect, kinds in {
        Effect.READ: "select_stmt",
        Effect.WRITE: "delete_stmt insert_stmt merge_stmt update_stmt",
        Effect.DDL: """
            alter_collation_stmt alter_database_refresh_coll_stmt alter_database_set_stmt
            alter_database_stmt alter_domain_stmt alter_enum_stmt alter_event_trig_stmt
            alter_extension_contents_stmt alter_extension_stmt alter_fdw_stmt
            alter_foreign_server_stmt alter_function_stmt alter_object_depends_stmt
            alter_object_schema_stmt alter_op_family_stmt alter_operator_stmt
            alter_publication_stmt alter_seq_stmt alter_stats_stmt alter_subscription_stmt
            alter_table_move_all_stmt alter_table_space_options_stmt alter_table_stmt
            alter_tsconfiguration_stmt alter_tsdictionary_stmt alter_type_stmt comment_stmt
            composite_type_stmt create_am_stmt create_cast_stmt create_conversion_stmt
            create_domain_stmt create_enum_stmt create_event_trig_stmt create_extension_stmt
            create_fdw_stmt create_foreign_server_stmt create_foreign_table_stmt
            create_function_stmt create_op_class_stmt create_op_family_stmt create_plang_stmt
            create_publication_stmt create_range_stmt create_schema_stmt create_seq_stmt
            create_stats_stmt create_stmt create_subscription_stmt create_table_as_stmt
            create_table_space_stmt create_transform_stmt create_trig_stmt createdb_stmt
            define_stmt drop_stmt drop_subscription_stmt drop_table_space_stmt dropdb_stmt
            import_foreign_schema_stmt index_stmt rename_stmt rule_stmt truncate_stmt view_stmt
            """,
        Effect.DCL: """
            alter_default_privileges_stmt alter_owner_stmt alter_policy_stmt alter_role_set_stmt
            alter_role_stmt alter_user_mapping_stmt create_policy_stmt create_role_stmt
            create_user_mapping_stmt drop_owned_stmt drop_role_stmt drop_user_mapping_stmt
            grant_role_stmt grant_stmt reassign_owned_stmt sec_label_stmt
            """,
        Effect.SESSION: """
            close_portal_stmt constraints_set_stmt deallocate_stmt declare_cursor_stmt discard_stmt
            fetch_stmt listen_stmt lock_stmt notify_stmt prepare_stmt transaction_stmt
            unlisten_stmt variable_set_stmt variable_show_stmt
            """,
        Effect.MAINTENANCE: """
            alter_system_stmt check_point_stmt cluster_stmt refresh_mat_view_stmt reindex_stmt
            vacuum_stmt
            """,
        Effect.EXEC: "call_stmt do_stmt execute_stmt",
        Effect.FILE: "copy_stmt load_stmt",
    }.items()
    for kind in kinds.split()
}
# What a part of a statement does, wherever it stands.
PARTS = {
    "DeleteStmt": Effect.WRITE,
    "ExecuteStmt": Effect.EXEC,
    "InsertStmt": Effect.WRITE,
    "IntoClause": Effect.DDL,
    "LockingClause": Effect.SESSION,
    "MergeStmt": Effect.WRITE,
    "UpdateStmt": Effect.WRITE,
}
# Settings that everybody may see.
# Security: SHOW tells any setting, also those that carry nbgov's own key.
SETTINGS = frozenset(
    """
    application_name block_size bytea_output client_encoding constraint_exclusion
    cursor_tuple_fraction datestyle default_transaction_isolation default_transaction_read_only
    effective_cache_size enable_bitmapscan enable_hashagg enable_hashjoin enable_indexonlyscan
    enable_indexscan enable_material enable_memoize enable_mergejoin enable_nestloop
    enable_partition_pruning enable_seqscan enable_sort enable_tidscan extra_float_digits geqo
    idle_in_transaction_session_timeout integer_datetimes intervalstyle jit lc_collate lc_ctype
    lc_messages lc_monetary lc_numeric lc_time lock_timeout maintenance_work_mem max_connections
    max_parallel_workers max_parallel_workers_per_gather plan_cache_mode random_page_cost
    row_security search_path seq_page_cost server_encoding server_version server_version_num
    shared_buffers standard_conforming_strings statement_timeout temp_buffers timezone
    transaction_deferrable transaction_isolation transaction_read_only work_mem xmlbinary xmloption
    """.split()
)
# What the definition of a column may say instead of a type.
SERIAL = {"bigserial", "serial", "serial2", "serial4", "serial8", "smallserial"}
COLUMN_MAKERS = {"alter_table_stmt", "create_foreign_table_stmt", "create_stmt"}
FALSE = {"0", "false", "off"}
SAMPLING = {"bernoulli", "system"}
# How A_Expr spells what is grammar and no operator.
A_EXPR = OPERATORS | {
    "BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN", "NOT BETWEEN SYMMETRIC",
}  # fmt: skip


def effects(root: Any, nodes: Sequence[Any]) -> frozenset[Effect]:
    """Everything that a statement does, as far as its text tells.

    Args:
        root: The statement, as the grammar wraps it.
        nodes: All that is in it, itself included.
    """
    kind = root.WhichOneof("node")
    if kind == "explain_stmt":
        return explain_effects(root.explain_stmt, nodes)
    if kind == "variable_show_stmt" and root.variable_show_stmt.name.lower() in SETTINGS:
        return frozenset({Effect.READ})
    found = {KINDS.get(kind, Effect.UNKNOWN)}
    found |= {PARTS[name] for node in nodes if (name := node.DESCRIPTOR.name) in PARTS}
    if kind == "copy_stmt" and root.copy_stmt.is_from:
        found.add(Effect.WRITE)
    types = TYPES | SERIAL if kind in COLUMN_MAKERS else TYPES
    if any(is_foreign(node, types) for node in nodes):
        found.add(Effect.UNKNOWN)
    return frozenset(found - {Effect.READ} or found)


def explain_effects(explain: Any, nodes: Sequence[Any]) -> frozenset[Effect]:
    """A plan is read, whatever it is of; an analysed one has run what it is of."""
    options = {option.def_elem.defname: option.def_elem for option in explain.options}
    if "analyze" in options and not is_false(options["analyze"]):
        return effects(explain.query, nodes)
    # Security: planning computes constants, so it runs functions.
    is_unknown = any(
        is_foreign(node, TYPES) or node.DESCRIPTOR.name == "ExecuteStmt" for node in nodes
    )
    return frozenset({Effect.UNKNOWN if is_unknown else Effect.READ})


def is_false(option: Any) -> bool:
    """Whether an option of EXPLAIN is switched off."""
    if option.arg.WhichOneof("node") == "integer":
        return bool(option.arg.integer.ival == 0)
    return str(option.arg.string.sval).lower() in FALSE


def functions(nodes: Iterable[Any]) -> frozenset[str]:
    """The functions that a statement calls, and the types of names that it casts to.

    A cast to ``regclass`` looks a name up, like the function ``to_regclass``.
    """
    found = set()
    for node in nodes:
        if node.DESCRIPTOR.name == "FuncCall":
            found.add(".".join(words(node.funcname)).lower())
        elif node.DESCRIPTOR.name == "TypeName":
            found |= set(words(node.names)[-1:]) & METADATA
    return frozenset(found)


def is_foreign(node: Any, types: AbstractSet[str]) -> bool:
    """Whether a node uses an operator, a type or a sampling method that is not PostgreSQL's own.

    A person's own operator or type may call any function.
    """
    match node.DESCRIPTOR.name:
        case "A_Expr":
            return not is_own(words(node.name), A_EXPR)
        case "SubLink":
            return bool(node.oper_name) and not is_own(words(node.oper_name), OPERATORS)
        case "SortBy":
            return bool(node.use_op) and not is_own(words(node.use_op), OPERATORS)
        case "TypeName":
            return node.pct_type or not is_own(words(node.names), types)
        case "RangeTableSample":
            return not is_own(words(node.method), SAMPLING)
    return False


def is_own(name: Sequence[str], known: AbstractSet[str]) -> bool:
    """Whether a name, qualified or not, is one of PostgreSQL's own."""
    return name[-1] in known and list(name[:-1]) in ([], [HOME])


def words(parts: Iterable[Any]) -> list[str]:
    """The parts of a qualified name."""
    return [part.string.sval for part in parts]
