"""Look for texts that break what must hold: ``python -m tests.fuzz --seconds 600``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["nbgov"]):
    from tests.fuzz.targets import no_read_writes, no_text_fails

from tests.fuzz.grammar import FREE, FUNCTIONS, NAMES, SEEDS, VALUES, statement

CHOICES_MAX = 255
LENGTH_MAX = 512


def text_of(data: bytes) -> str:
    """The text behind some bytes: by the first one, as they are or as choices of the grammar."""
    if data[:1] < b"\x80":
        return data[1:].decode(errors="replace")
    provider = atheris.FuzzedDataProvider(data[1:])
    return statement(lambda count: provider.ConsumeIntInRange(0, count - 1) if count else 0)


def one_input(data: bytes) -> None:
    """Check one text."""
    sql = text_of(data)
    no_text_fails(sql)
    no_read_writes(sql)


def quoted(word: str) -> str:
    """A word as an entry of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'


def main() -> None:
    """Run for the seconds that are asked for. A text that breaks something ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    seconds = parser.parse_args().seconds
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(SEEDS):
            (corpus / str(number)).write_bytes(b" " + seed.encode())
        for number in range(CHOICES_MAX):
            (corpus / f"choice-{number}").write_bytes(bytes([CHOICES_MAX, *[number] * 40]))
        words = folder / "words"
        words.write_text("\n".join(quoted(word) for word in [*FREE, *FUNCTIONS, *NAMES, *VALUES]))
        options = [f"-max_total_time={seconds}", f"-dict={words}", f"-max_len={LENGTH_MAX}"]
        atheris.Setup([sys.argv[0], str(corpus), *options, "-timeout=30"], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
