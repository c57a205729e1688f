"""Contexts in, firings out: the subject up to the site, the dictionary, each feature's firing threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from exegete.datastore.kept import Firings, KeptContext
from exegete.datastore.records import Floats
from exegete.errors import SubjectError
from exegete.subjects.dictionaries import Dictionary
from exegete.subjects.spec import HarvestSpec, Progress
from exegete.subjects.subject import Subject

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Consecutive tuples of `size` items, the last one shorter (itertools has it from Python 3.12)."""
    rest = iter(items)
    while batch := tuple(islice(rest, size)):
        yield batch


class Encoder:
    """Contexts in, firings out."""

    def __init__(
        self, subject: Subject, dictionary: Dictionary, spec: HarvestSpec, indices: Sequence[int]
    ) -> None:
        import torch

        self._subject, self._dictionary, self._spec = subject, dictionary, spec
        self._features = torch.tensor(indices, dtype=torch.long)
        self._rng = np.random.default_rng(spec.seed)
        n_slots = len(indices) * (2 if spec.polarity == "both" else 1)
        self.thresholds: Floats = np.zeros(n_slots, dtype=np.float32)

    def calibrate(self, sample: Iterable[KeptContext], on_progress: Callable[[Progress], None]) -> None:
        """Set dense features' thresholds to a quantile of the sample, never below 0.

        Only each feature's largest activations are held: enough of them to reach the quantile.
        """
        if self._dictionary.sparse:
            return
        import torch

        share = 1.0 - self._spec.firing_quantile
        held = torch.empty((0, len(self.thresholds)))
        n_max = max(1, int(self._spec.calibration * self._spec.context * share) + 1)
        n_tokens = 0
        for batch in batched(sample, self._spec.batch):
            acts_NS, _ = self._encode(batch)
            n_tokens += len(acts_NS)
            held = torch.cat([held, acts_NS])
            held = torch.topk(held, min(n_max, len(held)), dim=0).values
            on_progress(Progress("calibrating", n_tokens))
        if n_tokens:
            at = min(int(n_tokens * share), len(held) - 1)
            self.thresholds = held[at].clamp_min(0).numpy().astype(np.float32)

    def firings(self, batch: Sequence[KeptContext]) -> Firings:
        """What fires on a batch, sparse."""
        acts_NS, lengths = self._encode(batch)
        acts = acts_NS.numpy()
        token, slot = np.nonzero(acts > self.thresholds)
        row_of_token = np.repeat(np.arange(len(batch)), lengths)
        position_of_token = np.concatenate([np.arange(n) for n in lengths])
        if self._spec.shuffle:
            row_of_token, position_of_token = self._dealt(lengths)
        row = row_of_token[token]
        there = np.flatnonzero(row >= 0)
        token, slot, row = token[there], slot[there], row[there]
        return Firings(slot, row, position_of_token[token], acts[token, slot].astype(np.float32))

    def _encode(self, batch: Sequence[KeptContext]) -> tuple[torch.Tensor, list[int]]:
        """(n_tokens, n_slots) activations of the batch's tokens end to end, and each context's length."""
        import torch

        ids = [c.token_ids for c in batch]
        lengths = [len(i) for i in ids]
        acts_BTD = self._subject.activations(self._spec.site, ids)
        acts_BTF = self._dictionary.encode(acts_BTD, self._features).float()
        acts_NF = torch.cat([acts_BTF[row, :n] for row, n in enumerate(lengths)]).cpu()
        if not bool(torch.isfinite(acts_NF).all()):
            raise SubjectError(
                f"activations at {self._spec.site} are not finite: the model's weights hold NaN or "
                "infinity, or overflow; check them"
            )
        if self._spec.polarity == "+":
            return acts_NF, lengths
        return (torch.cat([acts_NF, -acts_NF], 1) if self._spec.polarity == "both" else -acts_NF), lengths

    def _dealt(self, lengths: Sequence[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Where each token's activations go when contexts are dealt anew: (row, position), -1 for nowhere.

        Contexts are rotated by a random step and their positions by another, so that nothing stays in place.
        """
        n = len(lengths)
        step = int(self._rng.integers(1, n)) if n > 1 else 0
        rows, positions = [], []
        for row, length in enumerate(lengths):
            target = (row + step) % n
            turn = int(self._rng.integers(1, max(2, lengths[target])))
            position = np.arange(length)
            fits = position < lengths[target]
            rows.append(np.where(fits, target, -1))
            positions.append((position + turn) % lengths[target])
        return np.concatenate(rows), np.concatenate(positions)
