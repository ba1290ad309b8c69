"""Labelled sentences of our own: what is in them is known, and so is where.

Values are faker's, or made here where a check digit is wanted; equal runs make equal sentences. A
sentence is in plain English business prose, so the figures tell of such text and of no other.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faker import Faker

SEED = 4
SENTENCES_PER_TEMPLATE = 20
FOREIGN = ("vi_VN", "pl_PL", "tr_TR", "en_IN", "hu_HU", "fi_FI", "ro_RO", "es_ES", "fr_FR", "sv_SE")
ABROAD = ("en_GB", "de_DE", "fr_FR", "es_ES", "pl_PL", "sv_SE", "ja_JP", "en_AU", "nl_NL", "pt_PT")
AREAS = (206, 212, 213, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713, 718, 808, 919)
CARDS = ("amex", "discover", "mastercard", "visa16")
RARE_CARDS = ("maestro", "visa19")
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

ENTITIES = {
    "person": "PERSON",
    "person_lower": "PERSON",
    "person_upper": "PERSON",
    "person_foreign": "PERSON",
    "first_name": "PERSON",
    "city": "LOCATION",
    "city_invented": "LOCATION",
    "country": "LOCATION",
    "street": "LOCATION",
    "nationality": "NRP",
    "organization": "ORGANIZATION",
    "date": "DATE_TIME",
    "email": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",
    "phone_abroad": "PHONE_NUMBER",
    "card": "CREDIT_CARD",
    "card_rare": "CREDIT_CARD",
    "ssn": "US_SSN",
    "itin": "US_ITIN",
    "passport": "US_PASSPORT",
    "license": "US_DRIVER_LICENSE",
    "account": "US_BANK_NUMBER",
    "nhs": "UK_NHS",
    "dea": "MEDICAL_LICENSE",
    "iban": "IBAN_CODE",
    "ip": "IP_ADDRESS",
    "mac": "MAC_ADDRESS",
    "uuid": "UUID",
    "wallet": "CRYPTO",
    "url": "URL",
}
"""The entity that each kind of value is."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A value that is known to stand in a sentence."""

    kind: str
    start: int
    end: int

    @property
    def entity(self) -> str:
        """The entity that the value is."""
        return ENTITIES[self.kind]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and all that is worth finding in it."""

    text: str
    golds: tuple[Gold, ...]


def sentences(per_template: int = SENTENCES_PER_TEMPLATE, seed: int = SEED) -> tuple[Sentence, ...]:
    """The labelled sentences, all different."""
    templates = data()
    told = [template for group in templates["told"].values() for template in group]
    source = Source(seed)
    made = (
        source.fill(template)
        for template in [*told, *templates["nothing"]]
        for _ in range(per_template)
    )
    return tuple({sentence.text: sentence for sentence in made}.values())


@functools.cache
def data() -> dict[str, Any]:
    """The templates and lists."""
    import yaml

    path = Path(__file__).parent / "labelled.yaml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


class Source:
    """Makes values of every kind, from a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.fakers = {
            locale: seeded(locale, seed) for locale in {"en_US", *FOREIGN, *ABROAD, "en_GB"}
        }
        english = self.fakers["en_US"]
        self.make: dict[str, Callable[[], str]] = {
            "person": lambda: full_name(english),
            "person_lower": lambda: full_name(english).lower(),
            "person_upper": lambda: full_name(english).upper(),
            "person_foreign": self.person_foreign,
            "first_name": english.first_name,
            "city": lambda: self.chance.choice(data()["cities"]),
            "city_invented": english.city,
            "country": english.country,
            "street": english.street_address,
            "nationality": lambda: self.chance.choice(data()["nationalities"]),
            "organization": english.company,
            "date": self.date,
            "email": english.email,
            "phone": self.phone,
            "phone_abroad": self.phone_abroad,
            "card": lambda: english.credit_card_number(self.chance.choice(CARDS)),
            "card_rare": lambda: english.credit_card_number(self.chance.choice(RARE_CARDS)),
            "ssn": english.ssn,
            "itin": lambda: self.shaped("9##-7#-####"),
            "passport": lambda: self.shaped(self.chance.choice(("C########", "#########"))),
            "license": lambda: self.shaped(self.chance.choice(("D#######", "########"))),
            "account": lambda: self.shaped("#" * self.chance.randint(8, 14)),
            "nhs": self.nhs,
            "dea": self.dea,
            "iban": self.fakers["en_GB"].iban,
            "ip": self.ip,
            "mac": english.mac_address,
            "uuid": lambda: str(english.uuid4()),
            "wallet": self.wallet,
            "url": english.url,
            "number": lambda: self.shaped("#" * self.chance.randint(4, 9)),
            "small": lambda: str(self.chance.randint(2, 60)),
            "code": lambda: self.shaped(self.chance.choice(("AB-####", "X##-###", "QRT#####"))),
        }

    def fill(self, template: str) -> Sentence:
        """A template with values in its places, and where they are."""
        text, golds = "", []
        for plain, kind in parts(template):
            text += plain
            if kind:
                value = self.make[kind]()
                if kind in ENTITIES:
                    golds.append(Gold(kind, len(text), len(text) + len(value)))
                text += value
        return Sentence(text, tuple(golds))

    def shaped(self, shape: str) -> str:
        """A shape with digits in the place of every ``#``."""
        return "".join(str(self.chance.randrange(10)) if sign == "#" else sign for sign in shape)

    def person_foreign(self) -> str:
        """A name that is rare in English text."""
        return full_name(self.fakers[self.chance.choice(FOREIGN)])

    def phone(self) -> str:
        """An American telephone number in an area that exists."""
        area, exchange = self.chance.choice(AREAS), self.shaped("5##")
        shape = self.chance.choice(("({}) {}-####", "{}-{}-####", "+1 {} {} ####", "{}.{}.####"))
        return self.shaped(shape.format(area, exchange))

    def phone_abroad(self) -> str:
        """A telephone number as people abroad write it."""
        return self.fakers[self.chance.choice(ABROAD)].phone_number()

    def date(self) -> str:
        """A day of the last fifty years; faker's own end today."""
        day = datetime.date(1975, 1, 1) + datetime.timedelta(days=self.chance.randrange(18_000))
        return day.strftime(self.chance.choice(("%Y-%m-%d", "%m/%d/%Y", "%B %d, %Y")))

    def ip(self) -> str:
        """An address of a machine, old or new."""
        english = self.fakers["en_US"]
        return english.ipv6() if self.chance.random() < 0.3 else english.ipv4()

    def nhs(self) -> str:
        """A number of the British health service, with its check digit."""
        while True:
            digits = self.shaped("4########")
            check = -sum(int(d) * (10 - i) for i, d in enumerate(digits)) % 11
            if check < 10:
                return f"{digits[:3]} {digits[3:6]} {digits[6:]}{check}"

    def dea(self) -> str:
        """A certificate of an American prescriber, with its check digit."""
        digits = [self.chance.randrange(10) for _ in range(6)]
        check = (sum(digits[::2]) + 2 * sum(digits[1::2])) % 10
        return f"{self.chance.choice('ABFM')}{self.chance.choice('KLRS')}" + "".join(
            map(str, [*digits, check])
        )

    def wallet(self) -> str:
        """An address of bitcoins, with its check sum."""
        body = b"\0" + self.chance.randbytes(20)
        body += hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4]
        number, text = int.from_bytes(body, "big"), ""
        while number:
            number, place = divmod(number, 58)
            text = BASE58[place] + text
        return "1" + text


def parts(template: str) -> Iterator[tuple[str, str]]:
    """The text before each place of a template, and the kind of value in it."""
    pieces = re.split(r"\{(\w+)\}", template)
    yield from zip(pieces[::2], [*pieces[1::2], ""], strict=True)


def full_name(faker: Faker) -> str:
    """A first and a last name, without titles."""
    return f"{faker.first_name()} {faker.last_name()}"


def seeded(locale: str, seed: int) -> Faker:
    """The faker of a locale, started at a seed."""
    from faker import Faker

    faker = Faker(locale, use_weighting=False)
    faker.seed_instance(seed)
    return faker
