"""What stands in free text in the place of what was found."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.masks import Operator, cover, parse_operator, replacements
from nbgov.core.masks.names import GIVEN, PLACES
from nbgov.core.pseudonym import token
from tests.core.mask_scene import KEYS, OPERATORS, TEXTS


def replaced(text: str, entity: str, operator: str) -> str:
    """What stands in the place of one piece of text."""
    return str(replacements(pa.array([text]), entity, parse_operator(operator), KEYS)[0])


@pytest.mark.parametrize(
    ("text", "entity", "operator", "made"),
    [
        ("Ada", "PERSON", "redact", "<PERSON>"),
        ("Ada", "PERSON", "redact:[gone]", "[gone]"),
        ("Ada", "PERSON", "null", "<PERSON>"),
        ("Ada", "PERSON", "keep", "Ada"),
        ("Ada", "PERSON", "date-shift:30", "<PERSON>"),
        ("2024-05-17", "DATE_TIME", "date-shift:30", "<DATE_TIME>"),
        ("2024-05-17", "DATE_TIME", "year", "2024"),
        ("17 May 2024", "DATE_TIME", "year", "2024"),
        ("17 May 2024", "DATE_TIME", "month", "<DATE_TIME>"),
        ("next week", "DATE_TIME", "year", "<DATE_TIME>"),
        ("02139", "ZIP", "zip:3", "021"),
        ("Boston", "LOCATION", "zip:3", "<LOCATION>"),
        ("104", "AGE", "age", "90+"),
        ("37", "AGE", "bucket:10", "<AGE>"),
        ("4111 1111 1111 1234", "CREDIT_CARD", "partial:4", "***1234"),
        ("12345", "PIN", "partial:4", "<PIN>"),
        ("12345", "PIN", "ff1", "<PIN>"),
        ("Danish", "NRP", "surrogate", "<NRP>"),
    ],
)
def test_what_cannot_be_covered_reads_as_its_entity(
    text: str, entity: str, operator: str, made: str
) -> None:
    """Operators work on pieces of text as on columns, with the entity's name where they cannot."""
    assert replaced(text, entity, operator) == made


def test_a_surrogate_is_that_of_the_column() -> None:
    """A name in a text reads like the same name in a column, by the kind of the entity."""
    in_column = cover(pa.array(["Ada Lovelace"]), Operator("surrogate"), keys=KEYS, domain="name")
    assert replaced("Ada Lovelace", "PERSON", "surrogate") == in_column[0].as_py()
    assert replaced("Boston", "LOCATION", "surrogate") in PLACES
    assert replaced("Ada", "PERSON", "surrogate") in GIVEN
    assert replaced("Danish", "NRP", "surrogate:place") in PLACES
    assert "@example." in replaced("ada@acme.test", "EMAIL_ADDRESS", "surrogate")
    assert "555-01" in replaced("+44 20 7946 0958", "PHONE_NUMBER", "surrogate")


def test_a_token_is_that_of_the_column_too() -> None:
    """What is found in a text joins with a column that holds it."""
    assert replaced("ada@acme.test", "EMAIL_ADDRESS", "token") == token(
        "ada@acme.test", KEYS.current
    )


@given(
    st.lists(TEXTS, max_size=10),
    st.sampled_from(OPERATORS),
    st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]),
)
def test_every_operator_gives_as_many_texts_of_the_type(
    texts: list[str], text: str, kind: pa.DataType
) -> None:
    """No replacement is null, and none that hides is the text itself."""
    operator = parse_operator(text)
    found = pa.array(texts, kind)
    made = replacements(found, "PERSON", operator, KEYS)
    assert made.type == kind
    assert len(made) == len(found)
    assert made.null_count == 0
    if not operator.keeps_part:
        assert not any(a == b for a, b in zip(made.to_pylist(), texts, strict=True))
