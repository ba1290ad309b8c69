"""Somebody who reads the pages of a gateway with a browser that runs no script."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

from nbgov.gateway.pages import cookies
from nbgov.model import Audience
from tests.gateway_scene import token

WAIT_S = 30


class Found(HTMLParser):
    """The forms, links and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.forms, self.links, self.words, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        held = dict(attrs)
        self.tags.append((tag, held))
        if tag == "form":
            self.forms.append(
                {"action": held["action"], "method": held["method"], "fields": {}, "buttons": []}
            )
        elif tag in {"input", "textarea", "select"} and self.forms:
            self.forms[-1]["fields"][held["name"]] = held.get("value", "")
        elif tag == "button" and self.forms:
            self.forms[-1]["buttons"].append((held.get("name"), held.get("value")))
        elif tag == "a":
            self.links.append(held["href"])

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


class Reader:
    """A person at the pages of a plane, signed in with a token of the control plane."""

    def __init__(self, house, url, name=""):
        self.house, self.url = house, url
        self.browser = requests.Session()
        if name:
            self.browser.cookies.set(cookies.LOGIN, token(house, name, Audience.CONTROL))
        self.answer = None

    def get(self, path, **more):
        """Look at a page; what was answered is kept."""
        self.answer = self.browser.get(urljoin(self.url, path), timeout=WAIT_S, **more)
        return self.page

    @property
    def page(self):
        return Found(self.answer.text)

    def send(self, action, *, deed="", **fields):
        """Fill in the form with an action, and send it by a button; nothing but its fields goes out."""
        forms = [one for one in self.page.forms if one["action"] == action]
        form = next(one for one in forms if not deed or ("deed", deed) in one["buttons"])
        assert form["method"] == "post"
        assert fields.keys() <= form["fields"].keys()
        data = form["fields"] | fields | ({"deed": deed} if deed else {})
        self.answer = self.browser.post(urljoin(self.url, action), data=data, timeout=WAIT_S)
        return self.page
