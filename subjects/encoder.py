"""Activations at a site in, firings out: the dictionary, and each feature's firing threshold.

Everything up to what fires is computed where the activations are; only what fires, some thousandths of the
whole, is copied to the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exegete.datastore.kept import Firings, KeptContext
from exegete.datastore.records import Floats
from exegete.errors import SubjectError
from exegete.subjects.calibration import Calibration
from exegete.subjects.dictionaries import Dictionary
from exegete.subjects.spec import HarvestSpec

if TYPE_CHECKING:
    import torch


class Encoder:
    """Activations at a site in, firings out."""

    def __init__(self, dictionary: Dictionary, spec: HarvestSpec, indices: Sequence[int]) -> None:
        """Encode some features.

        Args:
            dictionary: whose features they are.
            spec: the site's name, the polarity, and how thresholds are set.
            indices: the features, in order.
        """
        import torch

        self._dictionary, self._spec = dictionary, spec
        self._features = torch.tensor(indices, dtype=torch.long)
        n_slots = len(indices) * (2 if spec.polarity == "both" else 1)
        self.thresholds: Floats = np.zeros(n_slots, dtype=np.float32)
        """(n_slots,) activations at or below it are silent; 0 for sparse dictionaries."""
        self._calibration = None if dictionary.sparse else Calibration(n_slots, spec)
        self._sampled: tuple[np.ndarray[Any, Any], ...] | None = None
        self._token = 0

    @property
    def dense(self) -> bool:
        """Whether firing is decided by a threshold that has to be calibrated."""
        return not self._dictionary.sparse

    def sample(self, batch: Sequence[KeptContext], acts_BTD: torch.Tensor, n: int) -> None:
        """Take the first n contexts of a batch into the sample that thresholds are set on."""
        if self._calibration is not None:
            acts_NS = self._encode(self._own(batch[:n], acts_BTD))
            self._calibration.see(acts_NS)

    def settle(self) -> None:
        """Set the thresholds; the sample's batches can be had from `sampled_firings` from now on."""
        if self._calibration is not None:
            self.thresholds = self._calibration.thresholds()
            self._sampled = self._calibration.fired()
            self._calibration = None

    def sampled_firings(self, batch: Sequence[KeptContext]) -> Firings:
        """What fires on the next batch of the sample, which is not run again."""
        assert self._sampled is not None
        token, slot, value = self._sampled
        first = self._token
        self._token += sum(len(c.token_ids) for c in batch)
        a, b = np.searchsorted(token, [first, self._token]).tolist()
        return self._placed(batch, token[a:b] - first, slot[a:b], value[a:b])

    def firings(self, batch: Sequence[KeptContext], acts_BTD: torch.Tensor) -> Firings:
        """What fires on a batch.

        Args:
            batch: contexts.
            acts_BTD: (contexts, longest, width) activations at the site; beyond a context's end, anything.

        Raises:
            SubjectError: activations are not finite.
        """
        self._sampled = None
        acts_ND = self._own(batch, acts_BTD)
        token, slot, value = self._above(self._encode(acts_ND)) if self.dense else self._fire(acts_ND)
        return self._placed(batch, token.cpu().numpy(), slot.cpu().numpy(), value.float().cpu().numpy())

    def _own(self, batch: Sequence[KeptContext], acts_BTD: torch.Tensor) -> torch.Tensor:
        """(n_tokens, width) activations of the batch's own tokens, end to end."""
        import torch

        acts_ND = torch.cat([acts_BTD[row, : len(c.token_ids)] for row, c in enumerate(batch)])
        self._check(acts_ND)
        return acts_ND

    def _check(self, acts: torch.Tensor) -> None:
        """NaN compares as silent: without this look, what overflowed would be missing and pass for zero."""
        import torch

        # A sum takes a tenth of the time; it overflows now and then where no activation does.
        if not bool(torch.isfinite(acts.sum())) and not bool(torch.isfinite(acts).all()):
            raise SubjectError(
                f"activations at {self._spec.site} are not finite: the weights of the model or the "
                "dictionary hold NaN or infinity, or overflow; check them"
            )

    def _encode(self, acts_ND: torch.Tensor) -> torch.Tensor:
        """(n_tokens, n_slots) activations of all slots, for dense dictionaries."""
        import torch

        acts_NF = self._dictionary.encode(acts_ND, self._features.to(acts_ND.device)).float()
        self._check(acts_NF)
        if self._spec.polarity == "+":
            return acts_NF
        return torch.cat([acts_NF, -acts_NF], 1) if self._spec.polarity == "both" else -acts_NF

    def _above(self, acts_NS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(token, slot, value) of what lies above the thresholds."""
        import torch

        above_NS = acts_NS > torch.from_numpy(self.thresholds).to(acts_NS.device)
        if above_NS.device.type == "cpu":  # numpy looks at eight of them at once
            at = torch.from_numpy(np.flatnonzero(above_NS.numpy()))
        else:
            at = above_NS.reshape(-1).nonzero().squeeze(1)
        n_slots = acts_NS.shape[1]
        return at // n_slots, at % n_slots, acts_NS.reshape(-1)[at]

    def _fire(self, acts_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(token, slot, value) of what fires in a sparse dictionary."""
        import torch

        token, feature, value = self._dictionary.fire(acts_ND)
        self._check(value)
        if len(self._features) == self._dictionary.n_features:
            return token, feature, value
        slot_F = torch.full((self._dictionary.n_features,), -1, device=feature.device)
        slot_F[self._features.to(feature.device)] = torch.arange(len(self._features), device=feature.device)
        slot = slot_F[feature]
        wanted = slot >= 0
        return token[wanted], slot[wanted], value[wanted]

    def _placed(
        self,
        batch: Sequence[KeptContext],
        token: np.ndarray[Any, Any],
        slot: np.ndarray[Any, Any],
        value: np.ndarray[Any, Any],
    ) -> Firings:
        """Firings by context and position, from firings by token of the batch."""
        lengths = [len(c.token_ids) for c in batch]
        row_of_token = np.repeat(np.arange(len(batch)), lengths)
        position_of_token = np.concatenate([np.arange(n) for n in lengths])
        if self._spec.shuffle:
            row_of_token, position_of_token = _dealt(lengths, (self._spec.seed, batch[0].id))
        row = row_of_token[token]
        if self._spec.shuffle:
            there = np.flatnonzero(row >= 0)
            token, slot, row, value = token[there], slot[there], row[there], value[there]
        return Firings(slot, row, position_of_token[token], value)


def _dealt(
    lengths: Sequence[int], seed: tuple[int, int]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where each token's activations go when contexts are dealt anew: (row, position), -1 for nowhere.

    Contexts are rotated by a random step and their positions by another, so that nothing stays in place.
    """
    rng = np.random.default_rng(seed)
    n = len(lengths)
    step = int(rng.integers(1, n)) if n > 1 else 0
    rows, positions = [], []
    for row, length in enumerate(lengths):
        target = (row + step) % n
        turn = int(rng.integers(1, max(2, lengths[target])))
        position = np.arange(length)
        fits = position < lengths[target]
        rows.append(np.where(fits, target, -1))
        positions.append((position + turn) % lengths[target])
    return np.concatenate(rows), np.concatenate(positions)
