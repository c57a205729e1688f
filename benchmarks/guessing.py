"""What a reader makes of the passages it is shown: hypotheses in the lexical grammar, and how well they fit.

Everything here is a function of what stands in a prompt and of general knowledge of the language (a sample of
text on which nothing was planted). What is true of a feature is not known here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exegete.controls.text import in_words
from exegete.datastore.records import Context
from exegete.prompts.material import LINE_BREAK
from exegete.simulators.grammar import ANY, NEVER, STRENGTHS, Clause, Pattern, render, rule_of
from exegete.simulators.grammar_reading import parse
from exegete.simulators.lexical import levels_of
from exegete.simulators.word_classes import classes_of
from exegete.simulators.word_forms import fold

Bools = NDArray[np.bool_]

WORDS = 8
"""Commonest firing words that hypotheses are made from."""

_BLOCK = re.compile(r"\[begin (\w+) (\w+)\]\n(.*?)\n\[end \1 \2\]", re.S)
_MARK = re.compile(r"<<(.+?)>>")
_LEVEL = re.compile(r"(\S+) \(true (\d+), predicted [\d.]+\)")
_FIRED = re.compile(r"(\S+) \((?:\d+|under 1)\)")
_STRONG = STRENGTHS["strong"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A passage, and at which of its words a feature is known to fire or to be silent."""

    words: tuple[str, ...]
    fires: Bools
    """(n_words,)"""
    known: Bools
    """(n_words,) where anything is known."""
    source: Literal["excerpt", "mistake", "test"]


def blocks(prompt: str) -> dict[str, str]:
    """What stands between marks in a prompt, by name."""
    return {name: body for name, _, body in _BLOCK.findall(prompt)}


def marked(block: str) -> list[Seen]:
    """Excerpts with marked words; of the others nothing is noted, as a reader notes what is pointed at."""
    found = []
    for line in block.split("\n"):
        if line.startswith("Excerpt "):
            parts = _MARK.split(line.partition(": ")[2])
            cut = [(in_words(part), i % 2 == 1) for i, part in enumerate(parts)]
            words = tuple(word for some, _ in cut for word in some)
            fires = np.asarray([mark for some, mark in cut for _ in some], dtype=bool)
            found.append(Seen(words, fires, fires, "excerpt"))
    return found


def reported(block: str) -> list[Seen]:
    """Mistakes and tests, as they are listed below a label: what is not said to fire is silent."""
    lines, found = block.split("\n"), []
    for line, below in pairwise(lines):
        kind, _, passage = line.partition(": ")
        test = " test (" in kind
        if not test and kind not in ("Missed", "False alarm"):
            continue
        words = tuple(f" {word}" for word in passage.split(" ") if word != LINE_BREAK)
        said = (
            _FIRED.findall(below) if test else [word for word, true in _LEVEL.findall(below) if true != "0"]
        )
        times, there = Counter(said), Counter(word.strip() for word in words)
        fires = np.asarray([word.strip() in times for word in words], dtype=bool)
        sure = np.asarray([times[w.strip()] in (0, there[w.strip()]) for w in words], dtype=bool)
        found.append(Seen(words, fires, sure, "test" if test else "mistake"))
    return found


def tried(block: str) -> list[str]:
    """Labels that are listed with their scores."""
    return re.findall(r"^Label \d+: (.*)$", block, re.M)


@lru_cache(200_000)
def predicted(label: str, words: tuple[str, ...]) -> Bools:
    """(n_words,) where a label says that a feature fires."""
    (levels,) = levels_of(parse(label), [Context(0, "", 0, words)])
    return np.asarray(levels > 0, dtype=np.bool_)


@dataclass(frozen=True)
class Knowledge:
    """General text, on which a reader can imagine what a statement would be true of."""

    words: tuple[str, ...]
    """With their leading whitespace, passages end to end."""

    def extent(self, label: str) -> int:
        """At how many words of it a label would fire: how wide the label is."""
        return int(predicted(label, self.words).sum())


def hypotheses(seen: Sequence[Seen]) -> list[str]:
    """Labels that a reader may think of, made from the words that fire and those that stand before them."""
    firing: Counter[str] = Counter()
    before: Counter[str] = Counter()
    silent: Counter[tuple[str, str]] = Counter()
    written: Counter[str] = Counter()
    for one in seen:
        folded = [fold(word) for word in one.words]
        for i in np.flatnonzero(one.known).tolist():
            if one.fires[i]:
                firing[folded[i]] += 1
                written.update(classes_of(one.words[i]))
                before.update(folded[i - 1 : i])
            elif i:
                silent[folded[i], folded[i - 1]] += 1
    common = [word for word, _ in firing.most_common(WORDS)]
    rules = [
        *([Clause(Pattern("word", word)) for word in common[:n]] for n in range(1, len(common) + 1)),
        *([clause] for word in common[:4] for clause in _wider(word)),
        *([Clause(Pattern("class", name))] for name, _ in written.most_common(4)),
        *([_after(ANY, word)] for word, _ in before.most_common(3)),
        *([_after(Pattern("word", w), b)] for w in common[:2] for b, _ in before.most_common(3)),
        *(
            [Clause(Pattern("word", word)), _after(Pattern("word", word), other, NEVER)]
            for (word, other), _ in silent.most_common()
            if word in common[:2]
        ),
    ]
    return list(dict.fromkeys(render(rule_of(rule)) for rule in rules))


def _wider(word: str) -> Iterator[Clause]:
    """Statements about how a word is made, of which it is one case."""
    if not word.isalpha():
        return
    yield Clause(Pattern("forms", word))
    for n in (1, 2, 3, 4):
        if len(word) >= n + 2:
            yield Clause(Pattern("beginning", word[:n]))
            yield Clause(Pattern("ending", word[-n:]))


def _after(pattern: Pattern, word: str, level: int = _STRONG) -> Clause:
    return Clause(pattern, level, "after", Pattern("word", word))


def cost(label: str, seen: Sequence[Seen]) -> float:
    """How badly a label fits what was shown.

    A test that it contradicts costs 3, a word of a mistake that it gets wrong 1, and ten words in a hundred
    that are marked and that it leaves out 1.
    """
    total, marks, left_out = 0.0, 0, 0
    for one in seen:
        says = predicted(label, one.words)
        if one.source == "test":
            total += 3.0 * bool(says.any() != one.fires.any())
        elif one.source == "mistake":
            total += int((one.known & (says != one.fires)).sum())
        else:
            marks += int(one.fires.sum())
            left_out += int((one.fires & ~says).sum())
    return total + 10.0 * left_out / max(1, marks)
