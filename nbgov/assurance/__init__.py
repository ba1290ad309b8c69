"""What makes sure that a policy holds: proofs in two worlds, and the hardening of a server.

Nothing here decides about a statement. The pipeline is asked, on paper or over scratch databases,
and what is done to a server is printed and recorded first.
"""
