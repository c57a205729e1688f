"""From a corpus to evidence, in one streaming pass.

1. Documents are cut between words into contexts of a fixed number of tokens, or few less; a context's id is
   a digest of its tokens.
2. On a first sample, each dense feature's firing threshold is set to a high quantile of its activations
   (a GELU neuron is never exactly 0); a sparse feature's threshold is 0. It is recorded.
3. Every batch runs through the subject up to the site, through the dictionary, and what lies above the
   threshold goes, sparse, to the keeper (datastore/keeper.py), which decides what is kept.
4. What was kept is written to an evidence file, which appears only when it is whole.

Memory is bounded by features times kept examples, whatever the number of tokens.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from exegete.datastore.evidence_writer import FORMAT, Manifest, Slot, read_manifest, write_evidence
from exegete.datastore.hashing import digest64
from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import KeptContext
from exegete.datastore.records import SPLITS, Polarity
from exegete.datastore.splits import SHARES, split_of
from exegete.datastore.words import unit_starts
from exegete.errors import CorpusError, SubjectError, UsageError
from exegete.subjects.corpora import Corpus
from exegete.subjects.dictionaries import Dictionary, open_dictionary
from exegete.subjects.encoder import Encoder, batched
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.spec import HarvestSpec, Progress

MAX_CONTEXT = 65_535
"""Positions are kept in 16 bits."""


def harvest(
    subject: HuggingFaceSubject,
    corpus: Corpus,
    spec: HarvestSpec,
    folder: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[Manifest, bool]:
    """Harvest evidence, or find that the same harvest is already there.

    Args:
        subject: the model under study.
        corpus: the text.
        spec: what to read and how much to keep.
        folder: where evidence files stand.
        on_progress: called now and then.

    Returns:
        The harvest's manifest, and whether it was made now.

    Raises:
        SubjectError: no such site or feature.
        CorpusError: too little text.
        WorkspaceError: the file can't be written.
    """
    parameters = _parameters(subject, corpus, spec)
    path = folder / f"{_name(parameters)}.duckdb"
    if path.exists() and path.with_suffix(".json").exists():
        return read_manifest(path), False
    dictionary = open_dictionary(spec.dictionary, subject.width(spec.site))
    indices = _wanted(spec, dictionary)
    longest = min(subject.max_context, MAX_CONTEXT)
    if spec.context <= subject.n_special or spec.context > longest:
        raise UsageError(
            f"--context {spec.context} does not fit: {subject.name} takes {subject.n_special + 1} to "
            f"{longest} tokens"
        )
    encoder = Encoder(subject, dictionary, spec, indices)
    encoder.calibrate(itertools.islice(contexts(subject, corpus, spec), spec.calibration), on_progress)
    sides: list[Polarity] = ["+", "-"] if spec.polarity == "both" else [spec.polarity]
    slots = [
        Slot(index, side, float(threshold))
        for (side, index), threshold in zip(
            itertools.product(sides, indices), encoder.thresholds.tolist(), strict=True
        )
    ]
    keeper = make_keeper(slots, spec)
    for batch in batched(contexts(subject, corpus, spec), spec.batch):
        keeper.add(batch, encoder.firings(batch))
        on_progress(Progress("harvesting", keeper.statistics.tokens))
    _check_enough(keeper, corpus, spec)
    on_progress(Progress("writing", keeper.statistics.tokens))
    folder.mkdir(parents=True, exist_ok=True)
    return write_evidence(path, parameters, slots, keeper.finish()), True


def make_keeper(slots: Sequence[Slot], spec: HarvestSpec) -> Keeper:
    """A keeper for these slots with the spec's sizes."""
    keys = np.asarray([s.index * 2 + (s.polarity == "-") for s in slots], dtype=np.int64)
    k_sample = tuple(max(1, round(spec.sample * share)) for share in SHARES)
    k_quiet = tuple(max(1, round(spec.quiet * share)) for share in SHARES)
    return Keeper(
        len(slots),
        keys,
        spec.top,
        (k_sample[0], k_sample[1], k_sample[2]),
        (k_quiet[0], k_quiet[1], k_quiet[2]),
        spec.seed,
    )


def contexts(subject: HuggingFaceSubject, corpus: Corpus, spec: HarvestSpec) -> Iterator[KeptContext]:
    """Cut documents into contexts.

    A context ends where a word ends, so that no half word is ever shown; only a word longer than a context
    is cut. The last context of a document is kept when it fills at least a quarter; shorter ones are dropped.

    Yields:
        Contexts in corpus order, until the token budget is spent.
    """
    length = spec.context - subject.n_special
    left = spec.tokens if spec.tokens is not None else 1 << 62
    for document in corpus.documents():
        tokens = subject.tokenise(document.text)
        split = SPLITS.index(split_of(document.name, spec.seed))
        for start, end in windows(unit_starts(tokens.display, "word").tolist(), len(tokens.ids), length):
            if (end - start) * 4 < length:
                continue
            if left <= 0:
                return
            left -= end - start
            ids = tokens.ids[start:end].copy()  # a view would keep the whole document alive
            text = "\x1f".join(piece.replace("\x1f", " ") for piece in tokens.display[start:end])
            yield KeptContext(digest64(ids.tobytes()), split, document.name, start, ids, text)


def windows(starts: Sequence[int], n_tokens: int, length: int) -> Iterator[tuple[int, int]]:
    """Consecutive windows of at most `length` tokens that begin and end between words.

    Args:
        starts: positions at which words start, increasing.
        n_tokens: tokens of the document.
        length: tokens a window may have.

    Yields:
        (start, end) of each window; together they are the document.
    """
    start = 0
    while start < n_tokens:
        end = start + length
        if end < n_tokens:
            word = starts[bisect_right(starts, end) - 1]
            end = word if word > start else end
        yield start, min(end, n_tokens)
        start = end


def _wanted(spec: HarvestSpec, dictionary: Dictionary) -> list[int]:
    if spec.features is None:
        return list(range(dictionary.n_features))
    beyond = [i for i in spec.features if not 0 <= i < dictionary.n_features]
    if beyond:
        raise SubjectError(
            f"feature {beyond[0]} is out of range: {spec.dictionary} at {spec.site} has features 0 to "
            f"{dictionary.n_features - 1}"
        )
    return sorted(set(spec.features))


def _check_enough(keeper: Keeper, corpus: Corpus, spec: HarvestSpec) -> None:
    s = keeper.statistics
    if s.tokens < spec.context:
        raise CorpusError(
            f"the corpus {corpus.name} gave {s.tokens} tokens, less than one context of {spec.context}: "
            "give more text, or a smaller --context"
        )
    empty = [split for split, n in zip(SPLITS, s.contexts.tolist(), strict=True) if n == 0]
    if empty:
        raise CorpusError(
            f"the corpus {corpus.name} left the {' and '.join(empty)} split without text, because whole "
            "documents are dealt to splits and it has too few: give more documents, or another --seed"
        )


def _parameters(subject: HuggingFaceSubject, corpus: Corpus, spec: HarvestSpec) -> dict[str, Any]:
    """What a harvest was run with, as JSON values."""
    values = asdict(spec)
    values["features"] = None if spec.features is None else list(spec.features)
    site = subject.site(spec.site)
    return {
        "kind": "harvest",
        "subject": subject.name,
        "layer": site.layer,
        "corpus": corpus.name,
        "corpus_fingerprint": corpus.fingerprint(),
        "shares": list(SHARES),
        "format": FORMAT,
        **values,
    }


def _name(parameters: dict[str, Any]) -> str:
    """A name a person can recognise, that changes with any parameter."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    subject = str(parameters["subject"]).rsplit("/", 1)[-1].split("@")[0]
    words = f"{subject}-{parameters['site']}-{parameters['dictionary']}"
    return "".join(ch if ch.isalnum() or ch in "-._" else "-" for ch in words).lower() + "-" + digest
