"""Reads HTML as a browser would, and knows what other people's text must never become in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import strategies as st

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "<a href='javascript:alert(1)'>x</a>",
    "</style><script>alert(1)</script>",
    "&lt;script&gt;",
    "]]>--><svg/onload=alert(1)>",
]
HOSTILE = st.one_of(st.sampled_from(ATTACKS), st.text(max_size=60))
ALLOWED = {
    "br": set(), "caption": set(), "del": set(), "div": {"aria-level", "class", "role"},
    "em": {"class"}, "ins": set(), "li": set(), "mark": {"class", "title"}, "p": set(),
    "pre": {"aria-label", "class", "role"}, "small": set(), "strong": set(), "style": set(),
    "table": {"class"}, "tbody": set(), "td": {"class"}, "th": {"class", "scope"},
    "thead": set(), "tr": set(), "ul": set(),
}  # fmt: skip


class Page(HTMLParser):
    """What a browser finds in a text; a tag or attribute that is not ours fails the test."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.words, self.titles, self.marked, self.statements = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Take a tag, if it is one of ours."""
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= ALLOWED[tag]
        self.titles += [value for name, value in attrs if name == "title"]
        for name, value in attrs:
            if name == "class":
                assert re.fullmatch(r"[a-z -]+", value)
        if tag != "br":
            self.open.append((tag, dict(attrs).get("class", "")))
        if tag == "pre":
            self.statements.append("")

    def handle_endtag(self, tag):
        """Close a tag that is open."""
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        """Take text."""
        tags = [tag for tag, _ in self.open]
        if self.open and tags[-1] != "style":
            self.words.append(data)
        if "pre" in tags:
            self.statements[-1] += data
            if tags[-1] == "mark":
                self.marked.append((data, self.open[-1][1]))

    @property
    def text(self):
        """All text that is shown."""
        return "".join(self.words)
