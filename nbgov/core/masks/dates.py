"""Dates and times: moved by a number of days that only the key knows, or made coarser.

Text counts as a date where it is one in ISO 8601, such as ``2024-05-17`` or
``2024-05-17 08:30:00``; for ``year`` any text with one year in it does. The cases are in
``tests/core/test_mask_dates.py``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masks.fitting import Family, decoded, family, packed
from nbgov.core.masks.keys import Task, numbers
from nbgov.errors import ConfigInvalid, RequestInvalid

__all__ = ["Shifts", "coarser_texts", "constant_shift", "floored", "shifted", "subject_shifts"]

Shifts: TypeAlias = npt.NDArray[np.int64]

DAY = r"(?P<day>\d{4}-\d{2}-\d{2})"
TIME = r"(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z| ?[+-]\d{2}(?::?\d{2})?)?)?"
MOMENT = rf"^{DAY}(?P<time>{TIME})$"
# Between these years a number of four digits is likely to be a year, and nothing else.
YEAR = r"\b(?P<year>1[89]\d\d|2[01]\d\d)\b"
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, from 1970-01-01 on.
TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
SECONDS = 86_400
TEXT = pa.large_string()


def floored(values: pa.Array, task: Task) -> pa.Array:
    """The first day of each value's year, quarter or month, in the zone of its type."""
    unit, zone = task.operator.name, getattr(values.type, "tz", None)
    if zone is None:
        return pc.floor_temporal(values, unit=unit)
    first = pc.floor_temporal(pc.local_timestamp(values), unit=unit)
    # Where the clocks change at midnight, a day may begin twice or an hour late. An error would
    # tell that such a value is there.
    return pc.assume_timezone(first, zone, ambiguous="earliest", nonexistent="latest")


def coarser_texts(values: pa.Array, task: Task) -> pa.Array:
    """The year, quarter or month of each text that is a date: 2024, 2024-Q2 or 2024-05."""
    name = task.operator.name
    if name == "year":
        year = pc.struct_field(pc.extract_regex(values, YEAR), "year")
        is_one = pc.equal(pc.count_substring_regex(values, YEAR), 1)
        return pc.if_else(is_one, year, pa.scalar(None, TEXT))
    days, _ = read(values)
    text = days.cast(TEXT)
    if name == "month":
        return pc.utf8_slice_codeunits(text, 0, 7)
    year = pc.utf8_slice_codeunits(text, 0, 4)
    quarter = pc.quarter(days).cast(TEXT)
    return pc.binary_join_element_wise(year, quarter, pa.scalar("-Q", TEXT))


def read(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The day and what follows it, of each text that is a date in ISO 8601."""
    parts = pc.extract_regex(values, MOMENT)
    day, time = pc.struct_field(parts, "day"), pc.struct_field(parts, "time")
    moment = pc.strptime(day, format="%Y-%m-%d", unit="s", error_is_null=True)
    days = moment.cast(pa.date32())
    # Arrow reads 30 February as 1 March.
    is_day = pc.equal(days.cast(TEXT), day)
    return pc.if_else(is_day, days, pa.scalar(None, pa.date32())), time


def constant_shift(task: Task, rows: int) -> Shifts:
    """The days by which all dates of a domain move, for each row."""
    key = task.keys.subkey("date-shift of a domain", task.domain)
    return np.broadcast_to(days_of(pa.array(["all"], TEXT), key, task), rows)


def subject_shifts(subjects: pa.Array | pa.ChunkedArray, rows: int, task: Task) -> Shifts:
    """The days by which the date of each row moves: the same for all dates of one subject.

    They do not depend on the domain, so that the time between two dates of a subject stays as it
    is, in one table and across tables. A row without a subject moves as one without subjects does.

    Raises:
        RequestInvalid: There are not as many subjects as rows (``usage``).
        ConfigInvalid: Subjects are neither text nor bytes nor integers (``mask-unfit``).
    """
    if len(subjects) != rows:
        raise RequestInvalid(
            f"The subjects of {task.domain!r} are not as many as its values.",
            code="usage",
            next_step="give one subject for each row",
        )
    if isinstance(subjects, pa.ChunkedArray):
        subjects = pa.concat_arrays(subjects.chunks) if rows else pa.array([], subjects.type)
    encoded = as_bytes(subjects, task).dictionary_encode()
    key = task.keys.subkey("date-shift of a subject")
    own = days_of(encoded.dictionary, key, task)
    shifts = np.append(own, constant_shift(task, 1))
    # The one behind the last is for rows without a subject.
    place: Shifts = pc.fill_null(encoded.indices.cast(pa.int64()), len(own)).to_numpy()
    chosen: Shifts = shifts[place]
    return chosen


def as_bytes(subjects: pa.Array, task: Task) -> pa.Array:
    """Subjects as bytes, in whatever type they come: 7 and the text ``7`` are one subject.

    Raises:
        ConfigInvalid: They are of a type that is no identifier.
    """
    plain = decoded(subjects)
    kind = plain.type
    if pa.types.is_integer(kind):
        plain = plain.cast(TEXT)
    elif pa.types.is_null(kind) or family(kind) not in {Family.TEXT, Family.BYTES}:
        raise ConfigInvalid(
            f"The subjects of {task.domain!r} have the type {subjects.type}.",
            code="mask-unfit",
            why="whose date it is, is said by text, integers or bytes",
            next_step="name a column of identifiers",
        )
    return plain.cast(pa.large_binary())


def days_of(values: pa.Array, key: bytes, task: Task) -> Shifts:
    """A keyed number of days for each value: within the operator's limit, and never zero."""
    limit = np.uint64(task.operator.number)
    drawn = (numbers(values, key) % (limit * np.uint64(2))).astype(np.int64)
    days: Shifts = np.where(drawn < limit, drawn + 1, np.int64(limit) - 1 - drawn)
    return days


def shifted(values: pa.Array, days: Shifts) -> pa.Array:
    """Dates moved by days; null where the type or the calendar ends."""
    kind = values.type
    if family(kind) is Family.TEXT:
        return shifted_texts(values, days)
    if pa.types.is_date32(kind):
        moved = filled(values.view(pa.int32())).astype(np.int64) + days
        is_lost = moved != moved.astype(np.int32)
        ticks: npt.NDArray[np.integer[Any]] = moved.astype(np.int32)
    else:
        before = filled(values.view(pa.int64()))
        unit = "ms" if pa.types.is_date64(kind) else kind.unit
        ticks = before + days * (SECONDS * TICKS[unit])
        # No shift is zero, so a value that went the other way has left the type.
        is_lost = (ticks > before) != (days > 0)
    return packed(ticks, kind, is_lost | nulls(values))


def shifted_texts(values: pa.Array, days: Shifts) -> pa.Array:
    """Texts that are dates, moved by days; their times stay."""
    day, time = read(values)
    moved = filled(day.view(pa.int32())).astype(np.int64) + days
    is_lost = (moved < FIRST_DAY) | (moved > LAST_DAY) | nulls(day)
    written = packed(moved.astype(np.int32), pa.date32(), is_lost).cast(TEXT)
    return pc.binary_join_element_wise(written, time, pa.scalar("", TEXT))


def filled(values: pa.Array) -> npt.NDArray[Any]:
    """The values of an array, and zero for what is null."""
    made: npt.NDArray[Any] = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
    return made


def nulls(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values of an array are null."""
    made: npt.NDArray[np.bool_] = values.is_null().to_numpy(zero_copy_only=False)
    return made
