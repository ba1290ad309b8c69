"""What a delivered frame says of itself, looked up where its session keeps state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbgov.errors import BackendFailed, ConfigInvalid, IdentityFailed
from nbgov.model import DatasetVersion, Delivery
from nbgov.session import SEEN, Session, connect
from nbgov.session.tracking import delivered
from nbgov.wiring import run_store


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


def track(
    data: Any,
    *,
    run_id: str | None = None,
    context: str = "training",
    labels: Sequence[str] = (),
) -> str:
    """Bind a governed frame or result to a training run, whichever session delivered it.

    Where ``%%govsql`` delivered the frame, there is no session at hand to ask.

    Args:
        data: A result that was read, or a DataFrame made from one.
        run_id: The run; the active MLflow run when left out.
        context: ``training``, ``validation`` or another word for the run page.
        labels: The columns that the run learns to predict.

    Returns:
        The id of the run.

    Raises:
        RequestInvalid: The data was not delivered by nbgov in a state that this process can see, or
            there is no run.
    """
    delivery = delivered(data, delivery_of)
    return run_store().track(delivery, run_id=run_id, context=context, labels=labels)


def delivery_of(mark: Mapping[str, str]) -> Delivery | None:
    """The delivery behind a mark."""
    found = lookup(mark)
    return found[1] if found is not None else None
