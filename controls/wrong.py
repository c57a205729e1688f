"""Labels that are wrong in a known way, and how right ones are written.

swapped         another feature's (dealt by the suite, which knows all of them)
too broad       right, and more besides: a beginning for a word, other words too, without the exception
too narrow      part of it: one word of the class, only after another word, the weakest words alone
half of an or   one of two words
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exegete.controls.passages import Ints, Passages
from exegete.simulators.grammar import STRENGTHS, Clause, Pattern, render, rule_of
from exegete.simulators.word_forms import begins_with

WRONGNESS: tuple[str, ...] = ("swapped", "too broad", "too narrow", "half of an or")
"""Kinds of wrong labels, the grossest first."""
BROAD = 3.0
"""How many times as often a beginning that is too broad is to hold as its word, where that can be had."""


def words(named: Sequence[str]) -> str:
    """A label that lists words."""
    return render(rule_of([Clause(Pattern("word", word)) for word in named]))


def graded(named: Sequence[str], grades: Sequence[float]) -> str:
    """A label that lists words by strength; grades are those of the grammar, divided by its largest."""
    most = max(STRENGTHS.values())
    of_grade = {level / most: level for level in STRENGTHS.values()}
    pairs = zip(named, grades, strict=True)
    return render(rule_of([Clause(Pattern("word", word), of_grade[grade]) for word, grade in pairs]))


def broader_beginning(word: str, passages: Passages, count: Ints) -> str:
    """Words that begin like a word, by as many letters as make it `BROAD` times as frequent, or by one."""
    own = int(count[passages.place_of[word]])
    for letters in range(min(4, len(word) - 2), 0, -1):
        start = word[:letters]
        alike = [i for w, i in passages.place_of.items() if begins_with(w, start)]
        if letters == 1 or int(count[alike].sum()) >= BROAD * own:
            break
    return render(rule_of([Clause(Pattern("beginning", start))]))


def broader_form(name: str, text: str) -> str:
    """A shorter ending or beginning; of a class, more classes of that sort."""
    if name == "ending":
        return render(rule_of([Clause(Pattern("ending", text[1:]))]))
    if name == "beginning":
        return render(rule_of([Clause(Pattern("beginning", text[:-1]))]))
    more = ("words in capitals", "capitalised words", "names with underscores", "numbers")
    return render(rule_of([Clause(Pattern("class", one)) for one in dict.fromkeys((text, *more))]))


def named(broad: str, narrow: str | None, half: str | None = None) -> Mapping[str, str]:
    """Wrong labels by how they are wrong; those that there are."""
    given = {"too broad": broad, "too narrow": narrow, "half of an or": half}
    return {name: text for name, text in given.items() if text is not None}
