"""What nbgov delivered to this process: the second source beside the mark that a frame carries.

A NumPy array, a Polars frame or a merged frame carries no mark. The ledger recognises data by its
columns: where each of them is, value for value, a column of one delivered version, in as many rows,
the version is known for sure. Nothing else is concluded from it; that a session delivered something
before a training makes a candidate, and no more. The ledger holds versions, and no row.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbgov

if TYPE_CHECKING:
    import pyarrow as pa

    from mlflow_plugin.marks import Lookup, Pair

HEARD_MAX = 200
CANDIDATES_MAX = 10
# Fewer rows are too easily equal by chance.
RECOGNISED_ROWS_MIN = 20
CELLS_MAX = 20_000_000
COLUMNS_MAX = 500


@dataclass(frozen=True, slots=True)
class Heard:
    """A delivery that this process heard of.

    Attributes:
        version, delivery: What was delivered, and to whom.
        config: The ``nbgov.yaml`` of its session; ``None`` if that was closed before we asked.
        state: The session's state folder, in the same way.
    """

    version: nbgov.DatasetVersion
    delivery: nbgov.Delivery
    config: Path | None = None
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Data that was recognised.

    Attributes:
        heard: The delivery that brought it.
        names: The version's name for each of its columns, in the order of the data.
    """

    heard: Heard
    names: tuple[str, ...]


LEDGER: deque[Heard] = deque(maxlen=HEARD_MAX)
# A page is often written when its session is closed already.
RECALLED: OrderedDict[tuple[str, str], Pair] = OrderedDict()
TERMS: dict[Path, nbgov.DriftTerms] = {}


def hear(version: nbgov.DatasetVersion, delivery: nbgov.Delivery) -> None:
    """Note a delivery."""
    session = session_of(delivery.read_id)
    home = (session.path, session.state) if session is not None else (None, None)
    LEDGER.append(Heard(version, delivery, *home))


def recall(mark: Mapping[str, str], lookup: Lookup) -> Pair | None:
    """The version and delivery behind a mark: from a store, else as this process knew them."""
    key = (mark.get("read", ""), mark.get("version", ""))
    # A store that this account may not open is no error: the comparison says what it misses.
    with suppress(nbgov.NbgovError):
        pair = lookup(mark)
        if pair is not None:
            RECALLED[key] = pair
            while len(RECALLED) > HEARD_MAX:
                RECALLED.popitem(last=False)
            return pair
    if key in RECALLED:
        return RECALLED[key]
    for heard in LEDGER:
        if (heard.delivery.read_id, heard.version.version_id) == key:
            return heard.version, heard.delivery
    return None


def session_of(read_id: str) -> nbgov.Session | None:
    """The open session that a delivery belongs to."""
    for session in nbgov.Session.opened():
        if session.delivery(read_id) is not None:
            return session
    return None


def state_folder(read_id: str = "") -> Path | None:
    """The state folder of the session behind a delivery; of the latest session without one."""
    session = session_of(read_id) if read_id else None
    if session is not None:
        return session.state
    for heard in reversed(LEDGER):
        if heard.delivery.read_id == read_id and heard.state is not None:
            return heard.state
    opened = nbgov.Session.opened()
    if opened:
        return opened[-1].state
    return next((heard.state for heard in reversed(LEDGER) if heard.state is not None), None)


def terms(read_id: str = "") -> nbgov.DriftTerms:
    """What the policy of the session behind a delivery calls drift; the default without one."""
    session = session_of(read_id) if read_id else None
    opened = nbgov.Session.opened()
    if session is None and opened:
        session = opened[-1]
    if session is not None:
        TERMS[session.path] = session.terms()
        return TERMS[session.path]
    config = next((heard.config for heard in reversed(LEDGER) if heard.config is not None), None)
    try:
        with nbgov.connect(config) as again:
            return again.terms()
    except nbgov.NbgovError:
        return TERMS.get(config, nbgov.DriftTerms()) if config is not None else nbgov.DriftTerms()


def checkpoint(read_id: str) -> str:
    """The signed checkpoint of the log that a delivery is recorded in; empty if nobody can make it.

    It covers the delivery's receipt, so that the two together show what the log was.
    """
    with suppress(nbgov.NbgovError):
        session = session_of(read_id) if read_id else None
        if session is not None:
            return nbgov.checkpoint(session)
        ours = (heard for heard in reversed(LEDGER) if heard.delivery.read_id == read_id)
        config = next((heard.config for heard in ours if heard.config is not None), None)
        if config is not None:
            with nbgov.connect(config) as again:
                return nbgov.checkpoint(again)
    return ""


def candidates() -> tuple[Heard, ...]:
    """The latest deliveries of distinct versions, newest first: what a training may have used."""
    found: dict[str, Heard] = {}
    for heard in reversed(LEDGER):
        found.setdefault(heard.version.version_id, heard)
    return tuple(found.values())[:CANDIDATES_MAX]


def recognise(data: Any) -> Known | None:
    """The delivered version whose columns are those of the data, value for value.

    Args:
        data: A NumPy array of one or two dimensions, or any frame or series.
    """
    rows, width = dimensions(data)
    if rows < RECOGNISED_ROWS_MIN or not 0 < width <= COLUMNS_MAX or rows * width > CELLS_MAX:
        return None
    alike = [heard for heard in reversed(LEDGER) if heard.version.rows == rows]
    if not alike:
        return None
    table = as_table(data)
    # A column of one value is a column of many tables.
    if table is None or not any(map(varies, table.columns)):
        return None
    plain = nbgov.fingerprint(table)
    for heard in alike:
        session = session_of(heard.delivery.read_id)
        prints = [plain] if session is None else [plain, session.veiled(plain)]
        names = matched(prints, heard.version)
        if names is not None:
            return Known(heard, names)
    return None


def varies(column: pa.ChunkedArray) -> bool:
    """Whether a column is known to hold two values; of lists and structs that is not known."""
    import pyarrow as pa

    try:
        return len(column.unique()) > 1
    except pa.ArrowException:
        return False


def matched(
    prints: list[nbgov.Fingerprint], version: nbgov.DatasetVersion
) -> tuple[str, ...] | None:
    """The version's name for each column of a fingerprint; ``None`` if it lacks one of them."""
    free: dict[tuple[str, int], list[str]] = {}
    for name, _, digest, nonnull in version.columns:
        free.setdefault((digest, nonnull), []).append(name)
    names = []
    for digests in zip(*(one.columns for one in prints), strict=True):
        found = next((free[d, n] for _, _, d, n in digests if free.get((d, n))), None)
        if found is None:
            return None
        names.append(found.pop(0))
    return tuple(names)


def dimensions(data: Any) -> tuple[int, int]:
    """Rows and columns of data; zeros where it has no such thing."""
    shape = getattr(data, "shape", ())
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        return 0, 0
    if len(shape) == 1:
        return shape[0], 1
    return shape if len(shape) == 2 else (0, 0)  # noqa: PLR2004 - rows and columns


def as_table(data: Any) -> pa.Table | None:
    """The columns of data as Arrow, with names of no meaning; ``None`` where they have no type."""
    import pyarrow as pa

    try:
        columns = list(arrays(data))
    except (pa.ArrowException, ImportError, TypeError, ValueError, OverflowError):
        return None
    return pa.table(columns, names=[str(place) for place in range(len(columns))])


def arrays(data: Any) -> Iterator[pa.Array]:
    """The columns of data."""
    import pyarrow as pa

    if hasattr(data, "__arrow_c_stream__") and not hasattr(data, "iloc"):
        told = pa.chunked_array(data) if len(data.shape) == 1 else pa.table(data)
        yield from [told] if isinstance(told, pa.ChunkedArray) else told.columns
    elif hasattr(data, "iloc"):
        series = [data] if len(data.shape) == 1 else [data.iloc[:, i] for i in range(data.shape[1])]
        for one in series:
            yield pa.Array.from_pandas(one)
    else:
        for one in [data] if data.ndim == 1 else data.T:
            yield pa.array(one, from_pandas=True)
