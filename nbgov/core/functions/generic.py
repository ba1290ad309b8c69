"""What a function does where a dialect has no table: names that mean the same to every product."""

from __future__ import annotations

from collections.abc import Mapping

from nbgov.model import Effect

PURE = frozenset(
    """
    abs acos any_value array_agg ascii asin atan atan2 avg bit_length cast ceil ceiling char_length
    character_length charindex coalesce concat concat_ws convert corr cos cot count count_if
    covar_pop covar_samp cume_dist current_catalog current_date current_role current_schema
    current_time current_timestamp current_user date date_add date_diff date_format date_part
    date_sub date_trunc dateadd datediff datefromparts datename datepart day dayname dayofmonth
    dayofweek dayofyear decode degrees dense_rank endswith eomonth exp extract first_value floor
    format getdate greatest grouping hour if iff ifnull iif initcap instr isnull isnumeric lag
    last_day last_value lcase lead least left len length listagg ln localtime localtimestamp log
    log10 log2 lower lpad ltrim max md5 median min minute mod month monthname months_between
    nth_value ntile nullif nvl nvl2 octet_length overlay patindex percent_rank percentile_cont
    percentile_disc pi position pow power quarter radians rank regexp_count regexp_instr regexp_like
    regexp_replace regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope
    regr_sxx regr_sxy regr_syy repeat replace reverse right round row_number rpad rtrim second
    session_user sha1 sha2 sha256 sign sin space split_part sqrt startswith stddev stddev_pop
    stddev_samp string_agg strpos stuff substr substring sum sysdate sysdatetime tan time timestamp
    to_char to_date to_number to_timestamp translate trim trunc truncate try_cast trycast typeof
    ucase unnest upper var_pop var_samp variance week width_bucket year zeroifnull
    """.split()
)

METADATA: frozenset[str] = frozenset()
HARMFUL: Mapping[Effect, frozenset[str]] = {}
