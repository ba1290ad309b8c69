"""Dates: moved per subject by days that only the key knows, or made coarser."""

from __future__ import annotations

import datetime
import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.masks import Keys, Operator
from nbgov.core.masks.dates import days_of
from nbgov.core.masks.keys import Task
from nbgov.errors import ConfigInvalid, RequestInvalid
from tests.core.mask_scene import KEYS, covered, masked

DAY = datetime.date(2024, 5, 17)
DATES = st.dates(datetime.date(1000, 1, 1), datetime.date(9000, 1, 1))


def test_all_dates_of_a_subject_move_together() -> None:
    """The time between two dates of a subject stays, in any column; other subjects move otherwise."""
    subjects = pa.array([f"person {n}" for n in range(200)] * 2)
    first = [DAY] * 200 + [DAY + datetime.timedelta(100)] * 200
    made = masked(first, "date-shift:30", subjects=subjects)
    shifts = [(new - old).days for new, old in zip(made, first, strict=True)]
    assert shifts[:200] == shifts[200:]
    assert all(1 <= abs(days) <= 30 for days in shifts)
    assert len(set(shifts)) > 40
    assert masked(first, "date-shift:30", subjects=subjects, domain="other") == made
    assert masked(first, "date-shift:30", subjects=subjects, keys=Keys(b"another")) != made


@given(st.integers(1, 99_999), st.lists(st.text(), min_size=1, max_size=50))
def test_no_shift_is_zero_or_beyond_its_limit(limit: int, subjects: list[str]) -> None:
    """Every subject moves, by at most the days of the operator."""
    subjects = [subject.encode(errors="replace").decode() for subject in subjects]
    task = Task(Operator("date-shift", str(limit)), KEYS, "")
    days = days_of(pa.array(subjects, pa.large_string()), b"k", task)
    assert ((abs(days) >= 1) & (abs(days) <= limit)).all()


def test_a_shift_may_be_any_day_of_its_range() -> None:
    """With enough subjects every day but zero occurs."""
    task = Task(Operator("date-shift", "3"), KEYS, "")
    drawn = days_of(pa.array([str(n) for n in range(500)], pa.large_string()), b"k", task)
    assert set(drawn.tolist()) == {-3, -2, -1, 1, 2, 3}


def test_without_subjects_a_column_moves_as_one() -> None:
    """All dates of a domain move by the same days, and so do rows that have no subject."""
    days = [DAY, DAY + datetime.timedelta(1), None]
    made = masked(days, "date-shift:9999")
    assert made[1] - made[0] == datetime.timedelta(1)
    assert made[2] is None
    assert masked(days, "date-shift:9999", domain="other") != made
    assert masked(days, "date-shift:9999", subjects=pa.nulls(3, pa.string())) == made
    assert masked(days, "date-shift:9999", subjects=pa.array([None, None, 7])) == made


NUMBERS = pa.array([7, None, 2**40, 7])
SUBJECTS = [
    NUMBERS,
    NUMBERS.cast(pa.uint64()),
    NUMBERS.cast(pa.string()),
    NUMBERS.cast(pa.string()).cast(pa.string_view()),
    NUMBERS.cast(pa.string()).cast(pa.large_binary()),
    NUMBERS.cast(pa.string()).dictionary_encode(),
    NUMBERS.dictionary_encode(),
    pc.run_end_encode(NUMBERS),
    pa.RunEndEncodedArray.from_arrays([1, 2, 3, 4], NUMBERS.cast(pa.string()).cast(pa.string_view())),
    pa.ExtensionArray.from_storage(pa.opaque(pa.int64(), "id", "vendor"), NUMBERS),
    pa.chunked_array([NUMBERS.slice(0, 1), NUMBERS.slice(1)]),
]  # fmt: skip


@pytest.mark.parametrize("subjects", SUBJECTS, ids=lambda array: str(array.type))
def test_a_subject_is_the_same_in_every_type(subjects: pa.Array) -> None:
    """Integers, text and bytes name one subject, however they are stored."""
    days = [DAY] * 4
    made = masked(days, "date-shift:9999", subjects=subjects)
    assert made == masked(days, "date-shift:9999", subjects=NUMBERS)
    assert made[0] == made[3] != made[2]


def test_subjects_have_to_be_as_many_and_to_be_identifiers() -> None:
    """A wrong number of subjects, and measures as subjects, are errors."""
    with pytest.raises(RequestInvalid, match="not as many"):
        masked([DAY], "date-shift:9", subjects=pa.array(["a", "b"]))
    for wrong in (pa.array([1.5]), pa.array([DAY]), pa.nulls(1), pa.array([["a"]])):
        with pytest.raises(ConfigInvalid) as caught:
            masked([DAY], "date-shift:9", subjects=wrong)
        assert caught.value.code == "mask-unfit"


def test_dates_inside_of_other_values_move_with_their_row() -> None:
    """In lists, structs, dictionaries and runs each date moves by the days of its own row's subject."""
    subjects = pa.array(["ada", "grace", "ada"])
    plain = pa.array([DAY, DAY, DAY])
    ada, grace, _ = masked(plain, "date-shift:9999", subjects=subjects)
    rows = {
        "list": ([[DAY, DAY], [DAY], []], pa.list_(pa.date32()), [[ada, ada], [grace], []]),
        "fixed": ([[DAY], [DAY], None], pa.list_(pa.date32(), 1), [[ada], [grace], None]),
        "view": ([[DAY], None, [DAY, None]], pa.list_view(pa.date32()), [[ada], None, [ada, None]]),
        "struct": ([{"d": DAY}, {"d": DAY}, None], pa.struct([("d", pa.date32())]), [{"d": ada}, {"d": grace}, None]),
        "map": ([[("2024-05-17", DAY)]] * 3, pa.map_(pa.string(), pa.date32()), [[(str(d), d)] for d in (ada, grace, ada)]),
    }  # fmt: skip
    for values, kind, expected in rows.values():
        assert masked(pa.array(values, kind), "date-shift:9999", subjects=subjects) == expected
    days = [ada, grace, ada]
    assert masked(plain.dictionary_encode(), "date-shift:9999", subjects=subjects) == days
    runs = pc.run_end_encode(pa.array([DAY, DAY, DAY, DAY])).slice(1)
    assert masked(runs, "date-shift:9999", subjects=subjects) == days
    texts = pa.RunEndEncodedArray.from_arrays(
        [2, 3], pa.array([str(DAY), None]).cast(pa.string_view())
    )
    assert masked(texts, "date-shift:9999", subjects=subjects) == [str(ada), str(grace), None]
    narrow = plain.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.date32()))
    with pytest.raises(ConfigInvalid, match="int8"):
        masked(narrow, "date-shift:9999", subjects=subjects)
    assert masked(narrow, "date-shift:9999")[0] != DAY


@pytest.mark.parametrize(
    "kind",
    [
        pa.date64(),
        *(pa.timestamp(u) for u in ("s", "ms", "us", "ns")),
        pa.timestamp("us", "Europe/Berlin"),
    ],
    ids=str,
)
def test_every_type_moves_by_the_same_days(kind: pa.DataType) -> None:
    """Dates and timestamps of a subject move alike; times of day stay, counted in UTC."""
    values = (
        pa.array([datetime.datetime(2024, 5, 17), None])
        .cast(pa.timestamp("s"))
        .cast(kind if not getattr(kind, "tz", None) else pa.timestamp("us"))
    )
    values = values.cast(kind)
    subjects = pa.array(["ada", "ada"])
    [expected, _] = masked([DAY, None], "date-shift:30", subjects=subjects)
    made = covered(values, "date-shift:30", subjects=subjects)
    units = (
        86_400_000
        if pa.types.is_date64(kind)
        else 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    )
    moved = made.view(pa.int64())[0].as_py() - values.view(pa.int64())[0].as_py()
    assert moved == (expected - DAY).days * units
    assert made[1].as_py() is None


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns")], ids=str
)
def test_a_date_that_leaves_its_type_is_null(kind: pa.DataType) -> None:
    """At the ends of a type a shift neither wraps around nor fails."""
    width = kind.bit_width
    day = 86_400_000 if pa.types.is_date64(kind) else 1
    most = (2 ** (width - 1) - 1) // day * day
    ends = pa.array([most, -most], pa.int32() if width == 32 else pa.int64()).view(kind)
    subjects = [pa.array([f"{n}", f"{n}"]) for n in range(20)]
    made = [
        covered(ends, "date-shift:99999", subjects=one).is_null().to_pylist() for one in subjects
    ]
    assert [True, False] in made
    assert [False, True] in made


@given(
    st.lists(DATES, min_size=1, max_size=10),
    st.sampled_from(["", "T08:30:00", " 23:59", "T08:30:00.123456Z", " 08:30:00+02:00"]),
)
def test_text_that_is_a_date_moves_like_one(days: list[datetime.date], time: str) -> None:
    """Text in ISO 8601 moves by the same days as a date does, and keeps its time."""
    subjects = pa.array([str(n % 3) for n in range(len(days))])
    moved = masked(pa.array(days), "date-shift:3000", subjects=subjects)
    texts = masked([f"{day}{time}" for day in days], "date-shift:3000", subjects=subjects)
    assert texts == [f"{day}{time}" for day in moved]


NO_DATES = [
    "",
    "soon",
    "2024-02-30",
    "2024-13-01",
    "17.05.2024",
    "2024-05-17 and 2024-05-18",
    "2024-05-17 08:30 Ada",
    "20240517",
    " 2024-05-17",
]


@pytest.mark.parametrize("value", NO_DATES)
def test_text_that_is_no_date_is_redacted(value: str) -> None:
    """What cannot be moved or read is hidden, and never let through."""
    for text in ("date-shift:30", "month", "quarter"):
        assert masked([value, None], text) == ["***", None]


def test_text_at_the_ends_of_the_calendar_is_redacted() -> None:
    """A year of four digits has no room before 1 and after 9999."""
    for n in range(20):
        first, last = masked(
            ["0001-01-01", "9999-12-31"], "date-shift:99999", subjects=pa.array([str(n)] * 2)
        )
        assert (first == "***") != (last == "***")


def test_dates_become_the_first_day_of_their_period() -> None:
    """Year, quarter and month keep the type, and the zone's own calendar decides."""
    for kind in (pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns")):
        values = pa.array([datetime.datetime(2024, 5, 17), None]).cast(kind)
        firsts = {
            "year": datetime.date(2024, 1, 1),
            "quarter": datetime.date(2024, 4, 1),
            "month": datetime.date(2024, 5, 1),
        }
        for text, first in firsts.items():
            made = covered(values, text).cast(pa.timestamp("s")).to_pylist()
            assert made == [datetime.datetime.combine(first, datetime.time()), None]
    night = pa.array(
        [datetime.datetime(2023, 12, 31, 23, 30, tzinfo=datetime.UTC)],
        pa.timestamp("us", "Europe/Berlin"),
    )
    assert masked(night, "year")[0].isoformat() == "2024-01-01T00:00:00+01:00"


def test_a_month_that_begins_an_hour_late_is_no_error() -> None:
    """Where clocks are put forward at midnight of a first day, the month begins when they have been."""
    values = pa.array(
        [datetime.datetime(1995, 10, 5, tzinfo=datetime.UTC)], pa.timestamp("s", "Asia/Baghdad")
    )
    assert masked(values, "month")[0].month == 10
    gap = pa.array(
        [
            datetime.datetime(2011, 10, 15, tzinfo=datetime.UTC),
            datetime.datetime(1986, 4, 20, tzinfo=datetime.UTC),
        ],
        pa.timestamp("s", "Asia/Damascus"),
    )
    assert [made.isoformat()[:10] for made in masked(gap, "month")] == ["2011-10-01", "1986-04-01"]


@pytest.mark.parametrize(
    ("value", "year", "quarter", "month"),
    [
        ("2024-05-17", "2024", "2024-Q2", "2024-05"),
        ("1999-12-31T23:59:59Z", "1999", "1999-Q4", "1999-12"),
        ("05/17/2024", "2024", "***", "***"),
        ("17 May 2024", "2024", "***", "***"),
        ("2024", "2024", "***", "***"),
        ("2024-2025", "***", "***", "***"),
        ("1024-05-17", "***", "1024-Q2", "1024-05"),
        ("next week", "***", "***", "***"),
        ("12024", "***", "***", "***"),
    ],
)
def test_text_becomes_the_name_of_its_period(
    value: str, year: str, quarter: str, month: str
) -> None:
    """ISO dates have quarters and months; for a year one year in the text is enough."""
    assert [masked([value], text)[0] for text in ("year", "quarter", "month")] == [
        year,
        quarter,
        month,
    ]


def test_a_subject_may_be_a_uuid() -> None:
    """The extension type of UUIDs is taken for its bytes."""
    ids = pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=7).bytes], pa.binary(16))
    )
    assert masked([DAY], "date-shift:30", subjects=ids) == masked(
        [DAY], "date-shift:30", subjects=ids.storage
    )
