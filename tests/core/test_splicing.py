"""Splicing: what stands in the place of a finding, and which operator wins where findings meet."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
import pytest

from nbgov.core.masking import MaskingPlan, mask
from nbgov.core.masks import Keys
from nbgov.core.pseudonym import token
from nbgov.errors import ConfigInvalid
from nbgov.model import ContentMask

KEY = b"k" * 32
Finding = tuple[str, int, int, float]


def spliced(
    text: str, findings: Iterable[Finding], operators: dict[str, str], *, rows: int = 1
) -> list[str]:
    """One text in so many rows, with these findings replaced."""

    def detect(values: pa.Array, **_: object) -> pa.Table:
        names = ("entity", "start", "end", "score")
        found = [{"value": 0} | dict(zip(names, one, strict=True)) for one in findings]
        assert len(values) == 1
        return pa.Table.from_pylist(found)

    content = ContentMask(("A", "B"), 0.0, "en", tuple(operators.items()))
    batch = pa.record_batch({"note": [text] * rows})
    masked, _ = mask(batch, MaskingPlan(content, {0: ()}, {}), detect, lambda: Keys(KEY))
    return masked["note"].to_pylist()


def test_an_entity_without_an_operator_reads_as_its_name() -> None:
    """Redaction leaves the name of what was found."""
    assert spliced("I am Ada.", [("A", 5, 8, 1.0)], {}) == ["I am <A>."]
    assert spliced("I am Ada.", [("A", 5, 8, 1.0)], {"A": "redact"}) == ["I am <A>."]


def test_a_token_in_text_is_the_token_of_the_column() -> None:
    """What is found reads as the same pseudonym that a masked column of it would show."""
    assert spliced("I am Zoë.", [("A", 5, 8, 1.0)], {"A": "token"}) == [
        f"I am {token('Zoë', KEY)}."
    ]


def test_equal_findings_read_alike_in_every_row_and_result() -> None:
    """A surrogate is the same wherever its value stands, and is not the value."""
    found = [("A", 0, 12, 1.0), ("A", 20, 32, 0.9)]
    rows = spliced("Ada Lovelace writes Ada Lovelace", found, {"A": "surrogate:name"}, rows=3)
    again = spliced("Ada Lovelace", [("A", 0, 12, 1.0)], {"A": "surrogate:name"})
    assert len(set(rows)) == 1
    first, second = rows[0].split(" writes ")
    assert first == second == again[0]
    assert not re.search("Ada|Lovelace", rows[0])


def test_a_part_is_kept_of_what_was_found_only() -> None:
    """Partial keeps the end of the finding, and nothing is lost around it."""
    assert spliced("pay 4111111111111111 now", [("A", 4, 20, 1.0)], {"A": "partial:4"}) == [
        "pay ***1111 now"
    ]


@pytest.mark.parametrize(
    ("findings", "operators", "expected"),
    [
        # The span is wider than what the winner found, so its operator knows nothing of the rest.
        ([("A", 0, 6, 1.0), ("B", 4, 8, 0.5)], {"A": "token", "B": "token"}, "<A>"),
        # B would show nothing of the same characters, so A shows nothing either.
        ([("A", 0, 8, 1.0), ("B", 0, 8, 0.5)], {"A": "partial:4"}, "<A>"),
        ([("A", 0, 8, 1.0), ("B", 2, 8, 0.5)], {"A": "keep"}, "<A>"),
        # Both agree on what may be seen.
        (
            [("A", 0, 8, 1.0), ("B", 0, 8, 0.5)],
            {"A": "partial:2", "B": "partial:2"},
            "***78",
        ),
        # A token shows no part, whatever lies under it.
        ([("A", 0, 8, 1.0), ("B", 2, 4, 0.5)], {"A": "token"}, token("12345678", KEY)),
    ],
    ids=["wider", "disputed", "kept-under-redacted", "agreed", "token-covers"],
)
def test_where_findings_meet_the_one_that_shows_least_decides(
    findings: list[Finding], operators: dict[str, str], expected: str
) -> None:
    """An operator that keeps a part counts only where every finding beneath it asks for the same."""
    assert spliced("12345678", findings, operators) == [expected]


def test_an_operator_with_a_key_needs_one() -> None:
    """Without a key nothing is released, and the error says how to name one."""
    content = ContentMask(("A",), 0.0, "en", (("A", "token"),))

    def detect(_: pa.Array, **__: object) -> pa.Table:
        return pa.table({"value": [0], "entity": ["A"], "start": [0], "end": [1], "score": [1.0]})

    with pytest.raises(ConfigInvalid, match="key-missing"):
        mask(pa.record_batch({"note": ["Ada"]}), MaskingPlan(content, {0: ()}, {}), detect)


def test_an_operator_without_a_key_asks_for_none() -> None:
    """What keeps a part of a finding works where there is no key at all."""
    content = ContentMask(("A",), 0.0, "en", (("A", "partial:2"),))

    def detect(_: pa.Array, **__: object) -> pa.Table:
        return pa.table({"value": [0], "entity": ["A"], "start": [0], "end": [8], "score": [1.0]})

    batch = pa.record_batch({"note": ["12345678"]})
    masked, found = mask(batch, MaskingPlan(content, {0: ()}, {}), detect)
    assert (masked["note"].to_pylist(), found) == (["***78"], {"note": {"A": 1}})
