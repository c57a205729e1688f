"""What a proposed label must be to be kept: one visible line, not too long, unlike the others.

A label is written by a model that has read a corpus, so it is treated as text from outside: it is cleaned
before it is stored, and one that talks to its reader instead of describing text is flagged for a person. It
can't do more harm than that: scores are computed, not asked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from exegete.prompts.material import is_hidden

MAX_LENGTH = 300
"""Characters. A longer label is refused, not cut: half a sentence may say the opposite."""

SAME = 0.8
"""Labels sharing at least this share of their words (Jaccard) count as one."""

_TERMINAL_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|\x1b\].*?(?:\x07|\x1b\\)"  # operating system commands: window titles, links
    r"|\x1b[@-Z\\-_]",
    re.DOTALL,
)

INSTRUCTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(ignore|disregard|forget|override|bypass)\b.{0,40}"
        r"\b(previous|above|prior|earlier|preceding|instructions?|rules|guidelines|prompts?|everything)\b",
        r"\b(score|rate|rating|grade|level)\b.{0,30}(\b(10|ten|100|maximum|highest|perfect)\b|1\.0)",
        r"\b(give|assign|award|return|output|report|answer|respond|reply)\b.{0,30}"
        r"\b(score|scores|rating|level|levels|verdict|grade)\b",
        r"\b(accept|approve|confirm)\b.{0,20}\b(this|the|my|every|all)\b.{0,12}\blabels?\b",
        r"\b(respond|reply|answer)\b.{0,12}\b(only|with|exactly)\b",
        r"\byou (must|are now|will now|should now|have to)\b|\bfrom now on\b",
        r"\byour (new )?(task|instructions?|role)\b",
        r"\b(system|developer) (prompt|message)\b|\bas an ai\b|\bjailbreak\b",
        r"^\W*(system|assistant|user|developer|human)\s*:|</?\s*(system|assistant|user|instructions?)\s*>|<\|",
        r"\[(begin|end|inst|/inst)\b",
    )
)
"""What a label says that talks to its reader, in folded text. In plain ASCII, RE2 finds the same."""


def clean(text: str) -> str:
    """Make a label one visible line.

    Terminal escapes, control characters and bidi controls are removed, whitespace of every kind becomes
    single spaces. Cleaning twice is cleaning once.

    Returns:
        The cleaned label; empty when nothing visible was left.
    """
    kept = _TERMINAL_ESCAPE.sub("", text)
    if not kept.isprintable():
        kept = "".join(" " if c.isspace() else c for c in kept if c.isspace() or not is_hidden(c))
    return unicodedata.normalize("NFC", " ".join(kept.split()))


def why_refused(label: str) -> str | None:
    """Say why a cleaned label can't be kept, or None when it can."""
    if not any(unicodedata.category(char)[0] in "LNPS" for char in label):
        return "a label without text"
    if len(label) > MAX_LENGTH:
        return f"a label of {len(label)} characters, more than {MAX_LENGTH}"
    return None


@lru_cache(1024)
def reads_like_instruction(text: str) -> bool:
    """Say whether a label talks to its reader ("ignore the above", "score 10") instead of describing text.

    It is a flag for a person to look, not a judgement: a feature may well fire on such phrases.
    """
    plain = unicodedata.normalize("NFKC", clean(text)).replace("\u200c", "").replace("\u200d", "")
    folded = " ".join(plain.casefold().split())
    return any(pattern.search(folded) for pattern in INSTRUCTIONS)


def same_label(one: str, other: str) -> bool:
    """Say whether two labels differ in nothing but case, spacing, punctuation and a few words."""
    words, others = _words(one), _words(other)
    if not words | others:
        return True
    return len(words & others) / len(words | others) >= SAME


def distinct(labels: Iterable[str], tried: Iterable[str] = ()) -> list[str]:
    """Keep the first of every group of near duplicates, and none that was tried before.

    Args:
        labels: cleaned labels, best first.
        tried: labels that must not come again.

    Returns:
        The labels kept, in their order.
    """
    seen, kept = list(tried), []
    for label in labels:
        if not any(same_label(label, earlier) for earlier in seen):
            seen.append(label)
            kept.append(label)
    return kept


def _words(label: str) -> frozenset[str]:
    """The words of a label without case and outer punctuation; a word of punctuation alone stays as it is.

    (A feature may fire on "(" alone: such labels differ in nothing else.)
    """
    return frozenset(_bare(word) or word for word in label.casefold().split())


def _bare(word: str) -> str:
    """Strip punctuation from both ends of a word."""
    first, last = 0, len(word)
    while first < last and unicodedata.category(word[first])[0] == "P":
        first += 1
    while last > first and unicodedata.category(word[last - 1])[0] == "P":
        last -= 1
    return word[first:last]
