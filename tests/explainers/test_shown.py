"""How excerpts are shown: levels, pairs, marks and mistakes, against literal loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.explainers.shown import (
    ATTEMPTS,
    FAILED,
    HELD,
    MISTAKES,
    as_attempts,
    as_experiments,
    as_marked,
    as_pairs,
    levels,
)
from tests.explainers.bench_fakes import experiment
from tests.explainers.explainer_fakes import DEGREE, attempt, excerpt

ACTS = st.lists(st.floats(-5, 20, width=32), min_size=1, max_size=40)


@given(ACTS, st.floats(0.0625, 20, width=32))
def test_levels_are_the_rounded_share_of_the_maximum(acts: list[float], maximum: float) -> None:
    """round(10 · relu(a) / maximum), at most 10, word by word."""
    expected = [min(10, round(10 * max(0.0, a) / maximum)) for a in acts]
    assert levels(np.asarray(acts, np.float32), maximum).tolist() == expected


def test_levels_of_a_silent_feature() -> None:
    """A feature that never fires has level 0 everywhere, whatever is divided by whatever."""
    assert levels(np.asarray([0.0, -1.0], np.float32), 0.0).tolist() == [0, 0]


@given(ACTS)
def test_sparse_excerpts_are_listed_again(acts: list[float]) -> None:
    """The second list is there exactly when under a fifth of the words have a level, and holds just those."""
    words = [f"w{i}" for i in range(len(acts))]
    shown = [min(10, round(10 * max(0.0, a) / 20)) for a in acts]
    rows = [f"{word}\t{level}" for word, level in zip(words, shown, strict=True)]
    text = as_pairs([excerpt(" ".join(words), acts)], 20.0, "word")
    first, _, second = text.partition("\n\n")
    assert first.split("\n") == ["Excerpt 1", *rows]
    firing = [row for row in rows if not row.endswith("\t0")]
    if len(firing) < 0.2 * len(rows):
        assert second.split("\n") == ["Excerpt 1, only the words above 0", *(firing or ["(none)"])]
    else:
        assert second == ""


@given(ACTS)
def test_marks_are_above_a_third_of_the_peak(acts: list[float]) -> None:
    """A word is marked exactly when it is above 30% of the excerpt's largest activation and fires at all."""
    words = [f"w{i}" for i in range(len(acts))]
    raw = [float(np.float32(a)) for a in acts]
    bar = 0.3 * max(0.0, *raw)
    text, below = as_marked([excerpt(" ".join(words), acts)], 20.0).split("\n")
    expected = [f"<<{w}>>" if a > bar and a > 0 else w for w, a in zip(words, raw, strict=True)]
    assert text.removeprefix("Excerpt 1: ").split(" ") == expected
    said = [
        f"{w} {min(10, round(10 * a / 20))}" for w, a in zip(words, raw, strict=True) if a > bar and a > 0
    ]
    assert below == f"Levels: {'; '.join(said) or '(none)'}"


def test_marked_text_reads_as_it_was() -> None:
    """Punctuation stays where it was, line breaks show as one sign, marks don't swallow spaces."""
    assert as_marked(DEGREE.activating, 8.0).split("\n\n") == [
        "Excerpt 1: the soup was <<terribly>> salty\nLevels: terribly 10",
        "Excerpt 2: A <<slightly>> bent spoon, ⏎ Lying flat\nLevels: slightly 3",
    ]


@pytest.mark.parametrize(
    ("tokens", "acts", "shown"),
    [
        ([" a", "<<", "b", ">>"], [0, 0, 8, 0], "a‹‹<<b>>››"),
        ([" <", "<", "x"], [0, 0, 8], "‹‹<<x>>"),
        ([" <<x>>"], [8], "<<‹‹x››>>"),
        ([" <", "div", ">"], [0, 8, 0], "‹<<div>>›"),
        ([" <", "div", ">", " text"], [0, 0, 0, 8], "<div> <<text>>"),
        ([" a", "b"], [8, 8], "<<a>><<b>>"),
        ([" cout", " <<", " x"], [8, 0, 0], "<<cout>> ‹‹ x"),
        ([" x\x01", "y\x02"], [8, 0], "<<x␁>>y␂"),
    ],
)
def test_text_can_not_make_marks(tokens: list[str], acts: list[float], shown: str) -> None:
    """Angle brackets of the text that could read as a mark are printed as others; lone ones stay."""
    assert as_marked([excerpt(tokens, acts)], 8.0).split("\n")[0] == f"Excerpt 1: {shown}"


def test_tokens_keep_the_space_before_them() -> None:
    """Where units are tokens, a piece of a word is told from the beginning of one."""
    shown = excerpt([" un", "interest", "ing", "\n", "\nSo", "", " "], [0, 8, 8, 0, 0, 0, 0])
    assert as_pairs([shown], 8.0, "token").split("\n") == [
        "Excerpt 1", " un\t0", "interest\t10", "ing\t10", "⏎\t0", "⏎ So\t0", "␣\t0", "␣\t0",
    ]  # fmt: skip


def test_attempts_show_true_and_predicted_levels() -> None:
    """An attempt shows its label, its score, and for every mistake the words with both levels."""
    assert as_attempts([attempt("food words"), attempt("soup", None)], 8.0).split("\n\n") == [
        "Label 1: food words\n"
        "Score: 0.31\n"
        "Missed: it is far too hot\n"
        "  words: far (true 5, predicted 0); too (true 9, predicted 3)\n"
        "False alarm: a salty soup\n"
        "  words: salty (true 0, predicted 6.2)",
        "Label 2: soup\n"
        "Score: undefined\n"
        "Missed: it is far too hot\n"
        "  words: far (true 5, predicted 0); too (true 9, predicted 3)\n"
        "False alarm: a salty soup\n"
        "  words: salty (true 0, predicted 6.2)",
    ]


def test_only_the_best_attempts_and_worst_mistakes_are_shown() -> None:
    """However many rounds went before, a few attempts are shown, with a few mistakes of each."""
    one = attempt("food words")
    many = [type(one)(one.label, 0.5, one.misses * 50, one.false_alarms * 50)] * 50
    tests = [experiment("far too hot", [8, 8, 0], fires=i % 2 == 0) for i in range(100)]
    many = [dataclasses.replace(one, experiments=tuple(tests)) for one in many]
    shown = as_attempts(many, 8.0)
    assert shown.count("Failed test ") == ATTEMPTS * FAILED
    assert shown.count("Held test ") == ATTEMPTS * HELD
    assert shown.count("Label ") == ATTEMPTS
    assert shown.count("Missed: ") == shown.count("False alarm: ") == ATTEMPTS * MISTAKES


def test_experiments_show_what_was_predicted_and_what_is_true() -> None:
    """A test shows its kind, its text as the subject read it, the prediction, and the words that fired."""
    found = [
        experiment("by the river bank", [0, 0, 0, 7.2], fires=False, kind="near miss"),
        experiment("money in a safe", [0, 0, 0, 0], fires=True, kind="without the key token"),
        experiment("the bank is shut", [0, 16, 0, 0.2], fires=True, threshold=0.1),
    ]
    assert as_experiments(found, 8.0, 9, 9) == [
        "Failed test (near miss): by the river bank",
        "  predicted: silent; true: bank (9)",
        "Failed test (without the key token): money in a safe",
        "  predicted: fires; true: silent",
        "Held test (fires): the bank is shut",
        "  predicted: fires; true: bank (10); shut (under 1)",
    ]


def test_what_was_not_run_is_not_shown() -> None:
    """A test without an outcome tells a reviser nothing."""
    one = experiment("by the river bank", [0, 0, 0, 7.2], fires=False)
    missing = dataclasses.replace(one, words=(), activations=np.zeros(0, np.float32), verdict="not run")
    assert as_experiments([missing], 8.0, 9, 9) == []


def test_the_second_text_of_a_failed_pair_is_shown_beside_it() -> None:
    """Of those that held, the twin of a failed text comes before all others, and in its place."""
    pairs = [
        [
            experiment(f"{n} yes", [8, 0], fires=True, kind="minimal pair", pair=n),
            experiment(f"{n} no", [0, 8 * (n == 1)], fires=False, kind="minimal pair", pair=n),
        ]
        for n in (1, 2, 3)
    ]
    lines = as_experiments([one for pair in pairs for one in pair], 8.0, 9, 1)
    assert [line for line in lines if not line.startswith(" ")] == [
        "Held test (minimal pair 1): 1 yes",
        "Failed test (minimal pair 1): 1 no",
    ]


def test_attempts_show_their_experiments() -> None:
    """Tests stand below the mistakes of the label that they were written for."""
    tests = (experiment("by the river bank", [0, 0, 0, 7.2], fires=False, kind="near miss"),)
    first, second = as_attempts(
        [dataclasses.replace(attempt("food"), experiments=tests), attempt("soup")], 8.0
    ).split("\n\n")
    assert first.split("\n")[-2:] == as_experiments(tests, 8.0, FAILED, HELD)
    assert "test (" not in second


def test_words_without_an_activation_are_refused() -> None:
    """An excerpt that has more words than activations, or fewer, is shown to nobody."""
    good = excerpt("one two three", [0.0, 3.0, 1.0])
    for n in (2, 4):
        bad = dataclasses.replace(good, activations=np.ones(n, dtype=np.float32))
        with pytest.raises(ValueError, match=f"3 words has {n} activations"):
            as_marked([bad], 3.0)
