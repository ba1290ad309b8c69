"""Secrets: found whole in every form, never found in what is none, and never quoted."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import random
import re
import string
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import regex
from faker import Faker
from hypothesis import given
from hypothesis import strategies as st

from nbgov.backends.presidio.secrets import FORMS, MIXED, secret_recognizers

RECOGNIZERS = secret_recognizers()
ENTITIES = {"API_KEY", "ACCESS_TOKEN", "PRIVATE_KEY", "CONNECTION_STRING"}
UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
HEX = "0123456789abcdef"


def find(text: str) -> list[Any]:
    """What the recognizers find in a text."""
    return [found for r in RECOGNIZERS for found in r.analyze(text, r.supported_entities, None)]


def without(text: str, entity: str) -> str:
    """A text without what was found of an entity."""
    kept = list(text)
    for result in find(text):
        if result.entity_type == entity:
            kept[result.start : result.end] = [""] * (result.end - result.start)
    return "".join(kept)


# ---------------------------------------------------------------- what is found
# No scanner may take this file for a leak: every secret is made up of chance, here and now.

CHANCE = random.Random(7)


def of(signs: str, count: int) -> str:
    """Signs of chance, among them one of each kind that is allowed."""
    kinds = [kind for kind in (UPPER, LOWER, DIGITS) if set(kind) & set(signs)]
    first = [CHANCE.choice(sorted(set(kind) & set(signs))) for kind in kinds]
    made = first + [CHANCE.choice(signs) for _ in range(count - len(first))]
    CHANCE.shuffle(made)
    return "".join(made)


ANY = UPPER + LOWER + DIGITS


def part(value: object) -> str:
    """A part of a web token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def pem(kind: str, *, lines: int = 6, newline: str = "\n") -> str:
    """A private key as a file holds it."""
    body = newline.join(of(ANY + "+/", 64) for _ in range(lines))
    return newline.join([f"-----BEGIN {kind}-----", body, f"-----END {kind}-----"])


MADE: list[tuple[str, str, str]] = [
    # Entity, the text around the secret, the secret.
    ("API_KEY", "id {} used", "AK" + "IA" + of(UPPER + DIGITS, 16)),
    ("API_KEY", "aws_secret_access_key = '{}'", of(ANY + "/+", 40)),
    ("API_KEY", "AWS_SECRET_ACCESS_KEY={}", of(ANY + "/+", 40)),
    ("API_KEY", "url with {} key", "AKC" + of(ANY, 30)),
    ("API_KEY", "password: {}", "APB" + of(ANY, 30)),
    ("API_KEY", "cloudant_password = {}", of(HEX, 64)),
    ("API_KEY", "ibm_cloud_iam_key: {}", of(ANY + "-_", 44)),
    ("API_KEY", "cos_hmac_secret_access_key={}", of(HEX, 48)),
    ("API_KEY", "mail {} list", of(LOWER + DIGITS, 32) + "-us" + "12"),
    ("API_KEY", "key {}", "sk-" + of(ANY, 20) + "T3Blbk" + "FJ" + of(ANY, 20)),
    ("API_KEY", "key {}", "sk-proj-" + of(ANY, 30) + "T3Blbk" + "FJ" + of(ANY, 30)),
    ("API_KEY", "send {}.", "SG." + of(ANY, 22) + "." + of(ANY, 43)),
    ("API_KEY", "softlayer_api_key: {}", of(LOWER + DIGITS, 64)),
    ("API_KEY", "square {}", "sq0" + "csp-" + of(ANY, 43)),
    ("API_KEY", "pay {}, then", "sk_" + "live_" + of(ANY, 24)),
    ("API_KEY", "pay {}, then", "rk_" + "live_" + of(ANY, 99)),
    ("API_KEY", "sid {}", "AC" + of(LOWER + DIGITS, 32)),
    ("ACCESS_TOKEN", "bot {}", "M" + of(ANY, 23) + "." + of(ANY, 6) + "." + of(ANY, 27)),
    ("ACCESS_TOKEN", "push with {}", "gh" + "p_" + of(ANY, 36)),
    ("ACCESS_TOKEN", "push with {}", "gh" + "s_" + of(ANY, 60)),
    ("ACCESS_TOKEN", "({})", "gl" + "pat-" + of(ANY, 20)),
    ("ACCESS_TOKEN", "//npm.example/:_authToken={}", "np" + "m_" + of(ANY, 36)),
    ("ACCESS_TOKEN", "{} for uploads", "pyp" + "i-AgEIcHlwaS5vcmc" + of(ANY, 90)),
    ("ACCESS_TOKEN", "chat {}", "xo" + "xb-" + of(DIGITS, 12) + "-" + of(ANY, 24)),
    ("ACCESS_TOKEN", "{}", "https://hooks.slack" + ".com/services/T1/B2/" + of(ANY, 24)),
    ("ACCESS_TOKEN", "bot {} runs", of(DIGITS, 9) + ":" + of(ANY, 35)),
    (
        "ACCESS_TOKEN",
        "Bearer {}, please",
        ".".join([part({"alg": "HS256"}), part({"sub": "1"}), of(ANY, 43)]),
    ),
    ("CONNECTION_STRING", "AccountName=x;AccountKey={};", of(ANY + "+/", 86) + "=="),
    ("CONNECTION_STRING", "see https://ada:{}@db.example/x now", of(ANY, 12)),
    ("CONNECTION_STRING", "postgresql+psycopg://ada:{}@db:5432/x", of(ANY, 5) + "!p@s$;s"),
    ("CONNECTION_STRING", "redis://:{}@cache", of(ANY, 16)),
    ("CONNECTION_STRING", "Server=db;User Id=ada;Password={};Encrypt=1", of(ANY, 9) + "!#"),
    ("CONNECTION_STRING", 'PWD="{}";Database=x', of(ANY, 9) + " ;x"),
    ("CONNECTION_STRING", "jdbc:postgresql://db/x?user=ada&password={}&ssl=1", of(ANY, 12)),
    ("CONNECTION_STRING", "Endpoint=sb://x/;SharedAccessKey={}", of(ANY + "+/", 43) + "="),
]


@pytest.mark.parametrize(("entity", "around", "secret"), MADE, ids=lambda part: part[:12])
def test_a_secret_is_found_whole(entity: str, around: str, secret: str) -> None:
    """No four signs of a secret survive where its entity was found, in any of its forms."""
    for text in (around.format(secret), f"ä\n{around.format(secret)}\nnext line"):
        rest = without(text, entity)
        known = without(around.format("\0"), entity) + "next line"
        pieces = {secret[i : i + 4] for i in range(len(secret) - 3)}
        assert not [piece for piece in pieces if piece in rest and piece not in known]


KEY_KINDS = [
    *["RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY"],
    *["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK"],
]


@pytest.mark.parametrize("kind", KEY_KINDS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n", " "])
def test_a_private_key_is_covered_to_its_last_line(kind: str, newline: str) -> None:
    """A private key goes with all its lines, and the text around it stays."""
    key = pem(kind, newline=newline)
    assert without(f"before\n{key}\nafter", "PRIVATE_KEY").split() == ["before", "after"]
    assert without(f"{key}\n{key}", "PRIVATE_KEY").strip() == ""


def test_a_private_key_without_an_end_is_covered_to_the_end() -> None:
    """Where a private key was cut off, nothing behind its first line survives."""
    key = pem("RSA PRIVATE KEY")
    for length in range(40, len(key), 37):
        assert without("before " + key[:length], "PRIVATE_KEY").strip() == "before"


@pytest.mark.parametrize("version", [2, 3])
def test_a_key_of_putty_is_covered(version: int) -> None:
    """A key file of PuTTY goes from its first line to its check sum."""
    lines = [f"PuTTY-User-Key-File-{version}: ssh-rsa", "Private-Lines: 2", of(ANY, 64), of(ANY, 9)]
    text = "\n".join(["before", *lines, "Private-MAC: " + of(HEX, 64), "after"])
    assert without(text, "PRIVATE_KEY").split() == ["before", "after"]


def test_every_entity_and_language_is_declared() -> None:
    """The recognizers are English, and declare the four entities."""
    assert {entity for r in RECOGNIZERS for entity in r.supported_entities} == ENTITIES
    assert {r.supported_language for r in RECOGNIZERS} == {"en"}


def test_the_patterns_are_the_library_s() -> None:
    """Every pattern of the chosen detectors is run as it is, with its own case."""
    texts = {
        (p.regex.removesuffix(r"[\w\-]*"), bool(r.global_regex_flags & regex.IGNORECASE))
        for r in RECOGNIZERS
        for p in r.patterns
    }
    assert set(MIXED) <= {detector for detectors in FORMS.values() for detector in detectors}
    for detectors in FORMS.values():
        for detector in detectors:
            for compiled in detector.denylist:
                assert (compiled.pattern, bool(compiled.flags & re.IGNORECASE)) in texts


SIGNS = [text for _, around, secret in MADE for text in (around.format(secret), secret[:9])]


@given(
    st.lists(
        st.sampled_from(SIGNS)
        | st.text(st.sampled_from("key=:'\" /@.aZ0-\u017f\u212a\u0662"), max_size=9)
    )
)
def test_the_patterns_mean_what_they_mean_to_the_library(parts: list[str]) -> None:
    """In a line of ASCII, the regex module finds what the library's own engine finds."""
    line = "".join(parts).encode("ascii", "ignore").decode()
    for detectors in FORMS.values():
        for detector in detectors:
            for own in detector.denylist:
                flags = regex.MULTILINE | (own.flags & re.IGNORECASE)
                ours = [m.span() for m in regex.finditer(own.pattern, line, flags)]
                assert ours == [m.span() for m in own.finditer(line)]


# ---------------------------------------------------------------- what is not found

FAKE = Faker()
PLAIN: dict[str, Callable[[], str]] = {
    "prose": lambda: FAKE.paragraph(6),
    "headline": lambda: FAKE.paragraph(6).upper(),
    "name": FAKE.name,
    "address": FAKE.address,
    "mail": FAKE.email,
    "user agent": FAKE.user_agent,
    "url": FAKE.uri,
    "url with a port": lambda: (
        f"http://{FAKE.domain_name()}:{CHANCE.randrange(1, 65536)}/{FAKE.uri_path()}?u={FAKE.email()}"
    ),
    "repository": lambda: f"git clone ssh://git@{FAKE.domain_name()}:22/{FAKE.slug()}.git",
    "path": lambda: FAKE.file_path(6),
    "time": FAKE.iso8601,
    "iban": FAKE.iban,
    "ipv6": FAKE.ipv6,
    "number": lambda: of(DIGITS, 16),
    "uuid": lambda: str(uuid.UUID(int=CHANCE.getrandbits(128))),
    "md5": lambda: hashlib.md5(CHANCE.randbytes(9), usedforsecurity=False).hexdigest(),
    "SHA-1": lambda: hashlib.sha1(CHANCE.randbytes(9), usedforsecurity=False).hexdigest().upper(),
    "digest with the start of a key": lambda: "ACCA" + CHANCE.randbytes(18).hex().upper(),
    "key and digest": lambda: (
        f"key {uuid.UUID(int=CHANCE.getrandbits(128))} sha256="
        + hashlib.sha256(CHANCE.randbytes(9)).hexdigest()
    ),
    "base64 id": lambda: base64.b64encode(CHANCE.randbytes(24)).decode(),
    "base64 text": lambda: base64.urlsafe_b64encode(CHANCE.randbytes(600)).decode(),
    "dna": lambda: of("ACGT", 300),
    "protein": lambda: of("ACDEFGHIKLMNPQRSTVWY", 300),
    "topic": lambda: f"arn:aws:sns:us-east-1:{of(DIGITS, 12)}:{FAKE.slug()}-{FAKE.slug()}-x",
    "template": lambda: (
        f"password=${{{FAKE.word()}}} password = {'*' * 8} token_count: {CHANCE.random()}"
    ),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_nothing_is_found_where_no_secret_is(kind: str) -> None:
    """In 500 values of each kind without a secret, nothing is found."""
    # Long enough, chance spells the start of a token: the values are the same in every run.
    CHANCE.seed(kind)
    FAKE.seed_instance(kind)
    values = [PLAIN[kind]() for _ in range(500)]
    assert [value for value in values if find(value)] == []


# ---------------------------------------------------------------- how they run


def test_an_analyzer_runs_them_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """An analyzer keeps their flags, merges what they find, and says no secret in its log."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    caplog.set_level(logging.DEBUG)
    registry = RecognizerRegistry()
    for recognizer in secret_recognizers():
        registry.add_recognizer(recognizer)
    engine = NoOpNlpEngine([{"lang_code": "en", "model_name": "none"}])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine)
    for entity, around, secret in MADE:
        text = around.format(secret)
        found = analyzer.analyze(text, "en")
        assert entity in {result.entity_type for result in found}
        assert all(secret[-9:] not in repr(result) for result in found)
        # A token in upper case where the library asks for lower case is none.
        assert len(analyzer.analyze(text.swapcase(), "en")) <= len(found)
    assert not [secret for _, _, secret in MADE if secret in caplog.text]


def test_nothing_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """No service is asked whether a secret is real."""
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert all(find(around.format(secret)) for _, around, secret in MADE)


@pytest.mark.parametrize(
    "hostile",
    [
        "a.",
        "://",
        "http://a:",
        "sk-",
        "eyJ",
        "//a/",
        "password=",
        "'",
        "-----BEGIN ",
        "A",
        "1",
        ":",
    ],
)
def test_hostile_texts_come_to_an_end(hostile: str) -> None:
    """No pattern runs out of the test's time on 4,000 signs that lead it astray."""
    text = (hostile * 4_000)[:4_000]
    for recognizer in RECOGNIZERS:
        for pattern in recognizer.patterns:
            compiled = regex.compile(pattern.regex, recognizer.global_regex_flags)
            assert len(list(compiled.finditer(text))) <= len(text)
