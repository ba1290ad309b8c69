"""The history of a dataset: its versions as they were delivered, and what each one changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nbgov.core.dataset_log import history
from nbgov.model import DatasetVersion, Delivery, SourceVersion

START = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = DatasetVersion(
    version_id="v1", content_id="c1", schema_id="s", name="train", connection="wh", dialect="duckdb",
    tables=("main.t",), statement="SELECT a, b FROM t WHERE a > ?", statement_mac="m", binds_mac="",
    binds=(), policy="p", rows=1000, columns=(("a", "int", "1a", 1000), ("b", "text", "", 9)),
    masked={}, literals=("l1",), tags={"a": ("public",)},
)  # fmt: skip


def reads(*ids: str, mark: str = "m") -> list[Delivery]:
    """Deliveries of these versions, one an hour, newest first."""
    source = SourceVersion("main.t", "duckdb-file", mark)
    found = [
        Delivery(
            f"r{place}", version, "train", "ada", "permit", (), place, "",
            START + timedelta(hours=place), (source,),
        )
        for place, version in enumerate(ids)
    ]  # fmt: skip
    return found[::-1]


def changes(after: DatasetVersion, *, marks: tuple[str, str] = ("m", "m")) -> tuple[str, ...]:
    """What a log says of a version that was delivered after the plain one."""
    after = replace(after, version_id="v2")
    first, second = reads("v1", mark=marks[0]), reads("v1", "v2", mark=marks[1])[:1]
    newest, oldest = history([*second, *first], {"v1": PLAIN, "v2": after})
    assert (newest.parent, oldest.parent, oldest.changes) == ("v1", "", ("first version",))
    return newest.changes


def test_a_history_follows_the_deliveries() -> None:
    """Reads of one version in a row are one step, and a version that comes back is a step again."""
    known = {"v1": PLAIN, "v2": replace(PLAIN, version_id="v2", content_id="c2", rows=1)}
    steps = history(reads("v1", "v1", "v2", "v1"), known)
    assert [step.version.version_id for step in steps] == ["v1", "v2", "v1"]
    assert [step.parent for step in steps] == ["v2", "v1", ""]
    assert [len(step.deliveries) for step in steps] == [1, 1, 2]
    assert (steps[2].first_at, steps[2].last_at) == (START, START + timedelta(hours=1))
    assert history([], {}) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy": "q"}, ("same rows", "another policy")),
        ({"statement": "x", "literals": ("l2",), "binds_mac": "b"}, ("same rows", "another statement")),
        ({"literals": ("l2",)}, ("same rows", "other literals")),
        ({"binds_mac": "b"}, ("same rows", "other bound values")),
        ({"connection": "other"}, ("same rows", "another connection")),
        ({"masked": {"b": "redact"}}, ("same rows", "other masks")),
        ({"content_id": "c2", "rows": 1250}, ("250 rows more (25.0 %)",)),
        ({"content_id": "c2", "rows": 999}, ("1 row less (0.1 %)",)),
        (
            {"content_id": "c2", "columns": (("a", "float", "1a", 1000), ("c", "text", "", 9))},
            ("without b", "with c", "a is float, was int"),
        ),
        (
            {"content_id": "c2", "columns": (("a", "int", "2a", 1000), ("b", "text", "2b", 20))},
            ("other values in a",),
        ),
        (
            {"content_id": "c2", "columns": (("a", "int", "2a", 9), ("b", "text", "", 9)), "tags": {}},
            (),
        ),
    ],
)  # fmt: skip
def test_what_changed_is_told_in_a_few_words(
    change: dict[str, object], words: tuple[str, ...]
) -> None:
    """Only digests that were kept in the same way are compared, and literals only of one text."""
    assert changes(replace(PLAIN, **change)) == words


def test_another_state_of_a_source_is_told() -> None:
    """Equal rows of a table that has changed are worth a word."""
    assert changes(PLAIN, marks=("m", "n")) == ("same rows", "another state of main.t")
