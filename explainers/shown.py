"""How excerpts are shown to an explainer: as numbers from 0 to 10, as marked text, as mistakes.

Every function returns plain lines that are fenced where they enter a prompt (see prompts/material.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import MAX_LEVEL, Context, Excerpt, Experiment, Floats, Unit
from exegete.explainers.explainer import Attempt, Mistake
from exegete.explainers.hygiene import clean
from exegete.prompts.marked import marked_text
from exegete.prompts.material import LINE_BREAK, breaks_line, shown_word, spaced

Levels = NDArray[np.int64]

SPARSE = 0.2
"""Below this share of words with a level, the words that have one are listed again [Bills 2023]."""

MARKED = 0.3
"""A word is marked above this share of the excerpt's own maximum [Paulo 2024]."""

ATTEMPTS = 4
MISTAKES = 5
"""How many earlier labels a revision is shown, and how many misses and false alarms of each: the best labels
and the worst errors, so that a prompt stays of one size however many rounds went before."""

FAILED = 6
HELD = 4
"""How many failed tests of a label, and how many that held, a revision is shown: the latest."""


def levels(activations: Floats, maximum: float) -> Levels:
    """Whole levels of an excerpt: round(10 · relu(a) / feature maximum), at most 10 [Bills 2023].

    Args:
        activations: (n_tokens,) raw units.
        maximum: the feature's maximum in the explain split, raw units.

    Returns:
        (n_tokens,) from 0 to 10; all 0 for a feature that never fires.
    """
    if maximum <= 0:
        return np.zeros(len(activations), dtype=np.int64)
    scaled = MAX_LEVEL * np.maximum(activations.astype(np.float64), 0.0) / maximum
    return np.asarray(np.minimum(np.rint(scaled), MAX_LEVEL), dtype=np.int64)


def as_pairs(excerpts: Sequence[Excerpt], maximum: float, unit: Unit) -> str:
    """Show excerpts as `word<tab>level` lines, then the words with a level again where they are few.

    Args:
        excerpts: what to show, in this order.
        maximum: the feature's maximum, raw units: level 10.
        unit: "token" keeps the space before a token, which tells pieces of words from their beginnings.

    Returns:
        One block: a heading and its lines for every excerpt.
    """
    blocks: list[str] = []
    for number, excerpt in enumerate(excerpts, start=1):
        shown = levels(excerpt.activations, maximum)
        rows = [
            f"{_at_line_start(token, unit)}\t{level}"
            for token, level in zip(excerpt.context.tokens, shown.tolist(), strict=True)
        ]
        blocks.append("\n".join([f"Excerpt {number}", *rows]))
        if np.count_nonzero(shown) < SPARSE * len(shown):
            firing = [row for row, level in zip(rows, shown.tolist(), strict=True) if level > 0]
            blocks.append("\n".join([f"Excerpt {number}, only the words above 0", *(firing or ["(none)"])]))
    return "\n\n".join(blocks)


def as_marked(excerpts: Sequence[Excerpt], maximum: float) -> str:
    """Show excerpts as running text with <<marked>> words, and the levels of those after each excerpt.

    Marked are words above 30% of the excerpt's own maximum; levels are relative to the feature's.

    Raises:
        ValueError: an excerpt has not one activation a word.
    """
    blocks: list[str] = []
    marked = _marked([excerpt.activations for excerpt in excerpts], maximum)
    for number, (excerpt, (places, shown)) in enumerate(zip(excerpts, marked, strict=True), start=1):
        tokens = excerpt.context.tokens
        if len(tokens) != len(excerpt.activations):
            raise ValueError(f"an excerpt of {len(tokens)} words has {len(excerpt.activations)} activations")
        rows = zip(places, shown, strict=True)
        listed = _listed([f"{shown_word(tokens[place])} {level}" for place, level in rows])
        blocks.append(f"Excerpt {number}: {marked_text(tokens, places)}\nLevels: {listed}")
    return "\n\n".join(blocks)


def as_attempts(attempts: Sequence[Attempt], maximum: float) -> str:
    """Show labels that were tried, their scores, and where each was wrong.

    Args:
        attempts: best first; the first ATTEMPTS of them are shown.
        maximum: the feature's maximum, raw units: level 10.
    """
    blocks: list[str] = []
    for number, attempt in enumerate(attempts[:ATTEMPTS], start=1):
        score = "undefined" if attempt.score is None else f"{attempt.score:.2f}"
        lines = [f"Label {number}: {clean(attempt.label.text)}", f"Score: {score}"]
        lines += _mistakes("Missed", attempt.misses, maximum)
        lines += _mistakes("False alarm", attempt.false_alarms, maximum)
        lines += as_experiments(attempt.experiments, maximum, FAILED, HELD)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_experiments(
    experiments: Sequence[Experiment], maximum: float, n_failed: int, n_held: int
) -> list[str]:
    """Show tests that were run, two lines each: the text, and what was predicted of it and is true.

    Args:
        experiments: in the order in which they were written; those that were not run are left out.
        maximum: the feature's maximum, raw units: level 10.
        n_failed: so many failed ones are shown, the latest.
        n_held: likewise of those that held, before others the second text of a pair of which one failed.

    Returns:
        Lines, in the order of the tests, so that the texts of a pair stand together.
    """
    failed = [e for e in experiments if e.verdict == "failed"][-n_failed:]
    pairs = {_pair(e) for e in failed} - {None}
    held = [e for e in experiments if e.verdict == "held"]
    held.sort(key=lambda e: _pair(e) in pairs)  # the latest of the most telling come last
    chosen = {id(e) for e in (*failed, *held[-n_held:])}
    return [line for e in experiments if id(e) in chosen for line in _experiment(e, maximum)]


def _mistakes(kind: str, mistakes: Sequence[Mistake], maximum: float) -> list[str]:
    """Two lines for each of the worst mistakes: the passage, and its words with both levels."""
    lines: list[str] = []
    for mistake in mistakes[:MISTAKES]:
        context = mistake.excerpt.context
        true = levels(mistake.excerpt.activations, maximum).tolist()
        # A predicted level may be an expected value between two levels: one decimal, none when whole.
        said = [f"{round(float(level), 1):g}" for level in mistake.levels]
        pairs = [
            f"{shown_word(token)} (true {t}, predicted {s})"
            for token, t, s in zip(context.tokens, true, said, strict=True)
            if t > 0 or s not in ("0", "-0")
        ]
        lines += [f"{kind}: {_passage(context)}", f"  words: {_listed(pairs)}"]
    return lines


def _pair(experiment: Experiment) -> tuple[int, int] | None:
    """Which pair a text is of, by its round and its number; None for a text by itself."""
    pair = experiment.prediction.pair
    return None if pair is None else (experiment.round, pair)


def _experiment(experiment: Experiment, maximum: float) -> list[str]:
    """A text as the subject read it; the prediction, and the words that fired with their levels."""
    prediction = experiment.prediction
    kind = prediction.kind if prediction.pair is None else f"{prediction.kind} {prediction.pair}"
    shown = levels(experiment.activations, maximum).tolist()
    rows = zip(experiment.words, experiment.activations.tolist(), shown, strict=True)
    fired = [
        f"{shown_word(word)} ({level or 'under 1'})"
        for word, activation, level in rows
        if activation > experiment.threshold
    ]
    said, true = "fires" if prediction.fires else "silent", "; ".join(fired) or "silent"
    return [
        f"{experiment.verdict.capitalize()} test ({kind}): {spaced(experiment.words)}",
        f"  predicted: {said}; true: {true}",
    ]


def _marked(activations: Sequence[Floats], maximum: float) -> Iterator[tuple[list[int], list[int]]]:
    """Of each excerpt, the places of words above its bar, and their levels."""
    lengths = [len(words) for words in activations]
    edges = np.cumsum([0, *lengths])
    ended = np.concatenate([*activations, np.zeros(1, dtype=np.float32)])  # so that each has a maximum
    peaks = np.maximum.reduceat(ended, edges[:-1])
    bars = (MARKED * np.maximum(peaks.astype(np.float64), 0.0)).astype(np.float32)
    values = ended[:-1]
    marked = (values > np.repeat(bars, lengths)).nonzero()[0]
    ends = marked.searchsorted(edges)
    places = (marked - edges[:-1].repeat(np.diff(ends))).tolist()
    shown = levels(values[marked], maximum).tolist()
    for a, b in pairwise(ends.tolist()):
        yield places[a:b], shown[a:b]


def _passage(context: Context) -> str:
    """A passage on one line, words one space apart."""
    return spaced(context.tokens)


def _at_line_start(token: str, unit: Unit) -> str:
    """A word where it begins a line, with what stood before it as far as that matters."""
    if breaks_line(token):
        return f"{LINE_BREAK} {shown_word(token)}"
    return f"{' ' if unit == 'token' and token[:1].isspace() and token.strip() else ''}{shown_word(token)}"


def _listed(items: Iterable[str]) -> str:
    """Join a list for reading, and say so when it is empty."""
    return "; ".join(items) or "(none)"
