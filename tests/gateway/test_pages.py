"""The pages of a gateway over HTTP: who sees and does what, and what no page ever holds."""

from __future__ import annotations

import re
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.audit.proof import Proof as EntryProof
from nbgov.core.visible import visible
from nbgov.errors import ApprovalNeeded, IdentityFailed
from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.identity import Identities
from nbgov.gateway.pages import cookies
from nbgov.gateway.pages.shell import PLACES
from nbgov.gateway.pages.signing import own_page
from nbgov.model import ApprovalState, Audience, Request
from tests import gateway_scene
from tests.gateway.provider import Person
from tests.gateway.reader import WAIT_S, Found, Reader
from tests.gateway_scene import CONFIG, POLICY, make_folder, make_house, token

CHANGE = "UPDATE people SET city = '<b>Bern' WHERE id = 7"
GLASS = POLICY + "break_glass: {by: {groups: [analysts]}}\n"
ADDRESSES = [
    *PLACES,
    "/pages/tickets/abc",
    "/pages/audit/1",
    "/pages/audit/1/proof",
    "/pages/nowhere",
]
DOING = ["/pages/tickets/abc", "/pages/tickets/abc/sample", "/pages/policy", "/pages/sign-out"]
DOING += [f"/pages/live/{deed}" for deed in ("cancel", "end", "stop", "lift")]


class Scene:
    """A gateway with pages, and the people who read them."""

    def __init__(self, folder, config=CONFIG):
        self.house = make_house(make_folder(folder, config=config, policy=GLASS))
        known = Identities(self.house.terms, now=self.house.site.world.clock.now)
        self.plane = start_control_plane(self.house, known, "127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self.plane.port}"

    def reader(self, name=""):
        """Somebody who reads."""
        return Reader(self.house, self.url, name)

    def guest(self, name):
        """Somebody on the data plane."""
        return self.house.enter(token(self.house, name), Audience.DATA)

    def run(self, name, sql, **more):
        """A statement, read to its end."""
        asked = Request("warehouse", sql, **more)
        with self.house.ask(self.guest(name), asked, surface="flight-sql", address="") as result:
            return result.to_arrow()

    def ticket(self, name="ada", sql=CHANGE):
        """A ticket of somebody's."""
        with pytest.raises(ApprovalNeeded) as caught:
            self.run(name, sql)
        return caught.value.ticket

    def state(self, ticket):
        """Where a ticket stands."""
        return self.house.site.world.approvals.get(ticket).state

    def close(self):
        """End it."""
        self.plane.stop()
        self.house.close()


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    yield made
    made.close()


# ---------------------------------------------------------------- who is let in


@pytest.mark.parametrize("path", ADDRESSES)
def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(scene, path):
    """No page tells a stranger anything: each leads to the sign-in, which leads back to it."""
    answer = requests.get(scene.url + path, allow_redirects=False, timeout=WAIT_S)
    place = urlsplit(answer.headers["location"])
    assert (answer.status_code, place.path) == (303, "/pages/sign-in")
    assert parse_qs(place.query) == {"next": [path]}


@pytest.mark.parametrize("path", DOING)
def test_no_form_of_another_page_does_anything(scene, path):
    """A form without the text that only pages of the login hold is refused, wherever it goes."""
    reader = scene.reader("olga")
    keys = ["", "x", cookies.form_key(scene.house, "nbgov-control-other")]
    for key in keys:
        answer = reader.browser.post(scene.url + path, data={"form_key": key}, timeout=WAIT_S)
        assert answer.status_code == 403
        assert "form-invalid" in answer.text
    own = cookies.form_key(scene.house, reader.browser.cookies[cookies.LOGIN])
    answer = reader.browser.post(
        scene.url + path,
        data={"form_key": own},
        headers={"sec-fetch-site": "cross-site"},
        timeout=WAIT_S,
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("audience", list(Audience))
def test_a_cookie_opens_no_call_and_a_bearer_no_page(scene, audience):
    """The cookie counts on pages only, bearer tokens on calls only, and data tokens on neither."""
    held = token(scene.house, "ada", audience)
    bearer = {"authorization": f"Bearer {held}"}
    answer = requests.get(scene.url + "/v1/whoami", cookies={cookies.LOGIN: held}, timeout=WAIT_S)
    assert answer.status_code == 401
    answer = requests.get(
        scene.url + "/pages/live", headers=bearer, allow_redirects=False, timeout=WAIT_S
    )
    assert answer.status_code == 303
    answer = requests.get(
        scene.url + "/pages/live",
        cookies={cookies.LOGIN: held},
        allow_redirects=False,
        timeout=WAIT_S,
    )
    assert answer.status_code == (200 if audience is Audience.CONTROL else 303)


def test_somebody_signs_in_through_the_issuer_and_out_again(gateway):
    """Code and PKCE bring somebody in, to the page that they wanted; signed out, they are out."""
    house, url = gateway
    person = Person("grace")
    page = person.browser.get(f"{url}/pages/policy", timeout=WAIT_S)
    [link] = [one for one in Found(page.text).links if "/sign-in/acme" in one]
    came = person.go(link, until=f"{url}/pages/policy")
    assert urlsplit(came.url).path == "/pages/policy"
    assert "grace" in Found(came.text).text
    held = next(one for one in person.browser.cookies if one.name == cookies.LOGIN)
    assert held.has_nonstandard_attr("HttpOnly")
    assert held.get_nonstandard_attr("SameSite") == "lax"
    guest = house.enter(held.value, Audience.CONTROL)
    assert guest.principal.roles == {"approver"}
    assert guest.principal.via == "oidc:acme"
    form = Found(came.text).forms[0]
    assert form["action"] == "/pages/sign-out"
    person.browser.post(url + form["action"], data=form["fields"], timeout=WAIT_S)
    assert cookies.LOGIN not in person.browser.cookies
    again = requests.get(
        f"{url}/pages/live",
        cookies={cookies.LOGIN: held.value},
        allow_redirects=False,
        timeout=WAIT_S,
    )
    assert again.status_code == 303


def test_the_pages_may_be_a_client_with_a_secret(tmp_path, provider):
    """Where the issuer wants it, the gateway proves itself with a secret that no browser sees."""
    secret = tmp_path / "pages.secret"
    secret.write_text("a-secret-of-the-pages", encoding="utf-8")
    secret.chmod(0o600)
    entry = (
        f"acme: {{kind: oidc, issuer: '{provider.issuer}', audience: nbgov-gateway, client_id: nbgov,"
        " pages_client_id: pages-with-secret, pages_client_secret: 'file:pages.secret',"
        " scopes: [openid, profile, govsql]}"
    )
    scene = Scene(tmp_path, CONFIG.replace("issuers: {}", f"issuers: {{{entry}}}"))
    try:
        person = Person("ada")
        came = person.go(f"{scene.url}/pages/sign-in/acme", until=f"{scene.url}/pages/tickets")
        assert " ada " in Found(came.text).text
        assert not any("a-secret" in one.text for one in (came, *came.history))
    finally:
        scene.close()


def test_over_tls_cookies_are_bound_to_the_very_host(tmp_path):
    """Behind an https address, links lead there, and cookies carry the prefix that binds them."""
    entry = "acme: {kind: oidc, issuer: 'http://127.0.0.1:1', audience: a, client_id: nbgov}"
    config = CONFIG.replace("issuers: {}", f"issuers: {{{entry}}}")
    scene = Scene(tmp_path, config + "  control_url: https://gateway.test\n")
    try:
        reader = scene.reader()
        page = reader.get("/pages/sign-in?next=/pages/live", headers={"host": "evil.test"})
        assert "https://gateway.test/pages/sign-in/acme?next=%2Fpages%2Flive" in page.links
        held = token(scene.house, "ada", Audience.CONTROL)
        for name, status in ((cookies.LOGIN, 303), (f"__Host-{cookies.LOGIN}", 200)):
            answer = requests.get(
                f"{scene.url}/pages/live",
                cookies={name: held},
                allow_redirects=False,
                timeout=WAIT_S,
            )
            assert answer.status_code == status
        form = Found(answer.text).forms[0]
        answer = requests.post(
            scene.url + form["action"],
            data=form["fields"],
            cookies={f"__Host-{cookies.LOGIN}": held},
            timeout=WAIT_S,
        )
        told = answer.headers["set-cookie"].lower()
        assert told.startswith("__host-nbgov-login=")
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= set(told.split("; "))
    finally:
        scene.close()


def test_a_sign_in_of_another_browser_is_not_finished_here(gateway):
    """An answer of the issuer counts in the browser that began, once, with its own state only."""
    _, url = gateway
    began = requests.Session()
    first = began.get(f"{url}/pages/sign-in/acme", allow_redirects=False, timeout=WAIT_S)
    asked = parse_qs(urlsplit(first.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert {"state", "nonce"} <= asked.keys()
    sealed = began.cookies[cookies.SIGN_IN]
    assert asked["state"][0] not in sealed
    for browser, state in (
        (requests.Session(), asked["state"][0]),
        (began, "another"),
        (began, ""),
    ):
        answer = browser.get(
            f"{url}/pages/callback", params={"code": "x", "state": state}, timeout=WAIT_S
        )
        assert answer.status_code == 401
        assert "did not begin in this browser" in Found(answer.text).text
    bad = {"code": "x", "state": asked["state"][0], "iss": "https://evil.test"}
    answer = began.get(f"{url}/pages/callback", params=bad, timeout=WAIT_S)
    assert (answer.status_code, "login-failed" in answer.text) == (401, True)
    assert cookies.LOGIN not in began.cookies


@given(st.text(max_size=40).map(lambda text: f"/pages{text}") | st.text())
def test_a_sign_in_ends_on_a_page_of_ours(path):
    """Whatever is asked for, the browser is sent on to a page of this gateway."""
    found = own_page(path)
    assert found.startswith("/pages")
    assert not urlsplit(found).netloc
    assert not re.search(r"[\\\s]|//|/\.\.", found)


# ---------------------------------------------------------------- what pages may do


@pytest.mark.parametrize("path", [*PLACES, "/pages/sign-in", "/pages/nowhere"])
def test_a_page_runs_nothing_and_loads_nothing_from_elsewhere(scene, path):
    """Every page forbids scripts and frames, and holds no script, style, handler or foreign link."""
    reader = scene.reader("olga")
    page = reader.get(path)
    policy = reader.answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self'")
    assert "unsafe" not in policy
    assert reader.answer.headers["cache-control"] == "no-store"
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "style", "iframe", "img", "object"}
    names = {name for _, held in page.tags for name in held}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    assert all(link.startswith(("/pages", "#", scene.url)) for link in page.links)


def test_no_page_holds_the_token_that_opens_it(scene):
    """The token of a login is on no page, and neither is the key that seals."""
    reader = scene.reader("olga")
    held = reader.browser.cookies[cookies.LOGIN]
    for path in PLACES:
        reader.get(path)
        assert held not in reader.answer.text
        assert scene.house.ticket_key.hex() not in reader.answer.text


# ---------------------------------------------------------------- approvals


def test_a_ticket_is_approved_in_the_browser_and_then_runs(scene):
    """A voter finds the ticket, sees the statement and rows, approves, and the statement runs."""
    ticket = scene.ticket()
    reader = scene.reader("grace")
    assert f"/pages/tickets/{ticket}" in reader.get("/pages/tickets").links
    page = reader.get(f"/pages/tickets/{ticket}")
    assert (
        CHANGE in page.text.replace("  ", " ").replace("people ", "people ") or "Bern" in page.text
    )
    assert "<b>Bern" not in reader.answer.text
    assert "advisory" not in page.text
    page = reader.send(f"/pages/tickets/{ticket}/sample")
    assert "Read just now" in page.text
    page = reader.send(f"/pages/tickets/{ticket}", deed="approve", said="as agreed")
    assert reader.answer.url.endswith(f"/pages/tickets/{ticket}")
    assert "approved" in page.text
    assert "as agreed" in page.text
    assert scene.state(ticket) is ApprovalState.APPROVED
    scene.run("ada", CHANGE)
    assert scene.state(ticket) is ApprovalState.CONSUMED


def test_nobody_votes_on_what_they_asked_for(scene):
    """The requester sees no vote to give, and one that is sent anyway is refused."""
    ticket = scene.ticket("grace")
    reader = scene.reader("grace")
    page = reader.get(f"/pages/tickets/{ticket}")
    sent = {value for form in page.forms for _, value in form["buttons"]}
    assert "approve" not in sent
    assert {"cancel", "break-glass"} <= sent
    key = cookies.form_key(scene.house, reader.browser.cookies[cookies.LOGIN])
    answer = reader.browser.post(
        f"{scene.url}/pages/tickets/{ticket}",
        data={"form_key": key, "deed": "approve"},
        timeout=WAIT_S,
    )
    assert answer.status_code == 403
    assert scene.state(ticket) is ApprovalState.REQUESTED


def test_a_ticket_of_others_reads_as_absent(scene):
    """Who has no part in a ticket cannot see it, list it, or do anything about it."""
    ticket = scene.ticket()
    reader = scene.reader("olga")
    assert "No ticket waits" in reader.get("/pages/tickets").text
    known = reader.get(f"/pages/tickets/{ticket}").text
    assert reader.answer.status_code == 404
    assert reader.get("/pages/tickets/0000").text == known.replace(ticket, "0000")
    key = cookies.form_key(scene.house, reader.browser.cookies[cookies.LOGIN])
    for deed in ("approve", "deny", "cancel", "revoke", "break-glass", "review"):
        answer = reader.browser.post(
            f"{scene.url}/pages/tickets/{ticket}",
            data={"form_key": key, "deed": deed, "said": "x"},
            timeout=WAIT_S,
        )
        assert (answer.status_code, "unknown-ticket" in answer.text) == (404, True)
    assert scene.state(ticket) is ApprovalState.REQUESTED


def test_each_deed_has_its_form(scene):
    """Deny, cancel, revoke, break-glass and review are done by whom they are for, with reasons."""
    ada, grace = scene.reader("ada"), scene.reader("grace")

    def do(reader, ticket, deed, said):
        reader.get(f"/pages/tickets/{ticket}")
        return reader.send(f"/pages/tickets/{ticket}", deed=deed, said=said)

    denied = scene.ticket(sql=CHANGE + " AND 1 = 1")
    assert "not today" in do(grace, denied, "deny", "not today").text
    assert scene.state(denied) is ApprovalState.DENIED
    cancelled = scene.ticket(sql=CHANGE + " AND 2 = 2")
    do(ada, cancelled, "cancel", "changed my mind")
    assert scene.state(cancelled) is ApprovalState.CANCELLED
    revoked = scene.ticket(sql=CHANGE + " AND 3 = 3")
    do(grace, revoked, "approve", "")
    do(grace, revoked, "revoke", "too early")
    assert scene.state(revoked) is ApprovalState.REVOKED
    broken = scene.ticket(sql=CHANGE + " AND 4 = 4")
    assert "without votes" in do(ada, broken, "break-glass", "the shop is down").text
    assert (
        "reviewed"
        not in do(grace, broken, "review", "it was right").text.lower().split("warning")[0]
    )
    assert scene.house.site.world.approvals.get(broken).emergency.is_reviewed


# ---------------------------------------------------------------- the audit log


def test_an_entry_is_found_with_its_receipt_and_its_proof(scene):
    """Auditors find any entry, others their own; its receipt leads back, and its proof verifies."""
    scene.run("ada", "SELECT id FROM people WHERE id = 7")
    scene.run("grace", "SELECT city FROM people WHERE id = 7")
    ada, auditor = scene.reader("ada"), scene.reader("aud")
    page = ada.get("/pages/audit", params={"kind": "outcome"})
    links = [one for one in page.links if re.fullmatch(r"/pages/audit/\d+", one)]
    assert len(links) == 1
    page = auditor.get("/pages/audit", params={"kind": "outcome"})
    both = [one for one in page.links if re.fullmatch(r"/pages/audit/\d+", one)]
    assert len(both) == 2
    page = ada.get(links[0])
    receipt = re.search(r"[^\s\"'<>]+/\d+#[0-9a-f]{64}", page.text)[0]
    assert ada.get("/pages/audit/entry", params={"receipt": receipt}).text
    assert "as the receipt says" in ada.page.text
    ada.get(f"{links[0]}/proof")
    assert EntryProof.parse(ada.answer.text)
    assert ada.answer.headers["content-type"].startswith("text/plain")
    [others] = set(both) - set(links)
    for path in (others, f"{others}/proof"):
        ada.get(path)
        assert (ada.answer.status_code, "unknown-record" in ada.answer.text) == (404, True)
    assert "nbgov" in auditor.get("/pages/audit/checkpoint").text


def test_a_condition_that_says_nothing_is_told_as_an_error_page(scene):
    """A search that cannot mean anything is answered by a page that says why."""
    reader = scene.reader("ada")
    page = reader.get("/pages/audit", params={"since": "whenever"})
    assert reader.answer.status_code == 400
    assert reader.answer.headers["content-type"].startswith("text/html")
    assert "usage" in page.text


# ---------------------------------------------------------------- lineage, live, policy


def test_lineage_is_shown_to_whom_the_read_belongs(scene):
    """A dataset version of one's own has a page; to others it reads as unknown."""
    scene.run("ada", "SELECT id, city FROM people", dataset="cities")
    ada, grace = scene.reader("ada"), scene.reader("grace")
    [link] = [one for one in ada.get("/pages/lineage").links if "reference=" in one]
    page = ada.get(link)
    assert "Which data?" in page.text
    assert "cities@v" in page.text
    grace.get(link)
    assert grace.answer.status_code == 404


def test_administrators_see_and_end_what_runs(scene):
    """A statement that runs is on the live page of its owner and of administrators, who end it."""
    asked = Request("warehouse", "SELECT a, b FROM numbers")
    result = scene.house.ask(scene.guest("ada"), asked, surface="flight-sql", address="")
    read = result.batches()
    next(read)
    [work] = scene.house.works()
    assert "SELECT a, b FROM numbers" in scene.reader("ada").get("/pages/live").text
    assert "numbers" not in scene.reader("grace").get("/pages/live").text
    olga = scene.reader("olga")
    assert "SELECT a, b FROM numbers" in olga.get("/pages/live").text
    olga.send("/pages/live/cancel", request=work.id)
    with pytest.raises(Exception, match="cancel"):
        list(read)
    assert scene.house.works() == ()


def test_only_administrators_stop_and_lift(scene):
    """A stop keeps a principal out until it is lifted; others are refused, on the record."""
    olga, ada = scene.reader("olga"), scene.reader("ada")
    key = cookies.form_key(scene.house, ada.browser.cookies[cookies.LOGIN])
    stop = {"form_key": key, "kind": "principal", "name": "grace", "reason": "spite"}
    refused = ada.browser.post(f"{scene.url}/pages/live/stop", data=stop, timeout=WAIT_S)
    assert (refused.status_code, "admin-needed" in refused.text) == (403, True)
    olga.get("/pages/live")
    page = olga.send("/pages/live/stop", kind="principal", name="ada", reason="a leak")
    assert "a leak" in page.text
    ada.get("/pages/tickets")
    assert (ada.answer.status_code, "principal-stopped" in ada.answer.text) == (403, True)
    olga.send("/pages/live/lift", kind="principal", name="ada")
    ada.get("/pages/tickets")
    assert ada.answer.status_code == 200


def test_a_login_is_ended_by_whose_it_is_and_by_administrators(scene):
    """The live page ends logins: one's own and, for administrators, those of others."""
    held = token(scene.house, "ada")
    login = scene.house.enter(held, Audience.DATA).login.id
    grace, olga = scene.reader("grace"), scene.reader("olga")
    key = cookies.form_key(scene.house, grace.browser.cookies[cookies.LOGIN])
    sent = {"form_key": key, "login": login}
    refused = grace.browser.post(f"{scene.url}/pages/live/end", data=sent, timeout=WAIT_S)
    assert (refused.status_code, "unknown-login" in refused.text) == (404, True)
    assert scene.house.enter(held, Audience.DATA)
    page = olga.get("/pages/live")
    form = next(one for one in page.forms if one["fields"].get("login") == login)
    olga.browser.post(scene.url + form["action"], data=form["fields"], timeout=WAIT_S)
    with pytest.raises(IdentityFailed, match="ended"):
        scene.house.enter(held, Audience.DATA)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        pytest.param("/pages/live/stop", {"kind": "planet", "name": "x", "reason": "x"}, id="kind"),
        pytest.param("/pages/live/stop", {"kind": "principal", "name": " "}, id="name"),
        pytest.param("/pages/tickets/abc", {"deed": "burn"}, id="deed"),
        pytest.param("/pages/tickets/abc", {"said": "x" * 3_000}, id="long"),
        pytest.param("/pages/tickets/a.b", {"deed": "approve"}, id="ticket"),
    ],
)
def test_a_form_that_makes_no_sense_is_told_as_a_page(scene, path, sent):
    """What no form of ours sends is answered by an error page, and does nothing."""
    olga = scene.reader("olga")
    key = cookies.form_key(scene.house, olga.browser.cookies[cookies.LOGIN])
    answer = olga.browser.post(scene.url + path, data=sent | {"form_key": key}, timeout=WAIT_S)
    assert (answer.status_code, "usage" in answer.text) == (400, True)
    assert answer.headers["content-type"].startswith("text/html")


def test_the_first_page_and_the_style_are_there_for_everybody(scene):
    """The bare address leads to the approvals, and the stylesheet is one that a browser takes."""
    answer = requests.get(scene.url + "/", allow_redirects=False, timeout=WAIT_S)
    assert answer.headers["location"] == "/pages/tickets"
    style = requests.get(scene.url + "/pages/style.css", timeout=WAIT_S)
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text
    assert "@import" not in style.text
    none = requests.get(scene.url + "/pages/sign-in/nobody", timeout=WAIT_S)
    assert (none.status_code, "page-unknown" in none.text) == (404, True)


def test_the_live_page_looks_again_only_when_asked(scene):
    """No page reloads under a reader who did not ask for it."""
    reader = scene.reader("olga")
    reader.get("/pages/live")
    assert "refresh" not in reader.answer.headers
    reader.get("/pages/live?every=5")
    assert reader.answer.headers["refresh"] == "5"


@pytest.mark.parametrize(
    ("sql", "word", "rule"),
    [
        pytest.param("SELECT email FROM people", "PERMIT", "read", id="permit"),
        pytest.param("SELECT * FROM salaries", "DENY", "", id="deny"),
        pytest.param("no sql at all (", "DENY", "", id="none"),
    ],
)
def test_a_dry_run_tells_the_rule_that_decides(scene, sql, word, rule):
    """The policy page decides a statement without running it, and names the rule."""
    ada = scene.reader("ada")
    ada.get("/pages/policy")
    page = ada.send("/pages/policy", sql=sql, connection="warehouse")
    assert word in page.text
    if rule:
        assert f"Rules that decided {rule}" in page.text
    assert "version: 1" not in page.text


def test_auditors_read_the_policy_with_the_rule_marked(scene, monkeypatch):
    """The text of the policy is there for auditors, with the lines of the rule that decided."""
    monkeypatch.setitem(gateway_scene.PEOPLE, "rosa", {"auditors", "analysts"})
    rosa = scene.reader("rosa")
    page = rosa.get("/pages/policy")
    assert "groups: [analysts]" in page.text
    assert "mark" not in {tag for tag, _ in page.tags}
    rosa.send("/pages/policy", sql="SELECT email FROM people", connection="warehouse")
    marked = re.findall(r"<mark>(.*?)</mark>", rosa.answer.text)
    assert marked[0] == "  - id: read"
    assert "change" not in "".join(marked)


# ---------------------------------------------------------------- whatever names hold


@pytest.mark.parametrize(
    "odd",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\u202eb", "\u200b", "'\"&"],
    ids=["script", "attribute", "turning", "unseen", "quotes"],
)
def test_a_text_of_a_stranger_stays_a_text(scene, odd):
    """Whatever a statement, a reason or a search holds, it makes no element and hides nothing."""
    quoted = odd.replace("'", "''")
    ticket = scene.ticket(sql=f"UPDATE people SET city = '{quoted}' WHERE id = 7")
    grace = scene.reader("grace")
    grace.get(f"/pages/tickets/{ticket}")
    page = grace.send(f"/pages/tickets/{ticket}", deed="deny", said=odd)
    for path in (f"/pages/tickets/{ticket}", "/pages/tickets", "/pages/audit"):
        page = grace.get(path, params={"words": odd, "text": odd} if path.count("/") == 2 else None)
        assert not {tag for tag, _ in page.tags} & {"script", "img"}
        assert not {name for _, held in page.tags for name in held if name.startswith("on")}
    page = grace.get(f"/pages/tickets/{ticket}")
    assert visible(odd) in page.text.replace("\n", "")


def test_many_read_at_once(scene):
    """Pages are read by several people at the same time, each with their own name on it."""
    seen = {}

    def look(name):
        reader = scene.reader(name)
        seen[name] = [reader.get(path).text for path in PLACES]

    threads = [threading.Thread(target=look, args=(name,)) for name in ("ada", "grace", "olga")]
    for one in threads:
        one.start()
    for one in threads:
        one.join(WAIT_S)
    assert seen.keys() == {"ada", "grace", "olga"}
    for name, pages in seen.items():
        assert all(f" {name} " in page for page in pages)
