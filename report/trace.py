"""A text and the labelled features that fire in it: rows for a table, and a page by itself.

Features are compared by how strongly they fire relative to their own maximum in the harvest: raw units of
different features have nothing in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.store import Store
from exegete.report.whole import write_whole
from exegete.subjects.tracing import Firing, Trace

AROUND = 8
"""Words shown on either side of a firing in a long text."""
WHOLE = 120
"""A text of at most so many words is shown whole for every feature."""
PLACES = 3
"""Of a long text, how many places are shown for each feature."""

_LABELS = """
    SELECT feature_index, polarity, label, status, confidence, score FROM labels
    WHERE harvest = ? AND feature_index IN (SELECT unnest(?::INTEGER[]))
"""


@dataclass(frozen=True, slots=True)
class Traced:
    """A labelled feature that fires in a text."""

    firing: Firing
    label: str | None
    status: str
    confidence: float | None
    score: float | None
    maximum: float
    """Its largest activation in the harvest, raw units."""

    @property
    def strength(self) -> float:
        """Its peak relative to its maximum; above 1 where it never fired so strongly before."""
        return self.firing.peak / self.maximum

    @property
    def strongest(self) -> list[tuple[int, float]]:
        """(number of the word, strength there), strongest first."""
        found = zip(self.firing.words.tolist(), (self.firing.values / self.maximum).tolist(), strict=True)
        return sorted(found, key=lambda item: (-item[1], item[0]))


def traced(trace: Trace, file: EvidenceFile, store: Store) -> list[Traced]:
    """The labelled ones among the features that fire, strongest first.

    Args:
        trace: what fires where.
        file: the harvest's evidence.
        store: the labels file.

    Raises:
        WorkspaceError: the labels can't be read.
    """
    indices = sorted({firing.feature.index for firing in trace.firings})
    rows = {(r["feature_index"], r["polarity"]): r for r in store.read(_LABELS, [file.name, indices])}
    found = []
    for firing in trace.firings:
        row = rows.get((firing.feature.index, firing.feature.polarity))
        if row is not None:
            maximum = max(file.summary(firing.feature).maximum, file.summary(firing.feature).threshold)
            of_row = (row["label"], row["status"], row["confidence"], row["score"])
            found.append(Traced(firing, *of_row, maximum or firing.peak))
    return sorted(found, key=lambda one: (-one.strength, one.firing.feature.index))


def as_json(trace: Trace, found: Sequence[Traced]) -> dict[str, Any]:
    """The words, and the features with the words they fire on, as JSON values."""
    return {
        "words": list(trace.words),
        "features": [
            {
                "feature_index": one.firing.feature.index,
                "polarity": one.firing.feature.polarity,
                "label": one.label,
                "status": one.status,
                "confidence": one.confidence,
                "score": one.score,
                "strength": one.strength,
                "peak": one.firing.peak,
                "fires": [
                    {"word": word, "text": trace.words[word], "strength": strength}
                    for word, strength in one.strongest
                ],
            }
            for one in found
        ],
    }


def write_page(path: Path, trace: Trace, found: Sequence[Traced], said: str) -> None:
    """Write a page that needs nothing else, whole or not at all.

    Args:
        path: where to.
        trace: the text.
        found: what is shown of it.
        said: one sentence on what was traced, and how much of it is left out.

    Raises:
        WorkspaceError: it can't be written there.
    """
    write_whole(path, page(trace, found, said))


def page(trace: Trace, found: Sequence[Traced], said: str) -> str:
    """The page's HTML; see `write_page`. Words and labels are escaped by the template."""
    from jinja2 import Environment, StrictUndefined

    by_word: dict[int, list[str]] = {}
    strongest: dict[int, float] = {}
    for one in found:
        for word, strength in one.strongest:
            by_word.setdefault(word, []).append(f"{one.firing.feature} ({strength:.2f}): {one.label}")
            strongest[word] = max(strength, strongest.get(word, 0.0))
    template = (files("exegete.report") / "trace.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template).render(
        said=said,
        text=[
            (*_bare(word), tenths(strongest.get(i, 0.0)), "\n".join(by_word.get(i, ())))
            for i, word in enumerate(trace.words)
        ],
        features=[(one, _places(trace, one)) for one in found],
    )


def tenths(strength: float) -> int:
    """A strength as 1 to 10; 0 for silence."""
    return min(10, max(1, round(10 * strength))) if strength > 0 else 0


def _bare(word: str) -> tuple[str, str]:
    """A word's leading whitespace, which is not to be marked, and the word."""
    bare = word.lstrip()
    return word[: len(word) - len(bare)], bare


def _places(trace: Trace, one: Traced) -> list[list[tuple[str, str, int]]]:
    """Stretches of the text with the feature's strength on every word, in tenths."""
    strength = dict(one.strongest)
    n = len(trace.words)
    spans: list[tuple[int, int]] = [(0, n)]
    if n > WHOLE:
        spans = []
        for word, _ in one.strongest:
            if len(spans) < PLACES and not any(a <= word < b for a, b in spans):
                spans.append((max(0, word - AROUND), min(n, word + AROUND + 1)))
    return [
        [(*_bare(trace.words[i]), tenths(strength.get(i, 0.0))) for i in range(a, b)]
        for a, b in sorted(spans)
    ]
