"""Masked copies of the tables that people hold: pandas, polars, Arrow, and streams.

Every kind of table comes back as its own kind. The argument is never changed, and nothing comes
back where anything went wrong. The cases are in ``tests/pii/test_frames.py``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nbgov.errors import NbgovError, RequestInvalid
from nbgov.pii.distinct import distinct
from nbgov.pii.masker import Masker

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from presidio_analyzer import AnalyzerEngine

    from nbgov.ports import Detector

COMBINED_BYTES_MAX = 2**31 - 1
"""Bytes of a column that is put together from its chunks: Arrow's small offsets reach so far."""


def mask(  # noqa: PLR0913 - one keyword for each thing that a person may want to say.
    data: Any,
    *,
    policy: str | Path | None = None,
    operators: Mapping[str, str] | None = None,
    table: str = "",
    entities: Sequence[str] | None = None,
    threshold: float | None = None,
    language: str | None = None,
    subject: str | None = None,
    key: str | None = None,
    engine: AnalyzerEngine | Detector | None = None,
    progress: bool | None = None,
    report: list[dict[str, Any]] | None = None,
) -> Any:
    """A copy of a table in which nothing is left of the PII that was asked for.

    A column that ``operators`` names, or that the policy tags, is masked whole and unread. Every
    other column is scanned, each distinct value of it, with its name as context: in text the
    findings are replaced and the rest stays; a number or a date in which something is found becomes
    null. A column that cannot be scanned is redacted, and a warning says so.

    Types, the order and the names of columns, indices and ``attrs`` are kept. The index of a pandas
    frame is kept as it is; a warning says so where something is found in it.

    Args:
        data: A pandas or polars DataFrame or Series; a pyarrow Table, RecordBatch, Array or
            ChunkedArray; or a stream of Arrow batches, such as a ``RecordBatchReader``.
        policy: A preset (``default``, ``gdpr``, ``hipaa-safe-harbor``, ``pci``), or the path of a
            ``policy.yaml``, whose tags and strictest masks hold.
        operators: Operator by column or entity, such as ``{"email": "token", "PERSON": "keep"}``.
            They go before the policy.
        table: ``connection.schema.table``, which the tags of the policy are held against. Without
            it the names of the columns decide.
        entities: What to look for instead of what the policy says.
        threshold: The lowest score that counts, instead of the policy's.
        language: The language of the text, instead of the policy's, as an ISO 639-1 code.
        subject: The column that says whom a row is about, for operators that work by person.
        key: The key of tokens and surrogates, as ``env:NAME`` or ``file:PATH``; by default the one
            of the project around the working directory, so that tokens join with query results.
        engine: Your own ``AnalyzerEngine``.
        progress: Whether a bar shows progress; by default it does where it takes long and a person
            watches.
        report: A list that gets a dict for each column: ``column``, ``how`` it was treated,
            ``operator``, ``why``, and ``entities`` with the number of texts. Of a stream it is
            complete once the stream is read.

    Returns:
        What ``data`` is; for a stream a ``RecordBatchReader`` that masks while it is read.

    Raises:
        ConfigInvalid: The policy, an operator or the key is wrong or missing.
        RequestInvalid: ``data`` is no such table, or a name is no column of it (``usage``).
        BackendFailed: No language model is installed (``detector-model-missing``).

    Example:
        >>> import pyarrow as pa
        >>> import nbgov
        >>> table = pa.table({"note": ["write to ada@example.com"], "born": [1815]})
        >>> nbgov.mask(table, operators={"born": "null"}).to_pylist()
        [{'note': 'write to <EMAIL_ADDRESS>', 'born': None}]
    """
    return mask_any(
        data,
        functools.partial(
            prepare,
            policy=policy,
            operators=operators or {},
            table=table,
            entities=entities,
            threshold=threshold,
            language=language,
            subject=subject,
            key=key,
            engine=engine,
            progress=progress,
            report=report,
        ),
    )


def prepare(
    names: Sequence[Any], *, operators: Mapping[Any, str], subject: Any, **options: Any
) -> Masker:
    """What masks a table with columns of these names, which need not be texts."""
    return Masker(
        [label(name) for name in names],
        operators={label(name): text for name, text in operators.items()},
        subject=None if subject is None else label(subject),
        **options,
    )


def mask_any(data: Any, masker: Callable[[Sequence[Any]], Masker]) -> Any:
    """A masked copy of any table or column.

    Raises:
        RequestInvalid: The data are something else (``usage``).
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return mask_pandas(masker(data.columns), data)
    if pandas is not None and isinstance(data, pandas.Series):
        return mask_pandas_series(masker([data.name]), data)
    if polars is not None and isinstance(data, polars.DataFrame):
        return mask_polars(masker(data.columns), data)
    if polars is not None and isinstance(data, polars.Series):
        return mask_polars_series(masker([data.name]), 0, data)
    if polars is not None and isinstance(data, polars.LazyFrame):
        raise refused(data, "collect it first, or mask collect_batches() one by one")
    return mask_arrow(data, masker)


def mask_pandas(masker: Masker, frame: pd.DataFrame) -> pd.DataFrame:
    """A masked copy of a pandas frame."""
    import pandas as pd

    from nbgov.pii.series import mask_series, to_arrow

    where = masker.subject
    subjects = None if where is None else to_arrow(frame.iloc[:, where])
    # From pandas 3 on a shallow copy is as good as a deep one, and costs nothing.
    masked = frame.copy(deep=int(pd.__version__.partition(".")[0]) < 3)  # noqa: PLR2004
    for position in range(frame.shape[1]):
        series = frame.iloc[:, position]
        new: Any = mask_series(masker, position, series, subjects)
        if new is not series:
            masked.isetitem(position, new)
    check_index(masker, frame.index)
    return masked


def mask_pandas_series(masker: Masker, series: pd.Series[Any]) -> pd.Series[Any]:
    """A masked copy of a pandas column."""
    from nbgov.pii.series import mask_series

    masked = mask_series(masker, 0, series)
    check_index(masker, series.index)
    masked = series.copy() if masked is series else masked
    masked.attrs = dict(series.attrs)
    return masked


def check_index(masker: Masker, index: pd.Index[Any]) -> None:
    """Warn where something is found in the text of an index, which is kept."""
    import pandas as pd

    levels = index.levels if isinstance(index, pd.MultiIndex) else [index]
    for name, level in zip(index.names, levels, strict=True):
        if pd.api.types.is_numeric_dtype(level.dtype) or level.dtype.kind in "mM":
            continue
        try:
            found = masker.search(distinct(level)[0], label(name))
        except NbgovError as error:
            found = [error.code]
        if found:
            masker.warn(
                f"The index {label(name)!r} is kept as it is, and it may hold {', '.join(found)}:"
                " call reset_index() first to have it masked."
            )


def mask_polars(masker: Masker, frame: pl.DataFrame) -> pl.DataFrame:
    """A masked copy of a polars frame."""
    import polars as pl

    where = masker.subject
    subjects = None if where is None else frame.to_series(where).to_arrow()
    columns = enumerate(frame.get_columns())
    return pl.DataFrame([mask_polars_series(masker, i, one, subjects) for i, one in columns])


def mask_polars_series(
    masker: Masker, position: int, series: pl.Series, subjects: pa.Array | None = None
) -> pl.Series:
    """A masked copy of a polars column: equal in dtype and name.

    An Enum gets the categories that are left.
    """
    import polars as pl

    def source() -> pa.Array:
        # Security: Arrow gets addresses for Python objects, not what they hold.
        if isinstance(series.dtype, pl.Object):
            raise TypeError("polars does not say what its objects hold")
        return series.to_arrow()

    def turn(array: pa.Array) -> pl.Series:
        if isinstance(series.dtype, pl.Enum):
            texts = pl.Series(series.name, array.cast(pa.large_string()), dtype=pl.String)
            return texts.cast(pl.Enum(array.dictionary.drop_null().to_pylist()))
        return pl.Series(series.name, array).cast(series.dtype)

    return masker.treat(
        position,
        keep=lambda: series,
        cover=lambda one: turn(masker.cover(one, source(), subjects)),
        scan=lambda masking: turn(masking.rewrite(source())),
        blank=lambda: series.clear(len(series)),
    )


def mask_arrow(data: Any, masker: Callable[[Sequence[Any]], Masker]) -> Any:
    """A masked copy of an Arrow table or column, or a stream that masks while it is read.

    Raises:
        RequestInvalid: The data are something else (``usage``).
    """
    if isinstance(data, pa.Table):
        return mask_table(masker(data.schema.names), data)
    if isinstance(data, pa.RecordBatch):
        return masker(data.schema.names).batch(data)
    if isinstance(data, pa.ChunkedArray):
        return mask_chunks(masker([""]), 0, data)
    if isinstance(data, pa.Array):
        return masker([""]).column(0, data)
    next_step = "hand over a frame, a column, or a stream of Arrow batches"
    if not hasattr(data, "__arrow_c_stream__"):
        raise refused(data, next_step)
    try:
        reader = pa.RecordBatchReader.from_stream(data)
    except pa.ArrowInvalid:
        raise refused(data, next_step) from None
    one = masker(reader.schema.names)
    return pa.RecordBatchReader.from_batches(one.schema(reader.schema), map(one.batch, reader))


def mask_table(masker: Masker, table: pa.Table) -> pa.Table:
    """A masked copy of an Arrow table."""
    subjects = None if masker.subject is None else table.column(masker.subject)
    columns = [mask_chunks(masker, i, one, subjects) for i, one in enumerate(table.columns)]
    return pa.Table.from_arrays(columns, schema=masker.schema(table.schema))


def mask_chunks(
    masker: Masker, position: int, column: pa.ChunkedArray, subjects: pa.ChunkedArray | None = None
) -> pa.ChunkedArray:
    """A masked copy of an Arrow column, looked at as a whole unless it is very large."""
    if masker.treatments[position].how == "kept":
        return column
    is_whole = column.nbytes <= COMBINED_BYTES_MAX
    chunks = [column.combine_chunks()] if is_whole else column.chunks
    masked, start = [], 0
    for chunk in chunks:
        persons = None if subjects is None else subjects.slice(start, len(chunk)).combine_chunks()
        masked.append(masker.column(position, chunk, persons))
        start += len(chunk)
    return pa.chunked_array(masked, column.type)


def label(name: Any) -> str:
    """The name of a column as text; the parts of a name of several levels are joined by dots."""
    if isinstance(name, tuple):
        return ".".join(map(str, name))
    return "" if name is None else str(name)


def refused(data: Any, next_step: str) -> RequestInvalid:
    """The error of something that cannot be masked."""
    return RequestInvalid(
        f"Nothing masks a {type(data).__name__}.", code="usage", next_step=next_step
    )
