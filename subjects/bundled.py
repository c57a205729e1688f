"""The small causal subject that comes with exegete: a language model of Python's own text, and its
autoencoder.

`stdlib-lm` is a Llama of four layers and 1.3 million parameters, `stdlib-lm/sae` a TopK autoencoder on the
residual stream after its third block. Both are trained, not made up; scripts/train_stdlib_lm.py makes them,
and their card (stdlib_lm/README.md) says on what and how well.
"""

from __future__ import annotations

from pathlib import Path

NAME = "stdlib-lm"
"""As a subject."""
DICTIONARY = "stdlib-lm/sae"
"""As a dictionary."""


def model_folder() -> Path:
    """Config, tokenizer and weights, as transformers reads them."""
    return Path(__file__).resolve().parent / "stdlib_lm"


def dictionary_folder() -> Path:
    """Config and weights, in SAELens' layout."""
    return model_folder() / "sae"
