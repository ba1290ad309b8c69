r"""A person's consent to one exact statement, as a value that moves from state to state.

This package knows no clock and no store; the time and the ticket's name come in, and a store makes
each step atomic by comparing what was read with what is there
(:class:`nbgov.ports.ApprovalStore`). ``steps`` are the transitions, ``rules`` what they and every
store hold them against, ``binding`` what a consent is about, and ``rows`` how stores write tickets
down. ``docs/concepts/approvals.md`` says it for people; the cases are in
``tests/core/test_approval.py``::

    requested --votes--> approved --consume--> consumed      (once)
        |  \                |   \--consume--> approved        (a window: used again until it ends)
        |   \--deny--> denied |--revoke--> revoked
        |--break glass--> approved, once, to be reviewed
        \--- cancel (requester, or nbgov) or time runs out ---> cancelled, expired
"""

from nbgov.core.approval.binding import (
    BIND_CHARS_MAX,
    binding,
    conditions,
    describe_binds,
    exact,
    prefixed,
    read_binds,
    write_binds,
)
from nbgov.core.approval.rules import (
    LIVE,
    SYSTEM,
    conflict,
    covers,
    deadline,
    folded,
    forged,
    glass_not_permitted,
    has_quorums,
    has_run_out,
    is_eligible,
    is_fresh,
    is_step,
    latest,
    moments,
    require_fresh,
    require_step,
)
from nbgov.core.approval.steps import (
    Asked,
    break_glass,
    cancel,
    consume,
    expire,
    open_ticket,
    quorums_of,
    review,
    revoke,
    supersede,
    vote,
)

__all__ = [
    "BIND_CHARS_MAX",
    "LIVE",
    "SYSTEM",
    "Asked",
    "binding",
    "break_glass",
    "cancel",
    "conditions",
    "conflict",
    "consume",
    "covers",
    "deadline",
    "describe_binds",
    "exact",
    "expire",
    "folded",
    "forged",
    "glass_not_permitted",
    "has_quorums",
    "has_run_out",
    "is_eligible",
    "is_fresh",
    "is_step",
    "latest",
    "moments",
    "open_ticket",
    "prefixed",
    "quorums_of",
    "read_binds",
    "require_fresh",
    "require_step",
    "review",
    "revoke",
    "supersede",
    "vote",
    "write_binds",
]
