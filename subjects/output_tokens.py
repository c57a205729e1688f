"""What a feature writes, as tokens: those it raises most, and those it lowers most.

    logit lens     its decoder's row through the last norm and the unembedding [nostalgebraist 2020]
    token change   the mean difference of logits when it is clamped on neutral prompts [Gur-Arieh et al. 2025,
                   "Enhancing automated interpretability with output-centric feature descriptions", section 3]
    ablation       the mean difference of logits where it fires, with the feature less without it

Rows of the unembedding that no token belongs to are left out; models pad their vocabularies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from exegete.subjects.causal import CausalSubject
from exegete.subjects.control_directions import in_stream
from exegete.subjects.edits import Feature

Kind = Literal["logit lens", "token change", "ablation"]

KEPT = 10
"""Tokens kept at either end."""

_PART = "\ufffd"
"""What part of a character decodes to."""


@dataclass(frozen=True, slots=True)
class OutputTokens:
    """The two ends of a feature's effect on the vocabulary, by one way of asking."""

    kind: Kind
    top_tokens: tuple[str, ...]
    """Tokens it raises most, strongest first, with their leading space; bytes that are no text as <0xNN>."""
    top_values: tuple[float, ...]
    """By how much: logits; of the logit lens no unit."""
    bottom_tokens: tuple[str, ...]
    """Tokens it lowers most, strongest first."""
    bottom_values: tuple[float, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured; JSON values."""


def lens_tokens(subject: CausalSubject, features: Sequence[Feature], kept: int = KEPT) -> list[OutputTokens]:
    """The logit lens of some features, in one product with the unembedding.

    Args:
        subject: the model.
        features: of one dictionary and site.
        kept: tokens at either end.

    Raises:
        SubjectError: the dictionary has no decoder, or what it writes is not added to the stream.
    """
    import torch

    rows_nd = torch.stack([feature.direction() for feature in features])
    values_nV = subject.lens(in_stream(subject, features[0], rows_nd)).cpu().numpy()
    return [ends(subject, "logit lens", values_V, kept) for values_V in values_nV]


def ends(
    subject: CausalSubject,
    kind: Kind,
    values_V: NDArray[np.float32],
    kept: int = KEPT,
    details: Mapping[str, Any] | None = None,
) -> OutputTokens:
    """The tokens with the largest and the smallest values; of equal ones, that with the lower id first.

    Args:
        subject: whose tokens they are.
        kind: how they were measured.
        values_V: (vocabulary,) one for each row of the unembedding.
        kept: tokens at either end.
        details: how it was measured.
    """
    values = values_V[: min(len(values_V), len(subject.reader.tokenizer))]
    order = np.argsort(-values, kind="stable")
    top, bottom = order[:kept], np.argsort(values, kind="stable")[:kept]
    return OutputTokens(
        kind,
        tuple(token_names(subject, top.tolist())),
        tuple(float(values[i]) for i in top),
        tuple(token_names(subject, bottom.tolist())),
        tuple(float(values[i]) for i in bottom),
        dict(details or {}),
    )


def token_names(subject: CausalSubject, ids: Sequence[int]) -> list[str]:
    """What tokens stand for, leading space kept; bytes that are no text by themselves as <0xNN>.

    A token decoded by itself may lose its leading space, so each is decoded behind an "a".
    """
    tokenizer = subject.reader.tokenizer
    anchor: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    before = str(tokenizer.decode(anchor))
    names = []
    for i in ids:
        text = str(tokenizer.decode([*anchor, int(i)], clean_up_tokenization_spaces=False))
        text = text.removeprefix(before) if text.startswith(before) else str(tokenizer.decode([int(i)]))
        names.append(_as_bytes(str(tokenizer.convert_ids_to_tokens(int(i)))) if _PART in text else text)
    return names


def _as_bytes(piece: str) -> str:
    """A byte-level vocabulary's piece as text, with <0xNN> for what is none; another's as it stands."""
    values = _byte_values()
    if not all(char in values for char in piece):
        return piece
    text = bytes(values[char] for char in piece).decode("utf-8", errors="surrogateescape")
    return "".join(
        f"<0x{ord(char) - 0xDC00:02X}>" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text
    )


@lru_cache(1)
def _byte_values() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for [GPT-2's encoder]."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + n): byte for n, byte in enumerate(hidden)}
