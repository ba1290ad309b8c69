"""The policy's text: one suite for every source, and the ways in which a file can fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nbgov.backends.files import FilePolicySource, SystemClock
from nbgov.backends.memory import MemoryClock, MemoryPolicySource
from nbgov.errors import ConfigInvalid


class Memory:
    def __init__(self):
        self.source = MemoryPolicySource(None)

    def write(self, text):
        self.source.policy = text


class File:
    def __init__(self, path):
        self.path = path
        self.source = FilePolicySource(path)

    def write(self, text):
        self.path.write_text(text, encoding="utf-8")


@pytest.fixture(params=["memory", "files"])
def place(request, tmp_path):
    return Memory() if request.param == "memory" else File(tmp_path / "policy.yaml")


def test_the_text_is_that_of_now(place):
    """A policy that changes is read anew each time it is asked for."""
    for text in ("version: 1\n", "version: 1\nrules: []  # ü😀\n", ""):
        place.write(text)
        assert place.source.text() == text


def test_a_missing_policy_is_an_error(place):
    """Without a policy there is a code, and no text that would permit anything."""
    with pytest.raises(ConfigInvalid) as caught:
        place.source.text()
    assert caught.value.code == "policy-missing"


def test_line_ends_are_kept(tmp_path):
    """The text is the file's own, so that its digest is that of the file."""
    (tmp_path / "policy.yaml").write_bytes(b"version: 1\r\n")
    assert FilePolicySource(tmp_path / "policy.yaml").text() == "version: 1\r\n"


@pytest.mark.parametrize(
    ("content", "why"), [(b"\xff\xfe", "UTF-8 text at byte 0"), (b"#" * 5_000_000, "longer than")]
)
def test_a_file_that_holds_no_policy_is_an_error(tmp_path, content, why):
    """Bytes that are no text, or far too many, are refused by name."""
    (tmp_path / "policy.yaml").write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        FilePolicySource(tmp_path / "policy.yaml").text()
    assert caught.value.code == "policy-invalid"
    assert why in caught.value.why
    assert "policy.yaml" in caught.value.what


def test_a_folder_is_no_policy(tmp_path):
    """A folder in the place of the file is an error with a code."""
    with pytest.raises(ConfigInvalid) as caught:
        FilePolicySource(tmp_path).text()
    assert caught.value.code == "policy-missing"


@pytest.mark.parametrize("clock", [SystemClock(), MemoryClock()])
def test_a_clock_tells_an_aware_time(clock):
    """Every clock tells the time in UTC, and it goes on."""
    first, second = clock.now(), clock.now()
    assert first.utcoffset() == timedelta(0)
    assert first <= second


def test_a_clock_in_memory_goes_where_it_is_set():
    """A test can move the clock, backwards too."""
    clock = MemoryClock(tick=timedelta(0))
    clock.at = datetime(2020, 1, 1, tzinfo=UTC)
    assert clock.now() == clock.now() == datetime(2020, 1, 1, tzinfo=UTC)
