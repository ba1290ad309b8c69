"""A certified OpenID provider on this machine, and a person with a browser who logs in there."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

HERE = Path(__file__).parent / "idp"
STEPS_MAX = 30
FORM = re.compile(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
INPUT = re.compile(r"<input([^>]*)>")
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
REDIRECTS = {301, 302, 303, 307}


class Provider:
    """The provider, for as long as its process runs."""

    def __init__(self, **env: str) -> None:
        import os

        node = shutil.which("node")
        if node is None or not (HERE / "node_modules").is_dir():
            pytest.skip("the OpenID provider is not installed; `make test-gateway` does it")
        self.process = subprocess.Popen(
            [node, "provider.mjs"],
            cwd=HERE,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.issuer = ""
        while not self.issuer.startswith("http"):
            self.issuer = self.process.stdout.readline().strip()

    def rotate(self) -> None:
        """Sign with a new key from now on."""
        requests.post(f"{self.issuer}/test/rotate", timeout=10).raise_for_status()

    def disable(self, name: str) -> None:
        """Let somebody get nothing any more."""
        requests.post(f"{self.issuer}/test/disable?name={name}", timeout=10).raise_for_status()

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Person:
    """Somebody with a browser, who fills in every form that comes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.browser = requests.Session()

    def go(self, url: str, *, until: str = "?") -> requests.Response:
        """Go to an address, and on until there is nothing left to fill in, or to an address."""
        data = None
        for _ in range(STEPS_MAX):
            method = "GET" if data is None else "POST"
            page = self.browser.request(method, url, data=data, allow_redirects=False, timeout=20)
            if page.status_code in REDIRECTS:
                url, data = urljoin(page.url, page.headers["Location"]), None
                continue
            form = FORM.search(page.text)
            if form is None or page.url.startswith(until):
                return page
            url = urljoin(page.url, html.unescape(form[1]) or page.url)
            data = self.filled(form[2])
        raise AssertionError("the provider never comes to an end")

    def filled(self, form: str) -> dict[str, str]:
        """What is sent for a form."""
        found = {}
        for one in INPUT.findall(form):
            attributes = dict(ATTRIBUTE.findall(one))
            if "name" in attributes:
                found[attributes["name"]] = html.unescape(attributes.get("value", ""))
        if "login" in found:
            found |= {"login": self.name, "password": "any"}
        return found
