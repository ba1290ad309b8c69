"""Copies are written in the encoding of their original."""

from __future__ import annotations

import codecs
from typing import BinaryIO

from nbgov.errors import RequestInvalid
from nbgov.pii.files import Source, spelled


def encoder(source: Source, stream: BinaryIO) -> Encode:
    """What turns UTF-8 into the encoding of the file, with its byte order mark."""
    encoding, _ = spelled(source, stream)
    stream.seek(0)
    return Encode(encoding)


class Encode:
    """Turns UTF-8 into another encoding, piece by piece."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.encoder = codecs.getincrementalencoder(encoding)()

    def __call__(self, text: bytes, *, final: bool = False) -> bytes:
        """A piece in the encoding.

        Raises:
            RequestInvalid: What stands for a masked value cannot be written in it.
        """
        if self.encoding == "utf-8":
            return text
        try:
            return self.encoder.encode(text.decode(), final)
        except UnicodeEncodeError:
            code = self.encoding.upper()
        raise RequestInvalid(
            f"A masked value cannot be written in {code}.",
            code="file-unreadable",
            why="what stands for it has characters that the encoding of the file does not have",
            next_step="choose another operator, or write the file in UTF-8 first",
        )
