"""The control plane of a gateway: who is in, what waits for consent, and what was recorded."""
