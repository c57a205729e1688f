"""Groups that stand apart are found, and none are made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score, silhouette_score

from exegete.explainers.clusters import CLEAR, MOST, SMALLEST, Grouping, group, mean_silhouette

VECTORS = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 4)),
    elements=st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, np.nan, np.inf]),
)


def blobs(sizes: list[int], spread: float, seed: int, dimensions: int = 20) -> np.ndarray:
    """Vectors around as many orthogonal directions as there are sizes."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(dimensions)[truth] + spread * rng.standard_normal((len(truth), dimensions))
    return vectors.astype(np.float32)


def labels_of(grouping: Grouping, n: int) -> list[int]:
    """The group of each vector, -1 for none."""
    found = [-1] * n
    for number, members in enumerate(grouping.groups):
        for place in members:
            found[place] = number
    return found


@pytest.mark.parametrize("sizes", [[20, 20], [30, 8], [12, 11, 10], [9, 9, 9, 9], [20, 10, 8, 7, 6]])
def test_groups_that_stand_apart_are_found(sizes: list[int]) -> None:
    """Two to five groups of any sizes are found as they were made, the largest first."""
    found = group(blobs(sizes, 0.1, seed=len(sizes)))
    assert adjusted_rand_score(np.repeat(np.arange(len(sizes)), sizes), labels_of(found, sum(sizes))) == 1.0
    assert [len(members) for members in found.groups] == sorted(sizes, reverse=True)
    assert found.silhouette is not None
    assert found.silhouette > CLEAR


@pytest.mark.parametrize("seed", range(8))
def test_one_cloud_is_one_group(seed: int) -> None:
    """Vectors around one direction, and vectors around none, are one group."""
    for vectors in (blobs([40], 0.15, seed), blobs([40], 5.0, seed)):
        assert group(vectors) == Grouping((tuple(range(40)),), None)


def test_a_few_exceptions_are_no_group() -> None:
    """Fewer than the smallest group join the others, and don't hide the groups that are there."""
    vectors = blobs([20, 20, SMALLEST - 1], 0.1, seed=3)
    found = group(vectors)
    assert [len(set(members) & set(range(40))) for members in found.groups] == [20, 20]
    assert sorted(place for members in found.groups for place in members) == list(range(43))
    assert len(group(blobs([20, SMALLEST - 1], 0.1, seed=3)).groups) == 1
    assert len(group(blobs([20, SMALLEST], 0.1, seed=3)).groups) == 2
    # A tenth of sixty is more than SMALLEST.
    assert len(group(blobs([56, SMALLEST], 0.1, seed=3)).groups) == 1


def test_more_than_five_are_put_together_or_left_alone() -> None:
    """Eight clear groups come out as at most five, whichever are joined."""
    assert len(group(blobs([8] * 8, 0.1, seed=1)).groups) <= MOST


@pytest.mark.parametrize("n", range(1, 2 * SMALLEST))
def test_too_few_are_one_group(n: int) -> None:
    """One, two or seven vectors can't be two groups, however far apart they are."""
    vectors = np.eye(2, dtype=np.float32)[np.arange(n) % 2]
    assert group(vectors) == Grouping((tuple(range(n)),), None)


def test_identical_vectors_are_one_group() -> None:
    """Equal vectors, and vectors of equal direction, don't stand apart."""
    vectors = np.tile(np.float32([0.3, 0.4]), (30, 1))
    assert len(group(vectors).groups) == len(group(vectors * np.arange(1, 31)[:, None]).groups) == 1


def test_rows_that_are_no_direction_are_in_no_group() -> None:
    """Zeros, NaN and infinite rows are left out; where all are, there is no group."""
    vectors = blobs([10, 10], 0.1, seed=2)
    broken = np.concatenate([vectors, np.zeros((1, 20)), np.full((2, 20), np.nan)]).astype(np.float32)
    assert group(broken) == group(vectors)
    assert group(broken[20:]) == Grouping((), None)


@given(VECTORS)
def test_anything_is_grouped(vectors: np.ndarray) -> None:
    """Groups are disjoint, hold every row that is a direction, large enough, and the same on every call."""
    found = group(vectors)
    members = [place for places in found.groups for place in places]
    usable = [i for i, row in enumerate(vectors) if np.isfinite(row).all() and row.any()]
    assert sorted(members) == usable
    assert len(found.groups) <= MOST
    if len(found.groups) > 1:
        assert min(map(len, found.groups)) >= SMALLEST
        assert (found.silhouette or 0.0) >= CLEAR
    assert found == group(vectors)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_order_and_length_decide_nothing(seed: int) -> None:
    """Vectors in another order, and of other lengths, are grouped alike."""
    rng = np.random.default_rng(seed)
    vectors = blobs([12, 9, 7], 0.2, seed)
    order = rng.permutation(len(vectors))
    moved = group((vectors * rng.uniform(0.1, 9.0, (len(vectors), 1))).astype(np.float32)[order])
    one, other = labels_of(group(vectors), 28), np.empty(28, dtype=int)
    other[order] = labels_of(moved, 28)
    assert adjusted_rand_score(one, other) == 1.0


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_silhouettes_are_those_of_scikit_learn(seed: int, n_groups: int) -> None:
    """The mean silhouette is scikit-learn's, groups of one included."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((15, 3))
    distances = np.abs(points[:, None] - points).sum(2)
    of = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, 15 - n_groups)])
    expected = silhouette_score(distances, of, metric="precomputed")
    assert mean_silhouette(distances, of) == pytest.approx(expected, abs=1e-12)
