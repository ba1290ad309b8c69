"""Memory over ten million values: a stream through detection and masking, and what the process holds.

``python -m benchmarks.memory`` takes some minutes, so ``make bench`` leaves it out. It prints the
memory after every million values, and writes docs/images/pii-memory.svg and the points behind it.
Nearly every value is new, so nothing that is kept of values could stay small by chance.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from benchmarks.ground import SEED

if TYPE_CHECKING:
    import pyarrow as pa

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/pii-memory.svg"
POINTS = Path(__file__).parent / "results" / "memory.json"
VALUES = 10_000_000
BATCH_VALUES = 20_000
MIX = ("emails",) * 8 + ("codes",) * 9 + ("phones",) * 2 + ("notes",)
"""What each batch of twenty holds; a batch of notes has a tenth of the values, as they are long."""

MODEL_EVERY = (
    25  # After so many batches, one is read for names too, which takes the language model.
)
MODEL_VALUES = 1_000
NOTES_SHARE = 10
MEGABYTE = 1 << 20
FIRST = ("ada", "boris", "chen", "dora", "emre", "farah", "goran", "hana", "ivo", "jaya", "kofi")
LAST = ("adams", "brown", "costa", "dunn", "evans", "frost", "grant", "hayes", "irwin", "jones")
DOMAINS = ("example.com", "example.org", "mail.example.co.uk", "example.de")
TEXTS = (
    "The parcel came late and the box was wet, so we want our money back.",
    "No answer at the door; the neighbour took it and signed for it.",
    "The lamp flickers again since the last update of the firmware.",
    "Please move the appointment to another week, the room is taken.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Stream the values, and write the picture and its points."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=main.__doc__)
    parser.add_argument("--values", metavar="N", type=int, default=VALUES, help="how many values")
    parser.add_argument("--picture", metavar="FILE", type=Path, default=PICTURE)
    parser.add_argument("--points", metavar="FILE", type=Path, default=POINTS)
    options = parser.parse_args(arguments)
    points = list(stream(options.values))
    options.points.parent.mkdir(parents=True, exist_ok=True)
    options.points.write_text(json.dumps(points) + "\n", encoding="utf-8")
    draw(points, options.picture)
    print(told(points))


def stream(total: int) -> Iterator[dict[str, float]]:
    """Mask values until there were so many; yield what the process holds after each batch."""
    from nbgov.backends.presidio import PresidioDetector

    detector = PresidioDetector(reads="every")
    by_pattern, by_model = plans(detector.entities("en"))
    chance = random.Random(SEED)
    done, found, began = 0, 0, time.process_time()
    with tqdm(total=total, unit=" values", unit_scale=True) as progress:
        for number in range(total):
            is_model = number % MODEL_EVERY == MODEL_EVERY - 1
            kind = "model" if is_model else MIX[number % len(MIX)]
            texts = make(kind, done, chance)
            found += masked(texts, by_model if is_model else by_pattern, detector)
            done += len(texts)
            progress.update(len(texts))
            yield {
                "values": done,
                "found": found,
                "megabytes": resident_bytes() / MEGABYTE,
                "cpu_s": time.process_time() - began,
            }
            if done >= total:
                return


def plans(entities: frozenset[str]) -> tuple[Any, Any]:
    """What to look for in most values, and in those that the language model reads."""
    from benchmarks.detect import BY_MODEL
    from nbgov.core.masking import MaskingPlan
    from nbgov.model import ContentMask

    def plan(wanted: frozenset[str]) -> MaskingPlan:
        return MaskingPlan(ContentMask(tuple(sorted(wanted)), 0.35), {0: ("text",)}, {})

    return plan(entities - BY_MODEL), plan(entities)


def masked(texts: list[str], plan: Any, detector: Any) -> int:
    """Mask a batch, and say how many texts were replaced in it."""
    import pyarrow as pa

    from nbgov.core.masking import mask

    batch: pa.RecordBatch = pa.record_batch({"text": texts})
    shown, found = mask(batch, plan, detector.detect)
    assert shown.num_rows == len(texts)
    return sum(sum(entities.values()) for entities in found.values())


def make(kind: str, start: int, chance: random.Random) -> list[str]:
    """New values of a kind; ``start`` makes sure that they are."""
    makers: dict[str, Callable[[int], str]] = {
        "emails": lambda n: f"{chance.choice(FIRST)}.{n}@{chance.choice(DOMAINS)}",
        "codes": lambda n: f"ORD-{n}-{chance.randrange(1000)}",
        "phones": lambda n: f"({201 + n % 700}) 5{n // 700 % 90 + 10}-{n // 63_000 % 10_000:04d}",
        "notes": lambda n: note(n, chance),
        "model": lambda n: note(n, chance) if n % 4 == 0 else person(n, chance),
    }
    count = {"notes": BATCH_VALUES // NOTES_SHARE, "model": MODEL_VALUES}.get(kind, BATCH_VALUES)
    return [makers[kind](n) for n in range(start, start + count)]


def person(number: int, chance: random.Random) -> str:
    """A name that nobody had before."""
    letters = "".join(chance.choices("aeioulnrst", k=6))
    return f"{chance.choice(FIRST).title()} {letters.title()}{number % 10} {chance.choice(LAST).title()}"


def note(number: int, chance: random.Random) -> str:
    """Sentences about a customer, with an address or a number in most of them."""
    asides = ("", f"Write to {chance.choice(FIRST)}{number}@example.com. ", f"Order {number}. ")
    sentences = [*chance.sample(TEXTS, 3), person(number, chance) + " called."]
    return f"{chance.choice(asides)}{' '.join(sentences)}"


def resident_bytes() -> int:
    """Memory of this process now, as the kernel counts it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def told(points: Sequence[dict[str, float]]) -> str:
    """The memory after every million values."""
    lines, million = [], 0
    for point in points:
        if point["values"] >= million * 1_000_000:
            lines.append(
                f"{point['values']:>12,.0f} values  {point['megabytes']:>7,.0f} MB"
                f"  {point['cpu_s']:>7,.0f} s CPU  {point['found']:>12,.0f} found"
            )
            million += 1
    return "\n".join(lines)


def draw(points: Sequence[dict[str, float]], path: Path) -> None:
    """The memory over the values as a small picture whose words stay words."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "nbgov", "font.family": "sans-serif"}
    shown = points[:: max(1, len(points) // 200)]
    figure, axes = plt.subplots(figsize=(7, 3))
    millions = [point["values"] / 1e6 for point in shown]
    axes.plot(millions, [point["megabytes"] for point in shown], color="#1b5e9e", linewidth=1.8)
    axes.set(xlabel="million values, nearly all different", ylabel="memory, MB")
    axes.set_xlim(0, millions[-1])
    axes.set_ylim(0, 1.25 * max(point["megabytes"] for point in shown))
    axes.grid(visible=True, axis="y", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    title = "Memory of detection and masking over ten million values"
    figure.savefig(path, metadata={"Date": None, "Title": title})
    plt.close(figure)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
