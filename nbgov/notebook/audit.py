"""``%nbgov audit``: the audit log, inline.

The same words as on the command line, and the same answers: entries as tables and cards, what
verifies as a list of checks. Errors are raised as everywhere, so that "Run all" stops.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from IPython.core.error import UsageError

from nbgov.core.audit.query import LIMIT, OPTIONS, TIMES, Query, read_query
from nbgov.core.visible import safe, visible
from nbgov.evidence.search import Found, find, look_up, refresh
from nbgov.evidence.tailing import newest
from nbgov.notebook.command import above_zero, parsed, wrong
from nbgov.shown import entries
from nbgov.shown.grids import wrapped_html
from nbgov.shown.render import title_html

if TYPE_CHECKING:
    from nbgov.core.checks import Check
    from nbgov.evidence.verification import Verification
    from nbgov.session import Session

Bundle = dict[str, str]
Show = Callable[[Bundle], None]

TAIL = 20
WORDS = {
    "search": "entries that meet every condition: search [OPTIONS] [TEXT]",
    "tail": "the newest entries: tail [-n N] [OPTIONS]",
    "show": "everything about one entry: show N or show RECEIPT",
    "verify": "whether the log holds",
    "prove": "a proof that an entry is in the log: prove N",
    "report": "one page for an auditor: report [-o FILE] [OPTIONS]",
}
OUTCOMES = {
    "holds": ("holds", "nbgov-good"),
    "fails": ("FAILS", "nbgov-bad"),
    "unchecked": ("not checked", "nbgov-quiet"),
}


def audit(session: Session, words: Sequence[str], show: Show) -> None:
    """Do what was typed after ``%nbgov audit``.

    Args:
        session: Whose log is looked into.
        words: What was typed.
        show: Displays one thing in several forms.

    Raises:
        RequestInvalid: The words are none of :data:`WORDS`, or their options are wrong.
        IntegrityFailed: The log does not hold.
    """
    word, *rest = words or [""]
    if word in {"-h", "--help", "help"}:
        lines = [f"  {name:8} {told}" for name, told in WORDS.items()]
        show(
            {"text/plain": "\n".join(["%nbgov audit", *lines, "", parser("search").format_help()])}
        )
        return
    if word not in WORDS:
        raise wrong("%nbgov audit does not take these words.", f"use one of: {', '.join(WORDS)}")
    if {"-h", "--help"} & set(rest):
        show({"text/plain": parser(word).format_help()})
        return
    given = parsed(lambda: parser(word).parse_args(rest), f"%nbgov audit {word}")
    COMMANDS[word](session, given, show)


class Parser(ArgumentParser):
    """A parser that raises what it does not understand, and never ends the process."""

    def error(self, message: str) -> NoReturn:
        """Refuse the options."""
        raise UsageError(message)


def parser(word: str) -> ArgumentParser:
    """What reads the options of a command."""
    name = f"%nbgov audit {word}"
    made = Parser(
        prog=name, description=WORDS[word].partition(":")[0], add_help=False, allow_abbrev=False
    )
    if word == "search":
        made.add_argument("words", nargs="*", metavar="TEXT", help="a part of the statement")
        made.add_argument("--limit", type=above_zero, default=LIMIT, metavar="N", help="entries")
        made.add_argument("--oldest", action="store_true", help="begin with the oldest")
    elif word == "tail":
        made.add_argument("-n", type=above_zero, default=TAIL, metavar="N", help="entries")
    elif word in {"show", "prove"}:
        made.add_argument("reference", metavar="N|RECEIPT" if word == "show" else "N")
    elif word == "report":
        made.add_argument("-o", "--out", default="audit-report.html", metavar="FILE")
    if word in {"search", "tail", "report"}:
        for option in OPTIONS:
            made.add_argument(
                f"--{option.name}", action="append", metavar=option.metavar, help=option.help
            )
        for option in TIMES:
            made.add_argument(f"--{option.name}", metavar=option.metavar, help=option.help)
        made.add_argument("--text", metavar="PART", help="a part of the redacted statement")
    return made


def query_of(session: Session, given: Namespace) -> Query:
    """The query that options ask."""
    return read_query(vars(given) | {"limit": None}, now=session.world.clock.now())


# ---------------------------------------------------------------- entries


def search(session: Session, given: Namespace, show: Show) -> None:
    """Show the entries that a query means."""
    asked = query_of(session, given)
    text = " ".join(given.words) or asked.text
    query = replace(asked, text=text, oldest_first=given.oldest)
    refresh(session, remark=lambda text: show({"text/plain": text}))
    found = entries.folded(find(session, query), given.limit)
    show_list(session, query, found, given.limit, show)


def tail(session: Session, given: Namespace, show: Show) -> None:
    """Show the newest entries, the newest one last."""
    query = query_of(session, given)
    if str(query):
        refresh(session, remark=lambda text: show({"text/plain": text}))
        found = list(find(session, replace(query, limit=given.n)))[::-1]
    else:
        found = newest(session, given.n)
    show_list(session, query, entries.folded(found, None), given.n + 1, show)


def show_list(
    session: Session, query: Query, found: Sequence[Found], limit: int, show: Show
) -> None:
    """Show a list of entries, or say what was looked for."""
    foot = entries.list_foot(session, query, found, limit)
    if found:
        show(
            {
                "text/plain": entries.list_text(found, foot),
                "text/html": entries.list_html(found, foot),
            }
        )
    else:
        show({"text/plain": foot})


def show_entry(session: Session, given: Namespace, show: Show) -> None:
    """Show everything about one entry."""
    found = look_up(session, given.reference)
    card = entries.card_of(session, found, remark=lambda text: show({"text/plain": text}))
    show({"text/plain": card.text(), "text/html": card.html()})


# ---------------------------------------------------------------- proofs


def verify(session: Session, _: Namespace, show: Show) -> None:
    """Show what holding the log against the keys at hand shows; raise where it does not hold."""
    from nbgov.evidence.verification import verify_log

    found = verify_log(session)
    title, checks = verified_title(found), found.checks
    show({"text/plain": checks_text(title, checks), "text/html": checks_html(title, checks)})


def verified_title(found: Verification) -> str:
    """That a log verifies, and how the requests in it ended."""
    ends = ", ".join(f"{status} {count:,}" for status, count in found.report.outcomes.items())
    return f"The audit log verifies. Requests ended: {ends or 'none'}."


def checks_text(title: str, checks: Sequence[Check]) -> str:
    """Checks as text."""
    wide = max((len(one.name) for one in checks), default=0)
    lines = [
        f"  {OUTCOMES[one.outcome][0]:11}  {one.name:{wide}}  {visible(one.told)}" for one in checks
    ]
    return "\n".join([title, *lines])


def checks_html(title: str, checks: Sequence[Check]) -> str:
    """Checks as HTML."""
    rows = []
    for one in checks:
        word, style = OUTCOMES[one.outcome]
        badge = f'<mark class="{style}">{word}</mark>'
        rows.append(f"<tr><th>{safe(one.name)}</th><td>{badge}</td><td>{safe(one.told)}</td></tr>")
    body = "\n".join(rows)
    table = f'<table class="nbgov-facts"><tbody>\n{body}\n</tbody></table>\n'
    return wrapped_html("", title_html(title) + table)


def prove(session: Session, given: Namespace, show: Show) -> None:
    """Show the proof that an entry is in the log."""
    from nbgov.evidence.verification import prove_entry

    if not given.reference.isdecimal():
        raise wrong("An entry is named by its number.", "write prove 12")
    text = str(prove_entry(session, int(given.reference)))
    title = f"Entry {given.reference} is in the log"
    html = f'{title_html(title)}<pre class="nbgov-sql">{safe(text, keep=chr(10))}</pre>'
    show({"text/plain": visible(text, keep="\n"), "text/html": wrapped_html("", html)})


def report(session: Session, given: Namespace, show: Show) -> None:
    """Write the page for an auditor."""
    from nbgov.evidence.drafts import draft
    from nbgov.evidence.report import make_report

    page = make_report(session, query_of(session, given), told=lambda _: None)
    with draft(Path(given.out)) as file:
        file.write(page.html.encode())
    show({"text/plain": f"{given.out}: {page.told}"})


COMMANDS: Mapping[str, Callable[[Session, Namespace, Show], None]] = {
    "search": search,
    "tail": tail,
    "show": show_entry,
    "verify": verify,
    "prove": prove,
    "report": report,
}
