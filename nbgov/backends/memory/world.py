"""The small ports in RAM, and a whole world of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from nbgov.backends.memory.audit_index import MemoryAuditIndex
from nbgov.backends.memory.audit_log import MemoryAuditLog
from nbgov.backends.memory.faults import Faults
from nbgov.backends.memory.machine import MemoryClock, MemorySigner
from nbgov.backends.memory.releases import MemoryReleaseStore
from nbgov.backends.memory.stores import MemoryApprovalStore, MemoryDatasetStore, MemoryRowStore
from nbgov.core.masks import Keys
from nbgov.errors import ConfigInvalid, IdentityFailed, RequestInvalid
from nbgov.model import Principal
from nbgov.ports import Detector, Engine, RunStore, World

FINDINGS = pa.schema(
    {
        "value": pa.int64(),
        "entity": pa.string(),
        "start": pa.int64(),
        "end": pa.int64(),
        "score": pa.float64(),
        "recognizer": pa.string(),
    }
)


class MemoryPolicySource:
    """A :class:`~nbgov.ports.PolicySource` whose text a test may assign; ``None`` is absent."""

    def __init__(self, policy: str | None) -> None:
        self.policy = policy

    def text(self) -> str:
        """The policy as it stands now.

        Raises:
            ConfigInvalid: There is none.
        """
        if self.policy is None:
            raise ConfigInvalid("There is no policy.", code="policy-missing")
        return self.policy

    def revision(self) -> str:
        """No commit."""
        return ""


class MemoryIdentity:
    """An :class:`~nbgov.ports.IdentityProvider` with declared principals.

    Args:
        principals: Who can be claimed. Without a claim, the first of them asks.
    """

    def __init__(self, principals: Sequence[Principal]) -> None:
        self.principals = {principal.name: principal for principal in principals}

    def identify(self, claim: str | None) -> Principal:
        """The principal behind a claim.

        Raises:
            IdentityFailed: The claim is not declared.
        """
        name = next(iter(self.principals), None) if claim is None else claim
        if name is None or name not in self.principals:
            raise IdentityFailed("The principal is not declared.")
        return self.principals[name]


class MemoryDetector:
    """A :class:`~nbgov.ports.Detector` that finds what it is told to find.

    ``faults`` knows the operation ``detect``.

    Args:
        patterns: Entity to a pattern or a text; each place where it occurs is a finding.
        score: Score of every finding.

    Example:
        >>> detector = MemoryDetector({"PERSON": "Ada"})
        >>> texts = pa.array(["Ada met Ada"])
        >>> detector.detect(texts, entities=["PERSON"], score_min=0.5, language="en")["start"]
        <pyarrow.lib.ChunkedArray object at ...>
        [
          [
            0,
            8
          ]
        ]
    """

    def __init__(self, patterns: Mapping[str, str | re.Pattern[str]], *, score: float = 1) -> None:
        self.patterns = {
            entity: re.compile(re.escape(found)) if isinstance(found, str) else found
            for entity, found in patterns.items()
        }
        self.score = score
        self.faults = Faults()

    def detect(
        self,
        values: pa.Array,
        *,
        entities: Sequence[str],
        score_min: float,
        language: str,  # noqa: ARG002 (a pattern matches in every language)
        context: Sequence[str] = (),  # noqa: ARG002 (and beside every word)
    ) -> pa.Table:
        """Findings in distinct, non-null strings, as the port orders them."""
        with self.faults.around("detect", code="detector-failed"):
            rows = sorted(
                (index, found.start(), found.end(), entity)
                for index, text in enumerate(values.to_pylist())
                for entity in set(entities) & self.patterns.keys()
                for found in self.patterns[entity].finditer(text)
                if self.score >= score_min
            )
        return pa.Table.from_pylist(
            [
                {
                    "value": index,
                    "entity": entity,
                    "start": start,
                    "end": end,
                    "score": self.score,
                    "recognizer": type(self).__name__,
                }
                for index, start, end, entity in rows
            ],
            FINDINGS,
        )


def memory_world(
    engines: Mapping[str, Engine],
    *,
    policy: str,
    principals: Sequence[Principal],
    detector: Detector | None = None,
    runs: Sequence[RunStore] = (),
) -> World:
    """Every port in RAM; any part can be exchanged with ``dataclasses.replace``.

    Args:
        engines: Connection name to engine.
        policy: Text of the policy.
        principals: Who can be claimed; without a claim, the first of them asks.
        detector: What finds entities; one that finds nothing by default.
        runs: Run stores.
    """

    def engine(connection: str) -> Engine:
        if connection not in engines:
            raise RequestInvalid("There is no such connection.", code="unknown-connection")
        return engines[connection]

    signer, clock = MemorySigner(), MemoryClock()
    return World(
        engine=engine,
        identity=MemoryIdentity(principals),
        policy=MemoryPolicySource(policy),
        approvals=MemoryApprovalStore(),
        datasets=MemoryDatasetStore(),
        audit=MemoryAuditLog(signer=signer),
        index=MemoryAuditIndex(),
        signer=signer,
        clock=clock,
        detector=detector or MemoryDetector({}),
        runs=lambda: runs,
        keys=lambda: Keys(b"a key for tests that nobody else uses"),
        rows=MemoryRowStore(),
        releases=MemoryReleaseStore(),
    )
