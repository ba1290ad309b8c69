"""Which nbgov session a new MLflow run was started in: two short tags.

MLflow makes one instance per process while it is itself half imported, and asks it for every run,
for every dataset that autolog logs and for every model. So the answer is cheap, short and made of
strings: anything else would make ``start_run`` fail. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import sys

try:
    from mlflow.tracking.context.abstract_context import RunContextProvider
except Exception as error:  # MLflow survives an ImportError of a plugin, and nothing else.
    raise ImportError("nbgov's run context needs mlflow.tracking") from error

TAG_MAX = 100


class GovernedContext(RunContextProvider):
    """Tags runs that start while a session of nbgov is open in this process."""

    def in_context(self) -> bool:
        """Whether a session is open; if so, see to it that autologged trainings are noticed."""
        if not open_sessions():
            return False
        from mlflow_plugin.autolog import install

        install()
        return True

    def tags(self) -> dict[str, str]:
        """The session's id and nbgov's version."""
        from nbgov import __version__

        session = "".join(open_sessions()[-1:])
        return {"nbgov.session": session[:TAG_MAX], "nbgov.v": __version__[:TAG_MAX]}


def open_sessions() -> tuple[str, ...]:
    """Ids of the sessions that are open in this process, without importing nbgov to find out."""
    if "nbgov.session" not in sys.modules:
        return ()
    from nbgov import Session

    return tuple(Session.open_ids())
