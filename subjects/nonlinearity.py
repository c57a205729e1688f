"""From pre-activations to activations: the nonlinear half of each architecture's encoder.

p is a token's (F,) pre-activations.

    Relu       relu(p)                                               [Bricken et al. 2023]
    JumpRelu   relu(p) where p > threshold                           [Rajamanoharan et al. 2024b]
    Gated      relu(p·gain + magnitude bias) where p + gate bias > 0   [Rajamanoharan et al. 2024a]
    TopK       relu(p) at the k largest p                            [Gao et al. 2024]
    GroupMax   relu(p) at the largest p of each of k equal groups

The first three look at one feature at a time, so that a few can be computed without the others. In the last
two features compete, and all are needed to know any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import torch

S = TypeVar("S", bound=Any)


class Winners(NamedTuple):
    """Each token's strongest features, by feature."""

    values: torch.Tensor
    """(N, k) activations, at least 0."""
    features: torch.Tensor
    """(N, k) their indices, increasing along a row."""


class Positions(NamedTuple):
    """Some of the values of a matrix, row by row."""

    flat: torch.Tensor
    """(n,) row times columns, plus column."""
    values: torch.Tensor
    """(n,)"""


@dataclass(frozen=True, slots=True)
class Relu:
    """relu(p)."""

    def __call__(self, pre_NF: torch.Tensor) -> torch.Tensor:
        """(N, F) activations, in the memory of the pre-activations."""
        return pre_NF.relu_()

    def fired(self, pre_NF: torch.Tensor) -> Positions:
        """What is above 0 of these activations."""
        return _where(pre_NF > 0, pre_NF)


@dataclass(frozen=True, slots=True)
class JumpRelu:
    """relu(p) where p is above the feature's threshold."""

    threshold: torch.Tensor
    """(F,)"""

    def __call__(self, pre_NF: torch.Tensor) -> torch.Tensor:
        """(N, F) activations, in the memory of the pre-activations."""
        return pre_NF.masked_fill_(pre_NF <= self.threshold.clamp_min(0), 0)

    def fired(self, pre_NF: torch.Tensor) -> Positions:
        """What is above 0 of these activations."""
        return _where(pre_NF > self.threshold.clamp_min(0), pre_NF)


@dataclass(frozen=True, slots=True)
class Gated:
    """relu(p·gain + magnitude bias) where p + gate bias is above 0."""

    gate_bias: torch.Tensor
    """(F,)"""
    gain: torch.Tensor
    """(F,) e to the r_mag."""
    magnitude_bias: torch.Tensor
    """(F,)"""

    def __call__(self, pre_NF: torch.Tensor) -> torch.Tensor:
        """(N, F) activations, in the memory of the pre-activations."""
        opens = pre_NF + self.gate_bias > 0
        magnitude = pre_NF.mul_(self.gain).add_(self.magnitude_bias)
        return magnitude.relu_().mul_(opens)

    def fired(self, pre_NF: torch.Tensor) -> Positions:
        """What is above 0 of these activations."""
        acts_NF = self(pre_NF)
        return _where(acts_NF > 0, acts_NF)


@dataclass(frozen=True, slots=True)
class TopK:
    """relu(p) at the k largest p of a token."""

    k: int

    def winners(self, pre_NF: torch.Tensor) -> Winners:
        """The k strongest features of each token."""
        top = pre_NF.topk(self.k, dim=-1, sorted=False)
        order = top.indices.argsort(dim=-1)
        return Winners(top.values.relu().gather(-1, order), top.indices.gather(-1, order))


@dataclass(frozen=True, slots=True)
class GroupMax:
    """relu(p) at the largest p of each of k groups of neighbouring features."""

    k: int

    def winners(self, pre_NF: torch.Tensor) -> Winners:
        """The strongest feature of each group."""
        import torch

        size = pre_NF.shape[-1] // self.k
        best = pre_NF.relu().reshape(-1, self.k, size).max(dim=-1)
        first_of_group = torch.arange(0, self.k * size, size, device=pre_NF.device)
        return Winners(best.values, best.indices + first_of_group)


Pointwise = Relu | JumpRelu | Gated
Competing = TopK | GroupMax
Nonlinearity = Pointwise | Competing


def with_tensors(step: S, change: Callable[[torch.Tensor], torch.Tensor]) -> S:
    """A copy of a dataclass with each of its tensors changed: moved, or narrowed to some features."""
    import torch

    values = {f.name: getattr(step, f.name) for f in fields(step)}
    return replace(step, **{name: change(v) for name, v in values.items() if isinstance(v, torch.Tensor)})


def _where(mask_NF: torch.Tensor, values_NF: torch.Tensor) -> Positions:
    """The values at which a mask is true."""
    import numpy as np
    import torch

    if mask_NF.device.type == "cpu":  # numpy looks at eight of them at once
        flat = torch.from_numpy(np.flatnonzero(mask_NF.numpy()))
    else:
        flat = mask_NF.reshape(-1).nonzero().squeeze(1)
    return Positions(flat, values_NF.reshape(-1)[flat])
