"""What a feature does to the model's predictions, measured by editing it.

    token change   a feature clamped on neutral prompts: the mean difference of each token's logit
                   [Gur-Arieh et al. 2025, "Enhancing automated interpretability with output-centric feature
                   descriptions", section 3]
    ablation       a feature zeroed where it fires: how far predictions there move, and the loss after
    matched shift  how much has to be added to a feature at every token to move predictions by so many nats,
                   by bisection, so that features and controls are compared at equal strength

Movement is the Kullback-Leibler divergence of the edited prediction from the unedited one, nats a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exegete.subjects.causal import CausalSubject, Ids
from exegete.subjects.edits import Feature, FeatureEdit, ablated, clamped, shifted

if TYPE_CHECKING:
    import torch

Floats64 = NDArray[np.float64]

STEPS = 24
"""Halvings of a bisection: a value is found to one part in ten million of its range."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """What zeroing a feature did, over the tokens at which it fires."""

    n_fired: int
    """Tokens at which it fires."""
    kl: float | None
    """Mean movement of the prediction made at such a token, nats; None when it never fires."""
    loss: float | None
    """Mean rise of the loss on the token after, nats; None when none comes after."""
    logits: NDArray[np.float32] | None
    """(vocabulary,) mean difference of logits there, edited less unedited."""


def firing(subject: CausalSubject, feature: Feature, batch: Sequence[Ids]) -> list[NDArray[np.float32]]:
    """A feature's activations on some texts, raw units.

    Args:
        subject: the model.
        feature: whose.
        batch: token ids of each context.

    Returns:
        For each context (n_tokens,).
    """
    acts_BTD = subject.reader.activations(feature.site, batch)
    acts_BT = feature.activations(acts_BTD)
    return [acts_BT[row, : len(own)].cpu().numpy() for row, own in enumerate(batch)]


def token_change(
    subject: CausalSubject, feature: Feature, batch: Sequence[Ids], value: float
) -> NDArray[np.float32]:
    """The mean difference that clamping a feature makes to every token's logit.

    Args:
        subject: the model.
        feature: which is clamped, at every token of the prompts.
        batch: neutral prompts.
        value: to which activation, raw units (its maximum, usually).

    Returns:
        (vocabulary,) edited less unedited, the mean over all tokens of all prompts.
    """
    plain_BTV = subject.logits(batch)
    changed_BTV = subject.logits(batch, [FeatureEdit(feature, clamped(value))])
    total_V = plain_BTV.new_zeros(plain_BTV.shape[-1])
    for row, own in enumerate(batch):
        total_V += (changed_BTV[row, : len(own)] - plain_BTV[row, : len(own)]).sum(0)
    mean: NDArray[np.float32] = (total_V / sum(map(len, batch))).cpu().numpy()
    return mean


def ablation(
    subject: CausalSubject, feature: Feature, batch: Sequence[Ids], along: torch.Tensor | None = None
) -> Ablation:
    """What zeroing a feature where it fires does.

    Args:
        subject: the model.
        feature: which is zeroed.
        batch: contexts in which it fires.
        along: a control's direction; the feature's amounts are then taken off along it instead.

    Returns:
        Means over the tokens at which the feature fires.
    """
    where = [np.flatnonzero(acts > feature.threshold) for acts in firing(subject, feature, batch)]
    n_fired = sum(map(len, where))
    if not n_fired:
        return Ablation(0, None, None, None)
    plain_BTV = subject.logits(batch)
    changed_BTV = subject.logits(batch, [FeatureEdit(feature, ablated(feature), along)])
    moved, losses = 0.0, list[float]()
    logits_V = plain_BTV.new_zeros(plain_BTV.shape[-1])
    for row, own in enumerate(batch):
        at = where[row]
        if not len(at):
            continue
        before_nV, after_nV = plain_BTV[row, at], changed_BTV[row, at]
        moved += float(_kl(before_nV, after_nV).sum())
        logits_V += (after_nV - before_nV).sum(0)
        losses += _loss_rise(before_nV, after_nV, own, at)
    mean_V: NDArray[np.float32] = (logits_V / n_fired).cpu().numpy()
    return Ablation(n_fired, moved / n_fired, float(np.mean(losses)) if losses else None, mean_V)


def moved_by(subject: CausalSubject, edit: FeatureEdit, batch: Sequence[Ids]) -> float:
    """How far an edit moves predictions: mean over all tokens, nats."""
    plain_BTV, changed_BTV = subject.logits(batch), subject.logits(batch, [edit])
    total = 0.0
    for row, own in enumerate(batch):
        total += float(_kl(plain_BTV[row, : len(own)], changed_BTV[row, : len(own)]).sum())
    return total / sum(map(len, batch))


def matched_shift(
    subject: CausalSubject,
    feature: Feature,
    batch: Sequence[Ids],
    kl: float,
    *,
    sign: int,
    most: float,
    along: torch.Tensor | None = None,
) -> float | None:
    """How much has to be added to a feature's activation to move predictions by so much.

    Args:
        subject: the model.
        feature: whose activation is raised or lowered, at every token.
        batch: neutral prompts.
        kl: wanted movement, nats a token.
        sign: +1 to raise it, -1 to lower it.
        most: the largest shift tried, raw units.
        along: a control's direction.

    Returns:
        The shift, raw units, with its sign; None when even the largest moves predictions by less.
    """

    def moved(value: float) -> float:
        return moved_by(subject, FeatureEdit(feature, shifted(sign * value), along), batch)

    if moved(most) < kl:
        return None
    low, high = 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(middle) < kl else (low, middle)
        if high - low <= 1e-4 * high:
            break
    return sign * high


def _kl(before_nV: torch.Tensor, after_nV: torch.Tensor) -> torch.Tensor:
    """(n,) divergence of each edited prediction from the unedited one, nats."""
    import torch

    log_p, log_q = torch.log_softmax(before_nV, -1), torch.log_softmax(after_nV, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _loss_rise(
    before_nV: torch.Tensor, after_nV: torch.Tensor, own: Ids, at: NDArray[np.intp]
) -> list[float]:
    """Rise of the loss on the token after each of some positions that have one."""
    import torch

    inside = [i for i, position in enumerate(at) if position + 1 < len(own)]
    if not inside:
        return []
    target_n = torch.as_tensor(own[at[inside] + 1], dtype=torch.long, device=before_nV.device)[:, None]
    log_p, log_q = torch.log_softmax(before_nV[inside], -1), torch.log_softmax(after_nV[inside], -1)
    rise: list[float] = (log_p.gather(1, target_n) - log_q.gather(1, target_n))[:, 0].tolist()
    return rise
