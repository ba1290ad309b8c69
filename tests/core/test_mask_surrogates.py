"""Surrogates: plausible, the same for equal values, and never the value itself."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.masks import Keys
from nbgov.core.masks.names import AREAS, DOMAINS, FAMILY, GIVEN, PLACES
from nbgov.core.masks.surrogates import APART, MAKERS, other
from tests.core.mask_scene import TEXTS, masked

PHONE = re.compile(r"(?:\+?1[ .-]?)?\(?([2-9]\d\d)?\)?[ .-]?555[ .-]?01\d\d")


@pytest.mark.parametrize("table", [GIVEN, FAMILY, PLACES, AREAS, DOMAINS])
def test_a_table_holds_each_name_once(table: tuple[str, ...]) -> None:
    """No name is twice in its table, and none has a blank that would look like two."""
    assert len(set(table)) == len(table)
    assert all(name.strip() == name and " " not in name for name in table)


def test_the_tables_stay_as_they_are() -> None:
    """A table that grows or shrinks changes the surrogates that people have in their data."""
    assert [len(table) for table in (GIVEN, FAMILY, PLACES, AREAS)] == [200, 200, 147, 168]
    assert all(APART % len(table) for table in (GIVEN, FAMILY, PLACES, AREAS))


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("Ada Lovelace", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ("ADA KING LOVELACE", r"[A-Z]+ [A-Z]+"),
        ("ada", r"[a-z]+"),
        ("Lovelace, Ada", r"[A-Z][a-z]+, [A-Z][a-z]+"),
        ("ada.lovelace@acme.test", r"[a-z]+\.[a-z]+@example\.(com|org|net)"),
        ("ada_l99@acme.test", r"[a-z]+_[a-z]+\d\d@example\.(com|org|net)"),
        ("ADA@ACME.TEST", r"[A-Z]+@EXAMPLE\.(COM|ORG|NET)"),
        ("212-736-5000", r"[2-9]\d\d-555-01\d\d"),
        ("+1 (212) 736-5000", r"\+1 \([2-9]\d\d\) 555-01\d\d"),
        ("2127365000", r"[2-9]\d\d55501\d\d"),
        ("736-5000", r"555-01\d\d"),
        ("+44 20 7946 0958", r"\+1 [2-9]\d\d-555-01\d\d"),
        ("", r"[A-Z][a-z]+"),
    ],
)
def test_a_surrogate_looks_like_what_it_stands_for(value: str, shape: str) -> None:
    """Case, order, e-mail and phone shapes are kept, in ranges that belong to nobody."""
    [made, nothing] = masked([value, None], "surrogate")
    assert re.fullmatch(shape, made), made
    assert nothing is None


@pytest.mark.parametrize(
    "values",
    [
        ["Ada Lovelace", "ada  lovelace", "ADA LOVELACE"],
        ["ada@acme.test", "Ada@ACME.test"],
        ["212-736-5000", "(212) 736 5000", "2127365000"],
    ],
)
def test_spelling_does_not_change_whom_a_surrogate_stands_for(values: list[str]) -> None:
    """Case, blanks and the punctuation of numbers do not count."""
    made = [re.sub(r"[\W_]", "", text).lower() for text in masked(values, "surrogate")]
    assert len(set(made)) == 1


@given(st.lists(TEXTS, max_size=20), st.sampled_from(["", ":name", ":email", ":phone", ":place"]))
def test_a_surrogate_is_the_same_in_every_column_and_never_the_value(
    values: list[str], kind: str
) -> None:
    """The domain does not count, and nothing stands for itself."""
    made = masked(pa.array(values, pa.string()), f"surrogate{kind}")
    assert masked(pa.array(values, pa.string()), f"surrogate{kind}", domain="elsewhere") == made
    assert all(new.casefold() != old.casefold() for new, old in zip(made, values, strict=True))


def test_a_kind_may_be_named() -> None:
    """What the operator names goes before what a value looks like."""
    [name, email, phone, place] = (
        masked(["Ada"], f"surrogate:{k}")[0] for k in ("name", "email", "phone", "place")
    )
    assert name in GIVEN
    assert email.rpartition("@")[2] in DOMAINS
    assert PHONE.fullmatch(phone)
    assert place in PLACES


@pytest.mark.parametrize("kind", sorted(MAKERS))
@given(number=st.integers(0, 2**64 - 1), text=TEXTS)
def test_what_is_drawn_for_itself_is_drawn_again(kind: str, number: int, text: str) -> None:
    """A value that is its own surrogate gets another one, whatever the number and the case."""
    make = MAKERS[kind]
    same = make(text, number)
    assert make(same, number).casefold() == same.casefold() or kind in {
        "email",
        "phone",
        "name",
        "place",
    }
    for value in (same, same.upper(), same.lower()):
        assert other(value, make, number).casefold() != value.casefold()


def test_another_key_is_another_world() -> None:
    """Under another key nearly everybody has another name, and many names are in use."""
    values = [f"Person {n}" for n in range(1000)]
    made, others = masked(values, "surrogate"), masked(values, "surrogate", keys=Keys(b"another"))
    assert sum(a == b for a, b in zip(made, others, strict=True)) < 5
    assert len(set(made)) > 950


@given(st.from_regex("[+(]?[0-9\u0660-\u0669][0-9 ().x/\u0660-\u0669-]{5,20}", fullmatch=True))
def test_a_phone_is_of_the_fictitious_range(text: str) -> None:
    """Whatever a number looks like, its surrogate is one that nobody has."""
    [made] = masked([text], "surrogate:phone")
    assert "55501" in "".join(c for c in made if c.isdecimal())
    assert made.isascii()
