"""Whose tokens the gateway believes: what it takes from them, and every way not to be believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk

from nbgov.config.gateway import GatewayTerms, IssuerEntry
from nbgov.errors import IdentityFailed
from nbgov.gateway.identity import Identities
from nbgov.gateway.identity.keys import Keys
from nbgov.gateway.identity.presets import workload_groups
from tests.gateway.issuer import AUDIENCE, Issuer


def now():
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def shared_issuer():
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def issuer(shared_issuer):
    yield shared_issuer
    shared_issuer.is_up, shared_issuer.told_issuer, shared_issuer.told_keys = True, "", ""


def identities(issuer, *, at=now, kind="oidc", **more):
    entry = {"client_id": "nbgov", **more}
    terms = GatewayTerms(issuers={"acme": IssuerEntry(kind, issuer.url, AUDIENCE, **entry)})
    return Identities(terms, now=at)


def refusal(found, token):
    with pytest.raises(IdentityFailed) as refused:
        found.prove(token)
    assert token[:40] not in str(refused.value) or not token
    return refused.value.code


# ---------------------------------------------------------------- what is believed


@pytest.mark.parametrize("kid", ["k1", "e1"])
def test_a_genuine_token_proves_who_somebody_is(issuer, kid):
    """Name, groups and subject of a token that is signed by its issuer are believed."""
    proof = identities(issuer).prove(issuer.token(kid=kid))
    assert (proof.name, proof.subject) == ("ada", f"{issuer.url}|u1")
    assert (proof.groups, proof.method, proof.issuer) == ({"analysts"}, "oidc", "acme")
    assert proof.expires_at > now()


def test_who_somebody_is_does_not_hang_on_their_name(issuer):
    """Two people with one name are two subjects; one person with two names is one."""
    found = identities(issuer)
    assert found.prove(issuer.token(sub="u2")).subject != found.prove(issuer.token()).subject
    renamed = found.prove(issuer.token(preferred_username="lovelace"))
    assert renamed.subject == found.prove(issuer.token()).subject


def test_the_tokens_of_okta_are_understood(issuer):
    """Okta names the login in sub and the account in uid; groups are names."""
    token = issuer.token(
        sub="ada@acme.test", uid="00u1", cid="nbgov", azp=..., preferred_username=...,
        groups=["Everyone", "data-stewards"], scp=["openid"],
    )  # fmt: skip
    proof = identities(issuer, kind="okta").prove(token)
    assert (proof.name, proof.subject) == ("ada@acme.test", f"{issuer.url}|00u1")
    assert proof.groups == {"Everyone", "data-stewards"}


def test_the_tokens_of_entra_are_understood(issuer):
    """Entra names people by tenant and object, groups by GUID, and has roles of applications."""
    token = issuer.token(
        sub="pairwise", tid="t1", oid="o1", roles=["Approver"],
        groups=[f"00000000-0000-0000-0000-{n:012}" for n in range(199)],
    )  # fmt: skip
    proof = identities(issuer, kind="entra").prove(token)
    assert (proof.name, proof.subject) == ("ada", f"{issuer.url}|t1|o1")
    assert (len(proof.groups), proof.roles) == (199, {"Approver"})


@pytest.mark.parametrize(
    "more",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "x"}}},
        {"hasgroups": True},
    ],
    ids=["claim-names", "hasgroups"],
)
def test_groups_that_did_not_fit_are_an_error(issuer, more):
    """Nobody whose groups the issuer left out is taken for somebody without groups."""
    token = issuer.token(tid="t1", oid="o1", groups=..., **more)
    assert refusal(identities(issuer, kind="entra"), token) == "groups-overage"


def test_many_groups_are_groups(issuer):
    """Two hundred and more groups that are in the token are all believed."""
    groups = [f"g{number}" for number in range(400)]
    assert identities(issuer).prove(issuer.token(groups=groups)).groups == set(groups)


def test_a_pod_is_known_by_its_service_account(issuer):
    """A projected token of Kubernetes names its namespace and its service account."""
    token = issuer.token(
        sub="system:serviceaccount:ml:trainer", preferred_username=..., groups=..., azp=...,
        header={"typ": ...},
        **{"kubernetes.io": {"namespace": "ml", "serviceaccount": {"name": "trainer"}}},
    )  # fmt: skip
    found = identities(issuer, kind="kubernetes", client_id=None)
    proof = found.prove(token)
    assert proof.name == "system:serviceaccount:ml:trainer"
    assert proof.groups == {"kubernetes:ml", "kubernetes:ml:trainer"}


def test_a_workflow_is_known_by_its_repository_and_branch(issuer):
    """A token of GitHub Actions names the repository, and what of it runs, as groups."""
    claims = {"repository": "acme/train", "repository_id": "7", "ref": "refs/heads/main"}
    token = issuer.token(
        sub="repo:acme/train:ref:refs/heads/main", preferred_username=..., groups=..., azp=...,
        header={"typ": "JWT"}, **claims,
    )  # fmt: skip
    proof = identities(issuer, kind="github", client_id=None).prove(token)
    assert proof.groups == workload_groups("github", claims)
    assert "github:repository:acme/train:ref:refs/heads/main" in proof.groups


# ---------------------------------------------------------------- what is not

OWN = jwk.RSAKey.generate_key(2048)


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def decoded(part):
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def signed_by_hmac(token, key):
    """A token signed with HMAC under bytes that anybody can have."""
    header, payload, _ = token.split(".")
    text = f"{encoded({**decoded(header), 'alg': 'HS256'})}.{payload}"
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def with_header(token, **header):
    """A token under another header, its signature left as it was."""
    old, payload, signature = token.split(".")
    return f"{encoded({**decoded(old), **header})}.{payload}.{signature}"


def with_payload(token, **claims):
    """A token with other claims, its signature left as it was."""
    header, payload, signature = token.split(".")
    return f"{header}.{encoded({**decoded(payload), **claims})}.{signature}"


FORGERIES = {
    "alg-none": (lambda i: with_header(i.token(), alg="none").rpartition(".")[0] + ".", "token-algorithm"),
    "alg-none-cased": (lambda i: with_header(i.token(), alg="nOnE"), "token-algorithm"),
    "hmac-with-public-pem": (lambda i: signed_by_hmac(i.token(), i.keys["k1"].as_pem(private=False)), "token-algorithm"),
    "hmac-with-public-jwk": (lambda i: signed_by_hmac(i.token(), json.dumps(i.published()[0]).encode()), "token-algorithm"),
    "payload-edited": (lambda i: with_payload(i.token(), groups=["stewards"]), "token-signature"),
    "own-key-under-real-kid": (lambda i: i.token(key=OWN), "token-signature"),
    "jwk-in-header": (lambda i: i.token(key=OWN, header={"jwk": OWN.as_dict(private=False)}), "token-signature"),
    "jku-in-header": (lambda i: i.token(key=OWN, header={"kid": "evil", "jku": "http://127.0.0.1:1/jwks"}), "token-key"),
    "x5u-in-header": (lambda i: i.token(key=OWN, header={"x5u": "http://127.0.0.1:1/x"}), "token-signature"),
    "unknown-kid": (lambda i: i.token(header={"kid": "nope"}), "token-key"),
    "no-kid": (lambda i: i.token(header={"kid": ...}), "token-key"),
    "kid-of-a-path": (lambda i: i.token(header={"kid": "../../dev/null"}), "token-key"),
    "kid-of-another-type": (lambda i: with_header(i.token(), kid=["k1"]), "token-key"),
    "id-token": (lambda i: i.token(aud="nbgov", header={"typ": "JWT"}), "proof-audience"),
    "critical": (lambda i: with_header(i.token(), crit=["exp"]), "token-critical"),
    "truncated": (lambda i: i.token()[:-10], "token-signature"),
    "garbage": (lambda i: "a.b.c", "token-malformed"),
    "empty": (lambda i: "", "token-malformed"),
    "huge": (lambda i: "a" * 70_000, "token-malformed"),
    "opaque": (lambda i: "opaque-token", "token-malformed"),
    "five-parts": (lambda i: i.token() + ".x.y", "token-malformed"),
    "gateway-token": (lambda i: "nbgov-data-abc", "token-malformed"),
    "header-no-object": (lambda i: encoded([1]) + "." + i.token().split(".", 1)[1], "token-malformed"),
    "deeply-nested": (lambda i: encoded({}) + "." + base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".x", "token-malformed"),
    "es256-with-rsa-key": (lambda i: with_header(i.token(), alg="ES256"), "token-algorithm"),
    "rs512-with-rs256-key": (lambda i: with_header(i.token(), alg="RS512"), "token-algorithm"),
    "another-kind": (lambda i: i.token(header={"typ": "dpop+jwt"}), "token-type"),
    "wrong-audience": (lambda i: i.token(aud=["other"]), "proof-audience"),
    "audience-as-part": (lambda i: i.token(aud=f"x{AUDIENCE}"), "proof-audience"),
    "no-audience": (lambda i: i.token(aud=...), "proof-audience"),
    "wrong-issuer": (lambda i: i.token(iss="https://evil.test"), "token-issuer"),
    "issuer-with-slash": (lambda i: i.token(iss=i.url + "/"), "token-issuer"),
    "wrong-client": (lambda i: i.token(azp="other"), "token-client"),
    "no-client": (lambda i: i.token(azp=...), "token-client"),
    "no-end": (lambda i: i.token(exp=...), "token-incomplete"),
    "end-is-text": (lambda i: i.token(exp="9999999999"), "token-incomplete"),
    "end-is-true": (lambda i: i.token(exp=True), "token-incomplete"),
    "end-is-infinite": (lambda i: i.token(exp=1e300), "token-incomplete"),
    "no-subject": (lambda i: i.token(sub=...), "token-incomplete"),
    "subject-is-a-number": (lambda i: i.token(sub=7), "token-incomplete"),
    "name-of-controls": (lambda i: i.token(preferred_username="ada\x1b[2J"), "token-incomplete"),
    "groups-are-an-object": (lambda i: i.token(groups={"a": 1}), "token-incomplete"),
    "groups-hold-numbers": (lambda i: i.token(groups=["a", 1]), "token-incomplete"),
}  # fmt: skip


@pytest.mark.parametrize("forgery", list(FORGERIES))
def test_a_forged_token_proves_nothing(issuer, forgery):
    """Each way to forge a token is refused, with the code that says which."""
    make, code = FORGERIES[forgery]
    assert refusal(identities(issuer), make(issuer)) == code


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_token(shared_issuer, text):
    """Whatever text is sent, it proves nothing and breaks nothing."""
    with pytest.raises(IdentityFailed):
        identities(shared_issuer).prove(text)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_changed_byte_is_believed(shared_issuer, place, byte):
    """A genuine token with one other character proves nothing, or is the very same one."""
    token = shared_issuer.token()
    index = place % len(token)
    changed = token[:index] + chr(byte) + token[index + 1 :]
    found = identities(shared_issuer)
    try:
        proof = found.prove(changed)
    except IdentityFailed:
        return
    # Base64 has spare bits at its end, so that some characters stand for the same bytes.
    assert proof == found.prove(token)


@pytest.mark.parametrize(
    ("claim", "seconds", "code"),
    [
        ("exp", -59, ""),
        ("exp", -61, "proof-expired"),
        ("iat", 58, ""),
        ("iat", 62, "token-early"),
        ("nbf", 58, ""),
        ("nbf", 62, "token-early"),
    ],
)
def test_clocks_may_differ_by_a_minute(issuer, claim, seconds, code):
    """Times count with a minute's leeway, and not with more."""
    at = now()
    found = identities(issuer, at=lambda: at)
    token = issuer.token(**{claim: at.timestamp() + seconds})
    if code:
        assert refusal(found, token) == code
    else:
        assert found.prove(token).name == "ada"


# ---------------------------------------------------------------- keys that come and go


def test_a_new_key_is_fetched_once_and_an_old_one_still_counts(issuer):
    """When an issuer rotates its keys, the first token under the new one makes it be asked once."""
    found = identities(issuer)
    keys = found.issuers["acme"].keys
    keys.pause_s = 0
    old = issuer.token()
    found.prove(old)
    issuer.keys["k2"] = jwk.RSAKey.generate_key(2048)
    try:
        before = keys.fetches
        assert found.prove(issuer.token(kid="k2")).name == "ada"
        assert found.prove(issuer.token(kid="k2")).name == "ada"
        assert found.prove(old).name == "ada"
        assert keys.fetches == before + 1
    finally:
        del issuer.keys["k2"]


def test_a_flood_of_unknown_keys_does_not_reach_the_issuer(issuer):
    """Two hundred tokens under made-up keys make the issuer be asked no more than twice."""
    found = identities(issuer)
    found.prove(issuer.token())
    before = len(issuer.asked)
    for number in range(200):
        refusal(found, with_header(issuer.token(), kid=f"n{number}"))
    assert len(issuer.asked) - before <= 2


def test_known_keys_count_while_the_issuer_is_away(issuer):
    """An issuer that does not answer keeps nobody out whose key is known, and lets nobody else in."""
    found = identities(issuer)
    found.issuers["acme"].keys.pause_s = 0
    found.prove(issuer.token())
    issuer.is_up = False
    found.issuers["acme"].keys.kept_at -= 7_200
    assert found.prove(issuer.token()).name == "ada"
    found.issuers["acme"].keys.kept_at -= 100_000
    assert refusal(found, issuer.token()) == "issuer-unavailable"


def test_without_any_key_nobody_gets_in(issuer):
    """A gateway that has never reached the issuer says so, and believes nothing."""
    issuer.is_up = False
    found = identities(issuer)
    assert refusal(found, issuer.token()) == "issuer-unavailable"
    assert found.missing_keys() == ("acme",)


def test_a_discovery_document_of_another_issuer_is_not_taken(issuer):
    """Keys count only where the document that names them is the issuer's own."""
    issuer.told_issuer = "https://evil.test"
    assert refusal(identities(issuer), issuer.token()) == "issuer-unavailable"


def test_keys_that_come_in_clear_are_not_taken(issuer):
    """Keys count only where nobody on the way could have put others in their place."""
    # This host under a name that is none of its own, so that nothing but the rule is in the way.
    issuer.told_keys = issuer.url.replace("127.0.0.1", "2130706433") + "/jwks"
    assert requests.get(issuer.told_keys, timeout=10).json()["keys"]
    assert refusal(identities(issuer), issuer.token()) == "issuer-unavailable"


def test_a_symmetric_key_that_is_published_is_none():
    """A shared secret in a key set cannot make signatures count."""
    from nbgov.gateway.identity.keys import is_for_signing

    assert not is_for_signing({"kid": "k", "kty": "oct", "k": "c2VjcmV0"})
    assert not is_for_signing({"kid": "k", "kty": "RSA", "use": "enc"})
    assert is_for_signing({"kid": "k", "kty": "RSA"})


def test_many_threads_fetch_keys_once(issuer):
    """Threads that need the keys at the same time make one of them ask."""
    keys = Keys(issuer.url)
    threads = [threading.Thread(target=keys.find, args=("k1",)) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert keys.fetches == 1


# ---------------------------------------------------------------- JupyterHub


@pytest.fixture
def hub():
    """What a JupyterHub answers to GET /user, by token."""
    users = {
        "abc123": {"kind": "user", "name": "ada", "groups": ["analysts"]},
        "svc999": {"kind": "service", "name": "culler"},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = users.get(self.headers.get("Authorization", "").removeprefix("token "))
            body = json.dumps(found or {"status": 403}).encode()
            self.send_response(200 if found else 403)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/hub/api"
    yield Identities(GatewayTerms(issuers={"hub": IssuerEntry("jupyterhub", url, "hub")}), now=now)
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_says_whose_a_token_is(hub):
    """The token of a server on a JupyterHub proves its owner, for a quarter of an hour."""
    proof = hub.prove("abc123")
    assert (proof.name, proof.groups, proof.method) == ("ada", {"analysts"}, "jupyterhub")
    assert proof.expires_at <= now() + timedelta(minutes=15)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("nobody", "token-signature"),
        ("svc999", "token-incomplete"),
        ("a b\r\nX: y", "token-malformed"),
    ],
)
def test_a_hub_vouches_for_nobody_else(hub, token, code):
    """Unknown tokens, those of services, and texts that are none prove nothing."""
    assert refusal(hub, token) == code


def test_times_of_a_proof_are_those_of_the_token(issuer):
    """A proof ends when the issuer's token does."""
    ends = int(time.time()) + 300
    assert identities(issuer).prove(issuer.token(exp=ends)).expires_at.timestamp() == ends
