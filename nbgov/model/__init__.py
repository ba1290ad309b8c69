"""Frozen values that travel between the stages of a request.

Nothing here decides or does anything: a value is made by one stage and read by the next. Times are
aware UTC datetimes, digests are ``bytes`` named ``*_digest``, counts are plain integers. The one
class that is not a plain value is :class:`Result`, the open end of an Arrow stream.
"""

from nbgov.model.catalog import Catalog, Column, ColumnName, Effect, Table, TableName
from nbgov.model.dataset import DatasetVersion, Delivery, SourceVersion
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
from nbgov.model.record import Receipt, Record, RecordKind
from nbgov.model.request import Principal, Request
from nbgov.model.result import Result, Summary
from nbgov.model.run import (
    BaselineChoice,
    ColumnTerms,
    DriftTerms,
    FreshnessTerms,
    ModelVersion,
    Release,
    Run,
    RunInput,
)
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
    "BaselineChoice",
    "BindMarker",
    "ByteLimit",
    "Catalog",
    "Clearance",
    "Column",
    "ColumnMask",
    "ColumnName",
    "ColumnTerms",
    "ContentMask",
    "DatasetVersion",
    "Decision",
    "Delivery",
    "DriftTerms",
    "Effect",
    "EngineOpinion",
    "Finding",
    "Flow",
    "FreshnessTerms",
    "Influence",
    "MaskKind",
    "ModelVersion",
    "Obligation",
    "OutputColumn",
    "Principal",
    "Receipt",
    "Record",
    "RecordKind",
    "Release",
    "Request",
    "Result",
    "RowFilter",
    "RowLimit",
    "Run",
    "RunInput",
    "SourceVersion",
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
