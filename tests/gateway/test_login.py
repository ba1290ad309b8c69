"""Logging in for real: a certified provider, the gateway's exchange, and what is kept of it."""

from __future__ import annotations

import os
import threading

import pytest
import requests
from click.testing import CliRunner

from nbgov.cli import main
from nbgov.errors import IdentityFailed
from nbgov.login import Credentials
from nbgov.login.http import Http
from nbgov.login.keeping import Keeping
from nbgov.login.oidc import refreshed
from nbgov.model import Audience
from tests.gateway.provider import Person
from tests.gateway.served import in_browser, typing_in


@pytest.mark.parametrize("way", [typing_in, in_browser], ids=["device", "browser"])
def test_somebody_logs_in_and_is_let_in_on_both_planes(gateway, way):
    """A login by code or by browser gives tokens of both planes, for the principal that it is."""
    house, url = gateway
    credentials = Credentials(url)
    assert credentials.log_in(way("grace")) == "grace"
    for token, audience in (
        (credentials.data(), Audience.DATA),
        (credentials.control(), Audience.CONTROL),
    ):
        guest = house.enter(token, audience)
        assert guest.principal.groups == {"stewards", "analysts"}
        assert guest.principal.roles == {"approver"}
        assert len(token) <= 1024
    assert credentials.whoami()["name"] == "grace"


def test_each_token_is_for_one_plane(gateway):
    """A token of one plane opens nothing on the other."""
    house, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser("ada"))
    for token, audience in (
        (credentials.data(), Audience.CONTROL),
        (credentials.control(), Audience.DATA),
    ):
        with pytest.raises(IdentityFailed) as refused:
            house.enter(token, audience)
        assert refused.value.code == "token-audience"


@pytest.mark.parametrize(
    ("gateway", "name", "groups"),
    [("okta", "okta.ada", 2), ("entra", "entra.ada", 150), ("entra", "entra.many", 260)],
    indirect=["gateway"],
)
def test_groups_come_with_the_login_however_many(gateway, name, groups):
    """Tokens shaped like Okta's and Entra's log in; more groups than a header holds are fine."""
    house, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser(name))
    guest = house.enter(credentials.data(), Audience.DATA)
    assert len(guest.principal.groups) == groups
    assert len(credentials.data()) < 100


@pytest.mark.parametrize("gateway", ["entra"], indirect=True)
def test_groups_that_were_left_out_keep_somebody_out(gateway):
    """Who has more groups than the provider sends is told so, and is not let in without them."""
    _, url = gateway
    with pytest.raises(IdentityFailed) as refused:
        Credentials(url).log_in(in_browser("entra.overage"))
    assert refused.value.code == "groups-overage"


def test_a_login_is_renewed_and_an_old_refresh_token_ends_it(gateway, provider):
    """A refresh token works once; used again, it takes the whole login with it."""
    _, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser("ada"), is_remembered=True)
    first = credentials.proven
    second = refreshed(Http(url), first)
    assert second.refresh_token not in {"", first.refresh_token}
    for proven in (first, second):
        with pytest.raises(IdentityFailed) as refused:
            refreshed(Http(url), proven)
        assert refused.value.code == "login-failed"


def test_somebody_who_was_disabled_gets_nothing_more(gateway, provider):
    """Once the provider has disabled somebody, their login is over with the token that they have."""
    _, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser("olga"), is_remembered=True)
    provider.disable("olga")
    credentials.forget()
    assert credentials.proven is not None
    object.__setattr__(credentials.proven, "expires_at", 0.0)
    with pytest.raises(IdentityFailed) as refused:
        credentials.data()
    assert refused.value.code == "login-failed"
    assert Keeping(url).load() is None


def test_keys_of_the_provider_may_change(gateway, provider):
    """After the provider has changed its key, new logins count and old ones go on."""
    house, url = gateway
    before = Credentials(url)
    before.log_in(in_browser("ada"))
    provider.rotate()
    after = Credentials(url)
    assert after.log_in(in_browser("grace")) == "grace"
    before.forget()
    assert house.enter(before.data(), Audience.DATA).principal.name == "ada"


def test_a_job_logs_in_with_a_file(gateway, provider, tmp_path, monkeypatch):
    """A job whose platform puts a token into a file needs no person."""
    house, url = gateway
    form = {"grant_type": "client_credentials", "client_id": "job", "scope": "govsql"}
    answer = requests.post(
        f"{provider.issuer}/token",
        data=form | {"client_secret": "a-secret-of-the-tests"},
        timeout=20,
    )
    path = tmp_path / "token"
    path.write_text(answer.json()["access_token"])
    monkeypatch.setenv("NBGOV_TOKEN_FILE", str(path))
    assert house.enter(Credentials(url).data(), Audience.DATA).principal.name == "job"


# ---------------------------------------------------------------- what is kept


def test_what_is_kept_is_for_its_owner_and_without_a_refresh_token(gateway, kept_apart):
    """Without --remember the access token alone is kept, in a file that nobody else can read."""
    _, url = gateway
    Credentials(url).log_in(in_browser("ada"))
    [path] = kept_apart.glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    found = Keeping(url).load()
    assert (bool(found.access_token), found.refresh_token) == (True, "")
    assert Credentials(url).data()


def test_a_login_can_be_remembered(gateway):
    """With --remember another process can renew the login."""
    _, url = gateway
    Credentials(url).log_in(in_browser("ada"), is_remembered=True)
    assert Keeping(url).load().refresh_token


def test_nothing_is_kept_where_others_could_read_it(gateway, kept_apart):
    """In a folder that others can enter nothing is written, and the login lasts in memory."""
    _, url = gateway
    kept_apart.chmod(0o755)
    credentials = Credentials(url)
    credentials.log_in(in_browser("ada"))
    assert list(kept_apart.iterdir()) == []
    assert credentials.data()


def test_logging_out_ends_every_login(gateway, kept_apart):
    """After logging out no token counts any more, and nothing is kept."""
    house, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser("ada"))
    token = credentials.data()
    credentials.log_out()
    with pytest.raises(IdentityFailed) as refused:
        house.enter(token, Audience.DATA)
    assert refused.value.code == "token-revoked"
    assert list(kept_apart.glob("*.json")) == []
    with pytest.raises(IdentityFailed) as missing:
        credentials.data()
    assert missing.value.code == "not-logged-in"


def test_no_token_shows(gateway):
    """Neither the credentials nor what is kept show a token when they are printed."""
    _, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser("ada"))
    shown = repr(credentials) + repr(credentials.proven) + repr(credentials.tokens)
    assert credentials.data() not in shown
    assert credentials.proven.access_token not in shown
    with pytest.raises(TypeError):
        __import__("pickle").dumps(credentials)
    assert credentials.data() not in str(os.environ)


# ---------------------------------------------------------------- the command line


def test_the_command_line_logs_in_and_out(gateway, monkeypatch):
    """nbgov login shows address and code, whoami says who one is, logout ends it."""
    from nbgov.cli import login as commands

    _, url = gateway
    shown = []

    def show(address, code):
        shown.append((address, code))
        threading.Thread(target=Person("grace").go, args=(address,), daemon=True).start()

    monkeypatch.setattr(commands, "show", show)
    run = CliRunner().invoke
    result = run(main, ["login", "--gateway", url])
    assert (result.exit_code, result.output) == (0, "Logged in as grace.\n"), result.output
    assert shown
    told = run(main, ["whoami", "--gateway", url]).output
    assert "grace" in told
    assert "approver" in told
    assert run(main, ["logout", "--gateway", url]).output == "Logged out.\n"
    gone = run(main, ["whoami", "--gateway", url])
    assert (gone.exit_code, "not-logged-in" in gone.output) == (1, True)


# ---------------------------------------------------------------- the notebook


@pytest.fixture
def shell(gateway, tmp_path, monkeypatch):
    """A notebook's shell, whose nbgov.yaml names the gateway."""
    from IPython.core.interactiveshell import InteractiveShell

    _, url = gateway
    path = tmp_path / "nbgov.yaml"
    path.write_text(
        f'version: 1\nconnections:\n  w: {{kind: gateway, url: "grpc://127.0.0.1:1", control: "{url}"}}\n'
    )
    monkeypatch.setenv("NBGOV_CONFIG", str(path))
    found = InteractiveShell()
    found.run_line_magic("load_ext", "nbgov")
    yield found
    found.run_line_magic("unload_ext", "nbgov")
    found.history_manager.end_session()


def test_a_notebook_logs_in_and_keeps_neither_address_nor_code(shell, monkeypatch):
    """%nbgov login shows where to go, and in the end only who is logged in."""
    from nbgov.notebook.login import Notice

    shown = []

    def put(_, data):
        shown.append(data["text/plain"])
        if "confirm the code" in shown[-1]:
            address = shown[-1].split()[1]
            threading.Thread(target=Person("ada").go, args=(address,), daemon=True).start()

    monkeypatch.setattr(Notice, "put", put)
    shell.run_line_magic("nbgov", "login")
    assert (len(shown), shown[-1]) == (2, "Logged in as ada.")
    shell.run_line_magic("nbgov", "logout")
    assert shown[-1] == "Logged out."


def test_giving_up_a_login_leaves_nobody_logged_in(shell, gateway, monkeypatch):
    """Stop ends the wait with one clear error, and nothing is kept."""
    from nbgov.notebook.login import Notice

    def put(_, data):
        if "confirm the code" in data["text/plain"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Notice, "put", put)
    with pytest.raises(IdentityFailed) as given_up:
        shell.run_line_magic("nbgov", "login")
    assert given_up.value.code == "login-failed"
    assert Keeping(gateway[1]).load() is None


def test_the_notebook_takes_no_other_words(shell):
    """A word that is none is told, with those that there are."""
    from nbgov.errors import RequestInvalid

    with pytest.raises(RequestInvalid, match="unrecognized"):
        shell.run_line_magic("nbgov", "login --nope")
