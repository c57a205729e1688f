"""What a feature does to the model's predictions, measured by editing it.

    token change   a feature clamped on neutral prompts: the mean difference of each token's logit
                   [Gur-Arieh et al. 2025, "Enhancing automated interpretability with output-centric feature
                   descriptions", section 3]
    ablation       a feature zeroed where it fires: how far predictions there move, and the loss after; the
                   same for control directions, which are taken off by the feature's own amounts
    matched shift  how much has to be added to a feature at every token to move predictions by so many nats,
                   so that features and controls are compared at equal strength

Movement is the Kullback-Leibler divergence of the edited prediction from the unedited one, nats a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exegete.subjects.causal import CausalSubject, Edit, Ids
from exegete.subjects.edits import Feature, FeatureEdit, ablated, clamped, shifted

if TYPE_CHECKING:
    import torch

NEAR = 0.01
"""A shift is found when the movement it makes is as near to the wanted one, as a part of it."""
LOGITS_AT_ONCE = 1 << 25
"""Of one pass of a model: 128 MB, whatever its vocabulary."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """What zeroing a feature did, over the tokens at which it fires."""

    loss: float | None = None
    """Mean rise of the loss on the token after, nats; None when none comes after."""
    logits: NDArray[np.float32] | None = None
    """(vocabulary,) mean difference of logits there, edited less unedited; None when it never fires."""
    fired_in: tuple[int, ...] = ()
    """For each context in which it fires, at how many tokens."""
    kl_in: tuple[float, ...] = ()
    """For each of these contexts, the mean movement there, nats."""
    controls_in: tuple[tuple[float, ...], ...] = ()
    """For each control direction the same, over the same tokens."""

    @property
    def n_fired(self) -> int:
        """Tokens at which it fires."""
        return sum(self.fired_in)

    @property
    def kl(self) -> float | None:
        """Mean movement of the prediction made at such a token, nats; None when it never fires."""
        return float(np.average(self.kl_in, weights=self.fired_in)) if self.fired_in else None

    @property
    def controls(self) -> tuple[float, ...]:
        """For each control direction, its mean movement over the same tokens, nats."""
        return tuple(float(np.average(row, weights=self.fired_in)) for row in self.controls_in)

    @property
    def ratio(self) -> float | None:
        """Movement by the feature over that by the median control; None without either."""
        median = float(np.median(self.controls)) if self.controls else 0.0
        return None if self.kl is None or median <= 0 else self.kl / median

    def part(self, n: int, seed: int) -> Ablation:
        """The same in n of its contexts, drawn at random, or in all of them where it has no more."""
        drawn = np.random.default_rng(seed).permutation(len(self.fired_in))[:n].tolist()
        return Ablation(
            fired_in=tuple(self.fired_in[i] for i in drawn),
            kl_in=tuple(self.kl_in[i] for i in drawn),
            controls_in=tuple(tuple(row[i] for i in drawn) for row in self.controls_in),
        )


@dataclass(frozen=True, slots=True)
class _Fires:
    """A context in which a feature fires, cut off after the token that follows its last firing."""

    ids: Ids
    at: NDArray[np.intp]
    """Where it fires."""


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
    subject: CausalSubject,
    feature: Feature,
    batch: Sequence[Ids],
    controls_nd: torch.Tensor | None = None,
) -> Ablation:
    """What zeroing a feature where it fires does, and what controls do that are taken off in its place.

    Args:
        subject: the model.
        feature: which is zeroed.
        batch: contexts; those in which it never fires don't count.
        controls_nd: (n, channels its dictionary writes) directions, each as long as it is to be; the
            feature's amounts are taken off along them, token by token. None: no controls.

    Returns:
        Means over the tokens at which the feature fires.
    """
    fires = _where_it_fires(subject, feature, batch)
    if not fires:
        return Ablation()
    moved, losses = list[float](), list[float]()
    by_controls = list[NDArray[np.float64]]()
    total_V: torch.Tensor | None = None
    target = ablated(feature)
    for some in _portions(fires, subject.n_vocabulary):
        before = _predictions(subject, some)
        after = _predictions(subject, some, [FeatureEdit(feature, target)])
        for own, before_nV, after_nV in zip(some, before, after, strict=True):
            moved.append(float(_kl(before_nV, after_nV).mean()))
            losses += _loss_rise(before_nV, after_nV, own.ids, own.at)
            difference_V = (after_nV - before_nV).sum(0)
            total_V = difference_V if total_V is None else total_V + difference_V
        if controls_nd is not None:
            by_controls.append(_by_controls(subject, feature, some, before, controls_nd))
    assert total_V is not None  # it fires somewhere
    fired_in = tuple(len(each.at) for each in fires)
    mean_V: NDArray[np.float32] = (total_V / sum(fired_in)).cpu().numpy()
    return Ablation(
        float(np.mean(losses)) if losses else None,
        mean_V,
        fired_in,
        tuple(moved),
        tuple(map(tuple, np.concatenate(by_controls, axis=1).tolist())) if by_controls else (),
    )


def moved_by(
    subject: CausalSubject, edit: Edit, batch: Sequence[Ids], plain_BTV: torch.Tensor | None = None
) -> float:
    """How far an edit moves predictions.

    Args:
        subject: the model.
        edit: what is changed.
        batch: texts.
        plain_BTV: the logits without it, if they are known.

    Returns:
        Mean over all tokens, nats.
    """
    plain_BTV = subject.logits(batch) if plain_BTV is None else plain_BTV
    changed_BTV = subject.logits(batch, [edit])
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
    """How much has to be added to a feature's activation to move predictions by so much: bisection, with
    guesses.

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
    plain_BTV = subject.logits(batch)

    def moved(value: float) -> float:
        return moved_by(subject, FeatureEdit(feature, shifted(sign * value), along), batch, plain_BTV)

    if moved(most) < kl:
        return None
    low, high, value = 0.0, most, most / 16
    step = 0
    while True:
        found = moved(value)
        if abs(found - kl) <= NEAR * kl or high - low <= 1e-6 * high:
            return sign * value
        low, high = (value, high) if found < kl else (low, value)
        # Small movements grow with the square of the shift, which halves the number of steps. Every third one
        # is a plain bisection, for where they don't.
        guess = value * sqrt(kl / found) if found > 0 and step % 3 < 2 else 0.0
        value = guess if low < guess < high else (low + high) / 2
        step += 1


def _where_it_fires(subject: CausalSubject, feature: Feature, batch: Sequence[Ids]) -> list[_Fires]:
    """Contexts in which a feature fires, the shortest first: what comes after its last firing is cut off."""
    found = []
    for own, acts in zip(batch, firing(subject, feature, batch), strict=True):
        at = np.flatnonzero(acts > feature.threshold)
        if len(at):
            found.append(_Fires(own[: int(at[-1]) + 2], at))
    return sorted(found, key=lambda each: len(each.ids))


def _portions(fires: Sequence[_Fires], n_vocabulary: int) -> Iterator[list[_Fires]]:
    """Contexts that fit into one pass together: their logits are held whole for a moment."""
    portion: list[_Fires] = []
    for each in fires:
        if portion and (len(portion) + 1) * len(each.ids) * n_vocabulary > LOGITS_AT_ONCE:
            yield portion
            portion = []
        portion.append(each)
    if portion:
        yield portion


def _by_controls(
    subject: CausalSubject,
    feature: Feature,
    some: Sequence[_Fires],
    before: Sequence[torch.Tensor],
    controls_nd: torch.Tensor,
) -> NDArray[np.float64]:
    """(n, contexts) mean movement by each control in each context; as many controls in one pass as fit."""
    one = len(some) * max(len(each.ids) for each in some) * subject.n_vocabulary
    step = max(1, LOGITS_AT_ONCE // one)
    found = [np.zeros((0, len(some)))]
    for at in range(0, len(controls_nd), step):
        rows_nd = controls_nd[at : at + step]
        n = len(rows_nd)
        edit = FeatureEdit(feature, ablated(feature), rows_nd.repeat_interleave(len(some), 0))
        after = _predictions(subject, [*some] * n, [edit])
        moved = [float(_kl(x, y).mean()) for x, y in zip([*before] * n, after, strict=True)]
        found.append(np.asarray(moved).reshape(n, len(some)))
    return np.concatenate(found)


def _predictions(
    subject: CausalSubject, some: Sequence[_Fires], edits: Sequence[Edit] = ()
) -> list[torch.Tensor]:
    """For each context (n, vocabulary) logits where the feature fires."""
    logits_BTV = subject.logits([each.ids for each in some], edits)
    return [logits_BTV[row, each.at] for row, each in enumerate(some)]


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
