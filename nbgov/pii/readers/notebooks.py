"""Notebooks: what cells say, what they put out in every kind of text, and what metadata holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from nbgov.pii.files import Source, unreadable
from nbgov.pii.readers.prose import hypertext, whole
from nbgov.pii.readers.texts import Tells, Texts, blocks
from nbgov.pii.readers.values import Fields, Number, Pairs, parse

__all__ = ["read_notebook"]

BINARY = re.compile(r"(image/(?!svg)|audio/|video/|font/|application/(pdf|octet-stream|zip))")
HYPERTEXT = frozenset({"text/html", "image/svg+xml", "text/xml", "application/xml"})
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def read_notebook(
    source: Source, stream: BinaryIO, tells: Tells, skip: Callable[[str], None]
) -> Iterator[Texts]:
    """The texts of a notebook, cell by cell.

    Args:
        source: The notebook.
        stream: Its bytes.
        tells: Which names hold what is looked for.
        skip: Hears the kind of each output that is no text.

    Raises:
        RequestInvalid: It is no notebook of version 4 (``file-unreadable``).
    """
    document = fields(parse(source, whole(source, stream), 1))
    cells = document.get("cells")
    if not isinstance(cells, list):
        raise unreadable(
            source,
            "It is no notebook of version 4: it has no cells.",
            "Open and save it with a current Jupyter, or read it with --format json.",
        )
    reading = Reading(tells, skip)
    for number, cell in enumerate(cells, 1):
        yield from reading.cell(f"cell {number}", fields(cell))
    rest = Pairs((name, value) for name, value in document.items() if name != "cells")
    yield from reading.other("notebook", rest)


class Reading:
    """Reads the parts of one notebook."""

    def __init__(self, tells: Tells, skip: Callable[[str], None]) -> None:
        self.fields = Fields(tells)
        self.skip = skip

    def cell(self, place: str, cell: dict[str, Any]) -> Iterator[Texts]:
        """A cell: its source, its outputs, its attachments and the rest."""
        yield from self.text(f"{place} source", joined(cell.pop("source", "")))
        outputs = cell.pop("outputs", [])
        for number, output in enumerate(outputs if isinstance(outputs, list) else [outputs], 1):
            yield from self.output(f"{place} output {number}", fields(output))
        for name, bundle in fields(cell.pop("attachments", Pairs())).items():
            yield from self.text(f"{place} attachments", name)
            yield from self.bundle(f"{place} attachment", fields(bundle))
        cell.pop("cell_type", None)
        yield from self.other(place, Pairs(cell.items()))

    def output(self, place: str, output: dict[str, Any]) -> Iterator[Texts]:
        """An output: a stream, an error, or the same thing in several kinds."""
        if "text" in output:
            name = output.pop("name", "text")
            yield from self.text(f"{place} {name}", joined(output.pop("text")))
        yield from self.bundle(place, fields(output.pop("data", Pairs())))
        if "traceback" in output:
            traceback = output.pop("traceback")
            lines = traceback if isinstance(traceback, list) else [traceback]
            yield from self.text(f"{place} traceback", "\n".join(map(str, lines)))
        output.pop("output_type", None)
        yield from self.other(place, Pairs(output.items()))

    def bundle(self, place: str, bundle: dict[str, Any]) -> Iterator[Texts]:
        """One thing in several kinds, such as a table as text and as HTML."""
        for kind, content in bundle.items():
            where = f"{place} {kind}"
            if BINARY.match(kind):
                self.skip(kind)
            elif isinstance(content, Pairs) or not is_text(content):
                yield from self.other(where, content)
            elif kind in HYPERTEXT:
                yield from hypertext(where, joined(content))
            else:
                yield from self.text(where, joined(content))

    def text(self, place: str, text: str) -> Iterator[Texts]:
        """A text; colours of a terminal, which would part words, are taken out."""
        if text.strip():
            yield blocks(place, COLOUR.sub("", text))

    def other(self, place: str, value: Any) -> Iterator[Texts]:
        """Whatever else there is, by its path."""
        for texts in self.fields.told([(1, value)]):
            yield replace(texts, place=f"{place} {texts.place}")


def fields(value: Any) -> dict[str, Any]:
    """The fields of an object. A name that stands twice has both values."""
    found: dict[str, Any] = {}
    for name, part in value if isinstance(value, Pairs) else Pairs([("value", value)]):
        found[name] = [found[name], part] if name in found else part
    return found


def is_text(content: Any) -> bool:
    """Whether a content is text, or a list of lines."""
    lines = content if isinstance(content, list) else [content]
    return all(isinstance(line, str) and not isinstance(line, Number) for line in lines)


def joined(content: Any) -> str:
    """A text that may be stored as a list of lines."""
    return "".join(map(str, content)) if isinstance(content, list) else str(content)
