"""The rows that a ticket is about, as the reviewer may see them: before, and as they would be.

Nothing of them is stored anywhere. They are read when a reviewer asks, in the reviewer's own
session and under the reviewer's own policy: a read like any other, decided, masked and recorded.
A ticket for a read shows the first rows of it, as the reviewer would get them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbgov.core.approval import quorums_of, read_binds
from nbgov.core.promotion.consent import VERB as PROMOTE
from nbgov.core.sampling import AFTER, SAMPLE_ROWS_MAX, Sampling, Unfit, samplings
from nbgov.core.statement import parse
from nbgov.errors import NbgovError

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.model import Approval
    from nbgov.session import Session


@dataclass(frozen=True, slots=True)
class Sample:
    """A few rows that a statement is about.

    Attributes:
        before: The rows as they are, or ``None``; those that a read would deliver.
        after: The same rows as the statement would leave them, or those that it would add;
            ``None`` where there are none, or they cannot be told.
        columns_changed: The columns that the statement gives new values.
        masked: What hides the values of a column, by its name.
        is_truncated: Whether the statement is about more rows than these.
        why: Why something is missing, for people; empty where nothing is.
    """

    before: pa.Table | None = None
    after: pa.Table | None = None
    columns_changed: tuple[str, ...] = ()
    masked: Mapping[str, str] = field(default_factory=dict)
    is_truncated: bool = False
    why: str = ""


def take(session: Session, approval: Approval) -> Sample:
    """The sample of a ticket; see :meth:`nbgov.session.Session.sample`."""
    try:
        return found(session, approval)
    finally:
        # An open DuckDB file keeps writers out, and the requester waits to be one.
        rest = getattr(session.engines.get(approval.connection), "rest", None)
        if rest is not None:
            rest()


def found(session: Session, approval: Approval) -> Sample:
    """The rows of the first query that can be run, or why there are none."""
    if approval.verb == PROMOTE:
        return Sample(why="a promotion is about no rows")
    try:
        binds = read_binds(approval.binds)
    except ValueError:
        return Sample(why="its bound values are kept from voters")
    try:
        catalog = session.catalog(approval.connection)
        candidates = samplings(parse(approval.sql, catalog), catalog)
    except Unfit as unfit:
        return Sample(why=str(unfit))
    except NbgovError as error:
        return Sample(why=reason(error))
    missing = ""
    for candidate in candidates:
        try:
            sample = read(session, approval, candidate, binds)
        except Unfit as unfit:
            missing = missing or str(unfit)
        except NbgovError as error:
            missing = missing or reason(error)
        else:
            return replace(sample, why=sample.why or missing)
    return Sample(why=missing)


def read(
    session: Session, approval: Approval, sampling: Sampling, binds: Mapping[str, Any]
) -> Sample:
    """The rows of one query, as a governed read.

    Raises:
        Unfit: It is no read for the reviewer, or one that takes an approval of its own.
        NbgovError: It did not run.
    """
    verdict = session.check(sampling.sql, approval.connection, binds=binds)
    # Security: a sample never changes anything, and asks nobody for an approval of its own.
    if not verdict.statement.is_read:
        raise Unfit("showing its rows would change something")
    if quorums_of(verdict.decision):
        raise Unfit("reading its rows takes an approval for you too")
    with session.sql(
        sampling.sql,
        approval.connection,
        binds=binds,
        rows_max=SAMPLE_ROWS_MAX,
        origin={"surface": "evidence", "ticket": approval.ticket},
    ) as result:
        table = result.to_arrow()
        summary = result.summary
    before, after = halves(table, sampling)
    return Sample(
        before,
        after,
        sampling.after,
        masked=told(summary.masked, sampling),
        is_truncated=summary.is_truncated,
        why=sampling.lacks,
    )


def halves(table: pa.Table, sampling: Sampling) -> tuple[pa.Table | None, pa.Table | None]:
    """The rows as they are, and as the statement would leave them."""
    width = len(sampling.before)
    if not sampling.after:
        return table, None
    if not width:
        is_fitting = len(sampling.after) == table.num_columns
        return None, table.rename_columns(sampling.after) if is_fitting else table
    before = after = table.select(range(width))
    for offset, name in enumerate(sampling.after):
        after = after.set_column(sampling.before.index(name), name, table.column(width + offset))
    return before, after


def told(masked: Mapping[str, str], sampling: Sampling) -> dict[str, str]:
    """What hides values, by the name of the column that they would be in."""
    names = {f"{AFTER}{number}": name for number, name in enumerate(sampling.after, 1)}
    return {names.get(name, name): mask for name, mask in masked.items()}


def reason(error: NbgovError) -> str:
    """An error as one line, which says no value of the database."""
    return f"{error.what.rstrip('.')}: {error.why}" if error.why else error.what
