"""What a delivered frame says of itself, looked up where its session keeps state."""

from __future__ import annotations

from collections.abc import Mapping

from nbgov.errors import BackendFailed, ConfigInvalid, IdentityFailed
from nbgov.model import DatasetVersion, Delivery
from nbgov.session import SEEN, Session, connect


def lookup(mark: Mapping[str, str]) -> tuple[DatasetVersion, Delivery] | None:
    """The dataset version and delivery that a frame's ``attrs["nbgov"]`` names.

    Sessions that are open in this process are asked first, then the state of those that were, and
    last the ``nbgov.yaml`` nearby.
    """
    for session in Session.opened():
        found = look_in(session, mark)
        if found is not None:
            return found
    for path, claim in [*reversed(SEEN.items()), (None, None)]:
        try:
            with connect(path, as_=claim) as session:
                found = look_in(session, mark)
        except (ConfigInvalid, IdentityFailed, BackendFailed):
            continue
        if found is not None:
            return found
    return None


def look_in(session: Session, mark: Mapping[str, str]) -> tuple[DatasetVersion, Delivery] | None:
    """The version and delivery behind a mark, in one session's dataset store."""
    delivery = session.delivery(mark.get("read", ""))
    version = session.version(delivery.version_id) if delivery else None
    return (version, delivery) if version and delivery else None
