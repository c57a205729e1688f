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
def _meets(left: str, right: str) -> bool:
    """Whether two characters that touch belong to one word."""
    if _joins(left) and _joins(right):
        return True
    return left == right and not left.isalnum() and not left.isspace()


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
        continues = bool(previous) and (token == "" or _meets(previous[-1], token[0]))
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
