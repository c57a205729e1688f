"""Planted features on any text: what the subject is for a harvest's own features, their truth is for them.

Tests of labels are run on it (see `exegete.subjects.bench`), so that planted features go through the very
steps that real ones do, and a label of one is broken or held by what was planted.

- A feature with a truth fires where its rule holds, without the noise that it was planted with: at the rule's
  level times the feature's maximum in the explain split.
- One for which no label can be right fires at random: on one word in `ONE_IN`, chosen by a hash of the
  feature, the text and the place.

A text is cut as a corpus is where there is no tokenizer (text.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exegete.controls.passages import Passages
from exegete.controls.suite import Control, controls_of
from exegete.controls.text import in_words
from exegete.controls.truths import levels
from exegete.datastore.evidence_file import EvidenceFile, FeatureSummary
from exegete.datastore.hashing import digest64, uniform
from exegete.datastore.kept import KeptContext
from exegete.datastore.records import FeatureId, Floats, Unit
from exegete.subjects.bench import Measured, NotRun

ONE_IN = 20
"""Often enough that some of a round's short texts fire, whatever is said of them."""


class PlantedBench:
    """Runs texts on what was planted; nothing is loaded and nothing needs to be remembered."""

    def __init__(self, file: EvidenceFile) -> None:
        """Take the truths of a file of planted features (suite.py)."""
        self._file = file
        self._controls: dict[int, Control] = {}

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        """A planted feature's activations on some texts; see `exegete.subjects.bench.Bench.measure`."""
        self._controls = self._controls or {c.index: c for c in controls_of(self._file)}
        known, summary = self._controls[feature.index], self._file.summary(feature)
        return [_measured(known, summary, text, unit) for text in texts]

    def threshold(self, feature: FeatureId) -> float:
        """Above what it counts as firing: 0 raw units, as it was planted."""
        return self._file.summary(feature).threshold


def _measured(control: Control, summary: FeatureSummary, text: str, unit: Unit) -> Measured | NotRun:
    tokens = in_words(text)
    if not tokens:
        return NotRun("it has no words")
    passages = Passages.of([KeptContext(0, 0, "", 0, np.zeros(len(tokens), np.int32), "\x1f".join(tokens))])
    if control.truth is None:
        own = _at_random(control.index, text, len(passages.word))
    else:
        own = levels(control.truth.rule, passages)
    activations = np.asarray(own * summary.maximum_explain, dtype=np.float32)
    if unit == "token":
        return Measured(tuple(tokens), np.repeat(activations, passages.n_tokens))
    return Measured(tuple(passages.contexts[0].units), activations)


def _at_random(index: int, text: str, n_words: int) -> Floats:
    """(n_words,) 1 where a feature without a truth fires."""
    return np.asarray(uniform(digest64(index, text), np.arange(n_words)) * ONE_IN < 1, dtype=np.float32)
