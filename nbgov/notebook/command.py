"""What a person typed after ``%govsql`` or ``%%govsql``, taken apart.

The first line holds options and at most one connection name; an assignment may follow, and the rest
is SQL that nobody here looks into::

    %%govsql warehouse --as polars flights <<
    SELECT ...

The module decides nothing and runs nothing; names are checked before any SQL runs, so that a result
is never lost for want of a place to put it. Cases are in ``tests/surfaces/test_magic.py``.
"""

from __future__ import annotations

import difflib
import keyword
import re
import unicodedata
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, magic_arguments

from nbgov.errors import RequestInvalid

# Longer SQL is refused by the session anyway; this stops a wrong file before it is read.
FILE_BYTES_MAX = 1_000_000

# Only --wait stands alone; every other option takes the word behind it.
OPTION = re.compile(
    r"""\s*(?:--wait(?!\S)|-{1,2}[A-Za-z][\w-]*(?:=|[ \t]+)?(?:"[^"\n]*"|'[^'\n]*'|\S+)?)"""
)
WORD = re.compile(r"\s*(\S+)")
ASSIGNMENT = re.compile(r"\s*([\w.$]+)\s*(=\s*)?<<")

Magic = TypeVar("Magic", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Command:
    """One ``%govsql``, understood.

    Attributes:
        sql: The statement, white space at its ends removed.
        connection: A configured connection, or ``None`` for the default one.
        target: The variable to assign, or empty.
        is_returned: Whether the cell's value is the result, as without a target.
        form: ``pandas``, ``arrow`` or ``polars``.
        rows_max: Rows to deliver at most, or ``None``.
        dataset: The name the result is kept under, or empty.
        is_waiting: Whether the cell waits for the votes that the statement needs.
        wait_s: Seconds to wait for them at most, or ``None``.
    """

    sql: str
    connection: str | None
    target: str
    is_returned: bool
    form: str
    rows_max: int | None
    dataset: str
    is_waiting: bool = False
    wait_s: int | None = None


def read_command(
    line: str,
    cell: str | None,
    *,
    connections: Collection[str],
    parse_options: Callable[[str], Namespace],
) -> Command:
    """Take one call of the magic apart.

    Args:
        line: What stands behind the magic's name.
        cell: The lines below it, or ``None`` for a line magic.
        connections: Names of the configured connections.
        parse_options: Decodes the option words; refuses what it does not know.

    Raises:
        RequestInvalid: An option, a connection or a variable name is wrong, or there is no SQL.
    """
    options_text, connection, rest = read_header(line, connections)
    options = parse_options(options_text)
    refuse_unknown_connection(rest, connections, is_cell=cell is not None)
    text = rest if cell is None else f"{rest}\n{cell}"
    target, is_returned = options.out or "", not options.out
    if match := ASSIGNMENT.match(text):
        if target:
            raise wrong("The result has two names.", "keep either --out or the name before <<")
        target, is_returned = match[1], match[2] is not None
        text = text[match.end() :]
    return Command(
        sql=read_sql(text.strip(), options.file),
        connection=connection,
        target=checked_name(target) if target else "",
        is_returned=is_returned,
        form=options.form or "pandas",
        rows_max=options.rows_max,
        dataset=options.dataset or "",
        is_waiting=bool(options.wait or options.wait_s),
        wait_s=options.wait_s,
    )


def read_header(line: str, connections: Collection[str]) -> tuple[str, str | None, str]:
    """Split a first line into its option words, its connection, and the rest."""
    options, connection, position = [], None, 0
    while not ASSIGNMENT.match(line, position):
        if option := OPTION.match(line, position):
            options.append(option[0].strip())
            position = option.end()
        elif connection is None and (word := WORD.match(line, position)) and word[1] in connections:
            connection, position = word[1], word.end()
        else:
            break
    return " ".join(options), connection, line[position:]


def refuse_unknown_connection(rest: str, connections: Collection[str], *, is_cell: bool) -> None:
    """Refuse a first line whose remaining word can only be meant as a connection.

    Raises:
        RequestInvalid: The word is a URL, or stands alone above the SQL.
    """
    words = rest.split(maxsplit=1)
    is_url = bool(words) and "://" in words[0]
    if not is_url and not (is_cell and len(words) == 1 and not ASSIGNMENT.match(rest)):
        return
    near = difflib.get_close_matches(words[0], connections, n=1)
    # Security: a URL may carry a password, and output cells are saved; so it is not repeated.
    raise RequestInvalid(
        "A connection cannot be given as a URL."
        if is_url
        else f"There is no connection {words[0]!r}.",
        code="unknown-connection",
        why="a cell names a connection of nbgov.yaml, and SQL starts on the line below it",
        next_step=f"use {near[0]}" if near else f"use one of: {', '.join(sorted(connections))}",
    )


def checked_name(name: str) -> str:
    """The name as Python stores it.

    Raises:
        RequestInvalid: It is no identifier, or a keyword.

    Example:
        >>> checked_name("flights")
        'flights'
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        why = "a Python keyword" if keyword.iskeyword(name) else "not a Python identifier"
        raise wrong(f"The result cannot be called {name!r}.", "choose another name", why=why)
    # Python normalises identifiers, so the variable would not be found under another spelling.
    return unicodedata.normalize("NFKC", name)


def read_sql(text: str, path: str | None) -> str:
    """The SQL of the cell, or of the file that takes its place.

    Raises:
        RequestInvalid: There is no SQL, there are two sources of it, or the file cannot be read.
    """
    if path and text:
        raise wrong("There is SQL in the cell and in --file.", "keep one of the two")
    if path:
        return file_text(Path(path))
    if not text:
        raise wrong("There is no SQL.", "write one statement after the connection's name")
    return text


def file_text(path: Path) -> str:
    """The SQL that a file holds.

    Raises:
        RequestInvalid: It cannot be read.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise wrong(f"{path.name} is larger than {FILE_BYTES_MAX:,} bytes.", "name a SQL file")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise wrong(f"{path.name} cannot be read.", "name a SQL file", why=why) from None


# ---------------------------------------------------------------- options


class Once(Action):
    """An option that may stand once."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store the value, ``True`` for an option that takes none, or refuse a second one."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice")
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


def above_zero(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        message = "it has to be a whole number above zero"
        raise ArgumentTypeError(message)
    return int(text)


OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--as",),
        {
            "dest": "form",
            "choices": ("pandas", "arrow", "polars"),
            "help": "kind of frame to return; pandas unless given",
        },
    ),
    (("--rows-max",), {"type": above_zero, "metavar": "N", "help": "deliver at most N rows"}),
    (("--dataset",), {"metavar": "NAME", "help": "name to keep the dataset version under"}),
    (("-o", "--out"), {"metavar": "NAME", "help": "variable to assign, as NAME << does"}),
    (("-f", "--file"), {"metavar": "PATH", "help": "read the statement from a file"}),
    (("--wait",), {"nargs": 0, "help": "wait in this cell for the votes that are needed"}),
    (("--wait-s",), {"type": above_zero, "metavar": "N", "help": "wait N seconds at most"}),
)


def with_options(magic: Magic) -> Magic:
    """Give a magic its options, and its docstring their help."""
    for names, settings in reversed(OPTIONS):
        argument(*names, action=Once, **settings)(magic)
    magic_arguments()(magic)
    return magic


def parsed(parse: Callable[[], Namespace], magic: str) -> Namespace:
    """The options that a parser makes out.

    Raises:
        RequestInvalid: It does not know them.
    """
    try:
        return parse()
    except (UsageError, ValueError) as error:
        raise wrong(
            f"{magic} does not take these options.", f"see {magic}?", why=str(error)
        ) from None


def wrong(what: str, next_step: str, *, why: str = "") -> RequestInvalid:
    """The error of a call that does not read as a command."""
    return RequestInvalid(what, code="usage", why=why, next_step=next_step)
