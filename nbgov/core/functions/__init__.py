"""What calling a function does, by engine.

A function can write, sleep, read files or run SQL, and no parser sees it. So the name decides: each
engine has a table of the functions that only compute, of those that tell how the database is made,
and of those that are known to do more. A name in no table is unknown, and unknown is denied.

Names are as the engine spells them, lower case. What people define in a database is in the catalog,
not here; see :func:`nbgov.core.statement.agree`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from nbgov.core.functions import duckdb, generic, mysql, postgres, sqlite
from nbgov.model import Catalog, Effect

ENGINES: dict[str, ModuleType] = {
    "duckdb": duckdb,
    "mysql": mysql,
    "postgres": postgres,
    "sqlite": sqlite,
}
# The schema that holds an engine's own functions, where naming it means them and nothing else.
HOMES = {"duckdb": "system.main.", "postgres": "pg_catalog."}
# DuckDB calls a function of a value like a member of it, so what stands before the dot need not be
# a schema.
METHOD_DIALECTS = {"duckdb"}


def effect_of(name: str, dialect: str) -> Effect:
    """What a function that the engine brings along does.

    Args:
        name: Its lower-case name as the engine spells it, with a schema where the text names one.
        dialect: sqlglot's name of the dialect.

    Returns:
        ``READ`` for a function that computes, or tells how the database is made; what it does for
        one that is known to do more; ``UNKNOWN`` for every other name.

    Example:
        >>> effect_of("upper", "postgres"), effect_of("pg_catalog.nextval", "postgres")
        (<Effect.READ: 'read'>, <Effect.WRITE: 'write'>)
        >>> effect_of("other.upper", "postgres"), effect_of("upper_case", "postgres")
        (<Effect.UNKNOWN: 'unknown'>, <Effect.UNKNOWN: 'unknown'>)
    """
    engine = ENGINES.get(dialect, generic)
    name = own_name(name, dialect)
    if name in engine.PURE or name in engine.METADATA:
        return Effect.READ
    return next((effect for effect, names in engine.HARMFUL.items() if name in names), UNKNOWN)


def reads_metadata(name: str, dialect: str) -> bool:
    """Whether a function tells names, definitions or privileges, and no data.

    Example:
        >>> reads_metadata("to_regclass", "postgres"), reads_metadata("upper", "postgres")
        (True, False)
    """
    return own_name(name, dialect) in ENGINES.get(dialect, generic).METADATA


def own_name(name: str, dialect: str) -> str:
    """The name without the schema that holds the engine's own functions."""
    return name.removeprefix(HOMES.get(dialect, ""))


def effect_in(name: str, catalog: Catalog) -> Effect:
    """What a function does on a connection: the worst of all that its name can mean there.

    Example:
        >>> mine = Catalog("postgres", "public", {}, {"public.upper": Effect.UNKNOWN})
        >>> [str(effect_in(name, mine)) for name in ("upper", "lower", "pg_catalog.upper")]
        ['unknown', 'read', 'read']
    """
    schema, _, bare = name.rpartition(".")
    defined = defined_effects(name, catalog)
    if schema and not defined and catalog.dialect in METHOD_DIALECTS:
        return effect_in(bare, catalog)
    shipped = effect_of(name, catalog.dialect)
    if defined and shipped is Effect.UNKNOWN:
        return worst(defined)
    return worst({*defined, shipped})


def defined_effects(name: str, catalog: Catalog) -> set[Effect]:
    """What the functions do that people have defined under a name, in any schema if it has none."""
    schema, _, bare = name.rpartition(".")
    return {
        effect
        for known, effect in catalog.functions.items()
        if known == name or (not schema and known.rpartition(".")[2] == bare)
    }


def worst(effects: Iterable[Effect]) -> Effect:
    """The worst of several effects."""
    return max(effects, key=list(Effect).index)


UNKNOWN = Effect.UNKNOWN
# Functions by the names that sqlglot gives them, for a tree whose text is not at hand. A
# name that is not here is denied.
PURE_FUNCTIONS = frozenset(
    """
    abs acos age aggregate any_value approx_distinct approx_quantile arg_max arg_min array
    array_agg array_length array_size asin atan atan2 avg between bit_length ceil ceiling cast case
    cbrt char_length character_length chr coalesce concat concat_ws contains corr cos cot count
    count_if covar_pop covar_samp cume_dist current_date current_time current_timestamp date
    date_add date_from_parts date_diff date_format date_part date_sub date_trunc datediff day
    day_of_month day_of_week day_of_year dayname dayofmonth dayofweek dayofyear decode degrees
    dense_rank datetime ends_with epoch exists exp explode exploding_generate_series extract first
    first_value floor format generate_series greatest group_concat hash hex hour if ifnull ilike
    initcap instr in is_inf is_nan isfinite isinf isnan json json_array_length json_build_object
    json_extract json_extract_path_text json_extract_scalar json_extract_string
    jsonb_array_elements julianday kurtosis lag last last_day last_value lcase lead least left
    length levenshtein like ln lag list list_value log log10 log2 logical_and logical_or lower lpad
    ltrim mad make_interval max max_by md5 median min_by minute min mod mode month monthname
    nth_value now ntile nullif octet_length overlay pad percent_rank percentile_cont
    percentile_disc pi position pow power printf product quantile quantile_cont quantile_disc
    quarter radians rand random rank regexp_extract regexp_full_match regexp_like regexp_matches
    regexp_replace regr_slope repeat replace reverse right round row_number row_to_json rpad rtrim
    safe_divide second sha256 sha2 sign sin skewness split split_part sqrt starts_with stddev
    stddev_pop stddev_samp str_position str_to_date str_to_time strftime string_agg strip_accents
    strpos strptime struct substr substring substring_index sum tan time_to_str time_to_unix
    timestamp timestamp_add timestamp_diff timestamp_trunc to_char to_date to_days to_timestamp
    total translate trim trunc truncate try_cast try_strptime ts_or_ds_to_date typeof ucase unicode
    unix_to_time unnest upper ts_or_ds_to_timestamp var_pop var_samp variance variance_pop week
    weekday weekofyear width_bucket xor year
    """.split()
)
