"""Reliability of confidences and the map that mends them, against scikit-learn and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss
from statsmodels.stats.proportion import proportion_confint

from exegete.scorers import calibration
from exegete.scorers.calibration import (
    brier_score,
    expected_calibration_error,
    fit,
    held_out,
    reliability,
    too_little,
)

GRID = np.linspace(0.0, 1.0, 101)


def draw(n: int, seed: int = 0, slope: float = 1.0, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Shares as a bootstrap gives them, many of them 0 or 1, and truths at a rate that is linear in them."""
    rng = np.random.default_rng(seed)
    shares = np.round(rng.choice([0.0, 1.0, np.nan], n, p=[0.3, 0.2, 0.5]), 4)
    shares = np.where(np.isnan(shares), np.round(rng.beta(0.7, 0.7, n), 3), shares)
    return shares, rng.random(n) < offset + slope * shares


samples = st.integers(calibration.MIN_LABELS, 120).flatmap(
    lambda n: st.tuples(
        arrays.arrays(float, n, elements=st.integers(0, 40).map(lambda k: k / 40)),
        arrays.arrays(bool, n),
    )
)


@given(samples)
def test_a_map_rises_and_is_never_certain(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """More confidence is never mapped to less, and nothing to 0 or 1, whatever the labels."""
    map_ = fit(*sample)
    if map_ is None:
        assert too_little(*sample) is not None
        return
    mapped = map_.map(GRID)
    assert (np.diff(mapped) >= 0).all()
    assert (mapped > 0).all()
    assert (mapped < 1).all()
    assert np.diff(map_.shares).min(initial=0.0) >= 0
    assert map_(0.3) == pytest.approx(np.interp(0.3, map_.shares, map_.rates))


@given(samples, st.randoms(use_true_random=False))
def test_order_of_labels_is_of_no_account(sample: tuple[np.ndarray, np.ndarray], random: object) -> None:
    """Shuffled labels give the same map, bins and errors."""
    shares, right = sample
    order = np.arange(len(shares))
    random.shuffle(order)  # type: ignore[attr-defined]
    one, other = fit(shares, right), fit(shares[order], right[order])
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        np.testing.assert_allclose(one.map(GRID), other.map(GRID), atol=1e-12)
    assert expected_calibration_error(shares, right) == pytest.approx(
        expected_calibration_error(shares[order], right[order])
    )


def test_without_shrinking_it_is_isotonic_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no prior the map is scikit-learn's, between and beyond the data too."""
    monkeypatch.setattr(calibration, "PRIOR", 0.0)
    for seed in range(20):
        shares, right = draw(80, seed)
        expected = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(shares, right.astype(float))
        map_ = fit(shares, right)
        assert map_ is not None
        np.testing.assert_allclose(map_.map(GRID), expected.predict(GRID), atol=1e-12)


def test_few_right_labels_are_no_certainty() -> None:
    """Three of three at full confidence, over 27 wrong ones, are mapped well below 1."""
    map_ = fit([0.1] * 27 + [1.0] * 3, [False] * 27 + [True] * 3)
    assert map_ is not None
    overall = (3 + 1) / (30 + 2)
    assert map_(1.0) == pytest.approx((3 + 2 * overall) / (3 + 2))
    assert map_(0.1) == pytest.approx((0 + 2 * overall) / (27 + 2))


@pytest.mark.parametrize(
    ("n_right", "n_wrong", "fits"),
    [(15, 15, True), (27, 3, True), (14, 15, False), (28, 2, False), (0, 40, False), (40, 0, False)],
)
def test_too_little_is_said_in_words(n_right: int, n_wrong: int, fits: bool) -> None:
    """A map needs enough labels and both outcomes; else there is none, and a sentence with the counts."""
    right = [True] * n_right + [False] * n_wrong
    shares = [0.9] * n_right + [0.2] * n_wrong
    assert (fit(shares, right) is not None) == fits
    why = too_little(shares, right)
    assert (why is None) == fits
    if why is not None:
        assert f"{n_right} right and {n_wrong} wrong" in why


def test_a_map_mends_overconfidence() -> None:
    """Where .25 to .75 of labels are right, mapped confidences have a fraction of the raw error."""
    shares, right = draw(400, 1, slope=0.5, offset=0.25)
    fresh, turned_out = draw(4000, 2, slope=0.5, offset=0.25)
    map_ = fit(shares, right)
    assert map_ is not None
    raw = expected_calibration_error(fresh, turned_out)
    mended = expected_calibration_error(map_.map(fresh), turned_out)
    assert raw is not None
    assert mended is not None
    assert raw > 0.15
    assert mended < 0.06


@pytest.mark.parametrize(
    ("slope", "offset", "gain"),
    [(1.0, 0.0, -0.025), (0.5, 0.25, 0.02), (0.0, 0.5, 0.14)],
    ids=["calibrated", "overconfident", "useless"],
)
def test_a_map_of_30_labels_is_worth_having(slope: float, offset: float, gain: float) -> None:
    """The fewest labels that give a map cost little where raw ones are right, and gain elsewhere."""
    gains = []
    for seed in range(60):
        shares, right = draw(calibration.MIN_LABELS, seed, slope, offset)
        fresh, turned_out = draw(1000, 1000 + seed, slope, offset)
        map_ = fit(shares, right)
        if map_ is not None:
            raw, mended = brier_score(fresh, turned_out), brier_score(map_.map(fresh), turned_out)
            assert raw is not None
            assert mended is not None
            gains.append(raw - mended)
    assert len(gains) > 50
    assert np.mean(gains) > gain


def test_held_out_labels_are_mapped_without_their_own() -> None:
    """A label's own outcome does not reach its own held-out value, and every other one's does."""
    shares, right = draw(90)
    folds = np.arange(90) % 3
    mapped = held_out(shares, right, folds)
    for fold in range(3):
        others = fit(shares[folds != fold], right[folds != fold])
        assert others is not None
        np.testing.assert_allclose(mapped[folds == fold], others.map(shares[folds == fold]))
    flipped = right.copy()
    flipped[folds == 0] = ~flipped[folds == 0]
    np.testing.assert_allclose(held_out(shares, flipped, folds)[folds == 0], mapped[folds == 0])


def test_without_another_fold_nothing_is_held_out() -> None:
    """NaN, and not a guess, where all labels are of one fold."""
    shares, right = draw(32)
    assert np.isnan(held_out(shares, right, np.zeros(32, dtype=int))).all()


@given(samples)
@example((np.repeat([0.0, 0.2], [27, 3]), np.zeros(30, dtype=bool)))  # their mean is rounded out of the bin
def test_reliability_is_scikit_learns(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Means and rates of the bins are those of calibration_curve; every label is in one bin."""
    shares, right = sample
    rates, means = calibration_curve(right, shares, n_bins=10, pos_label=True)
    bins = reliability(shares, right)
    np.testing.assert_allclose([b.rate for b in bins], rates)
    np.testing.assert_allclose([b.mean_confidence for b in bins], means)
    assert sum(b.n for b in bins) == len(shares)
    for b in bins:
        assert b.low <= b.mean_confidence <= b.high
        assert b.rate_low <= b.rate <= b.rate_high


def test_intervals_are_jeffreys() -> None:
    """Ends are statsmodels', but for those beyond which nothing was seen."""
    for n, k in ((5, 0), (5, 5), (12, 3), (200, 150)):
        (b,) = reliability([0.55] * n, [True] * k + [False] * (n - k))
        low, high = proportion_confint(k, n, method="jeffreys")
        assert b.rate_low == pytest.approx(0.0 if k == 0 else low)
        assert b.rate_high == pytest.approx(1.0 if k == n else high)


@given(samples, st.integers(1, 20))
def test_expected_calibration_error_is_a_literal_loop(
    sample: tuple[np.ndarray, np.ndarray], n_bins: int
) -> None:
    """Each bin's gap, weighed by how many labels it holds."""
    shares, right = sample
    edges = [i / n_bins for i in range(1, n_bins)]
    held: dict[int, list[tuple[float, bool]]] = {}
    for share, truth in zip(shares.tolist(), right.tolist(), strict=True):
        held.setdefault(sum(share > edge + 1e-12 for edge in edges), []).append((share, truth))
    gaps = [abs(sum(t for _, t in h) - sum(s for s, _ in h)) for h in held.values()]
    ece = expected_calibration_error(shares, right, n_bins)
    # A share on an edge may fall on either side of it by rounding, so shares avoid none only for 10 bins.
    if not any(abs(share - edge) < 1e-9 for share in shares.tolist() for edge in edges):
        assert ece == pytest.approx(sum(gaps) / len(shares))
    assert ece is not None
    assert 0 <= ece <= 1


@given(samples)
def test_brier_score_is_scikit_learns(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Mean squared error of probabilities."""
    shares, right = sample
    assert brier_score(shares, right) == pytest.approx(brier_score_loss(right, shares, pos_label=True))


def test_nothing_has_no_error() -> None:
    """Without labels errors are None and there are no bins."""
    assert expected_calibration_error([], []) is None
    assert brier_score([], []) is None
    assert reliability([], []) == []


@pytest.mark.parametrize("wrong", [[0.5, float("nan")], [0.5, 1.01], [-0.1, 0.5], [0.5]])
def test_confidences_must_be_confidences(wrong: list[float]) -> None:
    """A missing confidence is not taken for a number, and one of each is needed."""
    with pytest.raises(ValueError, match="confidence"):
        reliability(wrong, [True, False])
