"""What stands where a feature fires, as vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from exegete.datastore.records import Floats
from exegete.explainers.clusters import group
from exegete.explainers.surroundings import NEAR, Profile, vectors_of
from tests.explainers.explainer_fakes import excerpt

WORDS = ["river", "bank", "money", "loan", "muddy", "12", "("]


class Listening:
    """Embeds by the number of characters, and keeps what it was given."""

    name = "listening@1"

    def __init__(self) -> None:
        self.given: list[Sequence[str]] = []

    def embed(self, texts: Sequence[str]) -> Floats:
        self.given.append(texts)
        return np.asarray([[len(text)] for text in texts], dtype=np.float32)


def test_the_firing_word_and_its_neighbours_are_embedded() -> None:
    """Embedded are the peak's word alone, then it among NEAR words a side, as far as there are any."""
    shown = [
        excerpt("a b c d e Firing g h i j k", [0, 0, 0, 0, 2.0, 5.0, 1.0, 0, 0, 0, 0]),
        excerpt("first word of all here", [3.0, 0, 0, 0, 0]),
    ]
    listening = Listening()
    vectors = vectors_of(shown, listening)
    assert NEAR == 3
    assert [list(texts) for texts in listening.given] == [
        ["Firing", "first"],
        ["c d e Firing g h i", "first word of all"],
    ]
    assert vectors.tolist() == [[6.0, 18.0], [5.0, 17.0]]


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=1, max_size=8))
def test_profiles_are_weighted_counts(bags: list[list[str]]) -> None:
    """Cosines are those of scikit-learn's counts, weighted by log(1 + texts / texts with the word)."""
    texts = [" ".join(bag) for bag in bags]
    counter = CountVectorizer(token_pattern=r"\S+", vocabulary=WORDS)
    counts = counter.transform(texts).toarray()
    weights = np.log(1 + len(texts) / np.maximum(1, (counts > 0).sum(0)))
    expected = normalize(counts * weights)
    found = Profile().embed(texts)
    assert found @ found.T == pytest.approx(expected @ expected.T, abs=1e-6)


def test_forms_of_a_word_are_one_word() -> None:
    """Case and inflection make no difference, and a text without a word is no direction."""
    vectors = Profile().embed(["Searching files", "searched FILE", "", " ", "open"])
    assert vectors[0] @ vectors[1] == pytest.approx(1.0)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 0, 0, 1])
    assert vectors[0] @ vectors[4] == 0


@pytest.mark.slow
def test_sentence_embeddings_know_meaning() -> None:
    """Ten animals and ten vehicles are two groups by meaning, and by their words one."""
    pytest.importorskip("sentence_transformers")
    from exegete.subjects.sentences import Sentences

    animals = ["cat", "dog", "horse", "cow", "sheep", "goat", "pig", "rabbit", "wolf", "lion"]
    vehicles = ["car", "truck", "bus", "train", "tram", "lorry", "van", "taxi", "ferry", "motorcycle"]
    tended = ["fed", "petted", "milked", "groomed", "bred"]
    driven = ["parked", "drove", "repaired", "refuelled", "boarded"]
    pairs = [*zip(tended * 2, animals, strict=True), *zip(driven * 2, vehicles, strict=True)]
    shown = [excerpt(f"they {verb} the {word} today", [0, 0, 0, 5.0, 0]) for verb, word in pairs]
    found = group(vectors_of(shown, Sentences.open(None)))
    assert sorted(found.groups) == [tuple(range(10)), tuple(range(10, 20))]
    assert len(group(vectors_of(shown, Profile())).groups) == 1
