"""Stages 9 to 11: what happens to rows between the engine and the person who asked.

Batches are masked, counted and fingerprinted as they pass; the outcome is durable before the
stream ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from nbgov.core import masking
from nbgov.core.datasets import identify_version, key_of, order_of, rows_key
from nbgov.core.deferred import HELD_BYTES_MAX, DeferredProfile, DeferredProfiles
from nbgov.core.policy.tags import Classification
from nbgov.core.result_columns import (
    ResultColumns,
    names_untraced,
    result_columns,
    tables_seen,
)
from nbgov.model import DatasetVersion, Delivery, Result, SourceVersion, Summary
from nbgov.pipeline.kept_rows import KeptRows
from nbgov.pipeline.undoing import prepare_undo

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.core.case import Case
    from nbgov.core.fingerprint import Fingerprint
    from nbgov.pipeline.recorder import Recorder
    from nbgov.ports import Stream, World


class Handover:
    """Hands the rows of cleared statements over, in one session.

    Args:
        world: The ports.
        recorder: Writes the outcome.
        profiles: Where the profile of a result waits until somebody asks for it.
    """

    def __init__(self, world: World, recorder: Recorder, profiles: DeferredProfiles) -> None:
        self.world = world
        self.recorder = recorder
        self.profiles = profiles

    def open(self, case: Case, stream: Stream) -> Result:
        """The open result of a stream. A write is read to its end before it is handed out."""
        assert case.decision is not None
        assert case.statement is not None
        assert case.receipt is not None
        summary = Summary(record=case.receipt.index, receipt=case.receipt)
        delivery = self.deliver(case, stream, summary)
        # The first step sets everything up and yields no batch. A generator that has not begun
        # would not notice being closed, and the attempt would stay without an outcome.
        next(delivery)
        batches = cast("Iterator[pa.RecordBatch]", delivery)
        if not case.statement.is_read:
            batches = iter(list(batches))
        return Result(
            stream.schema,
            batches,
            decision=case.decision,
            statement=case.statement,
            record=case.receipt.index,
            receipt=case.receipt,
            summary=summary,
            cancel=stream.cancel,
        )

    def deliver(
        self, case: Case, stream: Stream, summary: Summary
    ) -> Iterator[pa.RecordBatch | None]:
        """Mask, fingerprint and record around the engine's batches."""
        from nbgov.core.fingerprint import Fingerprinter, cell_hashes

        statement, decision = case.statement, case.decision
        policy, catalog = case.policy, case.catalog
        assert statement is not None
        assert decision is not None
        assert policy is not None
        assert catalog is not None
        kept = KeptRows(self.world.rows, summary.remarks)
        try:
            plan = masking.plan(decision, stream.schema, statement.outputs)
            summary.masked = dict(plan.masked)
            classification = Classification(policy, case.request.connection, catalog)
            columns = result_columns(statement, stream.schema.names, classification)
            fingerprinter = Fingerprinter(stream.schema)
            is_wanted = self.is_profile_wanted(case)
            profile = DeferredProfile(
                columns.levels,
                stream.schema,
                key=key_of(self.world.signer.mac, "profile"),
                held_bytes_max=0 if is_wanted else HELD_BYTES_MAX,
            )
            if statement.is_read and self.are_rows_wanted(case):
                kept.begin(stream.schema)
            detect, keys = self.world.detector.detect, self.world.keys
            yield None
            prepare_undo(self.world, case, stream)
            for batch in stream:
                masked, found = masking.mask(batch, plan, detect, keys)
                summary.count(found)
                hashes = [cell_hashes(column) for column in masked.columns]
                fingerprinter.update(masked, hashes)
                profile.update(masked, hashes)
                kept.write(masked)
                summary.rows_read += masked.num_rows
                summary.bytes_read += masked.nbytes
                summary.batches += 1
                yield masked
            summary.rows_affected = stream.rows_affected
            summary.is_truncated = stream.is_truncated
            if statement.is_read:
                fingerprint = fingerprinter.finish(key=self.fingerprint_key(case))
                version = self.identify(case, summary, fingerprint, columns, profile)
                order = order_of(fingerprint, columns, self.world.signer.mac)
                self.keep_version(case, summary, version, order=order, sources=stream.sources)
            self.recorder.outcome(case, "ok", summary=summary)
            if summary.version is not None:
                kept.keep(rows_key(summary.version))
            self.tell_runs(summary)
        except BaseException as error:
            self.recorder.failure(case, error, summary=summary)
            raise
        finally:
            kept.end()
            stream.close()

    def is_profile_wanted(self, case: Case) -> bool:
        """Whether the result is named, or belongs to a run that is open now."""
        asked = case.request
        is_open = asked.is_tracked or any(store.active_run() for store in self.world.runs())
        return bool(asked.dataset) or is_open

    def are_rows_wanted(self, case: Case) -> bool:
        """Whether the rows of the result are to be kept."""
        match self.world.rows_kept:
            case "none":
                return False
            case "named":
                return bool(case.request.dataset)
            case "training":
                return self.is_profile_wanted(case)

    def fingerprint_key(self, case: Case) -> bytes | None:
        """The key of the fingerprint, where the policy says that equality itself is sensitive."""
        assert case.policy is not None
        assert case.statement is not None
        assert case.catalog is not None
        tables = tables_seen(case.statement, case.catalog)
        # Security: a view that could not be traced may show any table that is to be keyed.
        is_any = bool(case.policy.drift.keyed) and names_untraced(case.statement, case.catalog)
        if not (is_any or case.policy.is_keyed(case.request.connection, tables)):
            return None
        return key_of(self.world.signer.mac, "fingerprint")

    def identify(
        self,
        case: Case,
        summary: Summary,
        fingerprint: Fingerprint,
        columns: ResultColumns,
        profile: DeferredProfile,
    ) -> DatasetVersion:
        """Stage 10: name the version of what was delivered."""
        version = identify_version(
            case,
            fingerprint=fingerprint,
            columns=columns,
            masked=summary.masked,
            mac=self.world.signer.mac,
            profile=profile.finish() if profile.is_wanted else {},
        )
        if not profile.is_wanted:
            self.profiles.keep(version.version_id, profile)
        return version

    def keep_version(
        self,
        case: Case,
        summary: Summary,
        version: DatasetVersion,
        *,
        order: str,
        sources: tuple[SourceVersion, ...],
    ) -> None:
        """Stage 10: keep the version of what was delivered, and who got it."""
        assert case.decision is not None
        assert case.principal is not None
        assert case.receipt is not None
        delivery = Delivery(
            read_id=case.id,
            version_id=version.version_id,
            name=version.name,
            principal=case.principal.name,
            decision="permit",
            rules=case.decision.rules,
            record=case.receipt.index,
            receipt=str(case.receipt),
            at=self.world.clock.now(),
            sources=sources,
            policy_revision=self.world.policy.revision(),
            ticket=case.approval.ticket if case.approval else "",
            order=order,
        )
        self.world.datasets.put(version, delivery)
        summary.version, summary.delivery = version, delivery

    def tell_runs(self, summary: Summary) -> None:
        """Let run stores bind the delivery to an active run. They never raise."""
        if summary.version is not None and summary.delivery is not None:
            for store in self.world.runs():
                store.delivered(summary.version, summary.delivery)
