"""One pass of the model over a corpus, for any number of sites and dictionaries at once.

1. Documents are cut between words into contexts of a fixed number of tokens, or few less; a context's id is
   a digest of its tokens (subjects/reading.py).
2. On a first sample, each dense feature's firing threshold is set (subjects/calibration.py). It is that of
   the whole corpus's first contexts, whichever shard is read, so that shards agree.
3. Every batch runs through the subject once, up to the last site, and at each site through its dictionary;
   what lies above the threshold goes, sparse, to that site's keeper (datastore/keeper.py).
4. Now and then the keepers and the place in the corpus are written down (subjects/checkpoint.py).

Memory is bounded by features times kept examples, whatever the number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exegete.datastore.evidence_writer import Slot
from exegete.datastore.keeper import Keeper
from exegete.datastore.keeper_state import absorb_state, slots_of
from exegete.datastore.kept import Firings
from exegete.datastore.memory import give_back
from exegete.datastore.records import Floats, Polarity
from exegete.datastore.shards import agree_thresholds, keeper_for, read_thresholds
from exegete.subjects.checkpoint import Checkpoints
from exegete.subjects.corpora import Corpus
from exegete.subjects.dictionaries import Dictionary
from exegete.subjects.encoder import Encoder
from exegete.subjects.reading import BEGINNING, Batch, Place, batches
from exegete.subjects.spec import WHOLE, HarvestSpec, Progress, Shard
from exegete.subjects.subject import Subject

if TYPE_CHECKING:
    import torch


@dataclass
class Strand:
    """One site with one dictionary, in a pass."""

    name: str
    """The harvest's."""
    parameters: dict[str, Any]
    spec: HarvestSpec
    encoder: Encoder
    indices: list[int]
    slots: list[Slot] = field(default_factory=list)
    keeper: Keeper = field(init=False)

    @staticmethod
    def begin(
        name: str, parameters: dict[str, Any], spec: HarvestSpec, dictionary: Dictionary, indices: list[int]
    ) -> Strand:
        """A strand that has seen nothing yet."""
        return Strand(name, parameters, spec, Encoder(dictionary, spec, indices), indices)

    @property
    def n_slots(self) -> int:
        """Features times sides."""
        return len(self.encoder.thresholds)

    def set_thresholds(self, thresholds: Floats) -> None:
        """Take thresholds as given, and make an empty keeper."""
        self.encoder.thresholds = thresholds
        sides: list[Polarity] = ["+", "-"] if self.spec.polarity == "both" else [self.spec.polarity]
        places = product(sides, self.indices)
        self.slots = [
            Slot(index, side, threshold)
            for (side, index), threshold in zip(places, thresholds.tolist(), strict=True)
        ]
        self.keeper = keeper_for(self.slots, self.parameters)


@dataclass
class Pass:
    """One reading of a corpus, or of a shard of it."""

    subject: Subject
    corpus: Corpus
    strands: list[Strand]
    checkpoints: Checkpoints
    shard: Shard = WHOLE
    on_progress: Callable[[Progress], None] = lambda _: None
    agreement: Path | None = None
    """The folder of evidence where shards agree on thresholds."""

    def run(self) -> None:
        """Read everything; the strands' keepers have seen it all then.

        Raises:
            SubjectError: activations are not finite.
            CorpusError: a text can't be read.
            WorkspaceError: a checkpoint can't be written.
        """
        start, n_sampled = self._resume(), 0
        if start is None:
            start, n_sampled = BEGINNING, self._calibrate()
        share, running = start.share, None
        # While a GPU runs one batch, what the last one fired is kept here and the next one is read.
        for item in chain(self._read(self.shard, start), (None,)):
            done, fired = None, list[Firings]()
            if running is not None:
                fired = self._firings(*running)
                done, running = running[0], None
            if isinstance(item, tuple):
                running = (item, None if n_sampled > 0 else self._activations(item))
                n_sampled -= 1
            if done is not None:
                for strand, firings in zip(self.strands, fired, strict=True):
                    strand.keeper.add(done, firings)
                tokens = self.strands[0].keeper.statistics.tokens
                self.on_progress(Progress("harvesting", tokens, self._expected(tokens, share)))
            if isinstance(item, Place):
                share = item.share
                give_back()
                if self.checkpoints.due:
                    self.checkpoints.write(item, [(s.slots, s.keeper) for s in self.strands])

    def _firings(self, batch: Batch, acts: dict[str, torch.Tensor] | None) -> list[Firings]:
        """What a batch fires, strand by strand, from its activations; None: as it was found in the sample."""
        if acts is None:
            return [strand.encoder.sampled_firings(batch) for strand in self.strands]
        return [strand.encoder.firings(batch, acts[strand.spec.site]) for strand in self.strands]

    def _activations(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Activations at every site, from one run of the model."""
        sites = list(dict.fromkeys(strand.spec.site for strand in self.strands))
        return self.subject.activations_at(sites, [context.token_ids for context in batch])

    def _read(self, shard: Shard, start: Place) -> Iterator[Batch | Place]:
        return batches(self.subject, self.corpus, self.strands[0].spec, shard, start)

    def _resume(self) -> Place | None:
        """Take up the latest checkpoint; the place it was written at, or None where there is none."""
        found = self.checkpoints.latest(len(self.strands))
        if found is None:
            return None
        place, states = found
        for strand, state in zip(self.strands, states, strict=True):
            strand.set_thresholds(_thresholds(slots_of(state)))
            absorb_state(strand.keeper, state)
        return place

    def _calibrate(self) -> int:
        """Set all thresholds; how many batches, from the first, need not be run again."""
        agreed: dict[int, Floats] = {}
        dense = [strand for strand in self.strands if strand.encoder.dense]
        if self.agreement is not None:
            read = ((s, read_thresholds(self.agreement, s.name, s.n_slots)) for s in dense)
            agreed = {id(strand): found for strand, found in read if found is not None}
        to_sample = [strand for strand in dense if id(strand) not in agreed]
        n_whole = self._sample(to_sample) if to_sample else 0
        for strand in to_sample:
            strand.encoder.settle()
            if self.agreement is not None:
                found = strand.encoder.thresholds
                agreed[id(strand)] = agree_thresholds(self.agreement, strand.name, found)
        for strand in self.strands:
            strand.set_thresholds(agreed.get(id(strand), strand.encoder.thresholds))
        return n_whole if len(to_sample) == len(self.strands) and self.agreement is None else 0

    def _sample(self, dense: list[Strand]) -> int:
        """Run the corpus's first contexts; how many batches were in the sample as wholes."""
        left, n_tokens, n_whole = dense[0].spec.calibration, 0, 0
        for batch in self._read(WHOLE, BEGINNING):
            if isinstance(batch, Place):
                continue
            if left <= 0:
                break
            n = min(left, len(batch))
            acts = self._activations(batch)
            for strand in dense:
                strand.encoder.sample(batch, acts[strand.spec.site], n)
            left -= n
            n_whole += n == len(batch)
            n_tokens += sum(len(c.token_ids) for c in batch[:n])
            self.on_progress(Progress("calibrating", n_tokens))
        return n_whole

    def _expected(self, tokens: int, share: float | None) -> int | None:
        """How many tokens there will be, from the budget or from how far the corpus has been read."""
        budget = self.strands[0].spec.tokens
        if share:
            length = int(tokens / share)
            return length if budget is None else min(length, budget // self.shard.of)
        return None if budget is None else budget // self.shard.of


def _thresholds(slots: Sequence[Slot]) -> Floats:
    return np.asarray([slot.threshold for slot in slots], dtype=np.float32)
