"""Ablation score: does the model predict otherwise without the feature, and more so than without any
direction?

1. In contexts of the report split in which the feature fires, its contribution is taken out of the residual
   stream at the tokens where it fires (`exegete.subjects.effects.ablation`). Everything else stays.
2. The value is how far predictions at these tokens move: the mean Kullback-Leibler divergence, nats a token.
   The rise of the loss stands beside it; it is smaller, and negative where a feature misleads the model.
3. The same amounts are taken off along random directions that add as much to the stream
   (`exegete.subjects.control_directions`). p = (1 + #{controls >= own}) / (1 + n). A feature whose
   direction is itself random would be one more draw among them, were its tokens not those at which it fires:
   in a trained model such features are found too often (docs/outputs.md, Measured).
4. Other features of the dictionary are controls of another kind: directions that the model does read. They
   are in `details` and not in p, since a feature need not do more than its peers to do something.

It is a measure of the feature, whatever its label says. The interval resamples contexts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exegete.datastore.records import Score
from exegete.scorers.resampling import percentile_interval
from exegete.subjects.effects import Ablation

NAME = "ablation@1"

N_CONTROLS = 50
"""Random directions: the smallest p is 1 / 51."""
N_OTHERS = 20
"""Other features."""
MIN_CONTEXTS = 3
"""Contexts in which the feature must fire."""
N_BOOT = 2000


def ablation_score(found: Ablation, others: Sequence[float], n_asked: int, seed: int) -> Score:
    """A score from what was measured.

    Args:
        found: the feature's ablation, with its random controls.
        others: mean movement by other features' directions, nats a token.
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
    controls = np.asarray(found.controls)
    interval = percentile_interval(_draws(found, seed))
    median = float(np.median(controls)) if len(controls) else None
    return Score(
        scorer=NAME,
        split="report",
        value=found.kl,
        low=interval.low,
        high=interval.high,
        chance=float(controls.mean()) if len(controls) else None,
        p_value=p_among(found.kl, controls.tolist()),
        n_asked=n_asked,
        n_read=n_read,
        details={
            "loss_rise": found.loss,
            "tokens": float(found.n_fired),
            "controls": float(len(controls)),
            "median_control": median,
            "ratio": found.kl / median if median else None,
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
