"""What an engine tells about itself: its own tables, settings and commands that show no data.

Each list says what may be read, by engine; everything else is denied. Left out is what carries
values (statistics, samples, plans kept), what people are doing at the moment, who they are and
their secrets, and every setting that could hold a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sqlglot import exp

from nbgov.core.statement.names import not_understood
from nbgov.model import TableName

STANDARD = """
    character_sets check_constraints collations columns constraint_column_usage
    constraint_table_usage domains enabled_roles key_column_usage parameters
    referential_constraints routines schemata table_constraints tables view_column_usage
    view_table_usage views
""".split()
POSTGRES = """
    pg_am pg_attrdef pg_attribute pg_cast pg_class pg_collation pg_constraint pg_depend
    pg_description pg_enum pg_index pg_indexes pg_inherits pg_language pg_matviews pg_namespace
    pg_opclass pg_operator pg_partitioned_table pg_policies pg_proc pg_range pg_tables
    pg_timezone_abbrevs pg_timezone_names pg_trigger pg_type pg_views
""".split()
DUCKDB = """
    pg_attrdef pg_attribute pg_class pg_constraint pg_depend pg_description pg_enum pg_index
    pg_indexes pg_namespace pg_proc pg_tables pg_type pg_views
""".split()
SQLITE = ["sqlite_master", "sqlite_schema"]
# Tables of each engine, by schema. A name without a schema is looked for where the engine does.
TABLES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "duckdb": {
        "information_schema": frozenset(STANDARD),
        "pg_catalog": frozenset(DUCKDB),
        "": frozenset(SQLITE),
    },
    "mysql": {"information_schema": frozenset(STANDARD) | {"engines"}},
    "postgres": {
        "information_schema": frozenset(STANDARD),
        "pg_catalog": frozenset(POSTGRES),
    },
    "sqlite": {"": frozenset(SQLITE), "main": frozenset(SQLITE)},
}
UNQUALIFIED: Mapping[str, tuple[str, ...]] = {
    "duckdb": ("", "pg_catalog"),
    "mysql": (),
    "postgres": ("pg_catalog",),
    "sqlite": ("",),
}
# Columns that are made of the rows of a table, by the system table that has them: how many there
# are, how much room they take, and a value that all of them had.
FIGURES: Mapping[str, frozenset[str]] = {
    "pg_attribute": frozenset({"attmissingval"}),
    "pg_class": frozenset({"relallfrozen", "relallvisible", "relpages", "reltuples"}),
    "tables": frozenset(
        """
        auto_increment avg_row_length check_time checksum data_free data_length index_length
        max_data_length max_index_length table_rows temporary update_time
        """.split()
    ),
}
POSTGRES_SETTINGS = """
    bytea_output client_encoding data_directory_mode datestyle default_transaction_isolation
    extra_float_digits integer_datetimes intervalstyle is_superuser lc_collate lc_ctype lc_messages
    lc_monetary lc_numeric lc_time max_connections search_path server_encoding server_version
    server_version_num standard_conforming_strings statement_timeout timezone
    transaction_isolation transaction_read_only work_mem
"""
NAME = r"(?:[A-Z_]\w*|\"[\w ]+\"|`[\w ]+`)"
TEXT = r"'[^'\\]*'"
MYSQL_SHOW = rf"""
    (?:FULL\ )?TABLES(?:\ (?:FROM|IN)\ {NAME})?(?:\ LIKE\ {TEXT})?
    | (?:FULL\ )?(?:COLUMNS|FIELDS)\ (?:FROM|IN)\ {NAME}(?:\.{NAME})?(?:\ (?:FROM|IN)\ {NAME})?
        (?:\ LIKE\ {TEXT})?
    | CREATE\ (?:TABLE|VIEW)\ {NAME}(?:\.{NAME})?
    | (?:DATABASES|SCHEMAS|COLLATION|CHARACTER\ SET)(?:\ LIKE\ {TEXT})?
    | (?:STORAGE\ )?ENGINES
"""
# Commands that read no data, as their words with one space between them and none around
# punctuation.
COMMANDS: Mapping[str, str] = {
    "duckdb": rf"""
        (?:SHOW\ (?:ALL\ )?TABLES | SHOW\ (?:DATABASES|SCHEMAS) | DESCRIBE
        | (?:DESCRIBE|DESC|SHOW)\ (?:TABLE\ )?(?!SELECT\b|FROM\b|VALUES\b|WITH\b)
            {NAME}(?:\.{NAME})?
        | PRAGMA\ (?:show_tables|version)
        | PRAGMA\ table_info\((?:{TEXT}|{NAME})\))
    """,
    "mysql": rf"""
        (?:SHOW\ (?:{MYSQL_SHOW})
        | (?:DESCRIBE|DESC|EXPLAIN)\ (?!SELECT\b|TABLE\b|VALUES\b|WITH\b){NAME}(?:\.{NAME})?
            (?:\ (?:{NAME}|{TEXT}))?)
    """,
    "postgres": rf"""
        SHOW\ (?:TIME\ ZONE|TRANSACTION\ ISOLATION\ LEVEL|{"|".join(POSTGRES_SETTINGS.split())})
    """,
    "sqlite": rf"""
        PRAGMA\ (?:main\.)?(?:
            (?:foreign_key_list|index_info|index_list|index_xinfo|table_info|table_xinfo)
                \((?:{TEXT}|{NAME})\)
            | collation_list|compile_options|encoding|foreign_keys|function_list|module_list
            | pragma_list|schema_version|table_list|user_version)
    """,
}
SHAPES = {
    dialect: re.compile(shape, re.VERBOSE | re.IGNORECASE) for dialect, shape in COMMANDS.items()
}


def system_table(mention: exp.Table, dialect: str) -> TableName | None:
    """The engine's own table that a mention means, if it may be read.

    Example:
        >>> import sqlglot
        >>> query = sqlglot.parse_one("SELECT * FROM pg_class", read="postgres")
        >>> str(system_table(query.find(sqlglot.exp.Table), "postgres"))
        'pg_catalog.pg_class'
    """
    if mention.args.get("catalog") is not None:
        return None
    name, schema = mention.name.lower(), mention.db.lower()
    listed = TABLES.get(dialect, {})
    for home in (schema,) if schema else UNQUALIFIED.get(dialect, ()):
        if name in listed.get(home, ()):
            return TableName(home, name)
    return None


def check_figures(tree: exp.Expr, mentions: Iterable[exp.Table], dialect: str) -> None:
    """Refuse a query that reads figures about stored rows from the engine's own tables.

    Security: how many rows there are, and how large they are, shows through a row filter.

    Raises:
        Denied: It names such a column, or all columns at once, by a star, as a row or by place.
    """
    for mention in mentions:
        figures = FIGURES.get(mention.name.lower())
        if figures is None or (dialect != "mysql" and mention.name.lower() == "tables"):
            continue
        names = {column.name.lower() for column in tree.find_all(exp.Column)}
        is_renamed = mention.args.get("alias") and mention.args["alias"].columns
        stars = [star for star in tree.find_all(exp.Star) if not isinstance(star.parent, exp.Count)]
        if is_renamed or stars or names & (figures | {mention.alias_or_name.lower()}):
            raise not_understood(
                f"{mention.name} holds figures about stored rows, such as {min(figures)}",
                "name the columns that you need, and leave those out",
            )


def is_introspection(words: list[str], dialect: str) -> bool:
    """Whether a command only tells how the database is made.

    Args:
        words: Its tokens as written, semicolons left out.
        dialect: sqlglot's name of the dialect.

    Example:
        >>> is_introspection(["PRAGMA", "table_info", "(", "t", ")"], "sqlite")
        True
        >>> is_introspection(["PRAGMA", "query_only", "=", "OFF"], "sqlite")
        False
    """
    shape = SHAPES.get(dialect)
    text = re.sub(r" ?([().]) ?", r"\1", " ".join(words))
    return shape is not None and shape.fullmatch(text) is not None
