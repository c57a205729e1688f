"""Groups of vectors that stand clearly apart, or one group where none do.

1. Average linkage on cosine distance gives a tree [Sokal & Michener 1958], and every cut of it is looked at.
2. In a cut, groups that are too small are set aside. A cut that leaves one group, or more than MOST, is
   passed over.
3. Of the others the one with the largest mean silhouette is taken [Rousseeuw 1987], of equal ones that with
   the fewest groups; what was set aside counts as 0. Below CLEAR nothing stands apart, and all vectors are
   one group.
4. What was set aside joins the group it is on average nearest to.

Nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Floats

MOST = 5
"""Groups at most."""

SMALLEST = 4
SMALLEST_SHARE = 0.1
"""Members that a group needs, and their share of all: fewer are exceptions and no group."""

CLEAR = 0.25
"""Mean silhouette from which on groups stand apart."""

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Vectors in groups."""

    groups: tuple[tuple[int, ...], ...]
    """Places of each group's members, in order; the largest group first, MOST of them at most."""
    silhouette: float | None
    """Mean silhouette, what was set aside counted as 0; None for one group, which has none."""


def group(vectors: Floats) -> Grouping:
    """Put vectors in groups.

    Args:
        vectors: (n, d), of any length. A row that is no direction (zeros, or not finite) is in no group.

    Returns:
        The groups; none at all when no row is a direction.
    """
    usable, units = _directions(vectors)
    together = Grouping((tuple(usable.tolist()),) if len(usable) else (), None)
    smallest = max(SMALLEST, int(np.ceil(SMALLEST_SHARE * len(usable))))
    if len(usable) < 2 * smallest:
        return together
    # Rounded, so that equal vectors are at no distance and ties don't hang on the last digit of a sum.
    distances = np.round(1.0 - units @ units.T, 9).clip(min=0.0)  # (n, n)
    np.fill_diagonal(distances, 0.0)
    found = [(_separation(distances, of), of) for of in _cuts(distances, smallest)]
    best = max(found, key=lambda one: (one[0], -int(one[1].max())), default=None)
    if best is None or best[0] < CLEAR:
        return together
    separation, of = best
    joined = _joined(distances, of)
    groups = [tuple(usable[joined == number].tolist()) for number in range(int(of.max()) + 1)]
    return Grouping(tuple(sorted(groups, key=lambda one: (-len(one), one))), separation)


def mean_silhouette(distances: Array, of: Ints) -> float:
    """How much nearer members are to their own group than to the next one [Rousseeuw 1987, section 2].

    Args:
        distances: (n, n) symmetric, 0 to itself.
        of: (n,) each one's group, numbered from 0, two groups or more.

    Returns:
        The mean over all of (b - a) / max(a, b), where a is the mean distance to the others of the own group
        and b that to the nearest other group; 0 for one that is alone in its group.
    """
    every, places = np.eye(int(of.max()) + 1)[of], np.arange(len(of))  # (n, groups), (n,)
    sizes, sums = every.sum(0), distances @ every
    own = sums[places, of] / np.maximum(sizes[of] - 1, 1)
    means = sums / sizes
    means[places, of] = np.inf
    other = means.min(1)
    widest = np.maximum(own, other)
    widths = np.divide(other - own, widest, out=np.zeros(len(of)), where=(widest > 0) & (sizes[of] > 1))
    return float(widths.mean())


def _separation(distances: Array, of: Ints) -> float:
    """The mean silhouette of groups, where vectors of none count as 0."""
    inside = np.flatnonzero(of >= 0)
    share = len(inside) / len(of)
    return round(share * mean_silhouette(distances[np.ix_(inside, inside)], of[inside]), 9)


def _joined(distances: Array, of: Ints) -> Ints:
    """(n,) groups, where vectors of none have joined the one they are on average nearest to."""
    members = (of[:, None] == np.arange(of.max() + 1)).astype(np.float64)  # (n, groups)
    nearest = (distances @ members / members.sum(0)).argmin(1)
    return np.where(of >= 0, of, nearest)


def _cuts(distances: Array, smallest: int) -> Iterator[Ints]:
    """Every way to cut the tree into two to MOST groups of `smallest` or more.

    Yields:
        (n,) groups, numbered from 0; -1 for what is in a smaller one.
    """
    from scipy.cluster.hierarchy import average, cut_tree
    from scipy.spatial.distance import squareform

    seen: set[bytes] = set()
    for cut in cut_tree(average(squareform(distances, checks=False))).T:
        large = np.flatnonzero(np.bincount(cut) >= smallest)
        if not 2 <= len(large) <= MOST:
            continue
        of = np.where(np.isin(cut, large), np.searchsorted(large, cut), -1).astype(np.int64)
        if of.tobytes() not in seen:
            seen.add(of.tobytes())
            yield of


def _directions(vectors: Floats) -> tuple[Ints, Array]:
    """Places of the rows that are directions, and those rows at length 1."""
    rows = np.asarray(vectors, dtype=np.float64)
    usable = np.flatnonzero(np.isfinite(rows).all(1) & (rows != 0).any(1))
    kept = rows[usable]
    # By the largest entry first: the squares of a huge or a tiny row are no numbers.
    kept = kept / np.abs(kept).max(1, initial=0.0, keepdims=True) if len(kept) else kept
    return usable, kept / np.linalg.norm(kept, axis=1, keepdims=True)
