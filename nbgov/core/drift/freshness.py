"""Whether the data is as new as it should be: before any statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from nbgov.core.checks import listed
from nbgov.core.drift.inputs import InputPair, profile_columns, used_inputs
from nbgov.core.drift.profile import MOMENTS
from nbgov.core.drift.report import Cause
from nbgov.model import DatasetVersion, FreshnessTerms, Run, RunInput
from nbgov.model.dataset import OPEN

Versions = Mapping[str, DatasetVersion]

# How far a moment may lie behind the one at which it was read: clocks and zones differ.
AHEAD_MAX = timedelta(days=1)
# Marks of whole databases move when any of their tables does.
SHARED_MARKS = ("-file", "-standby")


def moved_sources(pair: InputPair) -> list[str] | None:
    """Base tables whose state changed between both reads, or ``None`` where that is not known.

    A mark that stands for a whole database says that nothing changed, or else not what did. That
    nothing changed takes a mark of each table that the statement names.
    """
    before, after = ({one.table: one for one in side.sources} for side in pair.inputs)
    if not before or before.keys() != after.keys():
        return None
    if any(before[table].kind != after[table].kind for table in after):
        return None
    moved = [table for table in after if before[table].mark != after[table].mark]
    if moved:
        return None if any(after[table].kind.endswith(SHARED_MARKS) for table in moved) else moved
    is_whole = pair.versions is not None and after.keys() >= {*pair.versions[1].tables}
    return moved if is_whole else None


def identity_causes(pair: InputPair) -> Iterator[Cause]:
    """Rows that are those of last time, and whether they should be."""
    moved = moved_sources(pair)
    if pair.is_same:
        yield from identical(pair, moved)
    elif moved == [] and pair.is_same is False and asked_alike(pair):
        sentence = (
            f"{pair.name}: other rows by the same statement from the same state of its sources; "
            "something in the statement is left to chance"
        )
        yield Cause("freshness", pair.name, sentence, 0.0)


def identical(pair: InputPair, moved: list[str] | None) -> Iterator[Cause]:
    """What it means that the rows are those of last time."""
    although = [f"{table} has changed since" for table in moved or ()]
    if pair.versions is not None:
        left, right = pair.versions
        if left.binds == right.binds and left.binds_mac != right.binds_mac:
            although.append(f"other values are bound to {', '.join(right.binds)}")
    sentence = f"{pair.name}: identical to last time"
    if although:
        detail = {"is_stale": True, "although": although}
        yield Cause("freshness", pair.name, f"{sentence}, although {listed(although)}", 1.0, detail)
    else:
        yield Cause("freshness", pair.name, sentence + ", as its sources are" * (moved == []), 0.0)


def asked_alike(pair: InputPair) -> bool:
    """Whether both versions were asked for in one way, under one policy."""
    one, other = (
        (version.statement_mac, version.binds_mac, version.policy) for version in pair.known
    )
    return one == other


# ---------------------------------------------------------------- limits of age


def age_causes(run: Run, versions: Versions, limits: Sequence[FreshnessTerms]) -> Iterator[Cause]:
    """Inputs that are older than they may be, or of an age that nobody can tell."""
    for one in used_inputs(run):
        for limit in limits:
            if not any(fnmatchcase(one.name, pattern) for pattern in limit.on):
                continue
            newest, told = newest_moment(one, versions.get(one.version_id), limit)
            at = run.started_at or one.read_at
            seen = one.read_at or at
            # Security: one row of the far future, as "for ever" is often written, has no age, and
            # would make the oldest data fresh.
            if newest and seen and in_utc(newest) - in_utc(seen) > AHEAD_MAX:
                newest = None
            yield from judged_age(one.name, limit, newest, at, told=told)


def judged_age(
    name: str, limit: FreshnessTerms, newest: datetime | None, at: datetime | None, *, told: bool
) -> Iterator[Cause]:
    """What to say of the age of one input, if anything."""
    detail = {"is_stale": True, "age_max_s": limit.age_max.total_seconds()}
    of = limit.column or "the sources"
    allowed = f"{length(limit.age_max)} at most are allowed"
    if newest is None or at is None:
        what = f"nobody can tell how old {of} were when the run started"
        yield Cause("freshness", name, f"{name}: {what}, and {allowed}", 1.0, detail)
        return
    age = in_utc(at) - in_utc(newest)
    if age > limit.age_max:
        newest_text = f" ({newest:%Y-%m-%d %H:%M})" if told else ""
        what = f"the newest of {of}{newest_text} was {length(age)} old when the run started"
        detail |= {"age_s": age.total_seconds()} if told else {}
        yield Cause("freshness", name, f"{name}: {what}, and {allowed}", 1.0, detail)


def newest_moment(
    one: RunInput, version: DatasetVersion | None, limit: FreshnessTerms
) -> tuple[datetime | None, bool]:
    """The moment that tells the age of an input, and whether it may be told.

    Without a column it is when the last of the base tables changed; if one of them does not tell,
    it is not known.
    """
    if limit.column is None:
        changes = [source.changed_at for source in one.sources]
        known = [change for change in changes if change is not None]
        return (max(known, key=in_utc) if known and len(known) == len(changes) else None), True
    figures = profile_columns(version).get(limit.column, {}) if version is not None else {}
    newest = figures.get("max")
    if figures.get("type") not in MOMENTS or not isinstance(newest, str):
        return None, False
    try:
        return datetime.fromisoformat(newest), figures.get("level") == OPEN
    except ValueError:  # A moment beyond the year 9999 is in no calendar.
        return None, False


def in_utc(moment: datetime) -> datetime:
    """A moment on the one clock; what names no zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def length(span: timedelta) -> str:
    """A span of time in words.

    >>> length(timedelta(days=3, hours=7)), length(timedelta(hours=30)), length(timedelta(0))
    ('3 days', '30 hours', '0 minutes')
    """
    if span >= timedelta(days=2):
        return f"{span.days:,} days"
    if span >= timedelta(hours=2):
        return f"{span // timedelta(hours=1)} hours"
    return f"{span // timedelta(minutes=1)} minutes"
