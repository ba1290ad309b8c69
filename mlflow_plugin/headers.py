"""Which nbgov session a request to an MLflow server comes from: two request headers.

A claim that helps to join two logs, and no proof: whoever sends a request chooses its headers.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

try:
    from mlflow.tracking.request_header.abstract_request_header_provider import (
        RequestHeaderProvider,
    )

    from mlflow_plugin.context import open_sessions
except Exception as error:  # MLflow survives an ImportError of a plugin, and nothing else.
    raise ImportError("nbgov's request headers need mlflow.tracking") from error


class GovernedHeaders(RequestHeaderProvider):
    """Adds the session's id to requests that are sent while a session is open in this process."""

    def in_context(self) -> bool:
        """Whether a session is open."""
        return bool(open_sessions())

    def request_headers(self) -> dict[str, str]:
        """The session's id, and nbgov's version, which MLflow appends to its own user agent."""
        from nbgov import __version__

        # Security: a header ends at a line break, so nothing but letters and digits goes in.
        session = "".join(filter(str.isalnum, "".join(open_sessions()[-1:])))
        return {"X-Nbgov-Session": session, "User-Agent": f"nbgov/{__version__}"}
