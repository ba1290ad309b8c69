"""Strict decoding of the YAML that people write: ``nbgov.yaml``, ``policy.yaml``, catalogs.

A document decodes into a frozen dataclass or raises one :class:`~nbgov.errors.ConfigInvalid` that
names the first wrong place. An unknown key, a duplicate key and a wrong type are errors: a setting
that is silently ignored is worse than none. Values are never repeated in a message, since one may
be a secret.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from nbgov.errors import ConfigInvalid

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DOCUMENT_CHARS_MAX = 1_000_000
BOOLEAN = "tag:yaml.org,2002:bool"

T = TypeVar("T")


@functools.cache
def adapter(shape: Hashable) -> TypeAdapter[Any]:
    """The decoder of a dataclass, built once."""
    return TypeAdapter(cast("Any", shape))


def decode(
    text: str,
    shape: type[T],
    *,
    document: str,
    code: str,
    chars_max: int = DOCUMENT_CHARS_MAX,
) -> T:
    """Decode a YAML document.

    Args:
        text: The document.
        shape: A dataclass whose ``__pydantic_config__`` forbids extra keys.
        document: The file's name, for messages.
        code: Error code of a document that does not decode.
        chars_max: How long the document may be.

    Raises:
        ConfigInvalid: The document is not YAML, or does not have the shape.
    """
    if len(text) > chars_max:
        raise ConfigInvalid(
            f"{document} is larger than {chars_max:,} characters.",
            code=code,
            next_step="split it, or remove what is not configuration",
        )
    try:
        # Security: the loader derives from SafeLoader, so that no tag can construct an object.
        content = yaml.load(text, Loader=StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigInvalid(
            f"{document} is not valid YAML{where}.",
            code=code,
            why=getattr(error, "problem", None) or "the text does not parse",
            next_step="correct the line; indent with spaces, and quote text that holds ': ' or '#'",
        ) from None
    try:
        decoded: T = adapter(cast("Hashable", shape)).validate_python(content)
    except ValidationError as error:
        raise explain(
            error.errors(include_url=False), shape, document=document, code=code
        ) from None
    return decoded


class StrictLoader(yaml.SafeLoader):
    """A safe YAML loader for which a repeated key is an error, and ``on`` and ``no`` are words.

    Booleans are ``true`` and ``false`` only, as in YAML 1.2.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOLEAN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        """Build a mapping, refusing a key that occurs twice."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                problem = f"the key {key!r} occurs twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


StrictLoader.add_implicit_resolver(
    BOOLEAN, re.compile("(?:true|false)$", re.IGNORECASE), list("tTfF")
)


def explain(
    problems: list[ErrorDetails], shape: type, *, document: str, code: str
) -> ConfigInvalid:
    """Turn pydantic's findings into one error about the first wrong place.

    An unknown key outranks a missing one: it is most often the same key, misspelt.
    """
    unknown = [p for p in problems if p["type"] == "unexpected_keyword_argument"]
    first = (unknown or problems)[0]
    path = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    where = ".".join(path) or "the top level"
    if unknown:
        near = difflib.get_close_matches(path[-1], sorted(known_keys(shape)), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "remove it"
        return ConfigInvalid(
            f"{document} has an unknown key: {where}.",
            code=code,
            why=f"{path[-1]!r} is not a setting here",
            next_step=hint,
        )
    return ConfigInvalid(
        f"{document} does not decode at {where}.",
        code=code,
        why=first["msg"].removeprefix("Value error, "),
        next_step="see docs/reference/config.md, policy.md and catalog.md for the formats",
    )


def known_keys(shape: type) -> set[str]:
    """Every property name in a shape's JSON Schema, at any depth."""
    found: set[str] = set()
    queue: list[Any] = [adapter(shape).json_schema()]
    while queue:
        node = queue.pop()
        if isinstance(node, dict):
            found.update(node.get("properties", {}))
            queue.extend(node.values())
        elif isinstance(node, list):
            queue.extend(node)
    return found
