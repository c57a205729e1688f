"""Labels of a run that say the same.

Two features with one label are two features that the label does not tell apart; a label that hundreds share
says little of any of them. Labels are the same here when nothing is left of their difference once case,
quotes, punctuation, what only introduces words ("words such as", "references to") and the order of what is
listed are taken away. Labels that merely overlap are not: this is a count and not a judgement, so it rather
misses a twin than makes one up.

Most labels have none, and a million are to be counted in seconds: only labels that have their content words
in common are taken apart at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_MARK = "\u02ee"
"""Stands for a quotation mark; a letter to `re`, so that nothing in quotes is taken for a word of ours."""
_FAR = 0xA000
"""Quoted punctuation is moved up here, among letters, where nothing strips it: some labels say "(" alone."""

_QUOTES = str.maketrans("“”„‟«»‹›`", '"' * 9)
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)+)\"|(?<!\w)['‘]([^'’]+)['’](?!\w)")
_LISTS = str.maketrans({c: chr(_FAR + ord(c)) for c in ",;/&()"})
_INTRODUCES = re.compile(
    r"\b(?:(?:references?|mentions?|occurrences?|instances?|appearances?|uses?) (?:to|of)"
    r"|(?:words?|tokens?|terms?|phrases?)(?: (?:such as|like|including|namely))?"
    r"|such as|for example|e\.g\.|i\.e\.|the|an?)(?!\w)"
)
_ITEMS = re.compile(r",(?:\s*(?:and|or)\b)?")
_ALTERNATIVES = re.compile(r"\s+(?:and|or)\s+|\s*[/&]\s*")
_EDGES = "".join(chr(i) for i in range(32, 128) if not chr(i).isalnum() and chr(i) != "(") + "…–—·•¿¡"
_DENIES = re.compile(r"\b(?:not|no|never|except|without|excluding|but)\b")
_NO_CONTENT = frozenset(
    (
        *("reference", "mention", "occurrence", "instance", "appearance", "use", "to", "of"),
        *("references", "mentions", "occurrences", "instances", "appearances", "uses"),
        *("word", "words", "token", "tokens", "term", "terms", "phrase", "phrases"),
        *("such", "as", "like", "including", "namely", "for", "example", "e", "g", "i"),
        *("the", "a", "an", "and", "or"),
    )
)
"""Every word that `_INTRODUCES`, or that joins what is listed."""
_NO_LETTERS = str.maketrans({chr(i): " " for i in range(128) if not chr(i).isalnum()})
_RUNS = re.compile(r"[^\W_]+")


def twins(labels: Sequence[str | None]) -> list[int]:
    """Count for each label how many others say the same.

    Args:
        labels: one a feature, None where it has none.

    Returns:
        How many other labels of the list say the same; 0 for None.
    """
    texts = Counter(label for label in labels if label is not None)
    contents = {text: _content(text) for text in texts}
    alike = Counter(contents.values())
    keys = {text: _key(text) for text, content in contents.items() if alike[content] > 1}
    counts: Counter[object] = Counter()
    for text, key in keys.items():
        counts[key] += texts[text]
    return [
        0 if label is None else (counts[keys[label]] if label in keys else texts[label]) - 1
        for label in labels
    ]


def _content(label: str) -> int:
    """A hash of a label's content words, which twins have in common (so have others)."""
    if label.isascii():
        words = label.casefold().translate(_NO_LETTERS).split()
    else:
        words = _RUNS.findall(_folded(label))
    return hash(frozenset(words) - _NO_CONTENT)


def _folded(label: str) -> str:
    text = label if label.isascii() else unicodedata.normalize("NFKC", label)
    return text.casefold()


def _key(label: str) -> object:
    """What is left of a label when what may differ between twins is taken away."""
    text = _folded(label).translate(_QUOTES)
    if '"' in text or "'" in text or "‘" in text:
        text = _QUOTED.sub(_protected, text)
    text = _INTRODUCES.sub(" ", text)
    clauses = frozenset(clause for part in text.split(";") if (clause := _clause(part)))
    return clauses or label  # nothing but introduction: it says what it says


def _protected(quoted: re.Match[str]) -> str:
    """What stood between quotation marks, as one word that is nobody else's."""
    inside = quoted[1] or quoted[2]
    if any(map(str.isalnum, inside)):
        return f"{_MARK}{inside.translate(_LISTS)}{_MARK}"
    return f"{_MARK}{''.join(chr(_FAR + ord(c)) if ord(c) < 128 else c for c in inside)}{_MARK}"


def _clause(text: str) -> tuple[str, frozenset[object]] | None:
    """One clause: what is said of all of it in brackets at its end, and what it lists, in no order."""
    text, said = text.rstrip(_EDGES.replace(")", "")), ""
    if text.endswith(")"):
        text, _, said = text.rpartition("(")
    items: set[object] = set()
    for item in _ITEMS.split(text):
        first, *others = [_bare(one) for one in _ALTERNATIVES.split(item)]
        head, _, last = first.rpartition(" ")
        if not others or _DENIES.search(head):
            items.add(_bare(item))
        elif head:
            items.add((head, frozenset((last, *others))))
        else:
            items.update((first, *others))
    items.discard("")
    return (_bare(said), frozenset(items)) if items else None


def _bare(text: str) -> str:
    """Words with one space between them, without punctuation around them and marks of quotation."""
    words = (word.strip(_EDGES + "(") for word in text.replace(_MARK, "").split())
    return " ".join(word for word in words if word)
