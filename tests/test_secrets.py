"""Secrets: where references lead, what shows a value (nothing), and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend

import nbgov
from nbgov.backends import secrets as places
from nbgov.backends.secrets import Vault, ask_aws, ask_vault, exposure, find_secret
from nbgov.config import parse
from nbgov.errors import CODES, ConfigInvalid
from nbgov.model import Secret, revealed
from nbgov.wiring import connection_settings

CANARY = "canary-7731-hunter2"


class Keychain(KeyringBackend):
    """A keychain in memory, registered as any other is."""

    priority = 1

    def __init__(self):
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


@pytest.fixture
def keychain():
    """A keychain in place of the system's."""
    before = keyring.get_keyring()
    made = Keychain()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.fixture
def vault(monkeypatch):
    """A server that answers as Vault does: a versioned store, and another one."""
    asked = []
    answers = {
        "/v1/secret/data/db": {
            "data": {"data": {"password": CANARY, "port": 5432}, "metadata": {}}
        },
        "/v1/kv/db": {"data": {"password": CANARY + "-1"}},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("X-Vault-Token")))
            found = answers.get(self.path)
            is_known = self.headers.get("X-Vault-Token") == "root-token"
            body = json.dumps(found if found and is_known else {"errors": [CANARY]}).encode()
            self.send_response(403 if not is_known else 200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("VAULT_TOKEN", "root-token")
    monkeypatch.setitem(places.READERS, "vault", Vault(ask_vault).read)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def aws(monkeypatch):
    """AWS Secrets Manager as moto plays it."""
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setitem(places.READERS, "awssm", Vault(ask_aws).read)
    with moto.mock_aws():
        yield boto3.client("secretsmanager")


@given(st.text())
def test_a_secret_shows_itself_to_nobody(value):
    """Text, format, representation and containers of a secret are the same for every value."""
    secret = Secret(lambda: value)
    assert {str(secret), repr(secret), f"{secret}", "{}".format(secret)} == {"***"}  # noqa: UP032
    assert repr({"password": [secret]}) == "{'password': [***]}"
    assert revealed(secret) == secret.reveal() == value
    with pytest.raises(TypeError, match="travel"):
        pickle.dumps(secret)


def test_a_secret_of_the_environment_or_a_file_is_read_anew(tmp_path, monkeypatch):
    """A secret that is replaced where it is kept is the new one at the next use."""
    monkeypatch.setenv("DB_PASSWORD", "one")
    (tmp_path / "password").write_text("one\n")
    found = [find_secret(text, tmp_path) for text in ("env:DB_PASSWORD", "file:password")]
    assert [secret.reveal() for secret in found] == ["one", "one"]
    monkeypatch.setenv("DB_PASSWORD", "two")
    (tmp_path / "password").write_text("two\n")
    assert [secret.reveal() for secret in found] == ["two", "two"]


def test_a_keychain_keeps_secrets_by_service_and_user(tmp_path, keychain):
    """The service of a keychain's entry may hold slashes; the user is what follows the last."""
    keychain.set_password("nbgov/warehouse", "reader", CANARY)
    assert find_secret("keyring:nbgov/warehouse/reader", tmp_path).reveal() == CANARY


def test_a_vault_is_asked_once_a_minute(tmp_path, vault):
    """Versioned and plain stores of Vault are read, with its token, and not for each connection."""
    found = find_secret("vault:secret/data/db#password", tmp_path)
    assert [found.reveal() for _ in range(5)] == [CANARY] * 5
    assert find_secret("vault:kv/db#password", tmp_path).reveal() == CANARY + "-1"
    assert vault == [("/v1/secret/data/db", "root-token"), ("/v1/kv/db", "root-token")]


def test_a_secret_of_aws_is_a_text_or_a_field(tmp_path, aws):
    """A secret of AWS is taken whole or by a field, by its name or its ARN."""
    whole = json.dumps({"username": "reader", "password": CANARY})
    arn = aws.create_secret(Name="warehouse", SecretString=whole)["ARN"]
    for reference in ("awssm:warehouse#password", f"awssm:{arn}#password"):
        assert find_secret(reference, tmp_path).reveal() == CANARY
    assert find_secret("awssm:warehouse", tmp_path).reveal() == whole


@pytest.mark.parametrize(
    "reference",
    [
        "env:NO_SUCH_VARIABLE",
        "file:no-such-file",
        "file:latin",
        "keyring:nbgov/nobody",
        "vault:secret/data/other#password",
        "vault:secret/data/db#other",
        "vault:secret/data/db#port",
        "awssm:other",
    ],
)
def test_a_secret_that_is_not_there_is_told_by_its_reference(reference, tmp_path, request):
    """Whatever is wrong, the error names the reference, and neither it nor its traceback a value."""
    scheme = reference.partition(":")[0]
    if fixture := {"keyring": "keychain", "vault": "vault", "awssm": "aws"}.get(scheme):
        request.getfixturevalue(fixture)
    (tmp_path / "latin").write_bytes(CANARY.encode() + b"\xff")
    with pytest.raises(ConfigInvalid) as caught:
        find_secret(reference, tmp_path)
    assert caught.value.code == "secret-missing"
    assert reference in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_vault_that_refuses_is_not_quoted(tmp_path, vault, monkeypatch):
    """What a vault says when it refuses is in no message: it may be anything."""
    monkeypatch.setenv("VAULT_TOKEN", "another")
    with pytest.raises(ConfigInvalid, match="Forbidden") as caught:
        find_secret("vault:secret/data/db#password", tmp_path)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        "env:",
        "env:A B",
        "vault:secret/db",
        "keyring:nbgov",
        "awssm:",
        "https:x",
        "ENV:X",
        "awssm:a#",
    ],
)
def test_what_is_no_reference_is_refused_unrepeated(text):
    """A text that is no reference, and so may be a secret, is refused and not repeated."""
    config = (
        "version: 1\npolicy: p\nconnections:\n  a: {kind: postgresql, url: 'postgresql://h/d', "
        f"password: '{text}'}}\n"
    )
    with pytest.raises(ConfigInvalid, match="must be a reference") as caught:
        parse(config)
    assert CANARY not in str(caught.value)


def test_settings_of_a_connection_show_no_password(tmp_path, monkeypatch):
    """What a backend is told of a connection can be printed: its password is a secret."""
    monkeypatch.setenv("DB_PASSWORD", CANARY)
    config = parse(
        "version: 1\npolicy: p\nconnections:\n  a: {kind: postgresql, url: 'postgresql://h/d', "
        "password: 'env:DB_PASSWORD'}\n"
    )
    (tmp_path / ".nbgov").mkdir()
    settings = connection_settings(tmp_path, config, "a")
    assert settings["password"].reveal() == CANARY
    assert CANARY not in repr(settings)


@pytest.mark.parametrize(
    ("mode", "is_roots", "is_exposed"),
    [(0o400, True, False), (0o600, False, False), (0o440, True, False), (0o440, False, True),
     (0o444, True, True), (0o620, True, True), (0o602, False, True)],
)  # fmt: skip
def test_a_file_that_others_reach_is_exposed(tmp_path, mode, is_roots, is_exposed):
    """A secret's file is its owner's alone; one of root's may be read by a group, as in a pod."""
    path = tmp_path / "key"
    path.write_text(CANARY)
    if os.getuid() == 0:
        os.chown(path, 0 if is_roots else 65_500, -1)
    elif is_roots:
        pytest.skip("only root makes a file of root's")
    path.chmod(mode)
    assert bool(exposure(path)) is is_exposed


def test_the_codes_are_known():
    """Every code of this room is one that a person can look up."""
    assert {"secret-missing", "secret-exposed"} <= CODES.keys()
    assert issubclass(ConfigInvalid, nbgov.NbgovError)
