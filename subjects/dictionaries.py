"""What turns activations at a site into features.

`neurons` takes the site's own channels. Sparse autoencoders and directions come through the same protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from exegete.errors import SubjectError

if TYPE_CHECKING:
    import torch


class Dictionary(Protocol):
    """A set of features read from one site."""

    @property
    def name(self) -> str:
        """ "neurons", or the name of the weights with their digest."""

    @property
    def n_features(self) -> int:
        """How many features there are."""

    @property
    def sparse(self) -> bool:
        """Whether a silent feature is exactly 0; otherwise firing is decided by a recorded threshold."""

    def encode(self, acts: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Feature activations.

        Args:
            acts: (…, width) activations at the site.
            features: (n,) indices of the wanted features.

        Returns:
            (…, n) activations, raw units.
        """


@dataclass(frozen=True, slots=True)
class Neurons:
    """The channels of a site, as they are."""

    n_features: int
    name: str = "neurons"
    sparse: bool = False

    def encode(self, acts: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The wanted channels."""
        return acts[..., features]


def open_dictionary(spec: str, width: int) -> Dictionary:
    """Open a dictionary.

    Args:
        spec: "neurons".
        width: channels at the site.

    Raises:
        SubjectError: it is of a kind that can't be read.
    """
    if spec == "neurons":
        return Neurons(width)
    raise SubjectError(
        f"the dictionary {spec!r} can't be read: this version reads `neurons` (a site's own channels); "
        "bring other activations with `exegete import parquet`"
    )
