"""The names of the functions that a text calls, as the text writes them.

sqlglot gives many functions names of its own, so its tree does not say what was written. A name
before a bracket is a call, unless the tree knows it for something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.statement.syntax import read_tree
from nbgov.core.statement.text import find_binds, tokenize
from nbgov.core.statement.verbs import QUERY_VERBS, without_head

CALLING_VERBS = QUERY_VERBS | {"DELETE", "INSERT", "MERGE", "REPLACE", "UPDATE"}
# Words of the grammar that may stand before a bracket.
GRAMMAR = frozenset(
    """
    against all and anti any array as asof between binary both by case check collate columns
    conflict constraint cross cube default delete dimension distinct div do else end escape except
    exclude exists filter following for force foreign from full group groups having ignore in
    index inner insert intersect into is join key lateral leading like limit materialized minus
    not of offset on or order outer over partition pivot preceding primary qualify range recursive
    references regexp rename returning rlike rollup rows select semi separator set sets similar
    some straight_join table then to trailing union unique unpivot update use using values view
    when where window with within xor
    """.split()
)
# These two are grammar as long as no schema stands before them.
CASTS = frozenset({"cast", "try_cast"})
# Types that take arguments. Called as functions, they convert.
TYPES = frozenset(
    """
    bigint bit blob char character clob date datetime datetime2 dec decimal double fixed
    float float4 float8 geometry int integer interval map mediumint nchar number numeric nvarchar
    point precision real row smallint string struct text time timestamp timestamptz tinyint
    varbinary varchar varchar2 varying year
    """.split()
)


def written_functions(sql: str, dialect: str) -> frozenset[str]:
    """Lower-case names of the functions that a text calls, with a schema where it names one.

    A text that is no query and no write has none that anybody would ask for.

    Raises:
        NbgovError: The text is beyond the budget or does not parse.

    Example:
        >>> sorted(written_functions("SELECT LCASE(a), my.f (1) FROM t AS u (a)", "mysql"))
        ['lcase', 'my.f']
    """
    text, _ = without_head(sql, dialect)
    tokens = tokenize(text, dialect)
    if tokens[0].text.upper() not in CALLING_VERBS:
        return frozenset()
    tree = read_tree(text, dialect, find_binds(text, dialect))
    named = {
        identifier.meta.get("start")
        for node in tree.find_all(exp.Table, exp.TableAlias)
        for identifier in own_identifiers(node)
    }
    return frozenset(calls([t for t in tokens if t.start not in named], tokens))


def own_identifiers(node: exp.Expr) -> Iterator[exp.Identifier]:
    """The identifiers that name a relation or a column list, and so no function."""
    for part in (node.args.get("this"), node.args.get("db"), *(node.args.get("columns") or ())):
        if isinstance(part, exp.Identifier):
            yield part


def calls(candidates: Sequence[Token], tokens: Sequence[Token]) -> Iterator[str]:
    """The names among some tokens that stand directly before a bracket."""
    place = {token.start: index for index, token in enumerate(tokens)}
    for token in candidates:
        index = place[token.start]
        if index + 1 == len(tokens) or tokens[index + 1].token_type is not TokenType.L_PAREN:
            continue
        is_quoted = token.token_type is TokenType.IDENTIFIER
        name = token.text.lower()
        if not is_quoted and (not name.isidentifier() or name in GRAMMAR or name in TYPES):
            continue
        is_qualified = index and tokens[index - 1].token_type is TokenType.DOT
        if not is_quoted and name in CASTS and not is_qualified:
            continue
        qualifiers: list[str] = []
        while index >= 2 and tokens[index - 1].token_type is TokenType.DOT:  # noqa: PLR2004
            index -= 2
            qualifiers.insert(0, tokens[index].text.lower())
        yield ".".join([*qualifiers, name])
