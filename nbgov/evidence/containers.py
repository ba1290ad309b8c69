"""The ZIP files of bundles: every ZIP tool reads them, and only one form of them is read here.

A ZIP file has room for things that one reader sees and another does not: gaps between members, two
members of one name, comments, a directory that differs from the members. A container is written in
one way, and one whose bytes around the packed data differ from that way in a single bit is refused.
The form is section 2 of ``docs/spec/audit-bundle.md``.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nbgov.errors import IntegrityFailed, RequestInvalid

# A larger file would need the 64-bit form of the directory.
CONTAINER_BYTES_MAX = 2**32 - 1
NAME_CHARS_MAX = 64
BLOCK_BYTES = 1 << 20
# More than as many members take as the 32-bit form has room for.
DIRECTORY_BYTES_MAX = 1 << 23
LEVEL = 6

MODE = 0o100600 << 16
MOMENT = (1980, 1, 1, 0, 0, 0)
DATE, DEFLATED, VERSION, UNIX = 0x21, 8, 20, 3
# What the directory has before each name, and the end of the file.
LISTING, END = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")


class Member(NamedTuple):
    """One member of a container, as its directory states it."""

    name: str
    crc: int
    packed_bytes: int
    plain_bytes: int
    place: int

    @property
    def facts(self) -> bytes:
        """The part of its header that local header and directory have in common."""
        sizes = (self.crc, self.packed_bytes, self.plain_bytes, len(self.name), 0)
        return struct.pack("<5H3I2H", VERSION, 0, DEFLATED, 0, DATE, *sizes)

    @property
    def header(self) -> bytes:
        """The bytes before its packed data."""
        return b"PK\x03\x04" + self.facts + self.name.encode()

    @property
    def listing(self) -> bytes:
        """What the directory says of it."""
        head = b"PK\x01\x02" + bytes([VERSION, UNIX]) + self.facts
        return head + struct.pack("<3H2I", 0, 0, 0, MODE, self.place) + self.name.encode()


class ContainerWriter:
    """Writes members one after the other. Equal members make equal bytes."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a member.

        Raises:
            RequestInvalid: The container would be larger than its form allows (code ``usage``).
        """
        info = zipfile.ZipInfo(name, MOMENT)
        info.compress_type, info.external_attr, info.create_system = DEFLATED, MODE, UNIX
        try:
            with self.archive.open(info, "w") as member:
                for chunk in chunks:
                    member.write(chunk)
        except (zipfile.LargeZipFile, RuntimeError) as error:
            raise too_large() from error


@contextmanager
def write_container(file: BinaryIO) -> Iterator[ContainerWriter]:
    """A container that is written to a file which can be sought in.

    Raises:
        RequestInvalid: It would be larger than its form allows (code ``usage``).
    """
    try:
        with zipfile.ZipFile(
            file, "w", zipfile.ZIP_DEFLATED, allowZip64=False, compresslevel=LEVEL
        ) as archive:
            yield ContainerWriter(archive)
    except zipfile.LargeZipFile as error:
        raise too_large() from error


class Container:
    """The members of a container, read as far as they are asked for. A context manager.

    Args:
        path: Its file.

    Raises:
        IntegrityFailed: It is no container in the one form (code ``bundle-invalid``).
        RequestInvalid: It cannot be read (code ``file-unreadable``).
    """

    def __init__(self, path: Path) -> None:
        try:
            self.file: BinaryIO = path.open("rb")
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            self.members = {one.name: one for one in self.listed()}
        except OSError as error:
            self.file.close()
            raise unreadable(path, error) from error
        except BaseException:
            self.file.close()
            raise

    def listed(self) -> list[Member]:
        """The members, in order, after it was made sure that nothing else is in the file."""
        size = self.file.seek(0, os.SEEK_END)
        if size > CONTAINER_BYTES_MAX:
            raise invalid("it is larger than any bundle")
        tail = self.bytes_at(max(size - END.size, 0), END.size)
        if len(tail) < END.size or not tail.startswith(b"PK\x05\x06"):
            raise invalid("it is no ZIP file, or it was cut")
        *_, length, place, _ = END.unpack(tail)
        # Security: a directory as large as the file would fill the memory.
        if length > DIRECTORY_BYTES_MAX:
            raise invalid("its directory is longer than that of any bundle")
        members = list(read_directory(self.bytes_at(place, length)))
        self.check_form(members, size)
        return members

    def check_form(self, members: list[Member], size: int) -> None:
        """Hold every byte around the packed data against what it has to be."""
        place = 0
        for member in members:
            # Security: a name that is not plain could lead out of a folder, or look like another.
            if not member.name.isascii() or len(member.name) > NAME_CHARS_MAX:
                raise invalid("a member has a name that no bundle has")
            if member.place != place or self.bytes_at(place, len(member.header)) != member.header:
                raise invalid("its members are not where they have to be")
            place += len(member.header) + member.packed_bytes
        listing = b"".join(member.listing for member in members)
        count = len(members)
        numbers = struct.pack("<4H2IH", 0, 0, count, count, len(listing), place, 0)
        end = listing + b"PK\x05\x06" + numbers
        if size != place + len(end) or self.bytes_at(place, len(end)) != end:
            raise invalid("something stands between or behind its members")
        if len({member.name for member in members}) != count:
            raise invalid("two of its members have one name")

    def bytes_at(self, place: int, count: int) -> bytes:
        """Bytes of the file."""
        self.file.seek(place)
        return self.file.read(count)

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of a member, in blocks of bounded size.

        Raises:
            IntegrityFailed: They are not those that the directory speaks of.
        """
        member = self.members[name]
        place, left = member.place + len(member.header), member.packed_bytes
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        size = crc = 0
        packed = b""
        try:
            while not unpacker.eof:
                if not packed:
                    packed = self.bytes_at(place, min(left, BLOCK_BYTES))
                    place, left = place + len(packed), left - len(packed)
                block = unpacker.decompress(packed, BLOCK_BYTES)
                # The last bytes that are packed can stand for more than the block they end.
                if not packed and not block:
                    raise invalid(f"its member {name} was cut")
                packed = unpacker.unconsumed_tail
                size, crc = size + len(block), zlib.crc32(block, crc)
                if size > member.plain_bytes:
                    raise invalid(f"its member {name} is longer than the directory says")
                yield block
        except zlib.error as error:
            raise invalid(f"its member {name} is damaged") from error
        if left or unpacker.unused_data or (size, crc) != (member.plain_bytes, member.crc):
            raise invalid(f"its member {name} is damaged")

    def read(self, name: str, bytes_max: int) -> bytes:
        """A member that is small.

        Raises:
            IntegrityFailed: It is larger than it may be.
        """
        if self.members[name].plain_bytes > bytes_max:
            raise invalid(f"its member {name} is larger than it may be")
        return b"".join(self.blocks(name))

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


def read_directory(directory: bytes) -> Iterator[Member]:
    """The members that a directory lists; whether it is in the one form is not looked at."""
    place = 0
    while place < len(directory):
        head = directory[place : place + LISTING.size]
        if len(head) < LISTING.size:
            raise invalid("its directory was cut")
        fields = LISTING.unpack(head)
        crc, packed_bytes, plain_bytes, name_bytes = fields[7:11]
        place += LISTING.size
        name = directory[place : place + name_bytes].decode("latin-1")
        place += name_bytes
        yield Member(name, crc, packed_bytes, plain_bytes, fields[-1])


def invalid(why: str) -> IntegrityFailed:
    """The error of a file that is no bundle."""
    return IntegrityFailed(
        "The file is no bundle of an audit log.",
        code="bundle-invalid",
        why=why,
        next_step="get it anew from whoever made it: nbgov audit export --bundle FILE",
    )


def too_large() -> RequestInvalid:
    """The error of a log that does not fit into a bundle."""
    return RequestInvalid(
        "The log does not fit into one bundle.",
        code="usage",
        why=f"a bundle has {CONTAINER_BYTES_MAX:,} bytes at most",
        next_step="bundle a part of it: add --since, --until or another filter",
    )


def unreadable(path: Path, error: OSError) -> RequestInvalid:
    """The error of a file that cannot be read."""
    return RequestInvalid(
        f"{path.name} cannot be read.",
        code="file-unreadable",
        why=error.strerror or type(error).__name__,
        next_step="check the path and its permissions",
    )
