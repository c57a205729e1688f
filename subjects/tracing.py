"""All of a harvest's features on one text, as a harvest of it would have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.kept import KeptContext
from exegete.datastore.records import FeatureId, Floats, Polarity
from exegete.datastore.words import join_units, unit_starts
from exegete.errors import UsageError
from exegete.subjects.encoder import Encoder
from exegete.subjects.laboratory import Laboratory
from exegete.subjects.reading import windows
from exegete.subjects.spec import HarvestSpec
from exegete.subjects.subject import Tokens

MOST = 100_000
"""Tokens of a text at most."""


@dataclass(frozen=True, slots=True)
class Firing:
    """Where one feature fires in a text."""

    feature: FeatureId
    words: NDArray[np.int64]
    """(n,) numbers of the words it fires on, increasing."""
    values: Floats
    """(n,) its largest activation on each, raw units."""

    @property
    def peak(self) -> float:
        """Its largest activation, raw units."""
        return float(self.values.max())


@dataclass(frozen=True, slots=True)
class Trace:
    """What fires in a text."""

    words: tuple[str, ...]
    """The text as the subject read it, each word with its leading whitespace."""
    firings: tuple[Firing, ...]
    """One a feature that fires anywhere, in the harvest's order."""


def trace(laboratory: Laboratory, file: EvidenceFile, text: str) -> Trace:
    """Run a text, and see which of the harvest's features fire where.

    A text that is longer than a context is cut where words end, as a harvest cuts it.

    Args:
        laboratory: the harvest's subject.
        file: its evidence.
        text: up to `MOST` tokens.

    Raises:
        UsageError: the text has no tokens or too many, or is no text.
        SubjectError: activations are not finite.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("the text holds half of a character: save it as UTF-8") from None
    tokens = laboratory.reader.tokenise(text)
    if not 0 < len(tokens.ids) <= MOST:
        raise UsageError(f"the text has {len(tokens.ids):,} tokens: give one of 1 to {MOST:,}")
    starts = unit_starts(tokens.display, "word")
    features, encoder = _encoder(laboratory, file)
    best = _best(laboratory, file, tokens, encoder, starts)
    slots, words = np.divmod(np.fromiter(best, np.int64, len(best)), len(starts))
    values = np.fromiter(best.values(), np.float32, len(best))
    order = np.lexsort((words, slots))
    slots, words, values = slots[order], words[order], values[order]
    edges = np.flatnonzero(np.diff(slots)) + 1
    parts = zip(*(np.split(column, edges) for column in (slots, words, values)), strict=True)
    firings = tuple(Firing(features[int(slot[0])], at, value) for slot, at, value in parts if len(slot))
    return Trace(join_units(tokens.display, starts), firings)


def _encoder(laboratory: Laboratory, file: EvidenceFile) -> tuple[list[FeatureId], Encoder]:
    """The harvest's features in the order of slots, and what encodes them with its thresholds."""
    p = file.parameters
    indices = sorted({feature.index for feature in file.features})
    sides: list[Polarity] = ["+", "-"] if p["polarity"] == "both" else [p["polarity"]]
    features = [file.feature(index, side) for side, index in product(sides, indices)]
    encoder = Encoder(laboratory.dictionary, HarvestSpec(p["site"], polarity=p["polarity"]), indices)
    encoder.thresholds = np.asarray([file.summary(f).threshold for f in features], dtype=np.float32)
    return features, encoder


def _best(
    laboratory: Laboratory, file: EvidenceFile, tokens: Tokens, encoder: Encoder, starts: NDArray[np.int64]
) -> dict[int, float]:
    """The largest activation of every slot on every word that it fires on, by slot * words + word."""
    best: dict[int, float] = {}
    for contexts in _batches(file.parameters, tokens, starts, laboratory.reader.n_special):
        acts = laboratory.reader.activations(file.parameters["site"], [c.token_ids for c in contexts])
        found = encoder.firings(contexts, acts)
        token = np.asarray([c.start for c in contexts])[found.row] + found.position
        word = np.searchsorted(starts, token, side="right") - 1
        for key, value in zip((found.slot * len(starts) + word).tolist(), found.value.tolist(), strict=True):
            best[key] = max(value, best.get(key, value))
    return best


def _batches(
    parameters: dict[str, Any], tokens: Tokens, starts: NDArray[np.int64], n_special: int
) -> Iterator[Sequence[KeptContext]]:
    length = int(parameters["context"]) - n_special
    pieces = [
        KeptContext(a, 0, "", a, tokens.ids[a:b], "")
        for a, b in windows(starts.tolist(), len(tokens.ids), length)
    ]
    size = int(parameters["batch"])
    for first in range(0, len(pieces), size):
        yield pieces[first : first + size]
