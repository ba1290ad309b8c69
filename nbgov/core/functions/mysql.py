"""What the functions of MySQL and MariaDB do, written from their manuals.

Words of the grammar that are called like functions are here too. The lists are of both products:
one that a server does not have does no harm here. ``tests/core/test_functions.py`` compares them
with a MariaDB server.
"""

from __future__ import annotations

from collections.abc import Mapping

from nbgov.model import Effect

PURE = frozenset(
    """
    abs acos add_months adddate addtime aes_decrypt aes_encrypt any_value area asbinary ascii asin
    astext aswkb aswkt atan atan2 avg bin bin_to_uuid bit_and bit_count bit_length bit_or bit_xor
    boundary buffer cast ceil ceiling centroid char char_length character_length charset chr
    coalesce coercibility collation column_add column_check column_create column_delete
    column_exists column_get column_json column_list compress concat concat_operator_oracle
    concat_ws contains conv convert convert_tz convexhull cos cot count crc32 crc32c crosses
    cume_dist curdate current_date current_role current_time current_timestamp current_user curtime
    database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear
    decode degrees dense_rank dimension disjoint elt encode endpoint envelope equals exp export_set
    exteriorring extract field find_in_set first_value floor format format_bytes format_pico_time
    from_base64 from_days from_unixtime geometryn geometrytype get_format glength greatest
    group_concat grouping hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr
    intersects interval is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_uuid isclosed isempty
    isnull isring issimple json_array json_array_append json_array_insert json_array_intersect
    json_arrayagg json_compact json_contains json_contains_path json_depth json_detailed json_equals
    json_exists json_extract json_insert json_key_value json_keys json_length json_loose json_merge
    json_merge_patch json_merge_preserve json_normalize json_object json_object_filter_keys
    json_object_to_array json_objectagg json_overlaps json_pretty json_query json_quote json_remove
    json_replace json_schema_valid json_search json_set json_storage_free json_storage_size
    json_table json_type json_unquote json_valid json_value kdf lag last_day last_value lcase lead
    least left length length_oracle lengthb linestring ln localtime localtimestamp locate log log10
    log2 lower lpad lpad_oracle ltrim ltrim_oracle make_set makedate maketime match max mbrcontains
    mbrcoveredby mbrcovers mbrdisjoint mbrequal mbrequals mbrintersects mbroverlaps mbrtouches
    mbrwithin md5 median microsecond mid min minute mod month monthname multilinestring multipoint
    multipolygon natural_sort_key now nth_value ntile nullif nvl nvl2 oct octet_length ord overlaps
    percent_rank percentile_cont percentile_disc period_add period_diff pi point pointonsurface
    polygon position pow power quarter quote radians rand random_bytes rank regexp_instr regexp_like
    regexp_replace regexp_replace_oracle regexp_substr repeat replace replace_oracle reverse right
    round row row_number rpad rpad_oracle rtrim rtrim_oracle schema sec_to_time second session_user
    sformat sha sha1 sha2 sign sin soundex space sqrt st_area st_asbinary st_asgeojson st_astext
    st_aswkb st_aswkt st_boundary st_buffer st_buffer_strategy st_centroid st_collect st_contains
    st_convexhull st_crosses st_difference st_dimension st_disjoint st_distance st_distance_sphere
    st_endpoint st_envelope st_equals st_exteriorring st_frechetdistance st_geohash
    st_geomcollfromtext st_geomcollfromwkb st_geometrycollectionfromtext
    st_geometrycollectionfromwkb st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype
    st_geomfromgeojson st_geomfromtext st_geomfromwkb st_hausdorffdistance st_interiorringn
    st_intersection st_intersects st_isclosed st_isempty st_isring st_issimple st_isvalid
    st_latfromgeohash st_latitude st_length st_linefromtext st_linefromwkb st_linestringfromtext
    st_linestringfromwkb st_longfromgeohash st_longitude st_makeenvelope st_mlinefromtext
    st_mlinefromwkb st_mpointfromtext st_mpointfromwkb st_mpolyfromtext st_mpolyfromwkb
    st_multilinestringfromtext st_multilinestringfromwkb st_multipointfromtext st_multipointfromwkb
    st_multipolygonfromtext st_multipolygonfromwkb st_numgeometries st_numinteriorring
    st_numinteriorrings st_numpoints st_overlaps st_pointatdistance st_pointfromgeohash
    st_pointfromtext st_pointfromwkb st_pointn st_pointonsurface st_polyfromtext st_polyfromwkb
    st_polygonfromtext st_polygonfromwkb st_relate st_simplify st_srid st_startpoint st_swapxy
    st_symdifference st_touches st_transform st_union st_validate st_within st_x st_y startpoint std
    stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substr_oracle substring
    substring_index subtime sum sys_guid sysdate system_user tan time time_format time_to_sec
    timediff timestamp timestampadd timestampdiff to_base64 to_char to_date to_days to_number
    to_seconds touches trim trim_oracle trunc truncate ucase uncompress uncompressed_length unhex
    unix_timestamp upper user utc_date utc_time utc_timestamp uuid uuid_short uuid_to_bin uuid_v4
    uuid_v7 values var_pop var_samp variance vec_distance vec_distance_cosine vec_distance_euclidean
    vec_fromtext vec_totext version week weekday weekofyear weight_string within x xor y year
    yearweek
    """.split()
)

METADATA: frozenset[str] = frozenset()

# Security: extractvalue and updatexml raise with a value as their message, name_const gives any
# value any name; sleep, benchmark and locks tell values by time, and found_rows by counting.
HARMFUL: Mapping[Effect, frozenset[str]] = {
    Effect.WRITE: frozenset(
        """
        nextval setval
        """.split()
    ),
    Effect.SESSION: frozenset(
        """
        benchmark found_rows get_lock is_free_lock is_used_lock last_insert_id lastval
        release_all_locks release_lock row_count sleep wait_for_executed_gtid_set
        wait_until_sql_thread_after_gtids wsrep_last_seen_gtid wsrep_last_written_gtid
        wsrep_sync_wait_upto_gtid
        """.split()
    ),
    Effect.MAINTENANCE: frozenset(
        """
        asynchronous_connection_failover_add_managed asynchronous_connection_failover_add_source
        asynchronous_connection_failover_delete_managed
        asynchronous_connection_failover_delete_source asynchronous_connection_failover_reset
        audit_log_encryption_password_get audit_log_encryption_password_set audit_log_filter_flush
        audit_log_filter_remove_filter audit_log_filter_remove_user audit_log_filter_set_filter
        audit_log_filter_set_user audit_log_read audit_log_rotate binlog_gtid_pos
        group_replication_disable_member_action group_replication_enable_member_action
        group_replication_reset_member_actions group_replication_set_as_primary
        group_replication_set_communication_protocol group_replication_set_write_concurrency
        group_replication_switch_to_multi_primary_mode
        group_replication_switch_to_single_primary_mode gtid_subset gtid_subtract keyring_key_fetch
        keyring_key_generate keyring_key_length_fetch keyring_key_remove keyring_key_store
        keyring_key_type_fetch masking_dictionary_remove masking_dictionary_term_add
        masking_dictionary_term_remove master_gtid_wait master_pos_wait mysql_firewall_flush_status
        read_firewall_users read_firewall_whitelist set_firewall_mode source_pos_wait
        version_tokens_delete version_tokens_edit version_tokens_lock_exclusive
        version_tokens_lock_shared version_tokens_set version_tokens_unlock
        """.split()
    ),
    Effect.EXEC: frozenset(
        """
        sys_eval sys_exec sys_get sys_set
        """.split()
    ),
    Effect.FILE: frozenset(
        """
        load_file
        """.split()
    ),
    Effect.UNKNOWN: frozenset(
        """
        connection_id decode_histogram decode_oracle des_decrypt des_encrypt encrypt extractvalue
        icu_version name_const old_password password ps_current_thread_id ps_thread_id roles_graphml
        schemas statement_digest statement_digest_text updatexml validate_password_strength
        """.split()
    ),
}
