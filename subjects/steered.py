"""Texts continued while a direction is pushed up, and while it is pushed down, as far as predictions allow.

How far is decided by what it does: the shift, at every token, that moves predictions by a given
Kullback-Leibler divergence (`exegete.subjects.effects.matched_shift`), so that features of any scale and
controls compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exegete.subjects.causal import CausalSubject, Ids
from exegete.subjects.control_directions import in_stream
from exegete.subjects.edits import Feature, FeatureEdit, shifted
from exegete.subjects.effects import matched_shift
from exegete.subjects.output_tokens import token_names

if TYPE_CHECKING:
    import torch

FARTHEST = 20.0
"""The longest push tried, in lengths of the residual stream."""
TEMPERATURE = 1.0
"""Tokens are drawn from the model's own distribution."""


@dataclass(frozen=True, slots=True)
class Steered:
    """What a direction makes of some texts."""

    shift_up: float
    """Added to the activation at every token, raw units."""
    shift_down: float
    """Likewise; below 0."""
    push: float
    """How far `shift_up` moves the residual stream, in lengths of the stream."""
    up: tuple[tuple[str, ...], ...]
    """For each text the tokens written with the direction pushed up."""
    down: tuple[tuple[str, ...], ...]
    """With it pushed down."""


def steer(
    subject: CausalSubject,
    feature: Feature,
    batch: Sequence[Ids],
    *,
    kl: float,
    n_tokens: int,
    seed: int,
    along: torch.Tensor | None = None,
) -> Steered | None:
    """Continue texts along a direction, on either side.

    Args:
        subject: the model.
        feature: whose direction it is; of a control, any feature of the same site.
        batch: texts to continue.
        kl: movement of predictions on these texts, nats a token.
        n_tokens: tokens to write.
        seed: chooses them; the same for what is to be compared, so that only the direction differs.
        along: a control's direction, (channels the dictionary writes,).

    Returns:
        The continuations; None when even a push of `FARTHEST` lengths of the stream moves predictions by
        less, on one side or the other.
    """
    length = _in_lengths(subject, feature, batch, along)
    if not length:
        return None
    shifts, written = [], []
    for sign in (1, -1):
        value = matched_shift(subject, feature, batch, kl, sign=sign, most=FARTHEST / length, along=along)
        if value is None:
            return None
        edit = FeatureEdit(feature, shifted(value), along)
        texts = subject.continuations(batch, n_tokens, [edit], temperature=TEMPERATURE, seed=seed)
        shifts.append(value)
        written.append(tuple(tuple(token_names(subject, text.tolist())) for text in texts))
    return Steered(shifts[0], shifts[1], shifts[0] * length, written[0], written[1])


def push_needed(
    subject: CausalSubject,
    feature: Feature,
    batch: Sequence[Ids],
    *,
    kl: float,
    along: torch.Tensor | None = None,
) -> float | None:
    """How far up a direction has to be pushed to move predictions; arguments as those of `steer`.

    Returns:
        In lengths of the residual stream; None when `FARTHEST` is not enough.
    """
    length = _in_lengths(subject, feature, batch, along)
    if not length:
        return None
    value = matched_shift(subject, feature, batch, kl, sign=1, most=FARTHEST / length, along=along)
    return None if value is None else value * length


def _in_lengths(
    subject: CausalSubject, feature: Feature, batch: Sequence[Ids], along: torch.Tensor | None
) -> float:
    """How far a shift of 1 along a direction moves the residual stream, in lengths of the stream."""
    row = feature.direction() if along is None else along
    return float(in_stream(subject, feature, row[None]).norm()) / subject.stream_length(batch)
