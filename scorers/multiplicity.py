"""q-values: among the features called predicted, how many would be so by chance?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def q_values(p_values: Sequence[float | None], *, count_missing: bool = True) -> list[float | None]:
    """Benjamini-Hochberg adjusted p-values [Benjamini & Hochberg 1995] over all features of a run.

    Args:
        p_values: one a feature, (0, 1], or None for a feature that could not be scored.
        count_missing: count features without a p-value among the tests, as if theirs were 1. They were
            attempted, and leaving them out would make the rest look better; False counts only the others.

    Returns:
        One q-value a feature, None where there is no p-value.

    Raises:
        ValueError: a p-value is outside [0, 1].
    """
    from scipy.stats import false_discovery_control

    given = [p for p in p_values if p is not None]
    if not given:
        return [None] * len(p_values)
    missing = len(p_values) - len(given) if count_missing else 0
    adjusted = false_discovery_control(np.concatenate([given, np.ones(missing)]))
    following = iter(adjusted.tolist())
    return [None if p is None else next(following) for p in p_values]
