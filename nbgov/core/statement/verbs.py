"""What a text does by its own words: its verb, and for a query the nodes of sqlglot's tree.

Only what is known is told. A verb that is not here, and a query with a node whose meaning nobody
has looked at, are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.functions.postgres import OPERATORS, TYPES
from nbgov.core.statement.heads import PLAN, explain_head
from nbgov.core.statement.syntax import read_tree, single
from nbgov.core.statement.system import is_introspection
from nbgov.core.statement.text import find_binds, splice, tokenize
from nbgov.errors import NbgovError
from nbgov.model import Effect, Span

READ = frozenset({Effect.READ})
PLANNED = frozenset({Effect.READ, Effect.WRITE})
VERBS = {
    verb: effect
    for effect, verbs in {
        Effect.WRITE: "DELETE INSERT MERGE REPLACE UPDATE UPSERT",
        Effect.DDL: "ALTER COMMENT CREATE DROP RENAME TRUNCATE UNDROP",
        Effect.DCL: "DENY GRANT REASSIGN REVOKE",
        Effect.SESSION: """
            ABORT BEGIN CLOSE COMMIT DEALLOCATE DECLARE DISCARD END FETCH HANDLER LISTEN LOCK MOVE
            NOTIFY PRAGMA PREPARE RELEASE RESET ROLLBACK SAVEPOINT SET SHOW START UNLISTEN UNLOCK
            UNSET USE
            """,
        Effect.MAINTENANCE: """
            ANALYSE ANALYZE CHANGE CHECK CHECKPOINT CHECKSUM CLUSTER FLUSH FORCE KILL OPTIMIZE PURGE
            REFRESH REINDEX REPAIR SHUTDOWN STOP VACUUM
            """,
        Effect.EXEC: "CALL DO EXEC EXECUTE",
        Effect.FILE: "ATTACH COPY DETACH EXPORT IMPORT INSTALL LOAD UNLOAD",
    }.items()
    for verb in verbs.split()
}
OPERATOR_CHARACTERS = frozenset("+-*/<>=~!@#%^&|?")
QUERY_VERBS = {"(", "FROM", "PIVOT", "SELECT", "TABLE", "UNPIVOT", "VALUES", "WITH"}
# Security: nodes outside this list are unknown, so that a new kind of node in a later sqlglot
# cannot carry an effect that nobody has looked at.
READ_NODES = (
    exp.Query, exp.Condition, exp.Func, exp.Identifier, exp.Alias, exp.Aliases, exp.From, exp.Join,
    exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch,
    exp.With, exp.CTE, exp.Table, exp.TableAlias, exp.Distinct, exp.Qualify, exp.Window,
    exp.WindowSpec, exp.DataType, exp.DataTypeParam, exp.Lambda, exp.Tuple, exp.Star, exp.Values,
    exp.Unnest, exp.Interval, exp.Var, exp.Paren, exp.Filter, exp.WithinGroup, exp.Rollup, exp.Cube,
    exp.GroupingSets, exp.Schema, exp.Slice, exp.PropertyEQ, exp.Lateral, exp.JSONPath,
    exp.JSONPathPart, exp.TableSample, exp.Pivot, exp.PivotAlias, exp.Operator, exp.ColumnDef,
    exp.Hint, exp.IntervalSpan, exp.JSONKeyValue, exp.JSONSchema, exp.JSONColumnDef,
    exp.JSONValue, exp.FormatJson, exp.OpenJSONColumnDef, exp.XMLNamespace, exp.WithTableHint,
    exp.IndexTableHint, exp.PositionalColumn, exp.PseudoType, exp.ObjectIdentifier, exp.HavingMax,
    exp.LimitOptions, exp.AtTimeZone, exp.Variadic, exp.RecursiveWithSearch, exp.JSON,
    exp.Partition, exp.Comprehension, exp.Introducer, exp.UnpivotColumns, exp.Cluster, exp.Prior,
    exp.Connect,
    exp.Returning,
)  # fmt: skip
NODES: Mapping[type[exp.Expr], Effect] = {
    exp.Insert: Effect.WRITE,
    exp.Update: Effect.WRITE,
    exp.Delete: Effect.WRITE,
    exp.Merge: Effect.WRITE,
    exp.Into: Effect.DDL,
    exp.Lock: Effect.SESSION,
    exp.Parameter: Effect.SESSION,
    exp.SessionParameter: Effect.SESSION,
}


def written_effects(sql: str, dialect: str) -> frozenset[Effect]:
    """What a text does by its own words.

    Raises:
        NbgovError: The text is beyond the budget, no single statement, or does not parse.

    Example:
        >>> written_effects("WITH a AS (DELETE FROM t RETURNING b) SELECT b FROM a", "postgres")
        frozenset({<Effect.WRITE: 'write'>})
    """
    text, kind = without_head(sql, dialect)
    found = plain_effects(text, dialect)
    # A plan runs nothing of a statement that is planned at all.
    return READ if kind == PLAN and found <= PLANNED else found


def without_head(sql: str, dialect: str) -> tuple[str, str]:
    """The text with EXPLAIN and its options blank, and what they ask for, if they are there.

    Raises:
        NbgovError: As :func:`written_effects`.
    """
    tokens = single(tokenize(sql, dialect))
    kind, index = explain_head(tokens, dialect) or ("", 0)
    start = tokens[index].start
    return " " * start + sql[start:], kind


def plain_effects(sql: str, dialect: str) -> frozenset[Effect]:
    """What a text without EXPLAIN does."""
    tokens = single(tokenize(sql, dialect))
    verb = tokens[0].text.upper()
    if is_introspection([sql[t.start : t.end + 1] for t in tokens], dialect):
        return READ
    if verb == "SUMMARIZE":
        return READ
    if verb in QUERY_VERBS:
        return query_effects(query_tree(sql, dialect), dialect)
    return frozenset({VERBS.get(verb, Effect.UNKNOWN)})


def query_tree(sql: str, dialect: str) -> exp.Expr:
    """The tree of a query, for what it does and not for what it reads."""
    try:
        return read_tree(sql, dialect, find_binds(sql, dialect))
    except NbgovError:
        if dialect != "postgres":
            raise
        plainer = plain_postgres(sql)
        return read_tree(plainer, dialect, find_binds(plainer, dialect))


def plain_postgres(sql: str) -> str:
    """The text with PostgreSQL's operators and typed literals that sqlglot does not know as others.

    Which operator it is says nothing about what a query does: whether it is PostgreSQL's own is for
    the engine's opinion to say.

    Example:
        >>> plain_postgres("SELECT a |>> box '(1,1)' FROM t ORDER BY b USING >")
        "SELECT a =  '(1,1)' FROM t ORDER BY b "
    """
    tokens = tokenize(sql, "postgres")
    edits: list[tuple[Span, str]] = []
    start = 0
    for index, token in enumerate(tokens):
        follower = tokens[index + 1] if index + 1 < len(tokens) else None
        if not OPERATOR_CHARACTERS.issuperset(token.text):
            start = index + 1
        elif follower is None or not touches(token, follower):
            name = sql[tokens[start].start : token.end + 1]
            before = tokens[start - 1] if start else token
            if before.token_type is TokenType.USING:
                edits.append((Span(before.start, token.end + 1), ""))
            elif len(name) > 1 and name in OPERATORS:
                edits.append((Span(tokens[start].start, token.end + 1), "="))
            start = index + 1
        is_text = follower is not None and follower.token_type is TokenType.STRING
        if is_text and token.token_type is TokenType.VAR and token.text.lower() in TYPES:
            edits.append((Span(token.start, token.end + 1), ""))
    return splice(sql, edits)


def touches(token: Token, follower: Token) -> bool:
    """Whether two tokens are parts of one operator."""
    is_next = follower.start == token.end + 1
    return is_next and OPERATOR_CHARACTERS.issuperset(follower.text)


def query_effects(tree: exp.Expr, dialect: str) -> frozenset[Effect]:
    """What the tree of a query says that it does."""
    effects = set()
    for node in tree.walk():
        # To PostgreSQL ``@`` is an operator and ``$1`` a value.
        if dialect == "postgres" and isinstance(node, exp.Parameter):
            continue
        if type(node) in NODES:
            effects.add(NODES[type(node)])
        elif not isinstance(node, READ_NODES):
            effects.add(Effect.UNKNOWN)
    return frozenset(effects) or READ
