"""How much Presidio finds, and how much of what it finds is right, on labelled sentences.

``python -m benchmarks.quality`` measures and writes the tables into docs/concepts/pii-quality.md.
nbgov finds what stock Presidio finds, so the figures are those of both; ``tests/pii`` compares the
two on the same sentences. A value counts as found when a finding of its own entity overlaps it, and
a finding as right when it overlaps such a value.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.labelled import ENTITIES, Gold, Sentence, sentences

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

PAGE = Path(__file__).parents[1] / "docs/concepts/pii-quality.md"
THRESHOLDS = (0.0, 0.35, 0.5)
RECALL_LOST_MAX = 0.02
PRECISION_MIN = 0.5
HARD = {
    "person": "first and last name, English",
    "person_lower": "the same in small letters",
    "person_upper": "the same in capitals",
    "person_foreign": "first and last name from ten other languages",
    "first_name": "first name alone",
    "city": "well-known city",
    "city_invented": "city that the model cannot know",
    "country": "country",
    "street": "street and house number",
    "organization": "organisation: Presidio's defaults leave it out",
    "phone": "American telephone number",
    "phone_abroad": "telephone number as written abroad",
    "card": "card of the usual kinds",
    "card_rare": "card of 12 or 19 digits",
}

Found = list[tuple[str, int, int, float]]
"""Entity, start, end and score of the findings in a sentence."""


@dataclass(slots=True)
class Count:
    """Values that are known, and findings, with those that are right, by threshold."""

    golds: int = 0
    hits: dict[float, int] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, 0))
    covered: dict[float, int] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, 0))
    findings: dict[float, int] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, 0))
    right: dict[float, int] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, 0))

    def recall(self, threshold: float) -> float:
        """The part of the values that is found."""
        return self.hits[threshold] / self.golds if self.golds else 0.0

    def coverage(self, threshold: float) -> float:
        """The part of the values of which no character is outside of findings, whatever these say."""
        return self.covered[threshold] / self.golds if self.golds else 0.0

    def precision(self, threshold: float) -> float | None:
        """The part of the findings that is right, if there are any."""
        found = self.findings[threshold]
        return self.right[threshold] / found if found else None

    def recommended(self) -> float:
        """The highest threshold that loses next to no recall."""
        least = self.recall(0.0) - RECALL_LOST_MAX
        return max(t for t in THRESHOLDS if self.recall(t) >= least)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=main.__doc__)
    parser.parse_args(arguments)
    written = tables()
    PAGE.write_text(splice(PAGE.read_text(encoding="utf-8"), written), encoding="utf-8")
    print("\n\n".join(written.values()))


def tables() -> dict[str, str]:
    """The tables of the page by name."""
    from benchmarks.detect import stock_analyzer

    told = sentences()
    found = detected(stock_analyzer(), [sentence.text for sentence in told])
    by_entity = count(told, found, lambda gold: gold.entity)
    by_kind = count(told, found, lambda gold: gold.kind)
    whole = count(told, found, lambda _: "")[""]
    return {
        "entities": entity_table(by_entity),
        "kinds": kind_table(by_kind),
        "whole": whole_table(told, whole),
    }


def detected(analyzer: AnalyzerEngine, texts: Sequence[str]) -> list[Found]:
    """What nbgov finds in each text with an analyzer, at any score, and so at every threshold."""
    import pyarrow as pa

    from nbgov.backends.presidio import PresidioDetector

    table = PresidioDetector(analyzer, reads="every").detect(
        pa.array(texts),
        entities=sorted(analyzer.get_supported_entities("en")),
        score_min=0.0,
        language="en",
    )
    found: list[Found] = [[] for _ in texts]
    names = ("value", "entity", "start", "end", "score")
    for value, *finding in zip(*(table[name].to_pylist() for name in names), strict=True):
        found[value].append((finding[0], finding[1], finding[2], finding[3]))
    return found


def count(
    told: Iterable[Sentence], found: Iterable[Found], group: Callable[[Gold], str]
) -> dict[str, Count]:
    """Counts by group of values; findings count for the group that is named as their entity."""
    counts: dict[str, Count] = defaultdict(Count)
    for sentence, findings in zip(told, found, strict=True):
        for gold in sentence.golds:
            tally = counts[group(gold)]
            tally.golds += 1
            for threshold in THRESHOLDS:
                spans = [f for f in findings if f[3] >= threshold]
                tally.hits[threshold] += any(is_right(f, gold) for f in spans)
                tally.covered[threshold] += covers(spans, gold)
        for finding in findings:
            tally = counts[finding[0]]
            is_one = any(is_right(finding, gold) for gold in sentence.golds)
            for threshold in THRESHOLDS:
                tally.findings[threshold] += finding[3] >= threshold
                tally.right[threshold] += is_one and finding[3] >= threshold
    return counts


def is_right(finding: tuple[str, int, int, float], gold: Gold) -> bool:
    """Whether a finding says what the value is, and overlaps it."""
    entity, start, end, _ = finding
    return entity == gold.entity and start < gold.end and end > gold.start


def covers(findings: Found, gold: Gold) -> bool:
    """Whether every character of the value lies in some finding."""
    places = {place for _, start, end, _ in findings for place in range(start, end)}
    return places.issuperset(range(gold.start, gold.end))


# ---------------------------------------------------------------- the page


def entity_table(counts: dict[str, Count]) -> str:
    """Recall and precision of every entity at every threshold, and the threshold to take."""
    lines = [
        "| entity | values | recall at 0 | 0.35 | 0.5 | precision at 0 | 0.35 | 0.5 | take |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entity in sorted({*ENTITIES.values()}):
        tally = counts[entity]
        recalls = [percent(tally.recall(t)) for t in THRESHOLDS]
        precisions = [percent(tally.precision(t)) for t in THRESHOLDS]
        cells = [f"`{entity}`", str(tally.golds), *recalls, *precisions, advice(tally)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def advice(tally: Count) -> str:
    """The threshold to take, or what to do instead."""
    threshold = tally.recommended()
    precision = tally.precision(threshold)
    if not tally.recall(0.0):
        return "a tag: it is not looked for"
    if precision is None or precision < PRECISION_MIN:
        return f"{threshold:g}, or a tag: most findings are wrong"
    return f"{threshold:g}"


def kind_table(counts: dict[str, Count]) -> str:
    """What becomes of values that are hard to find, beside those that are easy."""
    lines = [
        "| what stands in the sentence | values | found as what it is, at 0.35 | wholly covered by any finding, at 0 | at 0.35 |",
        "|---|---|---|---|---|",
    ]
    for kind, told in HARD.items():
        tally = counts[kind]
        shares = [tally.recall(0.35), tally.coverage(0.0), tally.coverage(0.35)]
        cells = [told, str(tally.golds), *map(percent, shares)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def whole_table(told: Sequence[Sentence], whole: Count) -> str:
    """What a mask over all findings hides of all values."""
    plain = sum(not sentence.golds for sentence in told)
    lines = [
        f"{len(told):,} sentences hold {whole.golds:,} values; {plain:,} of them hold none.",
        "",
        "| | at 0 | at 0.35 | at 0.5 |",
        "|---|---|---|---|",
    ]
    covered = [percent(whole.coverage(threshold)) for threshold in THRESHOLDS]
    lines.append(f"| values wholly covered by findings of any entity | {' | '.join(covered)} |")
    return "\n".join(lines)


def percent(share: float | None) -> str:
    """A share with two digits."""
    return "–" if share is None else f"{share:.2f}"  # noqa: RUF001 - a dash for people to read.


def splice(page: str, written: dict[str, str]) -> str:
    """The page with its tables in the place of the old ones."""
    for name, table in written.items():
        begin, end = f"<!-- {name} begins -->\n", f"<!-- {name} ends -->"
        before, _, rest = page.partition(begin)
        assert end in rest, f"the page has no place for {name}"
        page = f"{before}{begin}{table}\n{rest[rest.index(end) :]}"
    return page


if __name__ == "__main__":
    main()
