"""Words, clauses and contexts as hypothesis makes them, the awkward ones included."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from exegete.datastore.records import Context
from exegete.simulators.grammar import ANY, KINDS, NEVER, STRENGTHS, Clause, Pattern, Side, normal
from exegete.simulators.word_classes import CLASSES

AWKWARD = (
    *("or", "and", "after", "(strong)", "not", "but", "words", "forms of", "-ing", "pre-", "-x-", "numbers"),
    *(
        "\\",
        "\\-a",
        "a\\-",
        '"',
        '\\"',
        ";",
        ",",
        "don't",
        "such as",
        " large",
        "\n",
        " ",
        "\u200b",
        "--",
        "_",
    ),
)
"""Words that look like the grammar around them."""

RAW = st.one_of(
    st.text(min_size=1, max_size=6),
    st.text(alphabet='"\\-ab ,;()_', min_size=1, max_size=6),
    st.sampled_from(AWKWARD),
)
"""Words as they stand in a corpus: anything."""

LEVELS = st.sampled_from((NEVER, *STRENGTHS.values()))

_WORD = RAW.map(normal)
_SINGLE = _WORD.filter(lambda text: " " not in text)
_NEIGHBOURS = st.one_of(
    st.builds(Pattern, st.just("word"), _WORD),
    st.builds(Pattern, st.just("class"), st.sampled_from(CLASSES)),
)
PATTERNS = st.one_of(
    _NEIGHBOURS,
    st.builds(Pattern, st.sampled_from([k for k in KINDS if k in ("forms", "ending", "beginning")]), _SINGLE),
)
CLAUSES = st.one_of(
    st.builds(Clause, PATTERNS, LEVELS),
    st.builds(
        Clause, st.one_of(PATTERNS, st.just(ANY)), LEVELS, st.sampled_from(get_args(Side)), _NEIGHBOURS
    ),
)
"""Everything a label can say."""

_COMMON = st.sampled_from(
    (" the", " The", " get", " getting", "ting", "(", " 3", " Monday", "\nFoo", " such", " as")
)
CONTEXTS = st.lists(st.one_of(_COMMON, RAW), max_size=12).map(lambda words: Context(1, "d", 0, tuple(words)))
"""Passages, in which some words come often enough to meet a clause."""
