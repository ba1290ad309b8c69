"""Frozen values that travel between the stages of a request.

Nothing here decides or does anything: a value is made by one stage and read by the next. Times are
aware UTC datetimes, digests are ``bytes`` named ``*_digest``, counts are plain integers. The one
class that is not a plain value is :class:`Result`, the open end of an Arrow stream.
"""

from nbgov.model.catalog import Catalog, Column, ColumnName, Effect, Table, TableName
from nbgov.model.decision import (
    Approval,
    ApprovalQuorum,
    ApprovalState,
    ByteLimit,
    Clearance,
    ColumnMask,
    ContentMask,
    Decision,
    MaskKind,
    Obligation,
    RowFilter,
    RowLimit,
    Verdict,
    Vote,
    WriteLimit,
)
from nbgov.model.record import (
    DatasetVersion,
    Delivery,
    Receipt,
    Record,
    RecordKind,
    Run,
    RunInput,
)
from nbgov.model.request import Principal, Request
from nbgov.model.result import Result, Summary
from nbgov.model.statement import (
    Action,
    BindMarker,
    EngineOpinion,
    Finding,
    Flow,
    Influence,
    OutputColumn,
    Span,
    Statement,
    TableUse,
)

__all__ = [
    "Action",
    "Approval",
    "ApprovalQuorum",
    "ApprovalState",
    "BindMarker",
    "ByteLimit",
    "Catalog",
    "Clearance",
    "Column",
    "ColumnMask",
    "ColumnName",
    "ContentMask",
    "DatasetVersion",
    "Decision",
    "Delivery",
    "Effect",
    "EngineOpinion",
    "Finding",
    "Flow",
    "Influence",
    "MaskKind",
    "Obligation",
    "OutputColumn",
    "Principal",
    "Receipt",
    "Record",
    "RecordKind",
    "Request",
    "Result",
    "RowFilter",
    "RowLimit",
    "Run",
    "RunInput",
    "Span",
    "Statement",
    "Summary",
    "Table",
    "TableName",
    "TableUse",
    "Verdict",
    "Vote",
    "WriteLimit",
]
