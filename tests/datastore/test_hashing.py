"""Pseudo-random numbers that are the same everywhere, and uniform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exegete.datastore.hashing import digest64, mix, scattered, uniform, uniforms

MASK = (1 << 64) - 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [((), 6510301506637419378), (("a",), 4621899117637547996), (("split", 0, "doc"), 3715973283843074465)],
)
def test_digests_are_pinned(parts: tuple[str | int, ...], expected: int) -> None:
    """Digests never change: ids of contexts and labels, and with them journals and reviews, hang on them."""
    assert digest64(*parts) == expected


def test_uniform_is_pinned() -> None:
    """Sample keys never change: a harvest made again must keep the same contexts."""
    assert uniform(0, np.array([1, 2]), 3).tolist() == [0.1359223397628212, 0.3288259432026507]
    assert uniform(-5, -1).tolist() == [0.6710098091648192]


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_digests_tell_parts_apart(a: list[str], b: list[str]) -> None:
    """Different parts have different digests, however they would read when joined; all fit a BIGINT."""
    assert (digest64(*a) == digest64(*b)) == (a == b)
    assert 0 <= digest64(*a) < 2**63


@given(st.lists(st.integers(0, MASK), min_size=1, max_size=5))
def test_mix_is_splitmix64(values: list[int]) -> None:
    """The vectorised finaliser is the published one, in Python's integers."""

    def literal(z: int) -> int:
        z = (z + 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    assert mix(np.array(values, dtype=np.uint64)).tolist() == [literal(v) for v in values]


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
)
def test_several_keys_at_once(seed: int, keys: list[int], ids: list[int]) -> None:
    """A row a key, of the numbers that the key has by itself."""
    own = np.asarray(ids, dtype=np.int64)
    found = uniforms(seed, keys, scattered(own))
    assert found.shape == (len(keys), len(ids))
    assert found.tolist() == [uniform(seed, key, own).tolist() for key in keys]


@pytest.mark.parametrize(
    "keys",
    [
        (np.arange(20_000),),
        (np.arange(20_000) * 2, 7),
        (5, np.arange(20_000) << 40),
        (np.arange(20_000) - 10_000, np.arange(20_000)),
    ],
)
def test_uniform_is_uniform(keys: tuple[np.ndarray | int, ...]) -> None:
    """Numbers of consecutive, strided, shifted and negative keys are uniform in [0, 1), and uncorrelated."""
    u = uniform(11, *keys)
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert stats.kstest(u, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.03


def test_seeds_and_keys_are_independent() -> None:
    """Another seed, another key or another order of keys gives unrelated numbers."""
    rows = np.arange(5000)
    base = uniform(0, 1, rows)
    for other in (uniform(1, 1, rows), uniform(0, 2, rows), uniform(0, rows, 1), uniform(0, 1, rows, 0)):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.06


@given(st.integers(), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5), st.integers(0, 99))
def test_rows_are_alone(seed: int, ids: list[int], key: int) -> None:
    """A row's number depends on its own keys only, not on what stands beside it."""
    together = uniform(seed, key, np.array(ids, dtype=np.int64)).tolist()
    assert together == [uniform(seed, key, i)[0] for i in ids]


@given(st.integers(-(2**62), 2**62), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3))
def test_one_number_or_an_array_of_one(seed: int, keys: list[int]) -> None:
    """A key given as a number draws what the same key gives in an array."""
    arrays = [np.array([key]) for key in keys]
    assert uniform(seed, *keys).tolist() == uniform(seed, *arrays).tolist()
    assert uniform(seed, *keys, arrays[0]).tolist() == uniform(seed, *arrays, arrays[0]).tolist()
