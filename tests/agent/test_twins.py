"""Which labels say the same, and which merely overlap."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.agent import twins as module
from exegete.agent.twins import twins


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Words of degree", "words of degree."),
        ('the word "run"', "Run"),
        ("the word 'run'", "“run”"),
        ("words such as cat, dog, and fish", "fish, cat and dog"),
        ("words such as cat, dog", "tokens such as dog, cat"),
        ("references to the Civil War", "mentions of civil war"),
        ("references to cats or dogs", "dogs / cats"),
        (
            'forms of "store" or "storage" (strong); "items" (weak)',
            '"items" (weak); forms of "storage" or "store" (strong)',
        ),
        ('"items", "copy" (strong)', '"copy", "items" (strong)'),
        ("  cats  ", "cats"),
        ("ﬁles", "files"),
        ("STRASSE", "straße"),
        ('"a", "the"', '"the", "a"'),
        ("слова, такие", "такие, слова"),
    ],
)
def test_twins(one: str, other: str) -> None:
    """Case, quotes, punctuation, introductions and the order of a list don't tell labels apart."""
    assert twins([one, other]) == [1, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("words of degree", "words of degree in titles"),
        ("cat, dog", "cat, dog, fish"),
        ('the word "("', 'the word ")"'),
        ('"." after ","', '"," after "."'),
        ('"a" after "b"', '"b" after "a"'),
        ('"a" after "b", "c"', '"a" after "c", "b"'),
        ('"a" (strong); "b" (weak)', '"b" (strong); "a" (weak)'),
        ('"large"; not "large" after "too"', '"too"; not "large" after "large"'),
        ("not cats and dogs", "not dogs and cats"),
        ('"cat, dog"', '"dog, cat"'),
        ('"the"', '"a"'),
        ('words ending in "-ing"', 'words beginning with "ing-"'),
        ("the word", "a token"),
        ("cats before dogs", "dogs before cats"),
    ],
)
def test_labels_that_overlap_are_no_twins(one: str, other: str) -> None:
    """The same words in another sense, or more words, are another label."""
    assert twins([one, other]) == [0, 0]


def test_all_others_are_counted() -> None:
    """Each label counts its whole group without itself, exact repetitions too; no label has none."""
    labels = ["cats", None, "Cats.", "dogs", "cats", None, "the word cats"]
    assert twins(labels) == [3, 0, 3, 0, 3, 0, 3]
    assert twins([]) == []


PIECES = st.sampled_from(
    (
        *("cat", "Dog", '"run"', "'run'", '"("', '","', "the", "words such as", "not", "before", "e.g."),
        *(",", ";", "and", "or", "/", "(strong)", "references to", "ﬁsh", "…", "“cat”", "_cat_", "I", "a-b"),
        *("don't", '"'),
    )
)
LABELS = st.lists(PIECES, min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.none() | LABELS | st.text(max_size=12), max_size=25))
def test_nothing_is_missed_by_looking_at_content_first(labels: list[str | None]) -> None:
    """Counts are those of taking every label apart, whatever the labels."""
    keys = [None if label is None else module._key(label) for label in labels]
    counts = Counter(keys)
    expected = [0 if key is None else counts[key] - 1 for key in keys]
    assert twins(labels) == expected


@given(st.lists(LABELS, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_labels_is_of_no_account(labels: list[str], random: object) -> None:
    """A label has as many twins wherever it stands."""
    order = list(range(len(labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    counted = twins(labels)
    assert twins([labels[i] for i in order]) == [counted[i] for i in order]
