"""The lexical side of a statement: tokens, ``:name`` markers, redaction.

Everything that must know where a string, a comment or a cast begins asks this one tokenizer, so
that binds, budgets and redaction can never disagree about it.
"""

from __future__ import annotations

import datetime
import functools
import re
import zoneinfo
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import sqlglot
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.statement.budget import check_work
from nbgov.errors import Denied, RequestInvalid
from nbgov.model import BindMarker, Span

STATEMENT_CHARS_MAX = 65_536
STATEMENT_DEPTH_MAX = 200
BIND_LIST_MAX = 10_000
# A NUL, and half of a surrogate pair: no database can be sent either.
NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
# Texts whose tokens are kept: one request asks for the tokens of the same few texts many times.
TOKENIZED_MAX = 64
# Engines that take /*! ... */ for the plain comment that it looks like.
PLAIN_COMMENTS = {"duckdb", "postgres", "sqlite"}

ZONES: frozenset[type] = frozenset({datetime.timezone, zoneinfo.ZoneInfo})
SCALARS = (bool, int, float, str, bytes, Decimal, datetime.date, datetime.time)
OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
OPERANDS = {
    TokenType.VAR, TokenType.IDENTIFIER, TokenType.NUMBER, TokenType.STRING,
    TokenType.R_PAREN, TokenType.R_BRACKET,
}  # fmt: skip
NAMES = {TokenType.IDENTIFIER, TokenType.VAR}
LITERALS = {
    TokenType.STRING, TokenType.NUMBER, TokenType.HEREDOC_STRING, TokenType.RAW_STRING,
    TokenType.NATIONAL_STRING, TokenType.BYTE_STRING, TokenType.HEX_STRING, TokenType.BIT_STRING,
    TokenType.UNICODE_STRING,
}  # fmt: skip


@functools.lru_cache(maxsize=TOKENIZED_MAX)
def tokenize(sql: str, dialect: str) -> tuple[Token, ...]:
    """The tokens of a text that is within budget. Nobody may change them: they are shared.

    Raises:
        RequestInvalid: The text is empty, too long, nested too deep, or not lexable.
        Denied: The text holds a comment that MySQL and MariaDB would execute.
    """
    if len(sql) > STATEMENT_CHARS_MAX or NO_CHARACTER.search(sql):
        raise RequestInvalid(
            f"The statement is longer than {STATEMENT_CHARS_MAX:,} characters, or holds a NUL.",
            code="statement-too-large",
            next_step="bind long values as :name instead of writing them into the text",
        )
    try:
        lexer = sqlglot.Dialect.get_or_raise(dialect)
        tokens = lexer.tokenize(sql)
        if len(tokens) > 1 and tokens[0].token_type in lexer.tokenizer_class.COMMANDS:
            # What stands behind EXPLAIN is a statement, not one long string.
            start = tokens[0].end + 1
            tokens = [tokens[0], *lexer.tokenize(" " * start + sql[start:])]
    except TokenError:
        raise RequestInvalid(
            "The statement could not be read.",
            why="a string, a comment or a quoted name is not closed",
            next_step="close the quote and run it again",
        ) from None
    if not any(t.token_type is not TokenType.SEMICOLON for t in tokens):
        raise RequestInvalid(
            "The request holds no SQL statement.",
            code="not-one-statement",
            next_step="write one statement",
        )
    depth = 0
    for token in tokens:
        depth += (token.token_type in OPENING) - (token.token_type in CLOSING)
        if depth > STATEMENT_DEPTH_MAX:
            raise RequestInvalid(
                f"The statement is nested deeper than {STATEMENT_DEPTH_MAX} levels.",
                code="statement-too-large",
                next_step="break it up with common table expressions",
            )
    check_work(tokens)
    # Security: MySQL and MariaDB run the text of /*! ... */ comments, which every parser here
    # drops.
    if dialect not in PLAIN_COMMENTS and any(
        c.lstrip().startswith(("!", "M!")) for t in tokens for c in t.comments
    ):
        raise executable_comment()
    return tuple(tokens)


def executable_comment() -> Denied:
    """The error of a text that holds a comment which only some servers run."""
    return Denied(
        "Denied: the statement holds an executable comment (/*! ... */).",
        code="not-understood",
        why="the database would run text that nbgov cannot check",
        next_step="remove the comment",
    )


def split(sql: str, dialect: str) -> tuple[str, ...]:
    """The statements of a text, each as its own text. A text of one statement stays as it is.

    Raises:
        RequestInvalid: The text cannot be read, or holds no statement.

    Example:
        >>> split("SELECT 1; SELECT ';' -- done", "duckdb")
        ('SELECT 1', "SELECT ';'")
    """
    tokens = tokenize(sql, dialect)
    groups: list[tuple[int, int]] = []
    is_open = False
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            is_open = False
        elif is_open:
            groups[-1] = (groups[-1][0], token.end + 1)
        else:
            groups.append((token.start, token.end + 1))
            is_open = True
    return (sql,) if len(groups) == 1 else tuple(sql[start:end] for start, end in groups)


def find_binds(sql: str, dialect: str) -> tuple[BindMarker, ...]:
    """The ``:name`` markers of a text, in order.

    A colon is a marker when an identifier follows without a gap and no operand stands directly
    before it. So ``a::int``, ``x[1:n]``, ``j:path``, ``':k'`` and ``-- :k`` hold none.

    Example:
        >>> [b.name for b in find_binds("SELECT :k::int, ':no' FROM t WHERE n IN :ks", "duckdb")]
        ['k', 'ks']
    """
    tokens = tokenize(sql, dialect)
    found = []
    for index, token in enumerate(tokens[:-1]):
        follower = tokens[index + 1]
        if token.token_type is not TokenType.COLON or follower.start != token.end + 1:
            continue
        before = tokens[index - 1] if index else None
        touches = before is not None and before.end + 1 == token.start
        if touches and before is not None and before.token_type in OPERANDS:
            continue
        name = follower.text
        if name.isidentifier() and sql[follower.start : follower.end + 1] == name:
            found.append(BindMarker(name, Span(token.start, follower.end + 1)))
    return tuple(found)


def bind_names(sql: str, dialect: str) -> tuple[str, ...]:
    """Names of the markers in a text, each once, in the order of first use."""
    return tuple(dict.fromkeys(marker.name for marker in find_binds(sql, dialect)))


def redact(sql: str, dialect: str, names: Collection[str] | None = None) -> str:
    r"""The text with every literal as ``?``, comments dropped and white space folded.

    Two texts that differ in literals alone redact to the same text. A text that cannot be lexed
    redacts to nothing.

    Args:
        sql: The text.
        dialect: sqlglot's name of its dialect.
        names: Of a text that nobody understood, the names that may be shown, in lower case. What
            else stands there as a name may be a value whose quotes are wrong, and reads ``?`` too.

    Example:
        >>> redact("SELECT 'Ada' -- who\nFROM t WHERE n = 7", "duckdb")
        'SELECT ? FROM t WHERE n = ?'
        >>> redact('SELECT Ada FROM t WHERE n = "Ada"', "duckdb", {"t", "n"})
        'SELECT ? FROM t WHERE n = ?'
    """
    try:
        tokens = tokenize(sql, dialect)
    except (RequestInvalid, Denied):
        return ""
    parts: list[str] = []
    for index, token in enumerate(tokens):
        gap = index > 0 and token.start > tokens[index - 1].end + 1
        text = "" if token.token_type is TokenType.HINT else sql[token.start : token.end + 1]
        # Security: a name that the catalog does not know may be a value that lost its quotes.
        if token.token_type in LITERALS or (
            names is not None
            and token.token_type in NAMES
            and token.text.lower() not in names
            and not is_called(tokens, index)
        ):
            text = "?"
        parts.append(f" {text}" if gap and text else text)
    return "".join(parts).rstrip("; ")


def is_called(tokens: Sequence[Token], index: int) -> bool:
    """Whether a word without quotes stands before a parenthesis, as the name of a function does."""
    follower = tokens[index + 1].token_type if index + 1 < len(tokens) else None
    return tokens[index].token_type is TokenType.VAR and follower is TokenType.L_PAREN


def literals(sql: str, dialect: str) -> tuple[str, ...]:
    """What :func:`redact` shows as ``?``, in order, as it is written.

    Example:
        >>> literals("SELECT 'Ada' FROM t WHERE n = 7 -- 'x'", "duckdb")
        ("'Ada'", '7')
    """
    try:
        tokens = tokenize(sql, dialect)
    except (RequestInvalid, Denied):
        return ()
    return tuple(sql[t.start : t.end + 1] for t in tokens if t.token_type in LITERALS)


def splice(sql: str, edits: Sequence[tuple[Span, str]]) -> str:
    """The text with each span replaced; everything else stays byte for byte.

    Raises:
        RuntimeError: Two spans overlap, which is a broken promise of the caller.
    """
    pieces, position = [], 0
    for span, replacement in sorted(edits):
        if span.start < position:
            message = "edits overlap"
            raise RuntimeError(message)
        pieces += [sql[position : span.start], replacement]
        position = span.end
    return "".join([*pieces, sql[position:]])


def placed(tokens: Sequence[Token], markers: Sequence[BindMarker]) -> list[Token]:
    """The tokens with every marker as one placeholder, at its place.

    A colon means other things too, such as an alias in DuckDB; a question mark parses everywhere.
    """
    starts = {marker.span.start for marker in markers}
    result: list[Token] = []
    is_name = False
    for token in tokens:
        if is_name:
            is_name = False
        elif token.start in starts:
            is_name = True
            result.append(
                Token(TokenType.PLACEHOLDER, "?", token.line, token.col, token.start, token.end, [])
            )
        else:
            result.append(token)
    return result


def neutralise(sql: str, markers: Sequence[BindMarker]) -> str:
    """The text with every marker as ``(NULL)``, which parses as a value and as an ``IN`` list."""
    return splice(sql, [(marker.span, "(NULL)") for marker in markers])


def take_values(markers: Sequence[BindMarker], binds: Mapping[str, Any]) -> dict[str, Any]:
    """The plain Python value of every marker.

    NumPy and pandas scalars become Python scalars; lists, tuples, sets, ranges and one-dimensional
    arrays become tuples. Values that no marker names are left out.

    Raises:
        RequestInvalid: A marker has no value, or a value has no scalar type.
    """
    values: dict[str, Any] = {}
    for name in dict.fromkeys(marker.name for marker in markers):
        if name not in binds:
            raise RequestInvalid(
                f"The statement uses :{name}, which has no value.",
                code="bind-missing",
                next_step=f"assign {name} first, or pass {name}=... with the statement",
            )
        values[name] = plain(name, binds[name])
    return values


def plain(name: str, value: Any) -> Any:
    """One bound value as a Python scalar, or a tuple of them."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
    if isinstance(value, (list, tuple, set, frozenset, range)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        if len(items) > BIND_LIST_MAX:
            raise RequestInvalid(
                f":{name} holds more than {BIND_LIST_MAX:,} values.",
                code="bind-type",
                next_step="put the values in a table and join it",
            )
        return tuple(scalar(name, item) for item in items)
    return scalar(name, value)


def scalar(name: str, value: Any) -> Any:
    """One scalar as the Python type that every engine takes."""
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime(warn=False)
    elif hasattr(value, "item") and hasattr(value, "dtype"):
        value = value.item()
    if value is not None and not isinstance(value, SCALARS):
        raise RequestInvalid(
            f":{name} has the type {type(value).__name__}, which no database takes.",
            code="bind-type",
            next_step="pass a number, text, bytes, date, time, None, or a list of them",
        )
    return fixed(value) if isinstance(value, (datetime.datetime, datetime.time)) else value


def fixed(value: Any) -> Any:
    """A moment whose zone answers the same whenever it is asked."""
    if value.tzinfo is None or type(value.tzinfo) in ZONES:
        return value
    # Security: a zone of the caller's own could tell voters one moment, and the database another.
    offset = value.utcoffset()
    return value.replace(tzinfo=None if offset is None else datetime.timezone(offset))
