"""Text to plant on: part of the Python documentation, cut into words, read once."""

from __future__ import annotations

from functools import cache

from exegete.controls import text
from exegete.controls.passages import Passages
from exegete.controls.text import Text
from exegete.subjects.corpora import open_corpus


@cache
def documentation() -> Text:
    """All of it, without a model."""
    corpus = open_corpus("stdlib-docs")
    return text._text(text._in_words(corpus, 0), corpus.name, "words", None)


@cache
def passages() -> Passages:
    """The same as arrays."""
    return Passages.of(documentation().contexts)
