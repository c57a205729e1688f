"""Firing thresholds of dense features, seen batch by batch."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.subjects.calibration import Calibration
from exegete.subjects.spec import HarvestSpec

SPEC = HarvestSpec("h.0", context=16, calibration=8, firing_quantile=0.9)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) <= 128),
    levels=st.sampled_from([3, 1000]),
)
def test_as_sorted(seed: int, sizes: list[int], levels: int) -> None:
    """Thresholds, and what lies above them, are those of all values sorted, however batches fall and
    however many values are equal."""
    rng = np.random.default_rng(seed)
    acts_NS = np.asarray(rng.integers(-levels, levels, (sum(sizes), 5)) / levels, dtype=np.float32)
    acts_NS[:, 0] = -1.0  # a feature that is never above 0
    calibration = Calibration(5, SPEC)
    for batch in np.split(acts_NS, np.cumsum(sizes)[:-1]):
        calibration.see(torch.from_numpy(batch))
    falling_NS = -np.sort(-acts_NS, axis=0)
    threshold_S = np.maximum(0, falling_NS[int(len(acts_NS) * (1.0 - SPEC.firing_quantile))])
    np.testing.assert_array_equal(calibration.thresholds(), threshold_S)
    token, slot, value = calibration.fired()
    found = sorted(zip(token.tolist(), slot.tolist(), value.tolist(), strict=True))
    where = np.argwhere(acts_NS > threshold_S).tolist()
    assert found == [(t, s, float(acts_NS[t, s])) for t, s in where]
    assert token.tolist() == sorted(token.tolist())
