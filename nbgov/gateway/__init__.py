"""The gateway: the pipeline behind a socket, under a user of its own.

Two planes share one :class:`~nbgov.gateway.house.House`. The data plane (``flight``) speaks Arrow
Flight SQL; the control plane (``control`` and ``pages``) takes proofs of identity for tokens, and
serves approvals, the audit log and what an operator needs. Both translate and decide nothing.
"""
