"""The text in plain spelling, so that what is analysed is what runs.

Some spellings hide a name from a parser, or hide text from it that the server runs. Each is written
plainly before anything else happens. Everything after this, the engine included, sees the plain
text only.
"""

from __future__ import annotations

import re
import sys

from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.statement.names import not_understood
from nbgov.core.statement.text import executable_comment, splice, tokenize
from nbgov.model import Span

# Every server that nbgov supports is newer, so that all of them run a comment of this version.
EXECUTED_VERSION_MAX = 50_699
QUOTED = r"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*`
        | --(?=\s|\Z)[^\n]* | \#[^\n]* | /\*(?!M?!).*?\*/"""
OPENED = r"(?P<open>/\*!(?P<version>\d{5}(?!\d))?(?P<longer>\d{6})? | /\*(?P<maria>M)!)"
OUTSIDE = re.compile(f"(?P<skip>{QUOTED}) | {OPENED}", re.DOTALL | re.VERBOSE)
INSIDE = re.compile(f"(?P<skip>{QUOTED}) | {OPENED} | (?P<close>\\*/)", re.DOTALL | re.VERBOSE)
UNICODE_NAME = re.compile(r'[uU]&"((?:[^"]|"")*)"')
UNICODE_TEXT = re.compile(r"[uU]&'((?:[^']|'')*)'")
UESCAPE = re.compile(r"""'([^0-9A-Fa-f+'"\s])'""")
TABLE_COMMAND = {"duckdb", "mysql", "postgres"}
SET_WORDS = {TokenType.UNION, TokenType.EXCEPT, TokenType.INTERSECT}
BEFORE_QUERY = SET_WORDS | {TokenType.L_PAREN, TokenType.R_PAREN, TokenType.ALIAS}
NAMES = {TokenType.VAR, TokenType.IDENTIFIER}


def normalise(sql: str, dialect: str) -> str:
    r"""The text with every hidden spelling written plainly. What it returns it leaves alone.

    On PostgreSQL the escapes of ``U&"..."`` and ``U&'...'`` are written out. On MySQL and MariaDB a
    comment that every supported server runs becomes the text that it runs. ``TABLE t`` becomes the
    query that it stands for.

    Raises:
        Denied: A comment runs on some servers only, or an escape has no meaning.
        RequestInvalid: The text cannot be read.

    Example:
        >>> normalise(r'SELECT U&"\0073sn" FROM t', "postgres")
        'SELECT "ssn" FROM t'
        >>> normalise("SELECT /*!50000 ssn */ FROM t", "mysql")
        'SELECT          ssn    FROM t'
        >>> normalise("TABLE t", "duckdb")
        'SELECT * FROM t'
    """
    if dialect == "mysql" and "/*" in sql:
        sql = unwrap_comments(sql)
    edits: list[tuple[Span, str]] = []
    if dialect == "postgres" and "&" in sql:
        edits += unicode_edits(sql, tokenize(sql, dialect))
    if dialect in TABLE_COMMAND and "table" in sql.lower():
        edits += table_edits(tokenize(sql, dialect))
    return splice(sql, edits) if edits else sql


def unwrap_comments(sql: str) -> str:
    """The text with spaces for the frame of every comment that the server runs.

    Raises:
        Denied: Only some servers run the comment.
    """
    edits: list[tuple[Span, str]] = []
    is_inside = False
    found = OUTSIDE.search(sql)
    while found is not None:
        if found["skip"] is None:
            if found["open"] is not None and (is_inside or not is_run_by_all(found)):
                raise executable_comment()
            is_inside = found["open"] is not None
            edits.append((Span(*found.span()), " " * len(found[0])))
        found = (INSIDE if is_inside else OUTSIDE).search(sql, found.end())
    if is_inside:
        raise executable_comment()
    return splice(sql, edits)


def is_run_by_all(comment: re.Match[str]) -> bool:
    """Whether every server that nbgov supports runs a comment that begins like this."""
    is_plain = comment["maria"] is None and comment["longer"] is None
    return is_plain and int(comment["version"] or 0) <= EXECUTED_VERSION_MAX


def unicode_edits(sql: str, tokens: tuple[Token, ...]) -> list[tuple[Span, str]]:
    """The edits that write the Unicode escapes of a PostgreSQL text out."""
    edits = []
    skipped_until = 0
    for index, token in enumerate(tokens):
        if token.start < skipped_until or sql[token.start : token.start + 2].lower() != "u&":
            continue
        is_name = sql[token.start + 2 : token.start + 3] == '"'
        if not is_name and token.token_type is not TokenType.UNICODE_STRING:
            continue
        # Security: PostgreSQL ends the quote before it reads the escapes; a tokenizer that does it
        # the other way round sees another text from here on.
        found = (UNICODE_NAME if is_name else UNICODE_TEXT).match(sql, token.start)
        last = index + 2 if is_name else index
        if found is None or last >= len(tokens) or tokens[last].end + 1 != found.end():
            raise not_understood("a Unicode escape is not closed")
        end, escape = found.end(), "\\"
        if last + 2 < len(tokens) and tokens[last + 1].text.upper() == "UESCAPE":
            custom = UESCAPE.fullmatch(sql[tokens[last + 2].start : tokens[last + 2].end + 1])
            if custom is None:
                raise not_understood("its UESCAPE is no single character")
            end, escape = tokens[last + 2].end + 1, custom[1]
        mark = '"' if is_name else "'"
        text = unescape(found[1].replace(mark * 2, mark), escape)
        edits.append((Span(token.start, end), mark + text.replace(mark, mark * 2) + mark))
        skipped_until = end
    return edits


def unescape(text: str, escape: str) -> str:
    """A text with its Unicode escapes written out.

    Raises:
        Denied: An escape has no meaning.
    """
    e = re.escape(escape)
    shape = re.compile(rf"{e}{e}|{e}([0-9A-Fa-f]{{4}})|{e}\+([0-9A-Fa-f]{{6}})|{e}", re.DOTALL)

    def write(found: re.Match[str]) -> str:
        if found[0] == escape * 2:
            return escape
        number = int(found[1] or found[2] or "0", 16)
        if not 0 < number <= sys.maxunicode:
            raise not_understood("a Unicode escape has no meaning")
        return chr(number)

    # Two halves of one character may be written as two escapes.
    written = shape.sub(write, text).encode("utf-16-le", "surrogatepass")
    try:
        return written.decode("utf-16-le")
    except UnicodeDecodeError:
        raise not_understood("a Unicode escape has no meaning") from None


def table_edits(tokens: tuple[Token, ...]) -> list[tuple[Span, str]]:
    """The edits that write ``TABLE t``, where a query may stand, as the query that it is."""
    edits = []
    for index, token in enumerate(tokens[:-1]):
        if token.text.upper() != "TABLE" or token.token_type in {
            TokenType.IDENTIFIER,
            TokenType.STRING,
        }:
            continue
        follower = tokens[index + 1]
        is_named = follower.token_type in NAMES or follower.text.upper() == "ONLY"
        if is_named and may_begin_query(tokens, index):
            edits.append((Span(token.start, token.end + 1), "SELECT * FROM"))
    return edits


def may_begin_query(tokens: tuple[Token, ...], index: int) -> bool:
    """Whether a query may begin at a token, as far as the tokens before it tell."""
    if index == 0 or tokens[index - 1].token_type is TokenType.SEMICOLON:
        return True
    before = tokens[index - 1].token_type
    if before in {TokenType.ALL, TokenType.DISTINCT}:
        return index > 1 and tokens[index - 2].token_type in SET_WORDS
    return before in BEFORE_QUERY
