"""Directions in a site's space: probes, steering vectors, principal components.

A feature's activation is the site's activation times the direction, x·v, of either sign: nothing is normed,
centred or cut off.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from exegete.errors import SubjectError
from exegete.subjects.coder import CHUNK, Fired, check_finite
from exegete.subjects.origin import Origin
from exegete.subjects.weights import checked, digest, read_safetensors

if TYPE_CHECKING:
    import torch

PREFIX = "directions:"


class Directions:
    """The rows of a matrix."""

    sparse = False

    def __init__(self, name: str, rows_nd: torch.Tensor) -> None:
        """Take (n, width) directions, float32, under a name with a digest."""
        self.name, self.origin, self._rows_nd = name, Origin(metadata={"format": "directions"}), rows_nd

    @property
    def n_features(self) -> int:
        """How many directions there are."""
        return len(self._rows_nd)

    @property
    def width(self) -> int:
        """Their length."""
        return self._rows_nd.shape[1]

    def encode(self, acts: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """(…, n) products with the wanted directions; see `Dictionary.encode`."""
        if acts.shape[-1] != self.width:
            raise SubjectError(f"{self.name} reads {self.width} channels and was given {acts.shape[-1]}")
        self._rows_nd = self._rows_nd.to(acts.device)
        return acts.float() @ self._rows_nd[features.to(acts.device)].T

    def fire(self, acts_ND: torch.Tensor) -> Fired:
        """The products above 0; see `Dictionary.fire`."""
        import torch

        every = torch.arange(self.n_features, device=acts_ND.device)
        step = max(1, CHUNK // max(self.n_features, self.width))
        parts = []
        for start in range(0, max(1, len(acts_ND)), step):
            values_Nn = self.encode(acts_ND[start : start + step], every)
            check_finite(self.name, values_Nn)
            token, feature = (values_Nn > 0).nonzero(as_tuple=True)
            parts.append(Fired(token + start, feature, values_Nn[token, feature]))
        return Fired(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def decode_rows(self, features: torch.Tensor) -> torch.Tensor:
        """(n, width) along the directions, so long that adding one raises the activation by 1: v / ‖v‖²."""
        rows_nd = self._rows_nd.cpu()[features.cpu()]
        return rows_nd / rows_nd.pow(2).sum(-1, keepdim=True).clamp_min(1e-30)

    def scale(self, acts: torch.Tensor) -> float:
        """1: nothing is scaled."""
        return 1.0


def read_directions(spec: str) -> Directions:
    """Open `directions:FILE.safetensors[:TENSOR]`.

    Raises:
        SubjectError: there is no such file or tensor, or it is no matrix (n, d) of numbers.
    """
    found = re.fullmatch(r"(.+?\.safetensors)(?::(.+))?", spec.removeprefix(PREFIX))
    if found is None:
        raise SubjectError(f"{spec!r} names no directions: write directions:FILE.safetensors[:TENSOR]")
    path, wanted = Path(found[1]), found[2]
    tensors = read_safetensors(path)
    if wanted is None:
        if len(tensors) != 1:
            some = ", ".join(sorted(tensors)[:5])
            raise SubjectError(
                f"{path} holds {len(tensors)} tensors ({some}): name one, directions:{path}:TENSOR"
            )
        wanted = next(iter(tensors))
    if wanted not in tensors:
        raise SubjectError(f"{path} has no tensor {wanted!r}: it has {', '.join(sorted(tensors)[:5])}")
    matrix = tensors[wanted]
    matrix = matrix[None] if matrix.ndim == 1 else matrix
    rows_nd = checked({wanted: matrix}, {wanted: "n d"}, path, {})[wanted]
    return Directions(f"{path.stem}:{wanted}@{digest([path])}", rows_nd)
