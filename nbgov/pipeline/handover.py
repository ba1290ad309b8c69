"""Stages 9 to 11: what happens to rows between the engine and the person who asked.

Batches are masked, counted and fingerprinted as they pass; the outcome is durable before the
stream ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, cast

from nbgov.core import masking
from nbgov.core.datasets import identify_version, outputs_in_clear
from nbgov.core.deferred import HELD_BYTES_MAX, DeferredProfile, DeferredProfiles
from nbgov.core.policy.tags import Classification
from nbgov.model import Delivery, Result, Summary

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.core.case import Case
    from nbgov.core.fingerprint import Fingerprinter
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
        try:
            plan = masking.plan(decision, stream.schema, statement.outputs)
            summary.masked = dict(plan.masked)
            names = stream.schema.names
            classification = Classification(policy, case.request.connection, catalog)
            clear = {*outputs_in_clear(statement, names, classification)}
            fingerprinter = Fingerprinter(stream.schema)
            is_wanted = self.is_profile_wanted(case)
            profile = DeferredProfile(
                dict.fromkeys(clear, "open"),
                stream.schema,
                held_bytes_max=0 if is_wanted else HELD_BYTES_MAX,
            )
            detect, keys = self.world.detector.detect, self.world.keys
            yield None
            for batch in stream:
                masked, found = masking.mask(batch, plan, detect, keys)
                summary.count(found)
                hashes = [cell_hashes(column) for column in masked.columns]
                fingerprinter.update(masked, hashes)
                profile.update(masked, hashes)
                summary.rows_read += masked.num_rows
                yield masked
            summary.rows_affected = stream.rows_affected
            summary.is_truncated = stream.is_truncated
            if statement.is_read:
                self.keep_version(case, summary, fingerprinter, clear, profile)
            self.recorder.outcome(case, "ok", summary=summary)
            self.tell_runs(summary)
        except BaseException as error:
            self.recorder.failure(case, error, summary=summary)
            raise
        finally:
            stream.close()

    def is_profile_wanted(self, case: Case) -> bool:
        """Whether the result is named, or belongs to a run that is open now."""
        return bool(case.request.dataset) or any(s.is_training() for s in self.world.runs())

    def keep_version(
        self,
        case: Case,
        summary: Summary,
        fingerprinter: Fingerprinter,
        clear: Collection[str],
        profile: DeferredProfile,
    ) -> None:
        """Stage 10: name the version of what was delivered, and who got it."""
        assert case.decision is not None
        assert case.principal is not None
        assert case.receipt is not None
        version = identify_version(
            case,
            fingerprint=fingerprinter.finish(),
            clear=clear,
            masked=summary.masked,
            mac=self.world.signer.mac,
            profile=profile.finish() if profile.is_wanted else {},
        )
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
        )
        self.world.datasets.put(version, delivery)
        if not profile.is_wanted:
            self.profiles.keep(version.version_id, profile)
        summary.version, summary.delivery = version, delivery

    def tell_runs(self, summary: Summary) -> None:
        """Let run stores bind the delivery to an active run. They never raise."""
        if summary.version is not None and summary.delivery is not None:
            for store in self.world.runs():
                store.delivered(summary.version, summary.delivery)
