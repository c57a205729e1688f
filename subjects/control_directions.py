"""Directions that a feature's own is compared with: does the feature do more than any direction would?

    random   isotropic, at the site that the feature writes to
    others   what other features of its dictionary write there

Each is made so long that a unit of it adds as long a vector to the residual stream as a unit of the feature
does. With the feature's own amounts, token by token, a control then moves the stream exactly as far as the
feature, and only the direction differs. A feature whose direction is itself random differs from the first
kind only in that its tokens were chosen by it: they are those at which it fires.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from exegete.datastore.hashing import digest64
from exegete.subjects.causal import CausalSubject
from exegete.subjects.edits import Feature, placed

if TYPE_CHECKING:
    import torch


def in_stream(subject: CausalSubject, feature: Feature, rows_nd: torch.Tensor) -> torch.Tensor:
    """What rows of the site that a feature writes to add to the residual stream.

    Args:
        subject: the model.
        feature: says which site, and which channels of it.
        rows_nd: (n, channels its dictionary writes).

    Returns:
        (n, width of the stream), on the unembedding's device.

    Raises:
        SubjectError: nothing says how the site's channels reach the stream.
    """
    if feature.dictionary.origin.head is not None:
        width = subject.reader.width(feature.writes_to)
        rows_nd = placed(rows_nd, width, feature)
    return subject.to_stream(feature.writes_to, rows_nd)


def random_rows(subject: CausalSubject, feature: Feature, n: int, seed: int) -> torch.Tensor:
    """Isotropic directions, as long as a feature's own.

    Args:
        subject: the model.
        feature: the feature they are compared with.
        n: how many.
        seed: chooses them, together with the feature.

    Returns:
        (n, channels its dictionary writes).
    """
    import torch

    own = feature.direction()
    rng = torch.Generator().manual_seed(_seed(seed, "random", feature))
    return as_long(subject, feature, torch.randn((n, len(own)), generator=rng))


def other_rows(subject: CausalSubject, feature: Feature, n: int, seed: int) -> torch.Tensor:
    """What other features of the same dictionary write, as long as a feature's own.

    Returns:
        (n or as many as there are, channels its dictionary writes); rows of length 0 are left out.
    """
    import torch

    others = np.delete(np.arange(feature.dictionary.n_features), feature.index)
    rng = np.random.default_rng(_seed(seed, "others", feature))
    drawn = rng.choice(others, min(n, len(others)), replace=False)
    rows = [replace(feature, index=int(i), sign=1).direction() for i in drawn]
    rows = [row for row in rows if bool(row.any())]
    if not rows:
        return torch.zeros((0, len(feature.direction())))
    return as_long(subject, feature, torch.stack(rows))


def as_long(subject: CausalSubject, feature: Feature, rows_nd: torch.Tensor) -> torch.Tensor:
    """Rows that add as long a vector to the stream as the feature's own."""
    own = feature.direction()
    length = in_stream(subject, feature, own[None]).norm(dim=-1)
    lengths_n1 = in_stream(subject, feature, rows_nd).norm(dim=-1, keepdim=True)
    scale_n1 = (length / lengths_n1.clamp_min(1e-30)).to(rows_nd.device)
    as_long_nd: torch.Tensor = rows_nd.float() * scale_n1
    return as_long_nd


def _seed(seed: int, use: str, feature: Feature) -> int:
    """Each feature has draws of its own for each use."""
    return digest64(seed, use, feature.index, feature.sign)
