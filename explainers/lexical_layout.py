"""Evidence laid out as one long row of words, each weighed by how much it counts in a score.

A score is computed on windows cut around firings and about as many silent ones, where a firing word comes
far more often than in the corpus. So

- a word of an activating context weighs as much as it is likely to be in such a window: 1 at the peak,
  falling to 0 at REACH words from it;
- all silent words together weigh SILENT_SHARE of that, evenly;
- and hard silent windows, chosen because they hold a word that often fires, add to what those words weigh
  where they are silent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Evidence, Excerpt
from exegete.explainers.lexical_vocabulary import Ints, Vocabulary

Doubles = NDArray[np.float64]

REACH = 24
"""Words from the peak beyond which a word is never in its window: what a window of 32 tokens holds."""

SILENT_SHARE = 1.0
"""Weight of all silent words to that of all words of activating contexts."""

HARD_SHARE = 0.25
"""Hard silent windows for every activating one."""


@dataclass(frozen=True, slots=True)
class Words:
    """All words of the evidence, contexts end to end, activating ones first."""

    tokens: Ints
    """(n,) numbers of tokens."""
    words: Ints
    """(n,) numbers of their patterns "word"."""
    left: Ints
    """(n,) that of the word before, -1 at the beginning of a context."""
    right: Ints
    """(n,) that of the word after, -1 at the end of a context."""
    activations: Doubles
    """(n,) raw units."""
    weights: Doubles
    """(n,)"""
    n_activating: int
    """How many of the words are of activating contexts."""

    @property
    def fires(self) -> Ints:
        """Positions of firing words that count."""
        return np.flatnonzero((self.activations > 0) & (self.weights > 0))


def lay_out(vocabulary: Vocabulary, evidence: Evidence) -> Words:
    """Number and weigh all words of the evidence.

    Args:
        vocabulary: numbers for words; it grows.
        evidence: at least one word of it.

    Returns:
        The words, in an order that does not depend on that of the excerpts.
    """
    activating = sorted(evidence.activating, key=lambda e: (-e.peak, e.context.id, e.context.start))
    silent = sorted(evidence.quiet, key=lambda e: (e.context.id, e.context.start))
    rows = vocabulary.read([excerpt.context for excerpt in (*activating, *silent)])
    lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
    tokens = np.concatenate(rows)
    words = vocabulary.arrays().words[tokens]
    edges = np.cumsum(lengths)
    left, right = np.roll(words, 1), np.roll(words, -1)
    left[(edges - lengths)[lengths > 0]] = right[edges[lengths > 0] - 1] = -1
    n = int(lengths[: len(activating)].sum())
    activations, weights = np.zeros(len(tokens)), np.zeros(len(tokens))
    activations[:n] = np.concatenate([excerpt.activations for excerpt in activating])
    weights[:n] = np.concatenate([_in_window(excerpt) for excerpt in activating])
    weights[n:] = SILENT_SHARE * weights.sum() / max(1, len(tokens) - n)
    weights[n:] += HARD_SHARE * len(activating) * _in_hard_window(words, activations * weights, n)
    return Words(tokens, words, left, right, activations, weights, n)


def _in_window(excerpt: Excerpt) -> Doubles:
    """(n_tokens,) how likely each word is to be in a window cut at random around the peak."""
    peak = int(np.argmax(excerpt.activations)) if len(excerpt.activations) else 0
    distance = np.abs(np.arange(len(excerpt.activations)) - peak)
    return np.maximum(0.0, 1.0 - distance / REACH)


def _in_hard_window(words: Ints, mass: Doubles, n: int) -> Doubles:
    """How likely each silent word is to be what a hard silent window was chosen for.

    A window is chosen by the mass and the rarity of a word; which of the word's silent windows it is, is a
    matter of chance.

    Args:
        words: (n_words,) numbers, those of activating contexts first.
        mass: (n_words,) weighted activations.
        n: how many words are of activating contexts.

    Returns:
        (n_words - n,) shares that sum to 1; all 0 if no word that fires comes among the silent ones.
    """
    silent = words[n:]
    often = np.bincount(silent, minlength=int(words.max()) + 1)
    once = np.bincount(words, mass) / np.maximum(often, 1)
    shares = (once * np.log1p(len(silent) / np.maximum(often, 1)))[silent]
    total = float(shares.sum())
    return shares / total if total > 0 else shares
