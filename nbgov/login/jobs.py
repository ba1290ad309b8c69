"""Proofs of identity that a job finds where it runs, so that nobody has to log in.

Looked for in this order: a file that ``NBGOV_TOKEN_FILE`` names, such as the projected
service-account token of Kubernetes, which is read anew each time; a client with a secret of its
own, which ``NBGOV_CLIENT_ID`` names; GitHub Actions, which is asked for a token for
``NBGOV_AUDIENCE``; the token of a server of a JupyterHub, where ``NBGOV_JUPYTERHUB`` is set, as
otherwise somebody who logged in would act as the server.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote, quote_plus

from nbgov.errors import IdentityFailed
from nbgov.login.http import Http
from nbgov.login.oidc import Place, discover, endpoint, granted

FILE, AUDIENCE, HUB = "NBGOV_TOKEN_FILE", "NBGOV_AUDIENCE", "NBGOV_JUPYTERHUB"
CLIENT, ISSUER, SCOPE = "NBGOV_CLIENT_ID", "NBGOV_ISSUER", "NBGOV_SCOPE"
SECRET_FILE = "NBGOV_CLIENT_SECRET_FILE"  # noqa: S105 - the name of a variable
GITHUB_URL, GITHUB_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
HUB_TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_AUDIENCE = "nbgov"
VARIABLES = (FILE, CLIENT, GITHUB_URL, HUB)


def variable() -> str:
    """The variable that says who this job is, or empty where somebody has to log in."""
    return next((name for name in VARIABLES if os.environ.get(name)), "")


def found(http: Http) -> str:
    """A proof from where this runs, or an empty text.

    Raises:
        IdentityFailed: A file is named and cannot be read, or a client is refused
            (``login-failed``).
        BackendFailed: The platform is there and does not answer.
    """
    match variable():
        case "NBGOV_TOKEN_FILE":
            return read(FILE)
        case "NBGOV_CLIENT_ID":
            return by_secret(http)
        case "ACTIONS_ID_TOKEN_REQUEST_URL":
            audience = quote(os.environ.get(AUDIENCE, DEFAULT_AUDIENCE), safe="")
            headers = {"Authorization": f"Bearer {os.environ.get(GITHUB_TOKEN, '')}"}
            url = f"{os.environ[GITHUB_URL]}&audience={audience}"
            return str(http.get(url, headers=headers).get("value", ""))
        case "NBGOV_JUPYTERHUB":
            return os.environ.get(HUB_TOKEN, "")
    return ""


def by_secret(http: Http) -> str:
    """A token for a client that has a secret (client credentials, RFC 6749 4.4).

    Raises:
        IdentityFailed: The issuer refuses, or the secret cannot be read (``login-failed``).
        BackendFailed: The issuer does not answer.
    """
    # Security: the job names the issuer itself, as one that the gateway names could be anybody who
    # wants the secret.
    issuer, client, secret = os.environ.get(ISSUER, ""), os.environ[CLIENT], read(SECRET_FILE)
    about = discover(http, issuer)
    form = {"grant_type": "client_credentials"}
    if scope := os.environ.get(SCOPE):
        form["scope"] = scope
    headers = {}
    # OpenID Connect Discovery 3: where nothing is said, it is this one.
    ways = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if "client_secret_basic" in ways:
        pair = f"{quote_plus(client)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form["client_secret"] = secret
    url = endpoint(about, "token_endpoint")
    return granted(http, url, form, Place(issuer, client), headers=headers).access_token


def read(name: str) -> str:
    """The text of the file that a variable names.

    Raises:
        IdentityFailed: It cannot be read (``login-failed``).
    """
    try:
        return Path(os.environ.get(name, "")).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityFailed(
            f"The file that ${name} names cannot be read.",
            code="login-failed",
            why=type(error).__name__,
            next_step=f"correct ${name}, or unset it and log in: nbgov login",
        ) from None
