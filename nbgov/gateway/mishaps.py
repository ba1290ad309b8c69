"""What people are told where the gateway itself failed: a number, under which its log has more."""

from __future__ import annotations

import logging
import uuid

from nbgov.errors import BackendFailed

LOGGER = logging.getLogger("nbgov.gateway")


def mishap(error: BaseException) -> BackendFailed:
    """The error to tell instead of one that nobody expected, which is logged."""
    reference = uuid.uuid4().hex[:12]
    # Security: a traceback names files, and may hold values; it stays where the operator is.
    LOGGER.error("internal error %s", reference, exc_info=error)
    return BackendFailed(
        "The gateway could not do that.",
        code="gateway-failed",
        why=f"something went wrong inside it, reference {reference}",
        next_step="ask its operator, whose log has more under this reference",
    )
