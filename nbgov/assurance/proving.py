"""A proof of non-interference: does a policy hide what it masks, on the shape of a real schema?

Two scratch databases are made beside the real one. They differ in what the policy hides from a
principal and in nothing else. Every statement of a generated corpus runs in both through the whole
pipeline; any difference that the principal could notice is a leak, and so is any change of state by
a read. No row of the real database is read. What a proof proves is said in
``docs/concepts/non-interference.md``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlglot.tokenizer_core import TokenType

from nbgov.assurance.exposure import expose
from nbgov.assurance.scratch import CRASH, KEY, Subject, World, build, images, lent
from nbgov.core.harden import Exposure
from nbgov.core.pseudonym import token
from nbgov.core.statement import tokenize
from nbgov.core.worlds import Observation, differences, script, statement
from nbgov.core.worlds.values import Chance
from nbgov.model import ColumnName, MaskKind, Table, TableName

STATE_EVERY = 250
DENIED_SHARE = 0.04
TWINS_ASKED = 4


@dataclass(frozen=True, slots=True)
class Leak:
    """A statement that told two worlds apart, and the observables that differed. No values."""

    statement: str
    observables: tuple[str, ...]


@dataclass
class Proof:
    """What a run has found so far.

    Attributes:
        statements: Statements that were run in both worlds.
        permitted: How many of them were permitted.
        revealing: How many of those read a masked column, or a table with a row filter.
        refused: The other ones, by error code.
        leaks: Statements that told the worlds apart.
        crashed: Statements on which nbgov failed in a way that it does not know.
        changed: Reads after which the state of a world was not what it was before them.
        unsteady: Statements whose rows the engine gives in another order, or picks anew, from one
            database to an equal one. Nothing can be learnt from them, nor proven.
        left_out: What the scratch worlds lack, for people.
        exposure: What the principal sees.
    """

    exposure: Exposure = field(default_factory=Exposure)
    left_out: tuple[str, ...] = ()
    statements: int = 0
    permitted: int = 0
    revealing: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    leaks: list[Leak] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unsteady: int = 0

    @property
    def has_tokens(self) -> bool:
        """Whether some column reads as tokens, so that the worlds are images of one another."""
        return MaskKind.TOKEN in self.exposure.masks.values()

    @property
    def holds(self) -> bool:
        """Whether nothing told the worlds apart."""
        return not (self.leaks or self.crashed or self.changed)


class Bench:
    """Two worlds, and the statements that were tried on them.

    Args:
        worlds: World ``a``, world ``b``, and a twin of world ``a``.
        proof: Where findings go.
        readable: Tables of the real catalog that most statements are to be about.

    Attributes:
        catalog: What the principal may touch in either of them.
    """

    def __init__(
        self, worlds: tuple[World, World, World], proof: Proof, readable: Collection[TableName]
    ) -> None:
        self.worlds = worlds
        self.proof = proof
        self.catalog = worlds[0].pipeline.catalog(worlds[0].connection, claim=None)
        self.readable = replace(
            self.catalog,
            tables={
                name: table
                for name, table in self.catalog.tables.items()
                if worlds[0].original(name) in readable
            },
        )
        self.before = self.states()
        self.since: list[str] = []
        tokens = ([token(text, KEY) for text in images(world)] for world in "ab")
        self.renaming = dict(zip(*tokens, strict=True)) if proof.has_tokens else None

    def statement(self, chance: Chance) -> str:
        """A statement for these worlds; a few are about what may not be read at all."""
        is_plain = self.proof.has_tokens or chance.random() > DENIED_SHARE
        catalog = self.readable if is_plain and self.readable.tables else self.catalog
        return statement(chance, catalog, is_opaque=self.proof.has_tokens)

    def states(self) -> tuple[str, ...]:
        """Digests of what the worlds hold; a MySQL server tells of its other databases too."""
        found = [(world, world.engine.catalog().tables.values()) for world in self.worlds[:2]]
        return tuple(
            world.state(
                [
                    one.name
                    for one in tables
                    if one.kind == "table" and one.name.schema == (world.home or one.name.schema)
                ]
            )
            for world, tables in found
        )

    def tell_apart(self, sql: str) -> None:
        """Run one statement in both worlds and keep what came of it."""
        proof = self.proof
        first, second = (world.observe(sql) for world in self.worlds[:2])
        found = differences(first, second, renaming=self.renaming)
        proof.statements += 1
        if found and self.is_evidence(sql, first, second):
            proof.leaks.append(Leak(sql, found))
        elif found:
            proof.unsteady += 1
        if first.outcome == "rows":
            proof.permitted += 1
            proof.revealing += bool(first.masked)
            if first.rows_affected is None:
                self.since.append(sql)
        else:
            proof.refused[first.outcome] += 1
        if CRASH in {first.outcome, second.outcome}:
            proof.crashed.append(sql)
        if first.rows_affected is not None or second.rows_affected is not None:
            # A write that the policy permits is no finding, but the next digest has to know it.
            self.check_state()
            self.before = self.states()
        elif proof.statements % STATE_EVERY == 0:
            self.check_state()

    def is_evidence(self, sql: str, first: Observation, second: Observation) -> bool:
        """Whether a difference comes from what is hidden, and not from the engine's whims.

        A twin of the first world holds the very same data. Where it is told apart too, engines give
        equal rows in another order, or another one of equals; then only rows that neither of the
        twins shows are evidence.
        """
        is_same_set = not differences(in_order(first), in_order(second), renaming=self.renaming)
        if is_same_set and not is_ordered(sql, self.catalog.dialect):
            # Planners choose by statistics of stored values, so an order that nobody asked for may
            # follow them. The page on non-interference says so.
            return False
        twins = [self.afresh(place, sql) for place in (2, 0) * TWINS_ASKED]
        if all(not differences(first, twin) for twin in twins):
            return True
        if is_same_set:
            return False
        return all(not differences(in_order(first), in_order(twin)) for twin in twins)

    def afresh(self, place: int, sql: str) -> Observation:
        """Run a statement over a connection of its own: MariaDB orders equals by their address."""
        self.worlds[place].engine.close()
        return self.worlds[place].observe(sql)

    def check_state(self) -> None:
        """Hold the state of the worlds against what it was when it was last looked at."""
        after = self.states()
        if after != self.before:
            self.proof.changed += self.since
            self.before = after
        self.since.clear()


def is_ordered(sql: str, dialect: str) -> bool:
    """Whether a text asks for an order of its rows, outside of every parenthesis.

    Example:
        >>> is_ordered("SELECT a FROM t ORDER BY a", "duckdb")
        True
        >>> is_ordered("SELECT (SELECT a FROM t ORDER BY a LIMIT 1)", "duckdb")
        False
    """
    depth = 0
    for kind in (one.token_type for one in tokenize(sql, dialect)):
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if depth == 0 and kind is TokenType.ORDER_BY:
            return True
    return False


def in_order(seen: Observation) -> Observation:
    """What was seen, with the rows in an order of our own. The version says no more than they."""
    return replace(seen, rows=tuple(sorted(seen.rows, key=repr)), version="")


def prove(
    subject: Subject,
    *,
    statements: int,
    seed: int,
    tell: Callable[[Proof], None] = lambda _: None,
) -> Proof:
    """Run a corpus in two worlds.

    Args:
        subject: What is to be proven.
        statements: How many statements to run.
        seed: Which corpus; the same seed gives the same one.
        tell: Hears of the proof after each statement.

    Raises:
        BackendFailed: No scratch database can be made.
    """
    with bench(subject, seed=seed) as made:
        chance = random.Random(seed)  # noqa: S311 - a corpus that can be had again, no secret
        for _ in range(statements):
            made.tell_apart(made.statement(chance))
            tell(made.proof)
        made.check_state()
        return made.proof


@contextmanager
def bench(subject: Subject, *, seed: int = 0) -> Iterator[Bench]:
    """Two worlds in the shape of a catalog, removed at the end whatever happens.

    Raises:
        BackendFailed: No scratch database can be made.
    """
    seen = expose(subject.catalog, subject.connection, subject.policy, subject.principal)
    # A column that may not be read at all is hidden whole, like one that reads as NULL. One that a
    # view shows in clear is no secret: the policy declassifies it there.
    masks = dict.fromkeys(seen.hidden, MaskKind.NULL) | dict(seen.masks)
    masks = {name: kind for name, kind in masks.items() if name not in seen.shown}
    left_out: tuple[str, ...] = ()
    with lent(subject) as first, lent(subject) as second, lent(subject) as twin:
        for name, world in (("a", first), ("b", second), ("a", twin)):
            chance = random.Random(seed)  # noqa: S311 - equal chance makes equal worlds
            made = script(
                chance,
                subject.catalog,
                name,
                masks=masks,
                filters=seen.filters,
                images=images(name),
            )
            left_out = (*made.left_out, *build(world.scratch, made, world.home))
        readable = [one.name for one in subject.catalog.tables.values() if is_readable(one, seen)]
        yield Bench((first, second, twin), Proof(exposure=seen, left_out=left_out), readable)


def is_readable(table: Table, seen: Exposure) -> bool:
    """Whether statements about a table can be permitted, and compared.

    The token of what a view makes of a value has no known image.
    """
    names = {ColumnName(table.name, column.name) for column in table.columns}
    tokens = {name for name, kind in seen.masks.items() if kind is MaskKind.TOKEN}
    is_opaque = table.kind == "view" and not tokens.isdisjoint(names)
    return not is_opaque and not names <= seen.hidden
