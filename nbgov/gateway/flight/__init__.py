"""The data plane: Arrow Flight SQL, for every tool that speaks it, and for nbgov's own client.

The protocol, with what is refused and why, is written down in ``docs/spec/gateway.md``.
"""
