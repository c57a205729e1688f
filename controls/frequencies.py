"""How often words occur on a text, where, and beside what: what planted features are chosen by."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

import numpy as np

from exegete.controls.passages import Bools, Ints, Passages
from exegete.datastore.kept import N_SPLITS

FIRING, SILENT = 10, 20
"""Contexts of each split in which a planted feature must fire, and must not."""


class Frequencies:
    """Counts of folded words on passages whose splits are known."""

    def __init__(self, passages: Passages) -> None:
        """Count when asked."""
        self._passages = passages

    def enough(self, fires: Bools) -> bool:
        """Whether something is true of words in `FIRING` contexts of every split, and of none in `SILENT`."""
        firing = self._passages.contexts_a_split(fires)
        return bool((firing >= FIRING).all() and (self._contexts - firing >= SILENT).all())

    @cached_property
    def count(self) -> Ints:
        """(n_different,) how often each word occurs."""
        return np.bincount(self._passages.word, minlength=len(self._passages.words))

    @cached_property
    def common(self) -> list[str]:
        """Plain words that can be planted on by themselves."""
        return self.plain_where(self._silent & np.all(self._spread >= FIRING, axis=1))

    @cached_property
    def now_and_then(self) -> Bools:
        """(n_different,) words that stand in some contexts and are missing from enough."""
        return np.asarray(self._silent & (self._spread.sum(1) >= FIRING))

    def plain_where(self, fit: Bools, letters: int = 3) -> list[str]:
        """The plain words that are fit."""
        words = self._passages.words
        return [words[i] for i in np.flatnonzero(fit).tolist() if plain(words[i], letters)]

    def some(self, rng: np.random.Generator, n: int) -> list[str]:
        """Different plain words at random, of those that occur in enough contexts of each split."""
        words = self.plain_where(np.asarray(np.all(self._spread >= FIRING, axis=1)))
        return [words[i] for i in rng.permutation(len(words))[:n].tolist()]

    def shuffled(self, rng: np.random.Generator) -> list[str]:
        """The common words in random order."""
        return [self.common[i] for i in rng.permutation(len(self.common)).tolist()]

    def frequency(self, word: str) -> int:
        """How often a word occurs."""
        return int(self.count[self._passages.place_of[word]])

    def alike(self, one: str, other: str) -> bool:
        """Whether neither word is more than half as frequent again as the other."""
        a, b = self.frequency(one), self.frequency(other)
        return max(a, b) <= 1.5 * min(a, b)

    def neighbours(self, word: str) -> list[tuple[str, float]]:
        """Words directly before a word, the commonest first, and before what share of its occurrences."""
        p = self._passages
        before = p.before[p.is_word([word])]
        counts = Counter(p.words[i] for i in before[before >= 0].tolist())
        return [(other, n / len(before)) for other, n in counts.most_common(20) if plain(other, 1)]

    @cached_property
    def _contexts(self) -> Ints:
        """(3,) contexts of each split."""
        return np.bincount(np.asarray(self._passages.splits, dtype=np.int64), minlength=N_SPLITS)

    @cached_property
    def _silent(self) -> Bools:
        """(n_different,) whether enough contexts of each split lack the word."""
        return np.asarray(np.all(self._contexts - self._spread >= SILENT, axis=1))

    @cached_property
    def _spread(self) -> Ints:
        """(n_different, 3) contexts of each split that have the word."""
        p, n = self._passages, len(self._passages.contexts)
        pairs = np.unique(p.word * n + p.row)
        split = np.asarray(p.splits, dtype=np.int64)[pairs % n]
        flat = np.bincount(pairs // n * N_SPLITS + split, minlength=len(p.words) * N_SPLITS)
        return flat.reshape(-1, N_SPLITS)


def plain(word: str, letters: int = 3) -> bool:
    """Whether a word is so many letters of the Latin alphabet or more, and nothing else."""
    return word.isalpha() and word.isascii() and len(word) >= letters
