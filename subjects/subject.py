"""What a subject model is to exegete: text in, activations at a site out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the subject reads it, special tokens left out."""

    ids: NDArray[np.int32]
    """(n_tokens,)"""
    display: tuple[str, ...]
    """(n_tokens,) the piece of the original text each token stands for, with its leading whitespace."""


class Subject(Protocol):
    """A model under study."""

    @property
    def name(self) -> str:
        """Name with the revision or digest of its weights."""

    @property
    def n_special(self) -> int:
        """Special tokens the model adds around every context."""

    @property
    def max_context(self) -> int:
        """Tokens a context may have, special tokens included."""

    def tokenise(self, text: str) -> Tokens:
        """The tokens of a text, without special tokens and without a length limit."""

    def width(self, site: str) -> int:
        """Channels at a site.

        Raises:
            SubjectError: there is no such site; the message names the nearest.
        """

    def activations(self, site: str, batch: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """Run the model up to a site.

        Args:
            site: HF module path or hook name.
            batch: token ids of each context, without special tokens, which the subject adds and masks.

        Returns:
            (n_contexts, longest, width) activations at the texts' own tokens; rows beyond a context's
            length are undefined.
        """

    def activations_at(
        self, sites: Sequence[str], batch: Sequence[NDArray[np.int32]]
    ) -> dict[str, torch.Tensor]:
        """Run the model once, up to the last of some sites.

        Args:
            sites: HF module paths or hook names.
            batch: as in `activations`.

        Returns:
            What `activations` would return for each site, by its name.
        """
