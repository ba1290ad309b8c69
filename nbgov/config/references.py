"""Which secrets a decoded ``nbgov.yaml`` refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from nbgov.addresses import REFERENCES
from nbgov.config import Config

KEYS = {"key", "pages_client_secret", "password", "pseudonym_key", "secret", "url"}


def secret_references(config: Config) -> tuple[str, ...]:
    """Every reference to a secret, in the order of the file's keys, each once.

    Example:
        >>> from nbgov.config import parse
        >>> text = "{version: 1, policy: p, pseudonym_key: 'env:K', connections: {a: {path: b.db, "
        >>> secret_references(parse(text + "kind: duckdb}}}"))
        ('env:K',)
    """
    return tuple(dict.fromkeys(walk(asdict(config))))


def walk(value: Any) -> Iterator[str]:
    """The references in mappings and lists."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key in KEYS and isinstance(one, str) and one.partition(":")[0] in REFERENCES:
                yield one
            else:
                yield from walk(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from walk(one)
