"""When the fast path is trusted: tested versions, and agreement with Presidio on examples.

The fast path repeats what these packages do. With another version of one of them, or when the two
disagree on any of the examples, the stock engine runs instead, and a warning says so once.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from nbgov.backends.presidio.engine import Engine
    from nbgov.backends.presidio.plan import Plan

TESTED = {
    "presidio-analyzer": ("2.2.366",),
    "spacy": ("3.8.18",),
    "thinc": ("8.3.14",),
    "phonenumbers": ("9.0.43",),
}
"""Versions on which the differential tests (``make test-pii``) found no difference."""

PHONES = "phonenumbers"
"""The package whose other versions concern a single recognizer, which is asked itself then."""


class StockEngineWarning(UserWarning):
    """The detector runs stock Presidio: the findings are the same, and take longer."""


@cache
def untested() -> dict[str, str]:
    """The packages whose installed version was not tested, with that version."""
    installed = {name: importlib.metadata.version(name) for name in TESTED}
    return {name: version for name, version in installed.items() if version not in TESTED[name]}


def foreign() -> str:
    """Why the whole fast path is not trusted with these versions; empty if it is."""
    others = [f"{name} {version}" for name, version in untested().items() if name != PHONES]
    return f"{' and '.join(others)} was not tested" if others else ""


def doubt(engine: Engine, language: str) -> str:
    """Why the fast path is not trusted with an engine; empty if it is.

    Takes a fraction of a second, so ask once for an engine. Needs the engine's lock.
    """
    try:
        differing = disagreement(engine, language)
    except TimeoutError:
        return "one of its regular expressions comes to no end on an example"
    return f"nbgov's fast path disagrees with it on {differing}" if differing else ""


def disagreement(engine: Engine, language: str) -> str:
    """The entities for which the fast path and Presidio differ on the examples.

    Raises:
        TimeoutError: A search of the fast path ran out of time, so that there is no answer.
    """
    # The plan asks this module for the versions.
    from nbgov.backends.presidio.plan import fast_part

    plan = fast_part(engine, language)
    if not plan.steps:
        return ""
    differing = {
        entity
        for one, other in zip(outcomes(plan), outcomes(plan.in_stock("compared")), strict=True)
        if one != other
        for entity, *_ in {*one} ^ {*other} or {*one}
    }
    return ", ".join(sorted(differing))


def outcomes(plan: Plan) -> list[list[tuple[str, ...]]]:
    """What a plan finds in each of the examples; that it fails is an outcome, too.

    Raises:
        TimeoutError: A search ran out of time. Each of the examples would take as long again.
    """
    from nbgov.backends.presidio.scan import scan
    from nbgov.backends.presidio.stock import Asked

    def found(examples: Iterable[str]) -> list[list[tuple[str, ...]]]:
        scanned = scan(plan, pa.array(examples, pa.large_string()), Asked(None))
        return [[(hit.entity, *map(str, hit[3:])) for hit in hits] for hits in scanned]

    try:
        return found(EXAMPLES)
    except TimeoutError:
        raise
    except Exception:  # noqa: BLE001 - a recognizer of a person's own may fail on any text.
        return [attempt(found, example) for example in EXAMPLES]


def attempt(found: Callable[[list[str]], list[list[tuple[str, ...]]]], example: str) -> Any:
    """What is found in one example, or that it fails."""
    try:
        return found([example])[0]
    except Exception:  # noqa: BLE001 - as above.
        return [("a failure",)]


WARNED: set[str] = set()


def warn(reason: str) -> None:
    """Say once in this process what stock Presidio does, and why.

    Args:
        reason: Why the stock engine runs; empty if it does not.
    """
    if reason:
        tell("finds everything", reason)
    elif PHONES in untested():
        tell("finds telephone numbers", f"{PHONES} {untested()[PHONES]} was not tested")


def tell(what: str, reason: str) -> None:
    """Warn, unless the same was said before."""
    if reason in WARNED:
        return
    WARNED.add(reason)
    wanted = " ".join(f"'{name}=={TESTED[name][-1]}'" for name in untested())
    step = f"Next: pip install {wanted}, or a newer nbgov." if wanted else "Next: report it."
    warnings.warn(
        f"Stock Presidio {what}, as exactly but slower, because {reason}. {step}",
        StockEngineWarning,
        stacklevel=4,
    )


EXAMPLES = (
    "",
    " ",
    "Ada Lovelace",
    "Grace Hopper met Charles Babbage in London on 5 June 1833.",
    "Jos\u00e9 Mu\u00f1oz moved from S\u00e3o Paulo to New York last week",
    "\u738b\u4f1f lives in Berlin",
    "The Germans and the French met on Monday at 10 am",
    "write to ada.lovelace+x@example.com or bob@mail.example.co.uk.",
    "ada@example.invalidtld",
    "a/b?c#d@example.com",
    'see https://www.example.com/a?b=c, "http://example.org" and example.net',
    "The end.Next sentence",
    "my phone number is 212-555-0123",
    "(212) 555-0123",
    "+44 20 7946 0958",
    "call +49 30 901820 or 030 901820",
    "+91 98765 43210",
    "01 42 68 53 00",
    "4111 1111 1111 1111",
    "4111-1111-1111-1112",
    "card 378282246310005 expires 12/29",
    "My credit cards: 5555555555554444",
    "078-05-1120",
    "social security number 536-90-4399",
    "ssn: 536904399",
    "912-70-1234 is a taxpayer id",
    "passport A12345678",
    "us 123456789",
    "account number 12345678",
    "12345678901234567",
    "driver's license A1234567",
    "licences: H12345678, 1234567",
    "NHS 943 476 5919",
    "4010232137",
    "DEA BB1388568",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "wallet 3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
    "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "DE89370400440532013000",
    "IBAN GB29 NWBK 6016 1331 9268 19 2 days ago",
    "DE89370400440532013001",
    "10.0.0.1",
    "server 192.168.0.1/24 and fe80::1ff:fe23:4567:890a are down",
    "::1",
    "00:1A:2B:3C:4D:5E",
    "mac 001A.2B3C.4D5E",
    "123e4567-e89b-12d3-a456-426614174000",
    "uuid {123E4567-E89B-42D3-A456-426614174000}",
    "2013-01-02",
    "born 3/4/1985, 12-MAY-2001 and Jan-20",
    "2020-01-01T00:00:00.000Z",
    "05/2020",
    "1",
    "42",
    "3.14",
    "1234567",
    "-123456789-",
    "user_1234567",
    "123456789\n987654321",
    "ssn\n536-90-4399\nphone\n2125550123",
    "meeting the public: customers travel, 123456789",
    "let's save the bank 12345678",
    "DEA1234567 medically certified",
    "ORD-123456",
    "\u00e9536-90-4399\u00e9",
    "x" * 80,
    "9" * 40,
    "Meeting with Dr. Ann O'Neill from Acme on next Tuesday. Contact 415-555-0134, 1 Main St.",
)
"""Made-up values of every kind, for the comparison with Presidio."""
