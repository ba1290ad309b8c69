"""Shows governed frames with types and mask badges, and leaves every other object alone.

A preview belongs to one live object: a copy, a slice, or a frame whose columns, types, index or
length were changed is shown the way its own library shows it. Values are read from the object at
the moment it is displayed, so that a preview never shows what is no longer there. A badge speaks of
the column as it was delivered.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from nbgov.core.checks import counted
from nbgov.core.visible import visible
from nbgov.model import Result
from nbgov.shown.render import (
    ROWS_SHOWN_MAX,
    mask_text,
    preview_html,
    preview_text,
)

FRAMES_MAX = 1_000

Bundle = tuple[dict[str, str], dict[str, Any]]


class Previews:
    """The previews of frames that are still in use.

    Args:
        printers: IPython's printers of single objects, by ``id``: ``singleton_printers`` of the
            MIME bundle formatter. No type is registered, so nothing else is ever asked.
    """

    def __init__(self, printers: dict[int, Callable[[Any], Bundle | None]]) -> None:
        self.printers = printers
        self.frames: dict[int, weakref.ref[Any]] = {}

    def add(self, frame: Any, result: Result) -> None:
        """Preview the frame as long as it lives, or until many newer ones came."""
        key = id(frame)
        if len(self.frames) >= FRAMES_MAX:
            self.drop(next(iter(self.frames)))
        self.frames[key] = weakref.ref(frame, lambda _: self.drop(key))
        self.printers[key] = Preview(frame, result).bundle

    def drop(self, key: int) -> None:
        """Forget one frame."""
        self.frames.pop(key, None)
        self.printers.pop(key, None)

    def clear(self) -> None:
        """Forget every frame."""
        for key in list(self.frames):
            self.drop(key)


class Preview:
    """What is known of one delivered frame. It holds no row and keeps no frame alive."""

    def __init__(self, frame: Any, result: Result) -> None:
        summary = result.summary
        self.schema = result.schema
        self.shape = shape(frame)
        self.masked = dict(summary.masked)
        self.entities = dict(summary.entities)
        self.rows_read = len(frame)
        self.is_truncated = summary.is_truncated
        self.metadata = metadata(result)

    def bundle(self, frame: Any) -> Bundle | None:
        """The preview, or ``None`` where the frame is no longer the one that was delivered."""
        table = first_rows(frame, self.schema) if shape(frame) == self.shape else None
        if table is None:
            return None
        text, html = (
            render(
                table,
                self.masked,
                rows_read=self.rows_read,
                is_truncated=self.is_truncated,
                entities=self.entities,
            )
            for render in (preview_text, preview_html)
        )
        return {"text/plain": text, "text/html": html}, self.metadata


def shape(frame: Any) -> tuple[Any, ...]:
    """What tells a frame from itself after a change in place; Arrow tables never change."""
    if isinstance(frame, pa.Table):
        return ()
    index = repr(getattr(frame, "index", ""))
    return list(frame.columns), list(frame.dtypes), len(frame), index


def first_rows(frame: Any, schema: pa.Schema) -> pa.Table | None:
    """The first rows with the types that were delivered, or ``None`` where they no longer fit."""
    if isinstance(frame, pa.Table):
        return frame.slice(0, ROWS_SHOWN_MAX)
    head = frame.head(ROWS_SHOWN_MAX)
    try:
        if hasattr(head, "iloc"):
            series = [head.iloc[:, at] for at in range(len(schema))]
            columns = [
                pa.array(values, type=field.type, from_pandas=True)
                for field, values in zip(schema, series, strict=True)
            ]
        else:
            columns = [
                values.to_arrow().cast(field.type)
                for field, values in zip(schema, head.get_columns(), strict=True)
            ]
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None
    return pa.Table.from_arrays(columns, schema=schema)


def metadata(result: Result) -> dict[str, Any]:
    """What the output carries beside what it shows: where the delivery is recorded."""
    summary = result.summary
    record = result.record if summary.record is None else summary.record
    version = summary.version.version_id if summary.version else None
    receipt = str(summary.receipt or result.receipt)
    return {"nbgov": {"record": record, "receipt": receipt, "version": version}}


def delivered_text(name: str, result: Result) -> str:
    """One line on what a variable holds now, or on what a write did; equal from run to run."""
    summary, schema = result.summary, result.schema
    if not schema.names:
        affected = summary.rows_affected
        done = "done" if affected is None else f"{counted(affected, 'row')} affected"
        return f"{result.statement.verb}: {done}"
    parts = [f"{name}: {counted(summary.rows_read, 'row')}, {counted(len(schema), 'column')}"]
    if summary.is_truncated:
        parts.append("truncated by row limit")
    if summary.masked:
        masks = (f"{column} {mask_text(mask)}" for column, mask in summary.masked.items())
        parts.append(f"masked {', '.join(masks)}")
    return visible("; ".join(parts))
