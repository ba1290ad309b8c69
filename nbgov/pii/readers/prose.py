"""Plain text by blocks of lines, and HTML by what a person would see and what tags carry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import BinaryIO

from nbgov.pii.files import Source, chunks, unreadable
from nbgov.pii.readers.texts import Texts, blocks, lines

__all__ = ["LINE_BYTES_MAX", "hypertext", "read_html", "read_text", "whole"]

LINE_BYTES_MAX = 64_000_000
WHOLE_BYTES_MAX = 256_000_000
INLINE = frozenset(
    "a abbr b bdi bdo cite code em font i kbd mark s small span strong u wbr".split()
)
"""Elements that a word may go through."""
SPOKEN = frozenset({"alt", "content", "placeholder", "summary", "title", "value"})
"""Attributes that a person may read."""
PICTURE = re.compile(r"data:(image|audio|video|font)/[a-z0-9.+-]+;base64,", re.IGNORECASE)


def read_text(source: Source, stream: BinaryIO) -> Iterator[Texts]:
    """The lines of a text file.

    Raises:
        RequestInvalid: It is not in its encoding, or a line has no end (``file-unreadable``).
    """
    carried, number = "", 1
    for chunk in chunks(source, stream):
        text, newline, rest = (carried + chunk.decode()).rpartition("\n")
        carried = rest
        if len(carried) > LINE_BYTES_MAX:
            raise unreadable(
                source,
                f"Line {number + text.count(newline or chr(10)) + 1:,} is longer than "
                f"{LINE_BYTES_MAX:,} bytes.",
                "Look whether it is a text at all.",
            )
        if newline:
            yield blocks("text", text + newline, first=number)
            number += text.count("\n") + 1
    if carried:
        yield blocks("text", carried, first=number)


def read_html(source: Source, stream: BinaryIO) -> Iterator[Texts]:
    """The texts of an HTML page.

    Raises:
        RequestInvalid: It is not in its encoding, or too large (``file-unreadable``).
    """
    yield from hypertext("page", whole(source, stream))


def whole(source: Source, stream: BinaryIO) -> str:
    """A text that has to be read at once.

    Raises:
        RequestInvalid: It is not in its encoding, or too large (``file-unreadable``).
    """
    parts: list[str] = []
    size = 0
    for chunk in chunks(source, stream):
        size += len(chunk)
        if size > WHOLE_BYTES_MAX:
            raise unreadable(
                source,
                f"It has more than {WHOLE_BYTES_MAX:,} bytes, and has to be read at once.",
                "Write tables as CSV, Parquet or JSON lines, which are read row by row.",
            )
        parts.append(chunk.decode())
    return "".join(parts)


def hypertext(place: str, page: str, *, first: int = 1) -> Iterator[Texts]:
    """The texts of a page and its comments; then what its tags, styles and scripts say."""
    parser = Page()
    try:
        parser.feed(page)
        parser.close()
    except AssertionError:
        # The parser gives up on some declarations; the page is read as plain text then.
        yield blocks(place, page, first=first)
        return
    parser.end_text()
    for found, is_code in ((parser.prose, False), (parser.code, True)):
        if found:
            texts, numbers = zip(*found, strict=True)
            yield lines(place, texts, (number + first - 1 for number in numbers), is_code=is_code)


class Page(HTMLParser):
    """Collects the texts of a page with the lines that they start in."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.prose: list[tuple[str, int]] = []
        self.code: list[tuple[str, int]] = []
        self.held: list[str] = []
        self.held_from = 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins; a block ends the text before it."""
        if tag not in INLINE:
            self.end_text()
        for name, value in attrs:
            if value and not value.isspace() and not PICTURE.match(value):
                found = self.prose if name in SPOKEN else self.code
                found.append((value, self.getpos()[0]))

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if tag not in INLINE:
            self.end_text()

    def handle_data(self, data: str) -> None:
        """A piece of text, a style or a script."""
        if self.cdata_elem in {"script", "style"}:
            self.code.append((data, self.getpos()[0]))
            return
        if not self.held:
            self.held_from = self.getpos()[0]
        self.held.append(data)

    def handle_comment(self, data: str) -> None:
        """A comment: nobody sees it, and it travels all the same."""
        self.prose.append((data, self.getpos()[0]))

    def handle_decl(self, decl: str) -> None:
        """A declaration."""
        self.code.append((decl, self.getpos()[0]))

    def handle_pi(self, data: str) -> None:
        """A processing instruction."""
        self.prose.append((data, self.getpos()[0]))

    def unknown_decl(self, data: str) -> None:
        """A section such as CDATA."""
        self.prose.append((data, self.getpos()[0]))

    def end_text(self) -> None:
        """Close the text that is being collected."""
        text = "".join(self.held)
        self.held.clear()
        stripped = text.lstrip()
        if stripped:
            before = text[: len(text) - len(stripped)]
            number = self.held_from + before.count("\n")
            self.prose.append((stripped.rstrip(), number))
