"""The fuzzing score: right and wrong marks, told apart by words and never by places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from exegete.datastore.records import Evidence, Floats, Score
from exegete.errors import LeakageError
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.fuzzing import FuzzingScorer, items_of, strengths
from exegete.scorers.reading import Reading, read
from exegete.scorers.together import score_together
from tests.scorers.marked_fakes import FIRING, PLACES, VOCABULARY, ByContext, by_place, by_word, in_words
from tests.scorers.scorer_fakes import LABEL

Told = Callable[[tuple[str, ...]], Sequence[float] | Floats | None]


def score(told: Told, shown: Evidence | None = None, n_boot: int = 500, n_perm: int = 199) -> Score:
    """Score the test label on the report split."""
    scorer = FuzzingScorer(ByContext(told), "report", 0.75, 0, n_boot, n_perm)
    return asyncio.run(scorer.score(LABEL, shown or in_words()))


def reading_of(told: Told, shown: Evidence | None = None) -> Reading:
    """A simulation of the test evidence, read."""
    return asyncio.run(read(ByContext(told), LABEL, shown or in_words(), 0))


def uneven(tokens: tuple[str, ...]) -> list[float]:
    """Right on most words, with misses and false alarms that depend on what stands before."""
    return [
        float((token in FIRING) * 6 + len(before) % 3 - 1 if token[-1] in "ma" or token in FIRING else 0)
        for before, token in zip((" ", *tokens), tokens, strict=False)
    ]


def literally(reading: Reading) -> tuple[list[bool], list[float]]:
    """What is true of every item, and its strength, worked out word by word."""
    right, strength = [], []
    for item in items_of(reading, 0):
        excerpt, levels = reading.excerpts[item.marked.row], reading.levels[item.marked.row].tolist()
        marks = set(item.marked.places.tolist())
        peak = max(excerpt.activations.tolist())
        on = [level for i, level in enumerate(levels) if i in marks]
        off = [
            level
            for i, (level, value) in enumerate(zip(levels, excerpt.activations.tolist(), strict=True))
            if i not in marks and not 0 < value <= 0.3 * peak
        ]
        right.append(item.right)
        strength.append(sum(on) / len(on) - sum(off) / len(off))
    return right, strength


def test_values_are_scikit_learns() -> None:
    """Value and details are scikit-learn's, over strengths worked out word by word."""
    found = score(uneven)
    right, strength = literally(reading_of(uneven))
    said = [value > 0.5 for value in strength]
    assert found.value == pytest.approx(metrics.balanced_accuracy_score(right, said))
    assert found.details["auroc"] == pytest.approx(metrics.roc_auc_score(right, strength))
    assert found.details["average_precision"] == pytest.approx(
        metrics.average_precision_score(right, np.round(strength, 9))
    )
    assert found.details["f1"] == pytest.approx(metrics.f1_score(right, said))
    assert found.details["n_items"] == len(right) == 120


def test_dealt_strengths() -> None:
    """Under another excerpt's simulation a word has the level at the same share of the way through it."""
    reading = reading_of(uneven)
    items = items_of(reading, 0)
    found = strengths(reading.excerpts, reading.levels, items)
    rng = np.random.default_rng(1)
    for number, other in zip(rng.integers(len(items), size=40), rng.integers(70, size=40), strict=True):
        item = items[number]
        excerpt, levels = reading.excerpts[item.marked.row], reading.levels[other]
        n = len(excerpt.activations)
        dealt = np.array([levels[i * len(levels) // n] for i in range(n)])
        marks = np.isin(np.arange(n), item.marked.places)
        weak = (excerpt.activations > 0) & (excerpt.activations <= 0.3 * excerpt.peak)
        expected = dealt[marks].mean() - dealt[~marks & ~weak].mean()
        assert found[number, other] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", PLACES)
def test_places_alone_are_at_chance(name: str) -> None:
    """A simulator that goes by places and not by words scores .5 on average, and chance says so."""
    told = by_place(PLACES[name])
    scores = [score(told, in_words(seed), 0, 99) for seed in range(12)]
    values = np.array([found.value for found in scores], dtype=float)
    spread = max(0.01, float(values.std()) / np.sqrt(len(values)))
    assert abs(values.mean() - 0.5) < min(0.03, 3.5 * spread)
    assert np.mean([found.p_value for found in scores]) > 0.2


def test_the_perfect_label() -> None:
    """Right everywhere: value 1, an interval below 1 that is not a point, chance .5, the smallest p."""
    found = score(by_word(*FIRING))
    assert found.scorer == "fuzzing@1(told@1)"
    assert found.value == 1.0
    assert found.low is not None
    assert found.high is not None
    assert 0.9 < found.low < found.high < 1
    assert found.chance == pytest.approx(0.5, abs=0.03)
    assert found.p_value == pytest.approx(1 / 200)
    assert (found.details["share_above_threshold"] or 0) > 0.99
    shares = [v for k, v in found.details.items() if k.startswith(("recall_", "refused_", "in_"))]
    assert len(shares) == 11 + 13 + 2
    assert set(shares) == {1.0}


@pytest.mark.parametrize("level", [0.0, 8.0])
def test_the_same_everywhere_is_chance(level: float) -> None:
    """Predicting nothing, or every word, has a value: .5, no better than chance."""
    found = score(lambda tokens: [level] * len(tokens))
    assert (found.value, found.p_value) == (0.5, 1.0)
    assert found.chance == pytest.approx(0.5)


def test_the_right_excerpts_and_the_wrong_words() -> None:
    """A label that knows which excerpts fire and not where is at chance among activating excerpts."""
    values = []
    for seed in range(12):
        shown = in_words(seed)
        fires = {e.context.tokens: e.peak > 0 for e in shown.excerpts}

        def told(tokens: tuple[str, ...], fires: dict[tuple[str, ...], bool] = fires) -> list[float]:
            rng = np.random.default_rng(len(tokens))
            return list(8.0 * fires[tokens] * (rng.random(len(tokens)) < 0.3))

        detects = DetectionScorer(ByContext(told), "report", 0.75, 0, 0, 0)
        assert (asyncio.run(detects.score(LABEL, shown)).value or 0) > 0.9
        values.append(score(told, shown, 0, 0).details["in_activating"])
    assert np.mean(np.array(values, dtype=float)) == pytest.approx(0.5, abs=0.04)


def test_worse_labels_score_lower() -> None:
    """Half of the firing words missed, or every word of their kinds predicted: clearly lower."""
    best, half = score(by_word(*FIRING)).value, score(by_word(*FIRING[:1])).value
    broad = score(by_word(*(w for w in VOCABULARY if w.strip().isalpha()))).value
    assert best is not None
    assert half is not None
    assert broad is not None
    assert 0.5 < half < best - 0.1
    assert broad < best - 0.3


def test_items_share_excerpts_in_the_interval() -> None:
    """The interval holds the value, and is as wide as judgements that fall with their excerpts ask for."""
    shown = in_words()
    lost = {e.context.tokens for i, e in enumerate(shown.excerpts) if i % 3 == 0}

    def by_excerpt(tokens: tuple[str, ...]) -> list[float]:
        return [0.0] * len(tokens) if tokens in lost else by_word(*FIRING)(tokens)

    found = score(by_excerpt, shown, 4000, 0)
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert found.low < found.value < found.high
    assert 0.1 < found.high - found.low < 0.3


def test_no_further_call() -> None:
    """Detection and fuzzing are read from one simulation."""
    shown, simulator = in_words(), ByContext(by_word(*FIRING))
    scorers = [kind(simulator, "report", 0.75, 0, 0, 0) for kind in (DetectionScorer, FuzzingScorer)]
    asyncio.run(score_together(scorers, LABEL, shown))
    assert len(simulator.calls) == 1


def test_missing_excerpts_are_bounds() -> None:
    """What can't be read is left out, and bounds say what it could change; too much of it is no score."""
    shown = in_words()
    lost = {e.context.tokens for e in (*shown.activating[:5], *shown.quiet[:5])}
    found = score(lambda tokens: None if tokens in lost else by_word(*FIRING)(tokens), shown)
    assert (found.value, found.n_asked, found.n_read) == (1.0, 70, 60)
    assert found.details["if_missing_right"] == 1.0
    # 35 of 40 right marks, and 70 of 80 wrong ones.
    assert found.details["if_missing_wrong"] == pytest.approx((35 / 40 + 70 / 80) / 2)
    none = score(lambda tokens: None)
    assert (none.value, none.p_value, none.n_read) == (None, None, 0)


def test_no_words_left_to_mark() -> None:
    """A feature that fires on every word of its excerpts, and few quiet ones: None, with the reason."""
    shown = in_words(firing=8, quiet=5)
    dense = tuple(replace(e, activations=np.ones_like(e.activations)) for e in shown.activating)
    short = [
        replace(e, context=replace(e.context, tokens=e.context.tokens[:6]), activations=e.activations[:6])
        for e in shown.quiet
    ]
    found = score(by_word(*FIRING), replace(shown, activating=dense, quiet=tuple(short)))
    assert found.value is None
    assert found.why_none == (
        "right marks were found in 8 excerpts and silent words for wrong ones in 0, and 5 of each are needed"
    )


def test_other_splits_are_refused() -> None:
    """Evidence of another split is refused."""
    with pytest.raises(LeakageError):
        score(by_word(*FIRING), in_words(split="refine"))
