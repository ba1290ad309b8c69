"""What a detector does, in words: for each recognizer the way it runs and why that is exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbgov.backends.presidio.conditions import LENGTH, Needs
from nbgov.backends.presidio.plan import Path

if TYPE_CHECKING:
    from nbgov.backends.presidio.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class Line:
    """How one recognizer runs.

    Attributes:
        recognizer: Its name.
        entities: What it finds.
        path: What is run for it.
        reason: Why that is exact, or why nothing faster is.
        patterns: For each pattern, what a value must hold to be searched, and how it is searched.
    """

    recognizer: str
    entities: tuple[str, ...]
    path: str
    reason: str
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a detector finds what it is asked for. Prints as text.

    Attributes:
        lines: One for each recognizer.
        context: How it is decided which scores are raised by words beside a finding.
    """

    lines: tuple[Line, ...]
    context: str

    def __str__(self) -> str:
        """The explanation as text for a person."""
        return "\n".join((*self.texts(), f"Scores raised by context: {self.context}"))

    def texts(self) -> Iterable[str]:
        """Yield the lines of the text."""
        for line in self.lines:
            yield f"{line.recognizer} ({', '.join(line.entities)})"
            yield f"  runs: {line.path}; {line.reason}"
            for pattern in line.patterns:
                yield f"  pattern: {pattern}"


def explained(plan: Plan) -> Explanation:
    """What a plan does."""
    if plan.stock:
        lines = [line_of(step, Path.STOCK, plan.stock) for step in plan.steps]
        return Explanation(tuple(lines), f"{Path.STOCK}; {plan.stock}")
    lines = [line_of(step, step.path, step.reason) for step in plan.steps]
    context = plan.context.reason or "by every lemma that a word could have, else by the pipeline"
    return Explanation(tuple(lines), context)


def line_of(step: Step, path: Path, reason: str) -> Line:
    """What a step does."""
    recognizer = step.recognizer
    patterns = tuple(words_for(search.needs) for search in step.searches)
    return Line(recognizer.name, tuple(recognizer.supported_entities), path, reason, patterns)


def words_for(needs: Needs) -> str:
    """What is known of a pattern."""
    counts = [f"{count} {kind}" for kind, count in needs.counts.items() if kind != LENGTH]
    counts += [f"{needs.counts[LENGTH]} characters"] if needs.counts[LENGTH] else []
    counts += [f'the text "{needs.literal}"'] if len(needs.literal) > 1 else []
    way = "all values at once"
    if needs.separator is None:
        way = f"value by value, as {needs.reason}"
    return f"where there are {', '.join(counts)}; {way}" if counts else f"everywhere; {way}"
