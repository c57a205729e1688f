"""The text of tokens that are only known by their ids, from a tokenizer alone: no model is loaded.

A token decoded by itself may lose its leading space, so each is decoded behind an "a", which is then taken
off. Tokens that hold only part of a character are decoded together, and the first of them gets the text, as
in a harvest.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exegete.errors import FormatError, SubjectError
from exegete.subjects import minilm

_PART = "\ufffd"
"""What part of a character decodes to."""


class TokenText:
    """Gives token ids their text."""

    def __init__(self, name: str, tokenizer: Any) -> None:
        """Wrap a tokenizer.

        Args:
            name: name with a digest.
            tokenizer: a `tokenizers.Tokenizer`.
        """
        self._name, self._tokenizer = name, tokenizer
        self._anchor: list[int] = tokenizer.encode("a", add_special_tokens=False).ids
        self._before = tokenizer.decode(self._anchor, skip_special_tokens=False)
        self._known: dict[int, str] = {}

    @property
    def name(self) -> str:
        """Name with a digest."""
        return self._name

    def texts(self, ids: NDArray[np.int64]) -> list[str]:
        """The text of each token of a context, with its leading space; runs of whitespace are one space.

        Raises:
            FormatError: the tokenizer has no such id.
        """
        pieces = [self._text(int(i)) for i in ids]
        if any(_PART in piece for piece in pieces):
            self._mend([int(i) for i in ids], pieces)
        return [re.sub(r"\s+", " ", piece) for piece in pieces]

    def _text(self, id_: int) -> str:
        if id_ not in self._known:
            if not 0 <= id_ < 2**31 or self._tokenizer.id_to_token(id_) is None:
                raise FormatError(
                    f"token {id_} is not one of the tokenizer {self._name}: pass that of the model that was "
                    "cached as --subject"
                )
            self._known[id_] = self._decoded([id_])
        return self._known[id_]

    def _mend(self, ids: list[int], pieces: list[str]) -> None:
        """Put characters that lie over several tokens together, in `pieces`."""
        at = 0
        while at < len(ids):
            # No character has more than four bytes, nor so more than four tokens.
            for end in range(at + 2, min(at + 4, len(ids)) + 1) if _PART in pieces[at] else ():
                whole = self._decoded(ids[at:end])
                if _PART not in whole:
                    pieces[at:end] = [whole] + [""] * (end - at - 1)
                    at = end - 1
                    break
            at += 1

    def _decoded(self, ids: list[int]) -> str:
        whole: str = self._tokenizer.decode([*self._anchor, *ids], skip_special_tokens=False)
        if self._anchor and whole.startswith(self._before):
            return whole[len(self._before) :]
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def open_token_text(spec: str) -> TokenText:
    """Find a tokenizer.

    Args:
        spec: a folder with tokenizer.json, `hf:NAME[@REVISION]`, or `all-MiniLM-L6-v2`.

    Raises:
        SubjectError: it can't be found or read.
    """
    name = spec.removeprefix("hf:")
    if name in minilm.ALIASES:
        folder = minilm.wheel_folder()
        path = folder / "tokenizer.json" if folder else _from_hub(f"{minilm.NAME}@{minilm.REVISION}")
        return _load(path, minilm.NAME)
    if Path(spec).is_dir():
        return _load(Path(spec) / "tokenizer.json", Path(spec).resolve().name)
    if not spec.startswith("hf:"):
        raise SubjectError(
            f"there is no folder {spec!r}: pass one with tokenizer.json, or hf:NAME for a model of the hub"
        )
    return _load(_from_hub(name), name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    repo, _, revision = name.partition("@")
    try:
        return Path(hf_hub_download(repo, "tokenizer.json", revision=revision or None))
    except Exception as error:  # the hub's client raises a dozen kinds, all meaning "not to be had"
        raise SubjectError(
            f"the tokenizer of {repo} can't be had from the hub ({type(error).__name__}): check the name and "
            "the network, or pass a folder with tokenizer.json as --subject"
        ) from error


def _load(path: Path, name: str) -> TokenText:
    from tokenizers import Tokenizer

    try:
        raw = path.read_bytes()
        tokenizer = Tokenizer.from_buffer(raw)
    except FileNotFoundError as error:
        raise SubjectError(
            f"{path.parent} has no tokenizer.json: pass a folder with a fast tokenizer as --subject"
        ) from error
    except Exception as error:  # the library raises bare Exception
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SubjectError(f"the tokenizer {path} can't be loaded ({first}): get it again") from error
    if tokenizer.decoder is None:
        raise SubjectError(
            f"the tokenizer {path} has no decoder, so that its tokens have no text: pass the model's own"
        )
    return TokenText(f"{name}@{hashlib.sha256(raw).hexdigest()[:12]}", tokenizer)
