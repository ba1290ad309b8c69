"""Writes what was kept while MLflow was away. Doing it twice changes nothing.

Cases: ``tests/surfaces/test_mlflow.py`` and ``tests/mlflow/test_server.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient, get_tracking_uri

import nbgov
from mlflow_plugin import spool
from mlflow_plugin.binding import Work, lock_of, write_down
from mlflow_plugin.captured import Facts, add_told, adopt, recorded
from mlflow_plugin.inputs import TIERS, governed_inputs
from mlflow_plugin.pages import write
from mlflow_plugin.spool import Binding, Spooled
from mlflow_plugin.training import Foreign, counted

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

TEXTS = ("code", "environment", "packages", "models")


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one run.

    Attributes:
        run_id: The run.
        is_written: Whether its page is up to date now.
        told: What was written, or why nothing was.
    """

    run_id: str
    is_written: bool
    told: str


def sync(state: Path, run_id: str = "") -> Iterator[Synced]:
    """Write what is kept in a state folder: of one run, or of all.

    A run of which nothing is kept has its page written again from what MLflow and nbgov hold.

    Args:
        state: The state folder.
        run_id: The run; all of them when left out.
    """
    spool.away.clear()
    paths = spool.files(state, run_id)
    for path in paths:
        entry = spool.read(path)
        if entry is None:
            yield Synced(path.name, is_written=False, told="the file is not what nbgov writes")
            continue
        yield attempted(entry.run_id, entry)
    if run_id and not paths:
        yield attempted(run_id, None)


def attempted(run_id: str, entry: Spooled | None) -> Synced:
    """Write one file's work, or a page anew; a file goes when it is written, and not before."""
    try:
        count = written(run_id, entry)
    except nbgov.NbgovError as error:
        return Synced(run_id, is_written=False, told=str(error))
    except Exception as error:  # noqa: BLE001 - one run that fails must not keep the others
        return Synced(run_id, is_written=False, told=f"MLflow raised {type(error).__name__}")
    if entry is not None:
        entry.path.unlink(missing_ok=True)
    return Synced(run_id, is_written=True, told=counted(count, "governed input"))


def written(run_id: str, entry: Spooled | None) -> int:
    """Write a run's inputs and its page, and return how many governed inputs it has."""
    current = str(get_tracking_uri())
    uri = current if entry is None or spool.bare(current) == entry.uri else entry.uri
    spool.reach(uri)
    client = MlflowClient(uri)
    bindings = tuple(decoded(run_id, one) for one in entry.bindings) if entry is not None else ()
    with lock_of(run_id):
        run = client.get_run(run_id)
        # What this process runs with says nothing about the training.
        facts = recorded(client, run)
        add_told(facts, run)
        if entry is not None:
            fill(facts, entry.facts)
        adopt(client, run, facts)
        write_down(client, run_id, Work(bindings, is_page_due=False), nbgov.lookup)
        run = client.get_run(run_id)
        refuse_strangers(run, facts)
        write(client, run, governed_inputs(run), nbgov.lookup)
        return len(governed_inputs(run))


def decoded(run_id: str, stated: Mapping[str, Any]) -> Binding:
    """A binding that was kept.

    Raises:
        RequestInvalid: Its version is not kept here any more, or the file was changed.
    """
    mark, tier, context = stated.get("mark"), stated.get("tier"), stated.get("context")
    pair = nbgov.lookup(mark) if isinstance(mark, dict) else None
    if pair is None or tier not in TIERS or not isinstance(context, str):
        raise nbgov.RequestInvalid(
            "A dataset version that was read is not in the dataset store of this nbgov.yaml.",
            code="usage",
            next_step="Run the command with the configuration that the training ran with.",
        )
    labels = tuple(one for one in stated.get("labels", ()) if isinstance(one, str))
    return Binding(run_id, *pair, context, tier, labels)


def fill(facts: Facts, kept: Mapping[str, Any]) -> None:
    """Add what the training process knew to what the record on the page states."""
    for name in TEXTS:
        stated = kept.get(name)
        if not getattr(facts, name) and isinstance(stated, dict):
            setattr(facts, name, {str(key): str(value) for key, value in stated.items()})
    shares = kept.get("importance")
    if not facts.importance and isinstance(shares, dict):
        facts.importance = {
            str(name): float(share)
            for name, share in shares.items()
            if isinstance(share, int | float)
        }
        facts.made = str(kept.get("made", ""))
    for one in kept.get("foreign", ()):
        if isinstance(one, dict) and isinstance(one.get("words"), str):
            names = tuple(str(name) for name in one.get("names", ()))
            facts.add_foreign([Foreign(one["words"], int(one.get("rows", 0)), names)])
    labels = kept.get("labels")
    for version_id, columns in labels.items() if isinstance(labels, dict) else ():
        facts.add_labels(str(version_id), (str(column) for column in columns))


def refuse_strangers(run: MlflowRun, facts: Facts) -> None:
    """Leave alone a run that nbgov has no part in.

    Raises:
        RequestInvalid: The run has no governed input and no ungoverned one.
    """
    if not governed_inputs(run) and not facts.foreign:
        raise nbgov.RequestInvalid(
            f"Run {run.info.run_id} has no input that nbgov knows of.",
            code="usage",
            next_step="Bind one with session.track(frame, run_id=...).",
        )
