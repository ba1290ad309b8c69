"""What shows the rows of other tables inherits what those carry: views, partitions, heirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.policy import parse
from nbgov.core.policy.document import TAGGED_COLUMNS_MAX
from nbgov.core.policy.tags import Classification
from nbgov.core.statement.views import compose
from nbgov.model import Catalog, ContentMask, MaskKind, RowFilter, TableName
from tests.core.policy_scene import (
    ADA,
    ask,
    catalog,
    column,
    columns,
    name,
    statement,
    table,
    use,
    view,
)

POLICY = """
version: 1
tags:
  pii.email: ["wh.main.people.email"]
  pii.name: ["wh.main.people.name"]
  pii.born: ["wh.main.people.born"]
  public: ["wh.main.people.id", "wh.main.people.city"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read, create, insert]
    on: ["wh.main.*"]
    obligations: {masks: {pii.email: redact, pii.name: partial, pii.born: year}}
"""
PEOPLE = table("people", "id:INTEGER", "email", "name", "born:DATE", "city", "note")
CONTACTS = view(
    "contacts",
    {
        "id": ("people.id",),
        "mail": ("people.email",),
        "who": ("people.name",),
        "born": ("people.born",),
        "both": ("people.email", "people.name"),
        "place": ("people.id", "people.city"),
        "mixed": ("people.id", "people.note"),
        "one": (),
    },
)
HELD = catalog(PEOPLE, CONTACTS)


def masks(policy: str, text: str, held: Catalog = HELD) -> dict[str, str]:
    """The masks of a table by column."""
    decision = ask(policy, statement(use(text, "read", *read(text, held))), held)
    assert decision.is_permitted, decision.reason
    return {mask.column.name: mask.kind.value for mask in decision.masks}


def read(text: str, held: Catalog) -> list[str]:
    return [one.name for one in held.tables[name(text)].columns]


def test_a_view_inherits_the_masks_of_what_it_shows():
    """The strictest mask wins, and a mask that shows a part of a value is closed."""
    assert masks(POLICY, "contacts") == {
        "mail": "redact",
        "who": "redact",
        "born": "null",
        "both": "redact",
    }


def test_an_inherited_mask_names_its_tag():
    """The mask stands on the column of the view, with the tag of the base column."""
    [_, mask, *_] = ask(POLICY, statement(use("contacts", "read", "mail")), HELD).masks
    assert (mask.column, mask.tag) == (column("contacts.both"), "pii.email")


def test_a_view_is_classified_by_what_it_shows():
    """What is made of public columns is public; what is made of unclassified ones is scanned."""
    decision = ask(POLICY, statement(use("contacts", "read", *read("contacts", HELD))), HELD)
    assert decision.unclassified == columns("contacts.mixed", "contacts.one")
    assert any(isinstance(o, ContentMask) for o in decision.obligations)


def test_a_tag_of_the_view_itself_adds_up():
    """A tag on the view's own column gives its mask as it is, unless an inherited one is stricter."""
    tagged = POLICY.replace('pii.name: ["wh.main.people.name"]', 'pii.name: ["wh.main.people.name", "wh.main.contacts.place", "wh.main.contacts.mail"]')  # fmt: skip
    found = masks(tagged, "contacts")
    assert (found["place"], found["mail"]) == ("partial", "redact")


@pytest.mark.parametrize(
    ("pattern", "is_clear"),
    [
        ("wh.main.contacts.mail", True),
        ("wh.main.contacts.*", True),
        ("*.*.contacts.ma*", True),
        ("wh.main.*.mail", False),
        ("wh.main.contact?.mail", False),
        ("wh.main.contacts.who", False),
        ("other.main.contacts.mail", False),
    ],
)
def test_public_by_the_tables_own_name_declassifies(pattern, is_clear):
    """A public tag that spells the view's name out ends inheritance; a glob does not."""
    declassified = POLICY.replace("public: [", f'public: ["{pattern}", ')
    assert ("mail" not in masks(declassified, "contacts")) is is_clear


def test_a_mask_follows_from_the_rule_of_the_base_table():
    """A rule that masks the base table masks the view too, though another rule permits the view."""
    split = POLICY.replace('on: ["wh.main.*"]', 'on: ["wh.main.people"]') + (
        "  - {id: views, effect: permit, to: {names: ['*']}, actions: [read], on: ['wh.main.contacts']}\n"
    )
    assert masks(split, "contacts")["mail"] == "redact"


def test_a_rule_about_other_tables_masks_nothing_here():
    """Masks are for what a rule covers, and for what shows it."""
    other = POLICY.replace('on: ["wh.main.*"]', 'on: ["wh.main.orders"]') + (
        "  - {id: all, effect: permit, to: {names: ['*']}, actions: [read], on: ['wh.main.*']}\n"
    )
    assert masks(other, "contacts") == {}
    some = other.replace("wh.main.orders", "wh.main.people.name")
    assert masks(some, "people") == {"name": "partial"}


def test_a_forbid_follows_the_data():
    """Who may not read a base column may not read it through a view, unless it is declassified."""
    forbidden = POLICY + (
        "  - {id: no-mail, effect: forbid, to: {names: ['*']}, actions: [read], on: ['wh.main.people.email']}\n"
    )
    assert ask(forbidden, statement(use("contacts", "read", "mail")), HELD).rules == ("no-mail",)
    assert ask(forbidden, statement(use("contacts", "read", "id")), HELD).is_permitted
    declassified = forbidden.replace("public: [", 'public: ["wh.main.contacts.mail", ')
    assert ask(declassified, statement(use("contacts", "read", "mail")), HELD).is_permitted


def test_a_view_whose_rows_are_chosen_by_a_masked_column_is_denied():
    """Which rows there are would tell the values, unless the whole view is declared public."""
    held = catalog(PEOPLE, view("acme", {"id": ("people.id",)}, "people.id", "people.email"))
    asked = statement(use("acme", "read", "id"))
    decision = ask(POLICY, asked, held)
    assert not decision.is_permitted
    assert "main.people.email" in decision.reason
    assert ask(POLICY.replace("public: [", 'public: ["wh.main.acme.*", '), asked, held).is_permitted
    unmasked = POLICY.replace("pii.email: redact, ", "")
    assert ask(unmasked, asked, held).is_permitted
    nothing = POLICY.replace("masks: {pii.email: redact, pii.name: partial, pii.born: year}", "")
    assert ask(nothing, asked, held).is_permitted


@pytest.mark.parametrize("kind", ["view", "foreign"])
def test_what_cannot_be_traced_needs_tags_of_its_own(kind):
    """An untraced view shows nobody knows what, even when only its rows are counted."""
    held = catalog(PEOPLE, table("dark", "id", "city", kind=kind))
    assert "could not trace" in ask(POLICY, statement(use("dark", "read", "id")), held).reason
    assert not ask(POLICY, statement(use("dark")), held).is_permitted
    tagged = POLICY.replace("public: [", 'public: ["wh.main.dark.id", ')
    assert ask(tagged, statement(use("dark", "read", "id")), held).is_permitted
    assert not ask(tagged, statement(use("dark", "read", "id", "city")), held).is_permitted


def test_a_column_is_public_only_if_all_that_it_shows_is():
    """One other tag is enough, be it the column's own or inherited."""
    text = POLICY.replace("public: [", 'public: ["wh.*.people.name", "wh.*.c*.mail", ')
    held = Classification(parse(text), "wh", HELD)
    public = [c for c in ("people.id", "people.name", "people.note", "contacts.place", "contacts.mail") if held.is_public(column(c))]  # fmt: skip
    assert public == ["people.id", "contacts.place"]


# ---------------------------------------------------------------- rows

FILTERED = POLICY + (
    "  - {id: own, effect: permit, to: {names: [ada]}, actions: [read], on: ['wh.main.people.city'],"
    " obligations: {row_filter: \"city = 'Oslo'\"}}\n"
)


def filters(held: Catalog, text: str, policy: str = FILTERED) -> list[tuple[TableName, str]]:
    decision = ask(policy, statement(use(text, "read", "id")), held)
    assert decision.is_permitted, decision.reason
    return [(o.table, o.predicate) for o in decision.obligations if isinstance(o, RowFilter)]


def test_a_view_on_a_table_with_a_row_filter_is_denied_by_name():
    """No mask hides which rows a view shows."""
    decision = ask(FILTERED, statement(use("contacts", "read", "id")), HELD)
    assert not decision.is_permitted
    assert "main.people" in decision.reason
    assert ask(POLICY, statement(use("contacts", "read", "id")), HELD).is_permitted
    traced = compose(
        catalog(
            PEOPLE,
            table("heads", "n", kind="view", definition="SELECT count(*) FROM main.people"),
            table("more", "n", kind="view", definition="SELECT n FROM main.heads"),
        )
    )
    for text in ("heads", "more"):
        assert "main.people" in ask(FILTERED, statement(use(text)), traced).reason
    count = view("heads", {"n": ()}, sources=frozenset({name("people")}))
    assert "main.people" in ask(FILTERED, statement(use("heads")), catalog(PEOPLE, count)).reason


def test_partitions_and_heirs_share_row_filters_both_ways():
    """A filter of the parent holds for its partition, and one of the partition for the parent."""
    part = table("people_2026", "id:INTEGER", "email", "city", parents=(name("people"),))
    held = catalog(PEOPLE, part, table("other", "id"))
    assert filters(held, "people_2026") == [(name("people_2026"), "city = 'Oslo'")]
    assert filters(held, "other") == []
    whole = table("people", "id", "city", origins={"id": columns("people_2026.id")})
    narrow = FILTERED.replace("wh.main.people.city", "wh.main.people_2026.city")
    assert filters(catalog(whole, part), "people", narrow) == [(name("people"), "city = 'Oslo'")]


def test_partitions_and_heirs_share_tags():
    """A partition is masked as its parent is, in the parent's own way, and by name alone if needed."""
    part = table("people_2026", "id", "email", "name", "extra", parents=(name("people"),))
    assert masks(POLICY, "people_2026", catalog(PEOPLE, part)) == {
        "email": "redact",
        "name": "partial",
    }
    exact = POLICY.replace("public: [", 'public: ["wh.main.people_2026.email", ')
    assert masks(exact, "people_2026", catalog(PEOPLE, part)) == {"name": "partial"}


# ---------------------------------------------------------------- laundering


def test_a_tag_is_inherited_by_what_is_copied_from_a_view():
    """A copy of a view's column carries the tags of the base column."""
    copied = statement(
        use("draft", "create"), use("contacts", "read", "id"), effects=("ddl", "write"), flows={"draft.x": ("contacts.mail",)}
    )  # fmt: skip
    assert ask(POLICY, copied, HELD).code == "laundering"
    carried = POLICY.replace("pii.email: [", 'pii.email: ["wh.main.draft.x", ')
    assert ask(carried, copied, HELD).is_permitted


def test_a_public_tag_does_not_hide_another():
    """A column that is called public and sensitive is sensitive."""
    both = POLICY.replace("public: [", 'public: ["*.*.people.email", ')
    copied = statement(
        use("draft", "create"), effects=("ddl",), flows={"draft.x": ("people.email", "people.id")}
    )
    assert ask(both, copied, HELD).code == "laundering"


@given(
    own=st.sampled_from(["", "pii.email", "pii.name", "other"]),
    shown=st.lists(st.sampled_from(["id", "email", "name", "born", "note"]), max_size=4),
    more=st.sampled_from(["id", "email", "name", "born"]),
)
def test_showing_one_more_column_loosens_no_mask(own, shown, more):
    """The more columns a view's column is made of, the stricter its mask."""
    order = [kind.value for kind in MaskKind] + [""]
    tags = POLICY.replace("tags:", f"tags:\n  {own}.x: ['wh.main.v.x']" if own else "tags:")
    tags = tags.replace("pii.email.x", "pii.email2").replace("pii.name.x", "pii.name2")

    def mask(*sources: str) -> int:
        held = catalog(PEOPLE, view("v", {"x": tuple(f"people.{s}" for s in sources)}))
        return order.index(masks(tags, "v", held).get("x", ""))

    assert mask(*shown, more) <= mask(*shown)


def test_tags_are_remembered_within_bounds():
    """A policy remembers the tags of columns, and forgets them all when they are too many."""
    policy = parse(POLICY)
    first = policy.tags_of("wh", column("people.email"))
    assert policy.tags_of("wh", column("people.email")) is first
    policy.tagged.update(dict.fromkeys(range(TAGGED_COLUMNS_MAX), ()))
    policy.tagging.update({key: [] for key in range(TAGGED_COLUMNS_MAX)})
    policy.tags_of("wh", column("orders.id"))
    assert list(policy.tagged) == [("wh", column("orders.id"))]
    assert list(policy.tagging) == [("wh", name("orders"))]
    assert ask(policy, statement(use("people", "read", "id")), HELD, ADA).is_permitted
