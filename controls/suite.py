"""The controls as one evidence file, which a job labels like any other and knows nothing about.

1. Truths are chosen on the text, kind by kind (choosing.py), and each is given a label of another.
2. Each becomes activations (planting.py); the features for which no label can be right fire as often as
   planted ones do.
3. All are numbered in random order, so that no index says what a feature is, and go through the keeper of
   harvests and imports. What is true of each stands in its metadata, which no prompt is made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exegete.controls import planting
from exegete.controls.choosing import Chooser
from exegete.controls.passages import Passages
from exegete.controls.planting import Fired
from exegete.controls.text import Text
from exegete.controls.truths import NEGATIVE, POSITIVE, Truth, levels
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_writer import FORMAT, Manifest, Slot, read_manifest, write_evidence
from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import Firings
from exegete.datastore.records import Floats
from exegete.datastore.splits import SHARES
from exegete.datastore.workspace import CONTROLS
from exegete.errors import CorpusError
from exegete.subjects import minilm

KEY = "control"
"""In a feature's metadata: what is true of it."""
TOP, SAMPLE = 20, (100, 50, 50)
"""Contexts kept by strength, and by the uniform sample, of each split: a harvest's defaults."""
QUIET = (1000, 500, 500)
_BATCH = 256

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """How many controls, and which."""

    counts: tuple[tuple[str, int], ...]
    """Features of each kind."""
    seed: int = 0
    first: int = 0
    """The smallest index."""
    site: str = "encoder.layer.5"
    """Where random directions are read: the residual stream behind the embedded model's last block."""
    exact: bool = False
    """Whether tokens make up for kinds that the text has no room for, so that there are as many in all."""

    @staticmethod
    def of_each(n: int, negatives: int, seed: int) -> SuiteSpec:
        """n of every kind that has a truth, and so many of every kind for which no label can be right."""
        counts = [*((kind, n) for kind in POSITIVE), *((kind, negatives) for kind in NEGATIVE)]
        return SuiteSpec(tuple(counts), seed)

    @staticmethod
    def mixture(total: int, seed: int, first: int) -> SuiteSpec:
        """So many in all that need no model: a quarter of them with nothing to find."""
        unread = ("random firing", "shuffled")
        parts = ((POSITIVE, total - total // 4), (unread, total // 4))
        counts = [
            (kind, (n + len(kinds) - 1 - place) // len(kinds))
            for kinds, n in parts
            for place, kind in enumerate(kinds)
        ]
        return SuiteSpec(tuple(counts), seed, first, exact=True)


@dataclass(frozen=True, slots=True)
class Control:
    """One feature of the suite."""

    kind: str
    truth: Truth | None
    """None where no label can be right."""
    swapped: str | None
    """The right label of another feature of another truth."""
    index: int = -1

    @property
    def positive(self) -> bool:
        """Whether a label can be right."""
        return self.truth is not None

    @property
    def wrong(self) -> dict[str, str]:
        """Labels that are wrong, by how; empty where none is right."""
        if self.truth is None:
            return {}
        swapped = {} if self.swapped is None else {"swapped": self.swapped}
        return {**swapped, **self.truth.wrong}


def make_suite(
    text: Text, spec: SuiteSpec, folder: Path, on_progress: Say = lambda _: None
) -> tuple[Manifest, bool]:
    """Write the suite's evidence file, or find that it is already there.

    Args:
        text: what to plant on.
        spec: how many controls.
        folder: where evidence files stand.
        on_progress: told, in words, what is being done.

    Returns:
        The manifest, and whether it was made now. Its parameters name, under "left_out", the kinds that the
        text has no room for, or for which there is no model.

    Raises:
        CorpusError: the text is too short.
        WorkspaceError: the file can't be written.
    """
    parameters = _parameters(text, spec)
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    parameters["dictionary"] += f" {digest}"  # so that no feature of another harvest has the same name
    path = folder / f"{CONTROLS}{digest}.duckdb"
    if path.exists() and path.with_suffix(".json").exists():
        return read_manifest(path), False
    suite = _Suite(text, spec, on_progress)
    controls, fired = suite.plant()
    on_progress("writing")
    slots = [Slot(control.index, "+", 0.0, json.dumps({KEY: _to_json(control)})) for control in controls]
    kept = _keep(text, slots, fired, spec.seed).finish()
    folder.mkdir(parents=True, exist_ok=True)
    return write_evidence(path, {**parameters, "left_out": suite.left_out}, slots, kept), True


def controls_of(file: EvidenceFile) -> list[Control]:
    """What is true of each feature of a suite, in the order of their indices."""
    return [_from_json(f.index, file.summary(f).metadata[KEY]) for f in file.features]


class _Suite:
    """One suite in the making."""

    def __init__(self, text: Text, spec: SuiteSpec, say: Say) -> None:
        self._text, self._spec, self._say = text, spec, say
        self._passages = Passages.of(text.contexts)
        self.left_out: list[str] = []

    def plant(self) -> tuple[list[Control], list[Fired]]:
        """Controls by index, and where each fires."""
        self._say("planting")
        pairs = self._positive()
        if not pairs:
            raise CorpusError("nothing could be planted on this text: take more of it")
        planted = [fired for _, fired in pairs]
        for kind in NEGATIVE:
            if n := dict(self._spec.counts).get(kind):
                found = self._negative(kind, n, planted)
                pairs += [(Control(kind, None, None), fired) for fired in found]
                self.left_out += [] if found else [kind]
        order = np.random.default_rng([self._spec.seed, 4]).permutation(len(pairs)).tolist()
        indices = range(self._spec.first, self._spec.first + len(pairs))
        numbered = [
            Control(control.kind, control.truth, control.swapped, index)
            for index, control in zip(indices, (pairs[i][0] for i in order), strict=True)
        ]
        return numbered, [pairs[i][1] for i in order]

    def _positive(self) -> list[tuple[Control, Fired]]:
        chooser = Chooser(self._passages, self._spec.seed)
        chooser.check()
        wanted = {kind: n for kind, n in self._spec.counts if kind in POSITIVE and n}
        found = {kind: chooser.choose(kind, n) for kind, n in wanted.items()}
        self.left_out += [kind for kind, some in found.items() if not some]
        if self._spec.exact:
            others = sum(len(some) for kind, some in found.items() if kind != "token")
            found["token"] = chooser.choose("token", max(0, sum(wanted.values()) - others))
        truths = [truth for some in found.values() for truth in some]
        rng = np.random.default_rng([self._spec.seed, 5])
        swapped = _swapped(truths, rng)
        return [
            (
                Control(truth.kind, truth, other),
                planting.plant(self._passages, levels(truth.rule, self._passages), own),
            )
            for truth, other, own in zip(truths, swapped, rng.spawn(len(truths)), strict=True)
        ]

    def _negative(self, kind: str, n: int, planted: Sequence[Fired]) -> list[Fired]:
        """Features for which no label can be right; none where there is no model to read them from."""
        rng = np.random.default_rng([self._spec.seed, *kind.encode()])
        like = [planted[i] for i in rng.integers(len(planted), size=n).tolist()]
        if kind == "shuffled":
            return [planting.dealt(self._passages, some, rng) for some in like]
        n_tokens = sum(c.n_tokens for c in self._passages.contexts)
        shares = np.asarray([len(some.row) / n_tokens for some in like], dtype=np.float32)
        if kind == "random firing":
            words = (shares * len(self._passages.word)).astype(np.int64).tolist()
            return [planting.at_random(self._passages, n_words, rng) for n_words in words]
        return self._of_a_model(kind, shares)

    def _of_a_model(self, kind: str, shares: Floats) -> list[Fired]:
        subject, wheel = self._text.subject, minilm.wheel_folder()
        if subject is None or wheel is None:
            return []
        from exegete.controls.subjects import random_directions, random_weights

        self._say(f"reading a model: {kind}")
        if kind == "random direction":
            return random_directions(subject, self._spec.site, self._text.contexts, shares, self._spec.seed)
        return random_weights(wheel, self._text.contexts, shares, self._spec.seed)


def _swapped(truths: Sequence[Truth], rng: np.random.Generator) -> Iterator[str | None]:
    """For each truth, the right label of another, of its own kind where there is one."""
    for truth in truths:
        others = [t.right for t in truths if t.right != truth.right]
        alike = [t.right for t in truths if t.right != truth.right and t.kind == truth.kind]
        pool = alike or others
        yield pool[int(rng.integers(len(pool)))] if pool else None


def _keep(text: Text, slots: Sequence[Slot], fired: Sequence[Fired], seed: int) -> Keeper:
    """Everything through a keeper, some hundred contexts at a time."""
    keys = np.asarray([slot.index * 2 for slot in slots], dtype=np.int64)
    keeper = Keeper(len(slots), keys, TOP, SAMPLE, QUIET, seed)
    slot = np.repeat(np.arange(len(fired)), [len(f.row) for f in fired])
    row = np.concatenate([f.row for f in fired])
    order = np.argsort(row, kind="stable")
    position, value = (np.concatenate([getattr(f, name) for f in fired]) for name in ("position", "value"))
    edges = np.searchsorted(row[order], np.arange(0, len(text.contexts) + _BATCH, _BATCH)).tolist()
    for start, a, b in zip(range(0, len(text.contexts), _BATCH), edges[:-1], edges[1:], strict=False):
        some = order[a:b]
        batch = text.contexts[start : start + _BATCH]
        keeper.add(batch, Firings(slot[some], row[some] - start, position[some], value[some]))
    return keeper


def _parameters(text: Text, spec: SuiteSpec) -> dict[str, Any]:
    """Everything that decides what is in the file."""
    return {
        "kind": "controls",
        "subject": "planted",
        "site": "planted",
        "dictionary": "controls",
        "layer": None,
        "corpus": text.source,
        "text": text.digest,
        "cut_by": text.cut_by,
        "shares": list(SHARES),
        "format": FORMAT,
        "top": TOP,
        "sample": sum(SAMPLE),
        "quiet": sum(QUIET),
        "counts": dict(spec.counts),
        "seed": spec.seed,
        "first": spec.first,
        "directions_at": spec.site,
        "exact": spec.exact,
    }


def _to_json(control: Control) -> dict[str, Any]:
    truth = None if control.truth is None else control.truth.to_json()
    return {"kind": control.kind, "truth": truth, "swapped": control.swapped}


def _from_json(index: int, record: Mapping[str, Any]) -> Control:
    truth = None if record["truth"] is None else Truth.from_json(record["truth"])
    return Control(record["kind"], truth, record["swapped"], index)
