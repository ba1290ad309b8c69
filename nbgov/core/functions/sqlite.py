"""What the functions of SQLite do: those of its core, and of extensions that builds often hold.

Operators that are functions to SQLite's authorizer are here too. ``tests/core/test_functions.py``
compares the lists with the SQLite that Python links to; newer versions have the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from nbgov.model import Effect

PURE = frozenset(
    """
    -> ->> abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce concat
    concat_ws cos cosh count cume_dist current_date current_time current_timestamp date datetime
    degrees dense_rank exp first_value floor format generate_series glob group_concat hex if ifnull
    iif instr json json_array json_array_insert json_array_length json_each json_error_position
    json_extract json_group_array json_group_object json_insert json_object json_patch json_pretty
    json_quote json_remove json_replace json_set json_tree json_type json_valid jsonb jsonb_array
    jsonb_array_insert jsonb_each jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert
    jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set jsonb_tree julianday lag
    last_value lead length like likelihood likely ln log log10 log2 lower ltrim max median min mod
    nth_value ntile nullif octet_length percent_rank percentile percentile_cont percentile_disc pi
    pow power printf quote radians random rank replace round row_number rtrim sign sin sinh soundex
    sqlite_source_id sqlite_version sqrt strftime string_agg substr substring subtype sum tan tanh
    time timediff total trim trunc typeof unhex unicode unistr unistr_quote unixepoch unlikely upper
    """.split()
)

# What these tell is how the database is made.
METADATA = frozenset(
    """
    pragma_foreign_key_list pragma_index_info pragma_index_list pragma_index_xinfo pragma_table_info
    pragma_table_list pragma_table_xinfo
    """.split()
)

# Security: full-text functions show text of columns that the statement does not name, and
# randomblob and zeroblob take any amount of memory.
HARMFUL: Mapping[Effect, frozenset[str]] = {
    Effect.WRITE: frozenset(
        """
        optimize
        """.split()
    ),
    Effect.SESSION: frozenset(
        """
        changes last_insert_rowid sqlite_log total_changes
        """.split()
    ),
    Effect.EXEC: frozenset(
        """
        define eval fts3_tokenizer load_extension
        """.split()
    ),
    Effect.FILE: frozenset(
        """
        csv edit fileio_append fsdir ls lsmode readfile sqlar_compress sqlar_uncompress writefile
        zipfile zipfile_cds
        """.split()
    ),
    Effect.UNKNOWN: frozenset(
        """
        bm25 dbstat highlight match matchinfo offsets randomblob rtreecheck rtreedepth rtreenode
        snippet sqlite_compileoption_get sqlite_compileoption_used sqlite_dbdata sqlite_dbpage
        zeroblob
        """.split()
    ),
}
