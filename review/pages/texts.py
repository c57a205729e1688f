"""Text from a corpus, a model or a person, made fit to be seen: what would act shows itself instead.

The templates escape markup; this is for what escaping leaves as it is. A bidi control turns the words after
it around, on the page as in a terminal, and a zero-width character hides in a label: each is shown by its
number.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_SHOWN = {"\n": "↵", "\t": "⇥", "\r": "␍"}


def visible(text: str) -> str:
    """Text in which every character can be seen: controls as ⟨U+202E⟩, line ends as ↵, tabs as ⇥."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(ch) for ch in text)


def _shown(ch: str) -> str:
    if ch in _SHOWN:
        return _SHOWN[ch]
    return f"⟨U+{ord(ch):04X}⟩" if unicodedata.category(ch) in _HIDDEN else ch


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words of a comparison."""

    kind: Literal["same", "gone", "new"]
    text: str


def differences(before: str, after: str) -> list[Piece]:
    """Two texts compared word by word.

    Args:
        before: the older one.
        after: the newer one.

    Returns:
        Pieces in order; "same" and "gone" together are `before`, "same" and "new" together `after`.
    """
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (before, after))
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for what, a, b, c, d in matcher.get_opcodes():
        if what == "equal":
            pieces.append(Piece("same", "".join(old[a:b])))
            continue
        if b > a:
            pieces.append(Piece("gone", "".join(old[a:b])))
        if d > c:
            pieces.append(Piece("new", "".join(new[c:d])))
    return pieces
