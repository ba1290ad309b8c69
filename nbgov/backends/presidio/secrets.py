"""Recognizers of secrets, on the patterns that the library detect-secrets maintains.

A secret is a key, a token or a password that opens something. The library knows the forms that
services give to theirs. This module hands the texts of its patterns to Presidio, and adds what they
leave out: the end of a word whose beginning is a token, the body of a private key, the signature
of a web token, and passwords in connection strings. Nothing else of the library runs: nothing is
verified, no file is read, and its settings are not touched.

Forms are precise. The library's searches for words such as "secret" and for strings of high
entropy are not, and are left out; three of its forms that letters of genes, topics or headlines
have too must hold digits and letters here as chance would mix them. So a form that the library does
not know, or a password without its name, is not found. ``tests/backends/test_secrets.py`` counts
what is found in 24 kinds of texts, identifiers and digests without a secret: nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import regex
from detect_secrets.plugins.artifactory import ArtifactoryDetector
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.cloudant import CloudantDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.ibm_cloud_iam import IbmCloudIamDetector
from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.private_key import PrivateKeyDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.softlayer import SoftlayerDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector
from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer

API_KEY, ACCESS_TOKEN = "API_KEY", "ACCESS_TOKEN"
PRIVATE_KEY, CONNECTION_STRING = "PRIVATE_KEY", "CONNECTION_STRING"

FORMS: dict[str, tuple[Any, ...]] = {
    API_KEY: (
        ArtifactoryDetector,
        AWSKeyDetector,
        CloudantDetector,
        IbmCloudIamDetector,
        IbmCosHmacDetector,
        MailchimpDetector,
        OpenAIDetector,
        SendGridDetector,
        SoftlayerDetector,
        SquareOAuthDetector,
        StripeDetector,
        TwilioKeyDetector,
    ),
    ACCESS_TOKEN: (
        DiscordBotTokenDetector,
        GitHubTokenDetector,
        GitLabTokenDetector,
        NpmDetector,
        PypiTokenDetector,
        SlackDetector,
        TelegramBotTokenDetector,
    ),
    CONNECTION_STRING: (AzureStorageKeyDetector, BasicAuthDetector),
}
"""The library's detectors whose patterns say it all, by the entity they find."""

MIXED = {
    # Sequences of genes and proteins hold such letters, and no digit. Of real key ids, which are
    # no secret alone, 4 % have no digit either. A digest may hold ACCA, and no letter after F.
    AWSKeyDetector: r"(?=.*[\d\"']).*[G-Zg-z\"']",
    # So do words in a headline.
    ArtifactoryDetector: r"(?=.*\d).*[a-z]",
    # So do names of topics behind an account's number.
    TelegramBotTokenDetector: r":(?=.*[a-z]).*[A-Z]",
}
"""What a match of a detector must hold, so that it is no word."""

FORM_SCORE = 0.85
"""How sure it is that a value in the form of a service is a secret."""
NAMED_SCORE = 0.6
"""How sure it is that a value that is called a password is one, and no example."""

# Security: a token may be longer than the library knows, and its end must not survive.
REST_OF_WORD = r"[\w\-]*"
ENDS_ITSELF = (ArtifactoryDetector, NpmDetector, BasicAuthDetector)
"""Detectors whose match ends behind the secret."""

AWS_ASSIGNMENT = {
    "prefix_regex": "(?:aws|)",
    "secret_keyword_regex": "secret(?:_|-|)(?:access(?:_|-|)|)key",
    "secret_regex": "[0-9a-zA-Z/+]{40}(?![0-9a-zA-Z/+=])",
}
"""The secret key of AWS without quotes, as a file of settings holds it."""

LOGIN_IN_URL = (
    r"\b[a-z][a-z0-9+.\-]{0,30}://[^\s:/?#@\"'<>]{0,200}:"
    r"(?!\d{1,5}[/?#\s])[^\s/?#\"'<>]{1,500}@"
)
"""A password in a URL, with signs that end it in the library's pattern, such as "!" and "@"."""

NAMED_LOGIN = (
    r"\b(?:password|passwd|pwd|accountkey|sharedaccesskey)[ \t]{0,3}=[ \t]{0,3}"
    r"(?!\$[{(]|<|\*\*|\{\{|%[s(])"
    r"(?:\"[^\"\n]{1,500}\"|'[^'\n]{1,500}'|[^\s;&\"']{1,500})"
)
"""A password in a connection string of ADO, ODBC, JDBC, libpq or Azure, and no placeholder."""

MORE_PRIVATE_KEYS = ("BEGIN ENCRYPTED PRIVATE KEY", "PuTTY-User-Key-File-3")
PUTTY_END = r"Private-(?:MAC|Hash): ?[0-9a-fA-F]+"


class FormRecognizer(PatternRecognizer):
    """Finds what has the form of a secret, and holds what no word does."""

    def __init__(
        self, entity: str, patterns: Sequence[Pattern], *, flags: int, must_hold: str = ""
    ) -> None:
        self.must_hold = regex.compile(must_hold)
        super().__init__(
            supported_entity=entity,
            name=entity.title().replace("_", "") + "Recognizer",
            patterns=list(patterns),
            # The library searches line by line, so its anchors are those of lines.
            global_regex_flags=flags | regex.MULTILINE,
        )

    def validate_result(self, pattern_text: str) -> bool | None:
        """``False`` for a match that may be a word."""
        return None if self.must_hold.search(pattern_text) else False


class WebTokenRecognizer(FormRecognizer):
    """Finds JSON web tokens."""

    def validate_result(self, pattern_text: str) -> bool | None:
        """``False`` for a match whose first two parts do not decode to JSON."""
        signed = ".".join(pattern_text.split(".")[:2])
        return None if JwtTokenDetector.is_formally_valid(signed) else False


def secret_recognizers() -> list[EntityRecognizer]:
    """Recognizers of API_KEY, ACCESS_TOKEN, PRIVATE_KEY and CONNECTION_STRING, in English.

    They are for an analyzer's ``registry.add_recognizer``, which leaves their flags alone: case
    counts where the library says so.

    Example:
        >>> sorted({r.supported_entities[0] for r in secret_recognizers()})
        ['ACCESS_TOKEN', 'API_KEY', 'CONNECTION_STRING', 'PRIVATE_KEY']
    """
    assigned = RegexBasedDetector.build_assignment_regex(**AWS_ASSIGNMENT).pattern
    # The library's pattern may end before the signature; without its last sign it takes all of it.
    web_tokens = [p.pattern.removesuffix("?") for p in JwtTokenDetector.denylist]
    return [
        *form_recognizers(),
        FormRecognizer(API_KEY, [form("AWS secret", assigned)], flags=regex.IGNORECASE),
        WebTokenRecognizer(
            ACCESS_TOKEN, [form("JSON Web Token", text) for text in web_tokens], flags=0
        ),
        FormRecognizer(
            PRIVATE_KEY, [form("private key", text) for text in private_keys()], flags=regex.DOTALL
        ),
        FormRecognizer(
            CONNECTION_STRING,
            [
                form("password in a URL", LOGIN_IN_URL),
                Pattern("password by name", NAMED_LOGIN, NAMED_SCORE),
            ],
            flags=regex.IGNORECASE,
        ),
    ]


def form_recognizers() -> Iterable[FormRecognizer]:
    """Yield recognizers on the library's own patterns, one for each entity, case and condition."""
    groups: dict[tuple[str, int, str], list[Pattern]] = defaultdict(list)
    for entity, detectors in FORMS.items():
        for detector in detectors:
            rest = "" if detector in ENDS_ITSELF else REST_OF_WORD
            for compiled in detector.denylist:
                key = entity, compiled.flags & regex.IGNORECASE, MIXED.get(detector, "")
                groups[key].append(form(detector.secret_type, compiled.pattern + rest))
    for (entity, flags, must_hold), patterns in groups.items():
        yield FormRecognizer(entity, patterns, flags=flags, must_hold=must_hold)


def private_keys() -> Iterable[str]:
    """Yield patterns of whole private keys, from the library's patterns of their first lines."""
    for first in [*(p.pattern for p in PrivateKeyDetector.denylist), *MORE_PRIVATE_KEYS]:
        last = "END " + first.removeprefix("BEGIN ") if first.startswith("BEGIN ") else PUTTY_END
        # Security: a key that was cut off has no last line, so all that follows may be the key.
        yield rf"-{{0,5}} ?{first}(?:.*?{last} ?-{{0,5}}|.*)"


def form(name: str, text: str) -> Pattern:
    """A pattern of a service's form."""
    return Pattern(name, text, FORM_SCORE)
