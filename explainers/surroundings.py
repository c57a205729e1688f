"""What stands where a feature fires, as vectors: near ones say the same thing in the same surroundings.

Of an excerpt two texts are embedded: the word at which the feature fires most strongly, and that word among
the NEAR words on either side of it. The halves of its vector are the two embeddings, so the cosine of two
excerpts is the mean of both likenesses.

Sentence embeddings know meaning (`exegete.subjects.sentences`). Where they are not to be had there is
`Profile`, which knows words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from exegete.datastore.records import Excerpt, Floats
from exegete.simulators.word_forms import pieces, stem

NEAR = 3
"""Words on either side of the firing one."""


class Embeds(Protocol):
    """Turns texts into vectors of length 1."""

    name: str
    """Other vectors have another name."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """(n, d) unit vectors, aligned with the texts, of which there is at least one."""


class Profile:
    """Embeds texts by their words: as many as there are, each weighed by how few of the texts have it.

    Forms of a word count as one. Likeness of meaning is not seen: "car" and "vehicle" are as far apart as any
    two words.
    """

    name = "profile@1"

    def embed(self, texts: Sequence[str]) -> Floats:
        """Count words, weigh them by log(1 + texts / texts with the word), and bring texts to length 1.

        Returns:
            (n, n_words) float32; zeros for a text without a word.
        """
        bags = [Counter(stem(piece) for piece in pieces(text)) for text in texts]
        having = Counter(word for bag in bags for word in bag)
        column = {word: number for number, word in enumerate(sorted(having))}
        counts = np.zeros((len(texts), max(1, len(column))))
        for row, bag in enumerate(bags):
            for word, count in bag.items():
                counts[row, column[word]] = count * np.log1p(len(texts) / having[word])
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        return np.asarray(counts / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def vectors_of(excerpts: Sequence[Excerpt], embedder: Embeds) -> Floats:
    """Embed where a feature fires in each excerpt.

    Args:
        excerpts: at least one, each with a word or more.
        embedder: embeds texts.

    Returns:
        (n, 2 d) vectors.
    """
    words, near = zip(*map(_texts, excerpts), strict=True)
    return np.hstack([embedder.embed(words), embedder.embed(near)])


def firing_word(excerpt: Excerpt) -> str:
    """The word at which the feature fires most strongly, as it stands in the text."""
    return excerpt.context.tokens[int(np.argmax(excerpt.activations))]


def _texts(excerpt: Excerpt) -> tuple[str, str]:
    """The firing word, and it among its neighbours."""
    peak, tokens = int(np.argmax(excerpt.activations)), excerpt.context.tokens
    near = "".join(tokens[max(0, peak - NEAR) : peak + NEAR + 1]).strip()
    return firing_word(excerpt).strip(), near
