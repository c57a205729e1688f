"""What a dictionary's config says of where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Needs:
    """How a dictionary's inputs were made; read otherwise, its features are others."""

    prepend_bos: bool | None = None
    """Whether contexts began with a BOS token; None when its config does not say."""
    centred: bool = False
    """Whether the mean over channels was taken off the input (the dictionary does so itself)."""
    exclude_special_tokens: bool = False
    """Whether special tokens were kept out of its training (a subject never returns their activations)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a dictionary belongs, as far as its files say."""

    site: str | None = None
    """Hook name or module path that it reads; None when nothing says so."""
    site_out: str | None = None
    """The site that its decoder writes to, where that is another one (transcoders)."""
    model: str | None = None
    """The subject model, by whatever name its author used."""
    head: int | None = None
    """The attention head whose part of the site's channels is read; None for all channels."""
    needs: Needs = Needs()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The format, the architecture, and what else its config says of its making; JSON values."""
    notes: tuple[str, ...] = ()
    """Sentences that a person should read before using it."""
