"""From a subject's tokens to the words that are shown to people and models.

A label is about words; sub-word pieces read badly and cost more. So excerpts are shown as words, each with
the largest activation of its pieces. A word is a run of tokens of which none starts with whitespace and all
neighbours meet at a letter (with its accents and vowel signs), digit or underscore: " un", "interest", "ing"
is one word, "(" stands alone. A run of one repeated mark ("----", "...") is one unit too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.growing import Growing
from exegete.datastore.records import Floats, Unit

# Scripts written without spaces: joining their characters would make whole sentences one "word".
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x9FFF),  # CJK ideographs
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


def _joins(char: str) -> bool:
    """Whether a word may go on across this character."""
    # Combining marks ("M"): no Devanagari word is a run of letters alone.
    if not (char.isalnum() or char == "_" or unicodedata.category(char).startswith("M")):
        return False
    point = ord(char)
    return not any(low <= point <= high for low, high in _UNSPACED)


@lru_cache(65_536)
def _side(char: str) -> int:
    """Two characters that touch belong to one word when their sides are equal and above 0.

    Letters, digits and their accents have one side in common, a mark has its own, others have none.
    """
    if _joins(char):
        return 1
    return 0 if char.isalnum() or char.isspace() else 2 + ord(char)


def unit_starts(tokens: Sequence[str], unit: Unit) -> NDArray[np.int64]:
    """Positions at which words (or tokens) begin.

    Args:
        tokens: display text of a subject's tokens, leading whitespace kept.
        unit: "word" or "token".

    Returns:
        (n_units,) increasing positions, the first of them 0; empty for no tokens.
    """
    if unit == "token":
        return np.arange(len(tokens), dtype=np.int64)
    starts: list[int] = []
    previous = ""
    for position, token in enumerate(tokens):
        if token[:1] == " ":  # the commonest by far, and never goes on
            starts.append(position)
            previous = token
            continue
        continues = bool(previous) and (token == "" or 0 < _side(previous[-1]) == _side(token[0]))
        if not continues:
            starts.append(position)
        previous = token or previous
    return np.asarray(starts, dtype=np.int64)


def join_units(tokens: Sequence[str], starts: NDArray[np.int64]) -> tuple[str, ...]:
    """The text of each unit, given where units start."""
    edges = [*starts.tolist(), len(tokens)]
    return tuple([tokens[a] if b == a + 1 else "".join(tokens[a:b]) for a, b in pairwise(edges)])


def pool(activations: Floats, starts: NDArray[np.int64]) -> Floats:
    """The largest activation in each unit: (n_tokens,) -> (n_units,)."""
    if not len(starts):
        return np.zeros(0, dtype=np.float32)
    return np.asarray(np.maximum.reduceat(activations, starts), dtype=np.float32)


@lru_cache(65_536)
def compared(unit: str) -> str:
    """A unit as it is compared with others: stripped, lower case."""
    return unit.strip().lower()


_EMPTY = -1
"""The side of a text without characters."""


class Vocabulary:
    """Texts of tokens and words, each once: many contexts at a time are cut into words as numbers.

    A code is a text's place in the order of arrival.
    """

    def __init__(self) -> None:
        """With no texts."""
        self._texts = Growing(np.zeros(0, dtype=object))
        self._code: dict[str, int] = {}
        self._first = Growing(np.zeros(0, dtype=np.int64))
        """The side of each text's first character."""
        self._last = Growing(np.zeros(0, dtype=np.int64))

    @property
    def texts(self) -> NDArray[np.object_]:
        """All texts, by code."""
        return self._texts.values

    def encode(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Codes of texts, new ones among them: (n,)."""
        new = list(dict.fromkeys(text for text in texts if text not in self._code))
        if new:
            self._code.update(zip(new, range(len(self._code), len(self._code) + len(new)), strict=True))
            self._texts.add(np.asarray(new, dtype=object))
            self._first.add(np.asarray([_side(text[0]) if text else _EMPTY for text in new]))
            self._last.add(np.asarray([_side(text[-1]) if text else _EMPTY for text in new]))
        return np.fromiter(map(self._code.__getitem__, texts), dtype=np.int32, count=len(texts))

    def begins(self, codes: NDArray[np.int32], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where words begin in contexts that are laid end to end; in each of them as `unit_starts` has it.

        Args:
            codes: (n_tokens,) of the contexts' tokens.
            lengths: (n_contexts,) tokens of each.

        Returns:
            (n_tokens,) whether the token begins a word.
        """
        first, last = self._first.values.take(codes), self._last.values.take(codes)
        begins = np.zeros(len(codes) + 1, dtype=bool)
        begins[np.cumsum(lengths) - lengths] = True
        begins = begins[:-1]
        if first.min(initial=0) == _EMPTY:
            return self._begins_across_empty(first, last, begins)
        begins |= first == 0
        begins[1:] |= first[1:] != last[:-1]
        return begins

    @staticmethod
    def _begins_across_empty(
        first: NDArray[np.int64], last: NDArray[np.int64], edge: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Empty tokens go on whatever was before them in their context, and words go on across them."""
        spoken, context = first != _EMPTY, np.cumsum(edge)
        begins = np.ones(len(first), dtype=bool)
        place = np.flatnonzero(spoken)
        a, b = place[:-1], place[1:]
        begins[b] = (first[b] != last[a]) | (first[b] == 0) | (context[a] != context[b])
        begins[~spoken & (np.maximum.accumulate(np.where(spoken, context, 0)) == context)] = False
        return begins
