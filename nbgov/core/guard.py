"""What no statement may do, whoever asks.

The guard knows statements and nothing else: not the principal, not the policy, not the database.
Every rule has a code that stays, and a page under ``docs/reference/rules``. Cases are in
``tests/cases/guard``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nbgov.model import Effect, Finding, Statement

# Functions that are known to do nothing but compute, by sqlglot's canonical name or as written. A
# name that is not here is denied: a function can write, sleep, read files or run SQL, and no parser
# sees it.
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


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the guard.

    Attributes:
        code: ``G`` and three digits; it never changes its meaning.
        title: What the rule reports, in a few words.
        check: From a statement to the offending detail, or ``None`` when the statement is clean.
        next_step: What to write instead.
    """

    code: str
    title: str
    check: Callable[[Statement], str | None]
    next_step: str


def check(statement: Statement, rules: Mapping[str, Rule] | None = None) -> tuple[Finding, ...]:
    """Report every rule that a statement breaks.

    All rules run, even after the first hit: a person who corrects SQL wants the whole list.

    Args:
        statement: A statement whose names are resolved.
        rules: The rules in force, by code; all of :data:`RULES` when left out.

    Returns:
        The findings in the order of the rules, or an empty tuple when the statement is clean.
    """
    found = []
    for rule in (RULES if rules is None else rules).values():
        detail = rule.check(statement)
        if detail is not None:
            found.append(Finding(rule.code, detail, rule.next_step))
    return tuple(found)


def changes_structure(statement: Statement) -> str | None:
    """DDL, such as DROP, TRUNCATE, ALTER and CREATE."""
    if statement.effect is not Effect.DDL:
        return None
    named = ", ".join(str(use.table) for use in statement.tables)
    return f"{statement.verb} changes what the database holds" + (f": {named}" if named else "")


def is_not_a_query(statement: Statement) -> str | None:
    """A statement that is neither a query nor a plain INSERT, UPDATE or DELETE."""
    if statement.effect is not Effect.UNKNOWN:
        return None
    if statement.verb in {"BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "END", "ABORT"}:
        return f"{statement.verb} controls the transaction, which nbgov owns"
    return f"{statement.verb} is not a statement that nbgov runs"


def writes_without_where(statement: Statement) -> str | None:
    """UPDATE or DELETE that names no rows."""
    return f"{statement.verb} has no WHERE" if "no-where" in statement.traits else None


def writes_everything(statement: Statement) -> str | None:
    """UPDATE or DELETE whose WHERE is true for every row."""
    if "always-true-where" not in statement.traits:
        return None
    return f"the WHERE of {statement.verb} is true for every row"


def calls_unknown_function(statement: Statement) -> str | None:
    """A function that is not known to be free of side effects."""
    unknown = sorted(statement.functions - PURE_FUNCTIONS)
    return f"it calls {', '.join(unknown)}, not known to be free of effects" if unknown else None


RULES: Mapping[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule("G101", "changes structure", changes_structure, "ask a platform engineer"),
        Rule("G102", "not a query or a plain write", is_not_a_query, "use SELECT or a plain write"),
        Rule("G103", "write without WHERE", writes_without_where, "name the rows with WHERE"),
        Rule("G104", "WHERE is always true", writes_everything, "name the rows with WHERE"),
        Rule("G105", "unknown function", calls_unknown_function, "use a standard function instead"),
    )
}
