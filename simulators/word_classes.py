"""Kinds of words that can be told from a word alone, by the names a label calls them.

Two sorts: how a word is written (numbers, capitalised words), and the closed classes of English, whose
members can be listed (pronouns, days of the week). Each has one name, which is what a label says, and
aliases that are understood too.

    >>> classes_of(" Monday")
    frozenset({'capitalised words', 'days of the week'})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from exegete.prompts.material import BLANK, LINE_BREAK, breaks_line
from exegete.simulators.word_forms import fold

# One line a class: its members as they are folded.
_LISTED: dict[str, str] = {
    "pronouns": (
        "i you he she it we they me him her us them my your his its our their mine yours hers ours "
        "theirs myself yourself himself herself itself ourselves yourselves themselves oneself"
    ),
    "demonstratives": "this that these those",
    "articles": "a an the",
    "quantifiers": (
        "all any each every some many few several most more less least much fewer both either neither "
        "another other others none enough lots plenty"
    ),
    "prepositions": (
        "about above across against along among around at before behind below beneath beside besides "
        "between beyond by despite down during except for from in inside into near of off on onto out "
        "outside over past per since through throughout to toward towards under underneath until up "
        "upon via with within without"
    ),
    "conjunctions": "and or but nor yet because although though while whereas if unless whether than",
    "modal verbs": "can could may might must shall should will would cannot",
    "auxiliary verbs": "am is are was were be been being have has had having do does did",
    "question words": "what which who whom whose when where why how",
    "negations": "no not none never neither nor nothing nobody nowhere without cannot",
    "number words": (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
        "hundred thousand million billion trillion dozen"
    ),
    "ordinals": "first second third fourth fifth sixth seventh eighth ninth tenth last",
    "days of the week": "monday tuesday wednesday thursday friday saturday sunday",
    "months": "january february march april may june july august september october november december",
    "colours": "red green blue yellow orange purple violet pink brown black white grey gray cyan magenta",
}

_WRITTEN: dict[str, Callable[[str, str], bool]] = {
    # From a token as it stands, and stripped of whitespace.
    "numbers": lambda _, word: word[:1].isnumeric() and all(c.isnumeric() or c in ".,_" for c in word),
    "words with digits": lambda _, word: any(map(str.isdigit, word)) and any(map(str.isalpha, word)),
    "punctuation": lambda _, word: bool(word) and not any(c.isalnum() for c in word),
    "capitalised words": lambda _, word: (
        word[:1].isupper() and word.isalpha() and word[1:] == word[1:].lower()
    ),
    "words in capitals": lambda _, word: len(word) > 1 and word.isupper(),
    "camel case names": lambda _, word: (
        word.isidentifier() and any(map(str.isupper, word[1:])) and any(map(str.islower, word))
    ),
    "names with underscores": lambda _, word: "_" in word and any(map(str.isalpha, word)),
    "single letters": lambda _, word: len(word) == 1 and word.isalpha(),
    "opening brackets": lambda _, word: bool(word) and set(word) <= set("([{<"),
    "closing brackets": lambda _, word: bool(word) and set(word) <= set(")]}>"),
    "quotation marks": lambda _, word: bool(word) and set(word) <= set("\"'`“”‘’«»„"),
    "line breaks": lambda token, _: fold(token).strip(LINE_BREAK + BLANK) == "" and "\n" in token,
    "first words of a line": lambda token, _: breaks_line(token),
}

CLASSES: tuple[str, ...] = (*_LISTED, *_WRITTEN)
"""The names of all classes."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "digits": "numbers",
        "numerals": "numbers",
        "numeric values": "numbers",
        "punctuation marks": "punctuation",
        "punctuation symbols": "punctuation",
        "capitalized words": "capitalised words",
        "capital letters": "capitalised words",
        "uppercase words": "words in capitals",
        "acronyms": "words in capitals",
        "all caps": "words in capitals",
        "camelcase": "camel case names",
        "words with underscores": "names with underscores",
        "snake case": "names with underscores",
        "weekdays": "days of the week",
        "names of months": "months",
        "month names": "months",
        "colors": "colours",
        "ordinal numbers": "ordinals",
        "open brackets": "opening brackets",
        "opening parentheses": "opening brackets",
        "closing parentheses": "closing brackets",
        "quotes": "quotation marks",
        "newlines": "line breaks",
        "determiners": "articles",
        "wh-words": "question words",
    }
)
"""Other words for a class, as people and models put it."""

_MEMBER: dict[str, frozenset[str]] = {}
for _name, _words in _LISTED.items():
    for _word in _words.split():
        _MEMBER[_word] = _MEMBER.get(_word, frozenset()) | {_name}


@lru_cache(maxsize=100_000)
def classes_of(token: str) -> frozenset[str]:
    """Name the classes a word belongs to.

    Args:
        token: as it stands in its context: case and leading whitespace count.
    """
    word = token.strip()
    written = frozenset(name for name, holds in _WRITTEN.items() if holds(token, word))
    return written | _MEMBER.get(fold(token), frozenset())
