"""Credentials that several processes share, and issuers and browsers that do not behave."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import keyring
import keyring.backend
import pytest
import requests
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from keyring.errors import PasswordDeleteError, PasswordSetError

from nbgov.cli import main
from nbgov.errors import BackendFailed, IdentityFailed, RequestInvalid
from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.flight.serving import Tls
from nbgov.login import Credentials, credentials_among, facts_of
from nbgov.login.device import by_device
from nbgov.login.http import Http
from nbgov.login.keeping import Keeping, Proven
from nbgov.login.loopback import by_browser
from nbgov.login.oidc import Place, choose, discover, refreshed, seconds
from nbgov.model import Audience
from tests.gateway.certificates import make_certificates
from tests.gateway.provider import Person
from tests.gateway.served import in_browser
from tests.gateway_scene import make_folder, make_house

PROVEN = Proven("https://issuer.test", "nbgov", "an access token", "a refresh token", 2e9, "ada")


def ended(credentials: Credentials, url: str) -> None:
    """Let the access token that is held and kept be over."""
    old = replace(credentials.proven, expires_at=0.0)
    credentials.proven = old
    Keeping(url).save(old, is_remembered=credentials.keeping.is_remembered)
    credentials.forget()


# ---------------------------------------------------------------- several processes


def test_processes_that_renew_a_login_at_once_all_go_on(gateway):
    """A refresh token is used once, however many processes need a new access token."""
    _, url = gateway
    first = Credentials(url)
    first.log_in(in_browser("ada"), is_remembered=True)
    ended(first, url)
    others = [Credentials(url) for _ in range(4)]
    with ThreadPoolExecutor(5) as pool:
        tokens = list(pool.map(Credentials.data, [first, *others]))
    assert all(tokens)
    ended(others[0], url)
    assert others[1].proven.is_over is False
    assert others[0].data()


def test_a_login_that_another_process_ended_is_over_here(gateway):
    """After a logout in a terminal, a kernel that shares the login gets no new token."""
    _, url = gateway
    kernel, terminal = Credentials(url), Credentials(url)
    terminal.log_in(in_browser("ada"))
    assert kernel.data()
    terminal.log_out()
    kernel.forget()
    with pytest.raises(IdentityFailed) as gone:
        kernel.data()
    assert gone.value.code == "not-logged-in"


def test_nobody_becomes_somebody_else_in_the_middle(gateway):
    """When another process logs in as somebody else, this one goes on as who it is."""
    house, url = gateway
    kernel, terminal = Credentials(url), Credentials(url)
    kernel.log_in(in_browser("ada"), is_remembered=True)
    terminal.log_in(in_browser("grace"), is_remembered=True)
    kernel.proven = replace(kernel.proven, expires_at=0.0)
    kernel.forget()
    assert house.enter(kernel.data(), Audience.DATA).principal.name == "ada"
    assert Keeping(url).load().principal == "grace"
    kernel.log_out()
    assert Keeping(url).load().principal == "grace"


def test_logging_out_ends_the_login_at_the_provider_too(gateway):
    """A refresh token that somebody copied is worth nothing after its owner has logged out."""
    _, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser("ada"), is_remembered=True)
    copied = credentials.proven
    credentials.log_out()
    with pytest.raises(IdentityFailed):
        refreshed(Http(url), copied)


def test_a_provider_that_is_away_ends_no_login(tmp_path, gateway):
    """While the provider is away a login is kept, and used for as long as it is good."""
    _, url = gateway
    credentials = Credentials(url)
    credentials.log_in(in_browser("ada"), is_remembered=True)
    away = "http://127.0.0.1:1"
    ending = replace(credentials.proven, issuer=away, expires_at=0.0)
    credentials.proven = ending
    Keeping(url).save(ending, is_remembered=True)
    credentials.forget()
    with pytest.raises(BackendFailed) as unavailable:
        credentials.data()
    assert unavailable.value.code == "login-unavailable"
    assert Keeping(url).load() == ending


# ---------------------------------------------------------------- jobs


def test_a_job_logs_in_with_a_secret_of_its_own(gateway, provider, tmp_path, monkeypatch):
    """A client with a secret gets in without a person, and nobody can log in over it."""
    house, url = gateway
    (tmp_path / "secret").write_text("a-secret-of-the-tests\n")
    monkeypatch.setenv("NBGOV_CLIENT_ID", "job")
    monkeypatch.setenv("NBGOV_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("NBGOV_ISSUER", provider.issuer)
    monkeypatch.setenv("NBGOV_SCOPE", "govsql")
    credentials = Credentials(url)
    assert house.enter(credentials.data(), Audience.DATA).principal.name == "job"
    assert Keeping(url).load() is None
    with pytest.raises(RequestInvalid, match="job"):
        credentials.log_in(in_browser("ada"))


def test_a_job_without_its_secret_is_told_which_file(gateway, monkeypatch):
    """A file that cannot be read is named by its variable, and by nothing of what is in it."""
    monkeypatch.setenv("NBGOV_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(IdentityFailed) as refused:
        Credentials(gateway[1]).data()
    assert refused.value.code == "login-failed"
    assert "$NBGOV_TOKEN_FILE" in str(refused.value)


def test_github_and_jupyterhub_are_asked_where_they_are(strange, monkeypatch):
    """The token is the platform's own, and GitHub is told whom it is for."""
    from nbgov.login import jobs

    http = Http("https://gateway.test")
    monkeypatch.setenv("NBGOV_JUPYTERHUB", "1")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of-the-hub")
    assert jobs.found(http) == "of-the-hub"
    strange.says["/token"] = (200, {"value": "of-github"})
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{strange.url}/token?api-version=2.0")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "for-the-asking")
    monkeypatch.setenv("NBGOV_AUDIENCE", "our gateway")
    assert jobs.found(http) == "of-github"
    path, headers = strange.asked[-1]
    assert parse_qs(urlsplit(path).query)["audience"] == ["our gateway"]
    assert headers["Authorization"] == "Bearer for-the-asking"


# ---------------------------------------------------------------- where it is kept


class Keychain(keyring.backend.KeyringBackend):
    """A keychain that keeps in memory, and takes only so much."""

    priority = 5
    length_max = 10_000

    def __init__(self):
        super().__init__()
        self.held = {}

    def get_password(self, service, username):
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        if len(password) > self.length_max:
            raise PasswordSetError
        self.held[service, username] = password

    def delete_password(self, service, username):
        if (service, username) not in self.held:
            raise PasswordDeleteError
        del self.held[service, username]


@pytest.fixture
def keychain(kept_apart):
    before, found = keyring.get_keyring(), Keychain()
    keyring.set_keyring(found)
    yield found
    keyring.set_keyring(before)


def test_the_keychain_comes_first_and_the_file_is_gone(keychain, kept_apart):
    """With a keychain no file is written, and one of before is removed."""
    keeping = Keeping("https://gateway.test")
    keeping.write_file("{}")
    assert keeping.save(PROVEN, is_remembered=True)
    assert Keeping("https://gateway.test").load() == PROVEN
    assert list(kept_apart.glob("*.json")) == []
    keeping.remove()
    assert (keychain.held, Keeping("https://gateway.test").load()) == ({}, None)


def test_a_login_too_long_for_the_keychain_replaces_the_one_before(keychain):
    """What the keychain does not take is in the file, and no earlier login comes before it."""
    keeping = Keeping("https://gateway.test")
    keeping.save(replace(PROVEN, principal="grace"), is_remembered=True)
    long = replace(PROVEN, access_token="x" * 20_000)
    assert keeping.save(long, is_remembered=True)
    assert Keeping("https://gateway.test").load() == long


@given(text=st.text() | st.recursive(st.none() | st.booleans(), st.lists).map(json.dumps))
def test_what_is_no_login_is_none(tmp_path_factory, text):
    """A file that holds anything else is as good as no file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runtime")
        folder.chmod(0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        keeping = Keeping("https://gateway.test")
        keeping.write_file(text)
        assert keeping.load() is None


def test_a_link_in_the_place_of_the_folder_is_not_followed(kept_apart, monkeypatch, tmp_path):
    """Where the runtime folder is a link, nothing is kept."""
    (tmp_path / "link").symlink_to(kept_apart)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "link"))
    assert not Keeping("https://gateway.test").save(PROVEN, is_remembered=True)
    assert list(kept_apart.iterdir()) == []


# ---------------------------------------------------------------- the browser


def test_strangers_at_the_door_do_not_spoil_a_login(gateway):
    """Connections that say nothing, other paths and wrong states are passed over."""
    idle = []

    def open_browser(url):
        back = urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0])
        idle.append(socket.create_connection((back.hostname, back.port)))
        for path in ("/", "/callback", "/callback?state=guessed&code=theirs", "/callback?error=x"):
            assert requests.get(f"http://{back.netloc}{path}", timeout=10).status_code == 404
        threading.Thread(target=Person("ada").go, args=(url,), daemon=True).start()

    try:
        assert Credentials(gateway[1]).log_in(by_browser(open_browser, wait_s=60)) == "ada"
    finally:
        for one in idle:
            one.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"iss": "https://other.test", "code": "c"}, "another issuer"),
        ({"code": "c"}, "another issuer"),
        ({"error": "access_denied", "error_description": "she \x1b[2J said no"}, "access_denied"),
        ({}, "nothing that can be used"),
        (None, "did not come back"),
    ],
    ids=["other issuer", "no issuer", "refused", "empty", "nobody"],
)
def test_an_answer_that_is_not_the_issuers_is_refused(strange, answer, why):
    """Only an answer in the name of the issuer that was asked is taken to it."""
    about = {"authorization_response_iss_parameter_supported": True}
    place = strange.issuer(**about)

    def open_browser(url):
        query = parse_qs(urlsplit(url).query)
        if answer is not None:
            told = {"iss": place.issuer} if "iss" not in answer and "code" not in answer else {}
            requests.get(
                query["redirect_uri"][0],
                params={**told, **answer, "state": query["state"][0]},
                timeout=10,
            )

    with pytest.raises(IdentityFailed, match=why) as refused:
        by_browser(open_browser, wait_s=0.2 if answer is None else 60)(Http(strange.url), place)
    assert "\x1b" not in str(refused.value)
    assert not any(path == "/token" for path, _ in strange.asked)


@pytest.mark.parametrize(("nonce", "is_taken"), [("same", True), ("other", False)])
def test_an_id_token_repeats_the_nonce(strange, nonce, is_taken):
    """An ID token that was made for another question ends the login."""
    import base64

    place = strange.issuer()

    def open_browser(url):
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        claims = {"nonce": query["nonce"] if nonce == "same" else "of another login"}
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        strange.says["/token"] = (200, {"access_token": "a", "id_token": f"h.{body}.s"})
        back = {"code": "c", "state": query["state"]}
        requests.get(query["redirect_uri"], params=back, timeout=10)

    way = by_browser(open_browser, wait_s=60)
    if is_taken:
        assert way(Http(strange.url), place).access_token == "a"
    else:
        with pytest.raises(IdentityFailed, match="nonce"):
            way(Http(strange.url), place)


def test_a_port_that_the_issuer_knows_can_be_chosen(strange):
    """With a port the browser comes back there; a port that is taken is told."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BackendFailed, match=str(port)):
            by_browser(print, port=port)(Http(strange.url), strange.issuer())


# ---------------------------------------------------------------- strange servers


class Strange(ThreadingHTTPServer):
    """A server that says what it is told to."""

    def __init__(self):
        self.says, self.asked = {}, []
        super().__init__(("127.0.0.1", 0), Says)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def issuer(self, **more):
        """An issuer with endpoints here."""
        names = ("authorization", "device_authorization", "token", "revocation")
        about = {f"{name}_endpoint": f"{self.url}/{name}" for name in names}
        told = {"issuer": self.url, **about, **more}
        self.says["/.well-known/openid-configuration"] = (200, told)
        return Place(self.url, "nbgov", ("openid",))


class Says(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.says.get(urlsplit(self.path).path, (404, {}))
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_):
        pass


@pytest.fixture
def strange():
    with Strange() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        (302, {}),
        (500, {"error": "server_error"}),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"\xff"),
        (200, b" " * 2_000_000 + b"{}"),
        (200, {"issuer": "https://other.test"}),
    ],
    ids=["redirect", "broken", "html", "list", "no text", "endless", "other issuer"],
)
def test_a_server_that_is_no_issuer_is_told_apart(strange, answer):
    """Whatever answers in an issuer's place, the error is one, and nothing is sent elsewhere."""
    strange.says["/.well-known/openid-configuration"] = answer
    with pytest.raises(BackendFailed) as unavailable:
        discover(Http(strange.url), strange.url)
    assert unavailable.value.code == "login-unavailable"
    assert len(strange.asked) == 1


@pytest.mark.parametrize(
    "about",
    [
        {"token_endpoint": "http://elsewhere.test/token"},
        {"token_endpoint": None},
        {"token_endpoint": 7},
        {"token_endpoint": "https://[broken"},
        {"device_authorization_endpoint": "file:///etc/passwd"},
        {"device_authorization_endpoint": "https://user:secret@127.0.0.1/"},
    ],
    ids=["clear", "none", "number", "broken", "file", "user"],
)
def test_nothing_is_sent_to_an_endpoint_that_is_not_private(strange, about):
    """An endpoint in clear, or of another kind, gets no code, and no secret of it is told."""
    place = strange.issuer(**about)
    code = {"device_code": "d", "user_code": "u", "verification_uri": "https://a.test"}
    strange.says["/device_authorization"] = (200, {**code, "interval": 0})
    with pytest.raises(BackendFailed) as unavailable:
        by_device(lambda *_: None)(Http(strange.url), place)
    assert unavailable.value.code == "login-unavailable"
    assert "secret" not in str(unavailable.value)


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        ((400, {"error": "access_denied"}), IdentityFailed, "access_denied"),
        ((400, {"error": "expired_token"}), IdentityFailed, "nobody has typed"),
        ((503, {}), BackendFailed, "503"),
        ((429, {"error": "slow"}), BackendFailed, "429"),
        ((200, {"access_token": ""}), BackendFailed, "no access token"),
    ],
    ids=["refused", "expired", "broken", "busy", "empty"],
)
def test_each_end_of_the_device_flow_is_told_apart(strange, answer, error, why):
    """What the issuer refuses is an end of the login; an issuer out of order is none."""
    place = strange.issuer()
    code = {"device_code": "d", "user_code": "u", "verification_uri": "https://a.test"}
    strange.says["/device_authorization"] = (200, {**code, "interval": 0, "expires_in": 90})
    strange.says["/token"] = answer
    with pytest.raises(error, match=why):
        by_device(lambda *_: None)(Http(strange.url), place)


@given(st.one_of(st.none(), st.text(), st.floats(), st.integers(), st.lists(st.none())))
def test_a_length_of_time_is_within_bounds(told):
    """Whatever a server says, nobody waits less or more than the bounds."""
    assert 1 <= seconds(told, 5, low=1, high=60) <= 60


@pytest.mark.parametrize("told", [{}, {"issuers": [{}]}, {"issuers": 7}, {"issuers": [7]}])
def test_what_names_no_issuers_is_no_gateway(told):
    """A server that does not say where to log in is told apart from a gateway without issuers."""
    with pytest.raises(BackendFailed):
        choose(told, "")


def test_a_proxy_never_sees_what_stays_on_this_host(gateway, monkeypatch):
    """A proxy in the environment gets nothing that is sent in clear to this host."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert Http(gateway[1]).get(f"{gateway[1]}/v1/login")["issuers"]


def test_own_certificates_count_for_the_gateway_alone(tmp_path):
    """The file behind ca: is for the gateway; an issuer has to be known to the system."""
    (server, client, authority) = make_certificates(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(client[0].read_bytes() + client[1].read_bytes())
    house = make_house(make_folder(tmp_path))
    tls = Tls(*(one.read_bytes() for one in (*server, authority)))
    plane = start_control_plane(house, None, "127.0.0.1:0", tls=tls)
    url = f"https://127.0.0.1:{plane.port}"
    try:
        known = Http(url, ca=str(authority), certificate=str(both))
        assert known.call("GET", f"{url}/healthz")[0] == 200
        for other in (
            Http("https://gateway.test", ca=str(authority), certificate=str(both)),
            Http(url, ca=str(authority)),
        ):
            with pytest.raises(BackendFailed):
                other.get(f"{url}/healthz")
    finally:
        plane.stop()
        house.close()


# ---------------------------------------------------------------- surfaces


@pytest.mark.parametrize("url", ["http://gateway.test", "gateway.test", "https://a:b@gateway.test"])
def test_no_login_goes_to_a_gateway_in_clear(tmp_path, monkeypatch, url):
    """A control plane that is named on the command line has to be private, too."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["login", "--gateway", url])
    assert result.exit_code != 0
    assert "usage" in result.output


def test_several_gateways_have_to_be_told_apart(tmp_path):
    """Of several gateways one has to be named, and its own certificates count."""
    from nbgov.config.places import GatewayConnection

    def entry(name, ca=None):
        return GatewayConnection(
            "gateway", f"grpc+tls://{name}.test:1", f"https://{name}.test/", ca=ca
        )

    both = (entry("a", "a.pem"), entry("b"))
    with pytest.raises(RequestInvalid, match=r"https://a\.test, https://b\.test"):
        credentials_among(both, tmp_path)
    assert credentials_among(both, tmp_path, "https://a.test").http.ca == str(tmp_path / "a.pem")
    assert credentials_among(both, tmp_path, "https://c.test").http.ca is None


def test_what_a_gateway_says_cannot_move_the_cursor():
    """Names and groups of somebody are shown with every sign of theirs."""
    told = {"name": "a\x1b[2J", "groups": ["g\u202e"], "roles": [], "account": "s", "via": "oidc"}
    shown = " ".join(text for _, text in facts_of(told))
    assert shown.isprintable()
    assert "none" in shown
