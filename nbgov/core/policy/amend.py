"""Tags added to the text of ``policy.yaml``, which stays as people wrote it everywhere else.

Comments, order, quotes and line breaks are kept: lines are put in, none is written anew. What comes
out is decoded again and must say what the old text said and the new tags, so that a layout which is
not understood is an error and never a wrong policy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import yaml

from nbgov.core.policy.document import FILE_NAME, PolicyDocument, parse
from nbgov.core.policy.patterns import part_name
from nbgov.errors import ConfigInvalid
from nbgov.model import ColumnName

Edit = tuple[int, str]
"""Where text is put in, and which."""

TAGS = "tags"
VERSION = "version"
INDENT = 2
WIDTH = 1 << 30
PLAIN = re.compile(r"[A-Za-z][\w.]*")
GLOB_SIGNS = re.compile(r"([*?\[])")
NO_NEWLINE = "\n\\ No newline at end of file\n"


def pattern_of(connection: str, column: ColumnName) -> str:
    """The pattern that matches one column and no other.

    Example:
        >>> from nbgov.model import TableName
        >>> pattern_of("wh", ColumnName(TableName("main", "People"), "e[0].mail"))
        'wh.main.people.e[[]0]_mail'
    """
    parts = (connection, column.table.schema, column.table.name, column.name)
    return ".".join(GLOB_SIGNS.sub(r"[\1]", part_name(part)) for part in parts)


def tagged(text: str, additions: Mapping[str, Sequence[str]]) -> str:
    """Return the text of a policy with patterns added under some tags.

    Args:
        text: The policy as it is.
        additions: New patterns by tag. A pattern that the tag has already is not added again.

    Raises:
        ConfigInvalid: The text is no policy, or it is laid out in a way that cannot be added to.
    """
    before = parse(text).document
    wanted = {}
    for tag, patterns in additions.items():
        known = before.tags.get(tag, ())
        if fresh := [one for one in dict.fromkeys(patterns) if one not in known]:
            wanted[tag] = fresh
    if not wanted:
        return text
    ended = text if text.endswith("\n") else f"{text}\n"
    after = put_in(ended, edits(ended, wanted))
    if not is_amended(before, after, wanted):
        raise ConfigInvalid(
            f"The tags of {FILE_NAME} are laid out in a way that cannot be added to.",
            code="policy-invalid",
            why="an alias, a tag or an unusual indentation stands in the way",
            next_step="write tags: as a plain mapping of lists, and ask again",
        )
    return after


def diff(before: str, after: str, name: str = FILE_NAME) -> str:
    """A unified diff that ``patch -p1`` and ``git apply`` take; empty if nothing changed."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else line + NO_NEWLINE for line in lines)


def is_amended(before: PolicyDocument, after: str, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Whether a text says what a policy says, and some more tags."""
    tags = {tag: (*before.tags.get(tag, ()), *wanted.get(tag, ())) for tag in before.tags}
    tags |= {tag: tuple(patterns) for tag, patterns in wanted.items() if tag not in tags}
    try:
        return parse(after).document == replace(before, tags=tags)
    except ConfigInvalid:
        return False


def put_in(text: str, edits: Iterable[Edit]) -> str:
    """The text with each edit made; of two at one place the first stands first."""
    parts: list[str] = []
    start = 0
    for place, addition in sorted(edits, key=lambda edit: edit[0]):
        parts += (text[start:place], addition)
        start = place
    return "".join((*parts, text[start:]))


def edits(text: str, wanted: Mapping[str, Sequence[str]]) -> Iterator[Edit]:
    """What has to be put into a policy so that it has some more patterns under its tags."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    entries = {key.value: (key, value) for key, value in root.value}
    if TAGS not in entries:
        yield beside_version(text, entries[VERSION], root, wanted)
        return
    tags = entries[TAGS][1]
    known = {name.value: value for name, value in tags.value}
    for tag in wanted.keys() & known.keys():
        # What is no plain list gets nothing, so that the text is refused in the end.
        if isinstance(known[tag], yaml.SequenceNode):
            yield to_list(text, known[tag], wanted[tag])
    unknown = {tag: patterns for tag, patterns in wanted.items() if tag not in known}
    if unknown:
        yield to_mapping(text, tags, unknown)


def beside_version(
    text: str,
    entry: tuple[yaml.Node, yaml.Node],
    root: yaml.MappingNode,
    wanted: Mapping[str, Sequence[str]],
) -> Edit:
    """A new mapping of tags, after the version."""
    key, version = entry
    if root.flow_style:
        return version.end_mark.index, f", {TAGS}: {{{flow_of(wanted)}}}"
    margin = key.start_mark.column
    lines = f"{' ' * margin}{TAGS}:\n{lines_of(wanted, margin + INDENT)}"
    return line_end(text, version), lines


def to_mapping(text: str, tags: yaml.MappingNode, wanted: Mapping[str, Sequence[str]]) -> Edit:
    """More tags in a mapping."""
    if not tags.value:
        return tags.start_mark.index + 1, flow_of(wanted)
    if tags.flow_style:
        return tags.value[-1][1].end_mark.index, f", {flow_of(wanted)}"
    return line_end(text, last(tags)), lines_of(wanted, tags.value[0][0].start_mark.column)


def to_list(text: str, patterns: yaml.SequenceNode, wanted: Sequence[str]) -> Edit:
    """More patterns in a list."""
    texts = [quoted(one) for one in wanted]
    if not patterns.value:
        return patterns.start_mark.index + 1, ", ".join(texts)
    if patterns.flow_style:
        return patterns.value[-1].end_mark.index, "".join(f", {one}" for one in texts)
    margin = " " * patterns.start_mark.column
    return line_end(text, last(patterns)), "".join(f"{margin}- {one}\n" for one in texts)


def last(node: yaml.Node) -> yaml.Node:
    """The last piece of a node that has an end of its own.

    The end of a block is where the next one begins, behind comments that belong to that one.
    """
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        end = node.value[-1]
        node = end[1] if isinstance(end, tuple) else end
    return node


def line_end(text: str, node: yaml.Node) -> int:
    """Where the line after a node begins."""
    place = text.find("\n", node.end_mark.index)
    return len(text) if place < 0 else place + 1


def lines_of(wanted: Mapping[str, Sequence[str]], margin: int) -> str:
    """Tags as lines of a block."""
    return "".join(
        f"{' ' * margin}{key_of(tag)}:\n"
        + "".join(f"{' ' * (margin + INDENT)}- {quoted(one)}\n" for one in patterns)
        for tag, patterns in wanted.items()
    )


def flow_of(wanted: Mapping[str, Sequence[str]]) -> str:
    """Tags as they stand between braces."""
    return ", ".join(
        f"{key_of(tag)}: [{', '.join(map(quoted, patterns))}]" for tag, patterns in wanted.items()
    )


def key_of(tag: str) -> str:
    """A tag as a key of YAML."""
    return tag if PLAIN.fullmatch(tag) else quoted(tag)


def quoted(text: str) -> str:
    """A text between double quotes, with the escapes of YAML."""
    written: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=WIDTH)
    return written.strip()
