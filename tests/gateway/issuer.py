"""An issuer on this machine: its discovery document and its keys over HTTP, and any token it signs."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwk, jwt

AUDIENCE = "nbgov-gateway"


class Issuer:
    """Signs tokens, and publishes its keys for as long as it is up."""

    def __init__(self) -> None:
        self.keys = {"k1": jwk.RSAKey.generate_key(2048), "e1": jwk.ECKey.generate_key("P-256")}
        self.is_up = True
        self.told_issuer = ""
        self.told_keys = ""
        self.asked: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                if not issuer.is_up:
                    self.send_error(503)
                    return
                body = json.dumps(issuer.page(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def page(self, path: str):
        if path.startswith("/.well-known"):
            return {
                "issuer": self.told_issuer or self.url,
                "jwks_uri": self.told_keys or f"{self.url}/jwks",
            }
        return {"keys": self.published()}

    def published(self):
        found = []
        for name, key in self.keys.items():
            algorithm = "RS256" if key.key_type == "RSA" else "ES256"
            found.append(
                {**key.as_dict(private=False), "kid": name, "use": "sig", "alg": algorithm}
            )
        return found

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def claims(self, **more):
        now = int(time.time())
        told = {
            "iss": self.url, "aud": AUDIENCE, "sub": "u1", "preferred_username": "ada",
            "groups": ["analysts"], "iat": now, "nbf": now, "exp": now + 600, "azp": "nbgov",
        }  # fmt: skip
        told |= more
        return {name: value for name, value in told.items() if value is not ...}

    def token(self, *, kid="k1", key=None, header=None, **claims) -> str:
        """A token with these claims in the place of the usual ones; ``...`` leaves one out."""
        signer = key or self.keys[kid]
        algorithm = "RS256" if signer.key_type == "RSA" else "ES256"
        head = {"alg": algorithm, "kid": kid, "typ": "at+jwt", **(header or {})}
        head = {name: value for name, value in head.items() if value is not ...}
        return jwt.encode(head, self.claims(**claims), signer)
