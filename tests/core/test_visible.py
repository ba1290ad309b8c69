"""Other people's text: nothing of it unseen, nothing of it alive."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.visible import INVISIBLE, cells_wide, cut, safe, visible


@given(st.text())
def test_visible_leaves_nothing_unseen(text):
    """Every character of the visible form prints, and plain text is not touched."""
    shown = visible(text)
    assert shown.isprintable()
    assert not INVISIBLE.search(shown)
    assert visible(shown) == shown


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200b", "\u00ad", "\ufe0f", "\u3164"])
def test_hidden_characters_get_a_sign(hidden):
    """Direction marks, zero-width characters and fillers are shown by their code point."""
    assert visible(f"a{hidden}b") == f"a⟨U+{ord(hidden):04X}⟩b"


def test_what_is_asked_for_is_kept():
    """A newline is a sign, unless the caller shows lines."""
    assert visible("a\nb\x00") == "a↵b⟨U+0000⟩"
    assert visible("a\nb\x00", keep="\n") == "a\nb⟨U+0000⟩"


@given(st.text(), st.integers(1, 20))
def test_a_cut_text_fits_and_says_so(text, chars_max):
    """A text that does not fit is its beginning and an ellipsis; others are untouched."""
    found = cut(text, chars_max)
    assert len(found) <= chars_max
    assert found == text or (found.endswith("…") and text.startswith(found[:-1]))


@given(st.text())
def test_safe_text_is_text(text):
    """HTML of a text holds no tag, and a browser reads the visible text back."""
    words = []
    parser = HTMLParser(convert_charrefs=True)
    parser.handle_data = words.append
    parser.handle_starttag = lambda *tag: pytest.fail(f"a tag: {tag}")
    parser.feed(safe(text))
    parser.close()
    assert "".join(words) == visible(text)


def test_width_is_counted_in_cells():
    """Wide characters take two cells, and marks that stand on others none."""
    assert [cells_wide(text) for text in ("abc", "日本", "e\u0301", "")] == [3, 4, 1, 0]
