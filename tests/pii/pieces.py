"""Single values of every kind, drawn from one seeded source.

Raw names, places and words are faker's; shapes are those of ``templates.yaml``; numbers of all
regions start from the examples that phonenumbers itself carries.
"""

from __future__ import annotations

import datetime
import functools
import random
import re
import string
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import phonenumbers
import yaml
from faker import Faker

TEMPLATES: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parent / "templates.yaml").read_text(encoding="utf-8")
)
# Not it_IT: what it makes depends on the order of a set, and so on the process.
LOCALES = (
    *("en_US", "en_GB", "en_IN", "en_AU", "de_DE", "fr_FR", "es_ES", "es_MX", "pt_PT", "pt_BR"),
    *("nl_NL", "sv_SE", "da_DK", "fi_FI", "pl_PL", "cs_CZ", "hu_HU", "ro_RO", "tr_TR", "vi_VN"),
    *("el_GR", "ru_RU", "uk_UA", "he_IL", "ar_AA", "hi_IN", "ja_JP", "zh_CN", "ko_KR", "th_TH"),
)
ENGLISH = "en_US"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@functools.cache
def faker(locale: str) -> Faker:
    """The faker of a locale, built once."""
    return Faker(locale, use_weighting=False)


class Pieces:
    """Makes values; equal seeds make equal values in equal order."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        for locale in LOCALES:
            faker(locale).seed_instance(zlib.crc32(f"{seed} {locale}".encode()))
        self.kinds: dict[str, Callable[[], str]] = {
            "address": self.address,
            "card": self.card,
            "city": lambda: self.somewhere().city(),
            "code": self.code,
            "company": lambda: self.somewhere().company(),
            "country": faker(ENGLISH).country,
            "crypto": self.crypto,
            "date": self.date,
            "digits": lambda: self.digits(self.chance.randint(4, 17)),
            "email": self.email,
            "iban": self.iban,
            "id": self.identifier,
            "ip": self.ip,
            "job": lambda: faker(ENGLISH).job(),
            "mac": lambda: faker(ENGLISH).mac_address(),
            "money": lambda: self.chance.choice("$€£") + f"{self.chance.uniform(1, 9e5):,.2f}",
            "name": self.name,
            "nationality": lambda: self.chance.choice(NATIONALITIES),
            "number": self.number,
            "phone": self.phone,
            "ssn": lambda: self.shaped(self.chance.choice(TEMPLATES["code_shapes"][:7])),
            "time": lambda: f"{self.moment():%H:%M:%S}",
            "url": self.url,
            "uuid": lambda: str(faker(ENGLISH).uuid4()),
            "weekday": lambda: faker(ENGLISH).day_of_week(),
            "word": self.word,
            "year": lambda: str(self.chance.randint(1900, 2030)),
        }

    def make(self, kind: str) -> str:
        """A value of a kind."""
        return str(self.kinds[kind]())

    def fill(self, template: str, **given: str) -> str:
        """A template with its places filled; doubled braces are braces."""

        def fill(match: re.Match[str]) -> str:
            kind = match[1]
            return given[kind] if kind in given else self.make(kind)

        filled = re.sub(r"\{(\w+)\}", fill, template)
        return filled.replace("{{", "{").replace("}}", "}")

    def somewhere(self) -> Any:
        """The faker of a locale: half the time English."""
        return faker(ENGLISH if self.chance.random() < 0.5 else self.chance.choice(LOCALES))

    def digits(self, count: int) -> str:
        """Decimal digits."""
        return "".join(self.chance.choices(string.digits, k=count))

    def shaped(self, shape: str) -> str:
        """A shape with its signs replaced."""
        pools = {"#": string.digits, "?": string.ascii_uppercase, "!": string.ascii_lowercase}
        pools["%"] = self.chance.choice(("0123456789abcdef", "0123456789ABCDEF"))
        return "".join(self.chance.choice(pools.get(sign, sign)) for sign in shape)

    def name(self) -> str:
        """A person's name, in any of its usual spellings."""
        who = self.somewhere()
        name = self.chance.choice((who.name, who.name, who.last_name, who.first_name))()
        spellings: tuple[Callable[[str], str], ...] = (
            *(str, str, str, str, str.upper, str.lower),
            lambda n: ", ".join(reversed(n.split(" ", 1))),
            lambda n: f"{n[:1]}. {n.split(' ')[-1]}",
            lambda n: f"{self.chance.choice(('Mr', 'Mrs.', 'Dr', 'Prof.', 'Sir'))} {n}",
            lambda n: f"{n} {self.chance.choice(('Jr.', 'III', 'PhD', '& Sons'))}",
        )
        return self.chance.choice(spellings)(name)

    def email(self) -> str:
        """An e-mail address, sometimes a broken one."""
        who = self.somewhere()
        domain = self.chance.choice((who.domain_name, who.free_email_domain))()
        local = who.user_name() + self.chance.choice(("", "", "", "+tag", ".x", "_1", "%a", "'s"))
        address = f"{local}@{domain}"
        odd: tuple[Callable[[str], str], ...] = (
            *(str, str, str, str, str, str, str, str.upper, str.title),
            lambda a: a + self.chance.choice(".,;)>!"),
            lambda a: f"<{a}>",
            lambda a: a.replace("@", self.chance.choice((" at ", "@@", " @ ", "[at]"))),
            lambda a: (
                a.rsplit(".", 1)[0] + self.chance.choice(("", ".zz", ".local", ".co", ".c0m"))
            ),
            lambda a: (
                a.rsplit(".", 1)[0] + self.chance.choice((".co.uk", ".museum", ".企業", ".рф"))
            ),
        )
        return self.chance.choice(odd)(address)

    def phone(self) -> str:
        """A telephone number of any region, written in any way."""
        return self.chance.choice(
            (
                lambda: self.shaped(self.chance.choice(TEMPLATES["phone_shapes"])),
                lambda: self.somewhere().phone_number(),
                self.example_phone,
            )
        )()

    def example_phone(self) -> str:
        """The example of a region with other last digits."""
        region = self.chance.choice(sorted(phonenumbers.SUPPORTED_REGIONS))
        kind = self.chance.choice((0, 1, 2, 3, 4, 6, 7))
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None:
            number = phonenumbers.example_number(region)
        written = phonenumbers.format_number(number, self.chance.randrange(4))
        kept = self.chance.randrange(5)
        return written[: len(written) - kept] + "".join(
            self.chance.choice(string.digits) if sign.isdigit() else sign
            for sign in written[len(written) - kept :]
        )

    def card(self) -> str:
        """A card number, of which one in six fails the Luhn test."""
        prefix = self.chance.choice(TEMPLATES["card_prefixes"])
        length = self.chance.choice((16, 16, 16, 15, 14, 13, 19))
        body = prefix + self.digits(length - len(prefix) - 1)
        doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in body[::-2])
        check = -(doubled + sum(map(int, body[-2::-2]))) % 10
        number = body + str((check + (self.chance.random() < 0.16)) % 10)
        between = self.chance.choice(("", "", "-", " ", "."))
        return between.join(number[i : i + 4] for i in range(0, length, 4))

    def iban(self) -> str:
        """An IBAN, whole or in groups, sometimes with something behind it."""
        code = faker(self.chance.choice(LOCALES[:20])).iban()
        if self.chance.random() < 0.5:
            code = " ".join(code[i : i + 4] for i in range(0, len(code), 4))
        ends = ("", "", "", "", " 20 days", "1", " a", ".", "-X")
        return self.chance.choice((str, str, str.lower))(code) + self.chance.choice(ends)

    def ip(self) -> str:
        """An address of a machine."""
        who = faker(ENGLISH)
        bits = self.chance.randint(0, 40)
        return self.chance.choice(
            (who.ipv4, who.ipv6, lambda: f"{who.ipv4()}/{bits}", lambda: f"::ffff:{who.ipv4()}")
        )()

    def crypto(self) -> str:
        """What looks like the address of a wallet."""
        length = self.chance.randint(25, 34)
        made = "".join(self.chance.choices(BASE58, k=length))
        return self.chance.choice((*TEMPLATES["wallets"], f"1{made}", f"3{made}"))

    def code(self) -> str:
        """A code in one of the shapes."""
        return self.shaped(self.chance.choice(TEMPLATES["code_shapes"]))

    def identifier(self) -> str:
        """An identifier of a person, an account or a machine."""
        return self.make(
            self.chance.choice(
                ("code", "code", "code", "iban", "ip", "mac", "uuid", "crypto", "ssn")
            )
        )

    def number(self) -> str:
        """A number as text."""
        chance = self.chance
        whole, part = chance.randrange(10 ** chance.randint(1, 18)), chance.uniform(-1e4, 1e5)
        forms = [str(whole), str(whole), f"{whole:,}", f"{whole:x}", f"-{whole}", f"{whole:010d}"]
        forms += [f"{part:.2f}", f"{part:.6f}", f"{part:,.2f}", f"{part:e}", f"{whole % 101}%"]
        return chance.choice(forms)

    def moment(self) -> datetime.datetime:
        """A moment of the last hundred years; faker's end now, and so change from run to run."""
        return datetime.datetime(1930, 1, 1) + datetime.timedelta(
            seconds=self.chance.randrange(100 * 365 * 86_400)
        )

    def date(self) -> str:
        """A date or a time, in any of its usual spellings."""
        forms = "%Y-%m-%d|%m/%d/%Y|%d.%m.%Y|%d-%b-%Y|%b-%y|%B %d, %Y|%m/%y|%m/%Y|%Y/%m/%d|%d %B %Y"
        forms += "|%H:%M|%Y-%m-%dT%H:%M:%SZ|%A %d %b|%I:%M %p|%d/%m|%B %Y|%y%m%d|%a, %d %b %Y %H:%M"
        written = self.moment().strftime(self.chance.choice(forms.split("|")))
        return self.chance.choice((str, str, str, str.upper, str.lower))(written)

    def address(self) -> str:
        """A postal address, on one line or several."""
        address = self.somewhere().address()
        return address if self.chance.random() < 0.5 else address.replace("\n", ", ")

    def url(self) -> str:
        """A place on the web, quoted or not."""
        who = self.somewhere()
        link = self.chance.choice(
            (who.url, who.domain_name, who.uri, lambda: f"www.{who.domain_name()}/a?x=1#y")
        )()
        odd = (str, str, str, str.upper, lambda u: f'"{u}"', lambda u: f"'{u}'", lambda u: f"{u}.")
        return self.chance.choice(odd)(link)

    def word(self) -> str:
        """A word or two."""
        who = faker(ENGLISH)
        return self.chance.choice((who.word, who.job, who.color_name, who.country, who.bs))()


NATIONALITIES = (
    *("American", "British", "Brazilian", "Chinese", "Dutch", "Egyptian", "French", "German"),
    *("Indian", "Irish", "Japanese", "Kenyan", "Mexican", "Norwegian", "Polish", "Turkish"),
)
