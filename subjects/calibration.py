"""Firing thresholds of dense features, from the corpus's first sample.

A GELU neuron is never exactly 0, so "it fires" needs a threshold: a high quantile of its activations on the
first contexts of the corpus, never below 0. Only each feature's largest activations are held, enough of
them to reach the quantile. What exceeds the threshold is among them, so the sample need not be run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exegete.datastore.records import Floats
from exegete.subjects.spec import HarvestSpec

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


class Calibration:
    """The largest activations of every slot on a sample, and where they stood."""

    def __init__(self, n_slots: int, spec: HarvestSpec) -> None:
        """Begin a sample of `spec.calibration` contexts."""
        import torch

        self._share = 1.0 - spec.firing_quantile
        self._n_held = max(1, int(spec.calibration * spec.context * self._share) + 1)
        self._value_KS = torch.empty((0, n_slots))
        self._token_KS = torch.empty((0, n_slots), dtype=torch.int32)
        self.n_tokens = 0
        """Tokens of the sample so far."""

    def see(self, acts_NS: torch.Tensor) -> None:
        """Take in the activations of the sample's next tokens."""
        import torch

        n = len(acts_NS)
        token_N = torch.arange(self.n_tokens, self.n_tokens + n, dtype=torch.int32, device=acts_NS.device)
        if len(self._value_KS) == self._n_held:
            value_MS, token_MS = self._stronger(acts_NS, token_N)
        else:
            value_MS, token_MS = acts_NS, token_N[:, None].expand(acts_NS.shape)
        value_MS = torch.cat([self._value_KS.to(value_MS), value_MS])
        token_MS = torch.cat([self._token_KS.to(token_MS), token_MS])
        self._value_KS, at_KS = torch.topk(value_MS, min(self._n_held, len(value_MS)), dim=0)
        self._token_KS = token_MS.gather(0, at_KS)
        self.n_tokens += n

    def _stronger(self, acts_NS: torch.Tensor, token_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(M, n_slots) activations above the weakest that is held, and their tokens; filled up at the end.

        Few are, once some batches have been seen, and to sort all of them would take most of the time.
        """
        import torch

        row, slot = (acts_NS > self._value_KS[-1].to(acts_NS)).nonzero(as_tuple=True)
        slot, order = slot.sort(stable=True)
        row = row[order]
        first_S = torch.searchsorted(slot, torch.arange(acts_NS.shape[1], device=slot.device))
        rank = torch.arange(len(slot), device=slot.device) - first_S[slot]
        shape = (int(rank.max()) + 1 if len(rank) else 0, acts_NS.shape[1])
        value_MS = acts_NS.new_full(shape, -torch.inf)
        token_MS = token_N.new_zeros(shape)
        value_MS[rank, slot], token_MS[rank, slot] = acts_NS[row, slot], token_N[row]
        return value_MS, token_MS

    def thresholds(self) -> Floats:
        """(n_slots,) the quantile of every slot; 0 without a sample."""
        if not self.n_tokens:
            return np.zeros(self._value_KS.shape[1], dtype=np.float32)
        at = min(int(self.n_tokens * self._share), len(self._value_KS) - 1)
        return np.asarray(self._value_KS[at].clamp_min(0).cpu().numpy(), dtype=np.float32)

    def fired(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """(token, slot, value) of everything above the thresholds, in the order of tokens."""
        value_KS = self._value_KS.cpu().numpy()
        row, slot = np.nonzero(value_KS > self.thresholds())
        token = self._token_KS.cpu().numpy()[row, slot].astype(np.int64)
        order = np.argsort(token, kind="stable")
        return token[order], slot[order], value_KS[row, slot][order].astype(np.float32)
