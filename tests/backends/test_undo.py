"""What was kept of a write brings its rows back exactly, on every product that it is kept of."""

from __future__ import annotations

import importlib
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core import undo, undo_images
from nbgov.core.catalog import write_name
from nbgov.core.statement import parse
from nbgov.core.statement.views import compose
from nbgov.model import Clearance, UndoImage

AT = datetime(2026, 1, 2, tzinfo=UTC)
# The values of one column by the name of its type; SQLite's columns hold values of any kind.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
INTEGERS = st.integers(-(2**31), 2**31 - 1)
FLOATS = st.floats(width=64)
DAYS = st.dates(date(1000, 1, 1), date(9999, 12, 31))
MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30))
ZONED = MOMENTS.map(lambda at: at.replace(tzinfo=timezone(timedelta(hours=2))))
TIMES = st.times()
FEES = st.decimals(-(10**8), 10**8, places=2)
BYTES = st.binary(max_size=9)
TYPES = {
    "duckdb": {
        "BOOLEAN": st.booleans(), "INTEGER": INTEGERS, "HUGEINT": st.integers(-(2**63), 2**63 - 1),
        "DOUBLE": FLOATS, "FLOAT": st.floats(width=32), "DECIMAL(12,2)": FEES, "VARCHAR": TEXT,
        "BLOB": BYTES, "DATE": DAYS, "TIME": TIMES, "TIMESTAMP": MOMENTS,
        "TIMESTAMP WITH TIME ZONE": ZONED, "UUID": st.uuids().map(str),
    },
    "sqlite": {
        "INTEGER": INTEGERS, "REAL": FLOATS, "TEXT": TEXT, "BLOB": BYTES, "NUMERIC": INTEGERS,
        "": st.one_of(INTEGERS, FLOATS, TEXT, BYTES),
    },
    "postgresql": {
        "boolean": st.booleans(), "integer": INTEGERS, "bigint": st.integers(-(2**63), 2**63 - 1),
        "double precision": FLOATS, "real": st.floats(width=32), "numeric(12,2)": FEES,
        "numeric": FEES, "text": TEXT, "character varying(20)": TEXT, "bytea": BYTES, "date": DAYS,
        "time without time zone": TIMES, "timestamp without time zone": MOMENTS,
        "timestamp with time zone": ZONED, "uuid": st.uuids().map(str),
        "jsonb": st.sampled_from(['{"a": [1, null]}', '"x"', "12345678901234567890.5"]),
        "json": st.sampled_from(['{"a" :  1}', "[]"]), "inet": st.just("10.0.0.0/8"),
        "interval": st.sampled_from(["1 month -3 days 04:05:06.5", "-1 year"]),
    },
    "mariadb": {
        "INT": INTEGERS, "BIGINT": st.integers(-(2**63), 2**63 - 1), "DECIMAL(12,2)": FEES,
        "DOUBLE": st.floats(allow_nan=False, allow_infinity=False), "DATE": DAYS,
        "VARCHAR(40) CHARACTER SET utf8mb4": TEXT, "VARBINARY(20)": BYTES, "DATETIME(6)": MOMENTS,
    },
}  # fmt: skip
PRODUCTS = ["duckdb", "sqlite", "postgresql", "mariadb"]


class House:
    """A database of one product, written to through its engine, by governed texts."""

    def __init__(self, product, request, folder):
        kind = {"mariadb": "sqlalchemy"}.get(product, product)
        module = {"sqlite": "sqlite.engine"}.get(kind, kind)
        if product in {"postgresql", "mariadb"}:
            url = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}[product]
            settings_ = {"url": request.getfixturevalue(url)}
        else:
            settings_ = {"path": ":memory:" if product == "duckdb" else str(folder / "house.db")}
            (folder / "house.db").touch()
        self.product = product
        opened = importlib.import_module(f"nbgov.backends.{module}").open_engine
        self.engine = opened("house", settings_)

    def run(self, sql, binds=None, *, keep=True, rows_max=1000):
        """Run a write, and keep what its rows were."""
        catalog = compose(self.engine.catalog())
        statement = parse(sql, catalog)
        image = undo.plan(
            statement, statement.sql, statement.binds, catalog=catalog, rows_max=rows_max
        )
        assert not keep or not isinstance(image, str), image
        clearance = Clearance(
            sql,
            binds or {},
            statement.binds,
            is_read=False,
            before=image if keep and not isinstance(image, str) else None,
        )
        stream = self.engine.execute(clearance)
        list(stream)
        return clearance.before, stream

    def define(self, sql):
        """Run a text that is nobody's."""
        list(self.engine.execute(Clearance(sql, {}, (), is_read=False)))

    def undo(self, image, stream):
        """Bring back what was kept of a write."""
        kept = UndoImage(
            "r1", "t1", "house", write_name(image.table), image.verb, "ada", image.key,
            tuple(column.name for column in image.columns), stream.before.num_rows, AT, AT,
            facts=undo_images.facts_of(image),
        )  # fmt: skip
        before, after = undo_images.unpack(kept, undo_images.payload(stream.before, stream.after))
        sql, binds = undo_images.compensation(kept, before)
        image, done = self.run(sql, binds, keep=image.verb == "UPDATE")
        assert done.rows_affected == len(before)
        if image is not None:
            now = undo_images.rows_of(done.before)
            assert undo_images.changed_since(kept, after, now) == 0

    def rows(self, table):
        """What the table holds, exactly."""
        found = []
        columns = compose(self.engine.catalog()).tables
        (held,) = (one for name, one in columns.items() if name.name == table)
        dialect = "mysql" if self.product == "mariadb" else self.engine.dialect
        picks = ", ".join(undo.read_form(column.name, dialect) for column in held.columns)
        for batch in self.engine.execute(
            Clearance(f"SELECT {picks} FROM {table}", {}, (), is_read=True)
        ):
            found += [
                tuple(row.values())
                for row in batch.rename_columns([c.name for c in held.columns]).to_pylist()
            ]
        return sorted(map(repr, found))


@pytest.fixture(scope="module", params=PRODUCTS)
def house(request, tmp_path_factory):
    opened = House(request.param, request, tmp_path_factory.mktemp("house"))
    yield opened
    opened.engine.close()


def drawn_table(data, product):
    """Columns and rows of a table."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(TYPES[product])), min_size=1, max_size=4))
    values = [st.none() | TYPES[product][kind] for kind in kinds]
    return kinds, data.draw(st.lists(st.tuples(*values), min_size=1, max_size=5))


@given(data=st.data())
@settings(max_examples=25)
def test_a_write_and_its_undo_leave_the_table_as_it_was(house, data):
    """For drawn types, values, keys and writes, the undo of a write gives back exactly the table."""
    kinds, rows = drawn_table(data, house.product)
    name = f"t{uuid.uuid4().hex[:12]}"
    is_wide = data.draw(st.booleans())
    keys = ("id", "part") if is_wide else ("id",)
    columns = ", ".join(f"c{place} {kind}" for place, kind in enumerate(kinds))
    key_type = "BIGINT NOT NULL"
    parts = ", ".join(f"{key} {key_type}" for key in keys)
    house.define(f"CREATE TABLE {name} ({parts}, {columns}, PRIMARY KEY ({', '.join(keys)}))")
    names = ", ".join([*keys, *(f"c{place}" for place in range(len(kinds)))])
    for number, row in enumerate(rows):
        own = (number, 7) if is_wide else (number,)
        marks = ", ".join(f":m{place}" for place in range(len(own) + len(row)))
        if house.product in {"duckdb", "postgresql"}:
            marks = ", ".join(
                f"CAST(:m{place} AS {kind})"
                for place, kind in enumerate([*(["BIGINT"] * len(own)), *kinds])
            )
            row = [None if value is None else as_text(value, house.product) for value in row]  # noqa: PLW2901
            own = [str(value) for value in own]
        binds = {f"m{place}": value for place, value in enumerate([*own, *row])}
        house.run(f"INSERT INTO {name} ({names}) VALUES ({marks})", binds, keep=False)
    before = house.rows(name)
    bound = data.draw(st.integers(0, len(rows)))
    where = data.draw(st.sampled_from(["", f" WHERE id < {bound}", f" WHERE id = {bound} -- x"]))
    new = data.draw(st.sampled_from(rows))
    place = data.draw(st.integers(0, len(kinds) - 1))
    if data.draw(st.booleans()):
        done = house.run(f"DELETE FROM {name}{where}")
    else:
        mark, value = ":new", new[place]
        if house.product in {"duckdb", "postgresql"}:
            mark = f"CAST(:new AS {kinds[place]})"
            value = None if value is None else as_text(value, house.product)
        done = house.run(f"UPDATE {name} SET c{place} = {mark}{where}", {"new": value})
    if done[1].before.num_rows:
        house.undo(*done)
    assert house.rows(name) == before
    house.define(f"DROP TABLE {name}")


def as_text(value, product):
    """A value as DuckDB and PostgreSQL read it in a cast."""
    if isinstance(value, bytes) and product == "postgresql":
        return f"\\x{value.hex()}"
    if isinstance(value, bytes):
        return "".join(f"\\x{byte:02X}" for byte in value)
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(value) if not isinstance(value, Decimal) else f"{value:f}"
