"""Ablation score: does the model predict otherwise without the feature, and more so than without a direction
that means nothing?

1. In contexts of the report split in which the feature fires, its contribution is taken out of the residual
   stream at the tokens where it fires (`exegete.subjects.effects.ablation`). Everything else stays.
2. The value is how far predictions at these tokens move: the mean Kullback-Leibler divergence, nats a token.
   The rise of the loss stands beside it; it is smaller, and negative where a feature misleads the model.
3. The same amounts are taken off along a few random directions that add as much to the stream
   (`exegete.subjects.control_directions`). The ratio to the median one says how much more the feature does
   than its length alone would; chance is their mean.
4. The ratio of a direction that means nothing is not 1: a feature is known by firing at these tokens, and
   removing what the stream reaches far along also shortens it. So 50 random directions are taken for
   features (`exegete.subjects.random_features`): each with tokens at which it fires itself, as few of them,
   with controls of its own, in as many contexts. p = (1 + #{their ratios >= own}) / (1 + 50). A feature whose
   direction is random is one more draw among them. `p_movement` in `details` ranks the movements instead,
   which are also larger where a feature carries more of the stream.
5. Other features of the dictionary are controls of another kind: directions that the model does read. They
   are in `details` and not in p, since a feature need not do more than its peers to do something.

It is a measure of the feature, whatever its label says. The interval resamples contexts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exegete.datastore.records import Score
from exegete.scorers.resampling import percentile_interval
from exegete.subjects.effects import Ablation

NAME = "ablation@2"

MIN_CONTEXTS = 3
"""Contexts in which the feature must fire."""
N_BOOT = 2000


def ablation_score(
    found: Ablation, others: Sequence[float], null: Sequence[Ablation], n_asked: int, seed: int
) -> Score:
    """A score from what was measured.

    Args:
        found: the feature's ablation, with its controls.
        others: mean movement by other features' directions, nats a token.
        null: random directions, measured as features in as many contexts.
        n_asked: contexts that were run.
        seed: chooses the draws of the interval.

    Returns:
        A score of the report split; its value is None when the feature fires in too few of the contexts.
    """
    n_read = len(found.fired_in)
    if found.kl is None or n_read < MIN_CONTEXTS:
        return unablated(
            f"the feature fires in {n_read} of {n_asked} of its contexts, and {MIN_CONTEXTS} are needed",
            n_asked,
            n_read,
        )
    interval = percentile_interval(_draws(found, seed))
    ratios = [each.ratio for each in null if each.ratio is not None]
    moved = [each.kl for each in null if each.kl is not None]
    return Score(
        scorer=NAME,
        split="report",
        value=found.kl,
        low=interval.low,
        high=interval.high,
        chance=float(np.mean(found.controls)) if found.controls else None,
        p_value=None if found.ratio is None else p_among(found.ratio, ratios),
        n_asked=n_asked,
        n_read=n_read,
        details={
            "loss_rise": found.loss,
            "tokens": float(found.n_fired),
            "controls": float(len(found.controls)),
            "ratio": found.ratio,
            "random_directions": float(len(ratios)),
            "median_random_ratio": float(np.median(ratios)) if ratios else None,
            "p_movement": p_among(found.kl, moved),
            "others": float(len(others)),
            "median_other": float(np.median(others)) if others else None,
            "share_of_others_below": float(np.mean(np.asarray(others) < found.kl)) if others else None,
        },
    )


def unablated(why: str, n_asked: int = 0, n_read: int = 0) -> Score:
    """A score without a value."""
    return Score(NAME, "report", None, None, None, None, None, n_asked, n_read, why)


def p_among(own: float, controls: Sequence[float]) -> float | None:
    """(1 + #{controls >= own}) / (1 + n); None without controls."""
    if not controls:
        return None
    return (1 + sum(control >= own for control in controls)) / (1 + len(controls))


def _draws(found: Ablation, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The mean movement a token, over contexts drawn with replacement."""
    fired, moved = np.asarray(found.fired_in, dtype=np.float64), np.asarray(found.kl_in)
    rng = np.random.default_rng([seed, len(fired)])
    rows = rng.integers(len(fired), size=(N_BOOT, len(fired)))
    drawn: np.ndarray[tuple[int], np.dtype[np.float64]] = (fired * moved)[rows].sum(1) / fired[rows].sum(1)
    return drawn
