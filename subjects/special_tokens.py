"""The tokens that a model expects around a text."""

from __future__ import annotations

from typing import Any

from exegete.errors import SubjectError


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a")["input_ids"]
    at = next((i for i in range(len(dressed)) if dressed[i : i + len(bare)] == bare), 0)
    return dressed[:at], dressed[at + len(bare) :]


def with_bos(usual: list[int], tokenizer: Any, wanted: bool | None) -> list[int]:
    """The tokens before a text: the tokenizer's own, unless a BOS token is to be added or left out.

    Raises:
        SubjectError: a BOS token is wanted and the tokenizer has none.
    """
    if wanted is None or (wanted and usual):
        return usual
    if not wanted:
        return [] if usual == [tokenizer.bos_token_id] else usual
    # Where there is only an end token, TransformerLens, with which most dictionaries are trained, uses that.
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if bos is None:
        raise SubjectError("the dictionary was trained with a BOS token, which the model's tokenizer lacks")
    return [int(bos)]
