"""Random directions taken for features: what zeroing does that means nothing.

A feature is known by where it fires, and there its direction is not just any direction of the stream: the
stream reaches far along it, so that taking it off shortens the stream, and with it goes what those tokens
have in common. Another direction on the feature's tokens has neither. A random direction that fires where the
stream reaches farthest along *it*, at as many tokens, has both, and stands for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.hashing import digest64
from exegete.subjects.causal import CausalSubject, Ids
from exegete.subjects.control_directions import as_long
from exegete.subjects.directions import Directions
from exegete.subjects.edits import Feature, placed

if TYPE_CHECKING:
    import torch

FEWEST = 20
"""Tokens at which each fires, however rare the feature is that it stands beside."""
AT_ONCE = 16
"""Texts that the subject reads together."""


class RandomFeatures:
    """Isotropic directions of the site that features write to, and where each would fire."""

    def __init__(
        self, subject: CausalSubject, like: Feature, texts: Sequence[Ids], *, n: int, seed: int
    ) -> None:
        """Draw directions, and read how far the texts reach along them.

        Args:
            subject: the model.
            like: any feature of the dictionary: says which site, and which channels of it.
            texts: contexts of the corpus, whatever fires in them.
            n: how many directions.
            seed: draws them.
        """
        import torch

        self._site, self._texts, self._seed = like.writes_to, texts, seed
        rng = torch.Generator().manual_seed(digest64(seed, "random features", self._site))
        self._rows_nd = torch.randn((n, len(like.direction())), generator=rng)
        self._like = like
        width = subject.reader.width(self._site)
        self._directions = Directions("random", placed(self._rows_nd, width, like))
        every = torch.arange(n)
        self._reach: list[NDArray[np.float32]] = []  # (n_tokens, n) of each text
        for at in range(0, len(texts), AT_ONCE):
            some = texts[at : at + AT_ONCE]
            acts_BTn = self._directions.encode(subject.reader.activations(self._site, some), every)
            self._reach += [acts_BTn[row, : len(own)].cpu().numpy() for row, own in enumerate(some)]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rows_nd)

    def density(self, wanted: float) -> float:
        """The share of tokens at which they can fire that comes nearest: some `FEWEST` tokens are needed."""
        return max(wanted, FEWEST / max(1, sum(map(len, self._texts))))

    def feature(self, k: int, density: float) -> Feature:
        """One of them as a feature.

        Args:
            k: which.
            density: the share of the texts' tokens at which it is to fire.
        """
        reach = np.concatenate([each[:, k] for each in self._reach])
        threshold = max(0.0, float(np.quantile(reach, 1 - density)))
        return Feature(self._directions, k, self._site, threshold=threshold)

    def own_texts(self, feature: Feature, n: int) -> list[Ids]:
        """Texts in which one of them fires: one from each n-th part of all of them, by strength.

        Args:
            feature: as `feature` made it.
            n: texts at most.
        """
        strength = np.array([each[:, feature.index].max(initial=-np.inf) for each in self._reach])
        fires = np.flatnonzero(strength > feature.threshold)
        parts = np.array_split(fires[np.argsort(strength[fires], kind="stable")], n)
        rng = np.random.default_rng([self._seed, feature.index])
        return [self._texts[int(rng.choice(part))] for part in parts if len(part)]

    def beside(self, subject: CausalSubject, feature: Feature, n: int) -> torch.Tensor:
        """Others of them as controls of one: directions as long as its own, in the stream.

        Args:
            subject: the model.
            feature: as `feature` made it.
            n: how many, fewer than there are.

        Returns:
            (n, channels of the site).
        """
        import torch

        others = (feature.index + 1 + torch.arange(n)) % len(self)
        rows_nD = placed(self._rows_nd[others], self._directions.width, self._like)
        return as_long(subject, feature, rows_nD)
