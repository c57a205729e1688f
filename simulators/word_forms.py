"""How words are compared: case, inflection, beginnings and endings, and the pieces a phrase falls into.

    fold("  Getting")     "getting"          what two words are compared by
    stem("getting")       "get"              shared by get, gets, getting
    pieces("don't do")    ("don", "'", "t", "do")

A fold is never empty, and holds no whitespace and nothing that can't be seen: any word can stand in a label.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from exegete.datastore.words import join_units, unit_starts
from exegete.prompts.material import shown_word

SHORTEST_REST = 2
"""Characters that must be left of a word beside its ending or beginning: "is" has no ending "-s"."""

_VOWELS = frozenset("aeiouy")


@lru_cache(maxsize=100_000)
def fold(token: str) -> str:
    """What a word or token is compared by: as printed elsewhere, lower case, canonically composed (NFC).

    Folding twice is folding once.
    """
    before, folded = token, unicodedata.normalize("NFC", shown_word(token).lower())
    while before != folded:  # a few characters lower, or compose, in two steps
        before, folded = folded, unicodedata.normalize("NFC", shown_word(folded).lower())
    return folded


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """What the regular forms of an English word share: plural, -s, -ed, -ing.

    A key, not a word: "search", "searches" and "searching" share "search-", "make" and "making" "mak-".
    It undoes inflection only; a full stemmer would make one word of "general" and "generate".

    Args:
        word: folded.

    Returns:
        The key; the word itself where it is not all letters, and so has no forms.
    """
    if not word.isalpha():
        return word
    base = _without_participle(_without_s(word))
    if len(base) > 3 and base[-1] == base[-2] and base[-1] not in _VOWELS:
        base = base[:-1]  # "getting" to "get"; "call" to "cal" too, in all its forms alike
    elif len(base) > 3 and base[-1] == "e":
        base = base[:-1]
    elif len(base) > 2 and base[-1] == "y" and base[-2] not in _VOWELS:
        base = base[:-1] + "i"
    return base + "-"


def _without_s(word: str) -> str:
    """Take off the ending of a plural or of a third person."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    return word[:-1]


def _without_participle(word: str) -> str:
    """Take off -ing or -ed where what is left can be a verb."""
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest == word or len(rest) < SHORTEST_REST or not _VOWELS & set(rest) or word.endswith("eed"):
            continue
        # Two letters are left of "doing" and of "using": only the second lost an e.
        return rest + "e" if len(rest) == 2 and rest[0] in _VOWELS else rest
    return word


def bare(word: str) -> str:
    """A folded word without underscores around it: of "__getattr__", what begins with "get"."""
    return word.strip("_") or word


def ends_in(word: str, ending: str) -> bool:
    """Say whether a folded word has this ending, and enough before it, underscores around it aside."""
    inner = word if "_" in ending else bare(word)
    return len(inner) >= len(ending) + SHORTEST_REST and inner.endswith(ending)


def begins_with(word: str, beginning: str) -> bool:
    """Say whether a folded word has this beginning, and enough after it, underscores around it aside."""
    inner = word if "_" in beginning else bare(word)
    return len(inner) >= len(beginning) + SHORTEST_REST and inner.startswith(beginning)


@lru_cache(maxsize=10_000)
def pieces(text: str) -> tuple[str, ...]:
    """Cut a quoted text into the folded words a context would show it as.

    Returns:
        At least one word, unless the text is blank.
    """
    chars = tuple(text)
    units = join_units(chars, unit_starts(chars, "word"))
    return tuple(fold(unit) for unit in units if unit.strip())
