"""From a corpus to evidence: whole, several sites at once, or in shards that are merged later.

A harvest's name is its subject, site and dictionary and a digest of every parameter, so the same harvest is
never made twice, and its shards, its checkpoints and its evidence file find each other. The pass itself is
in subjects/streaming.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exegete.datastore.evidence_writer import write_evidence
from exegete.datastore.manifest import FORMAT, Manifest, note_source
from exegete.datastore.shards import check_enough, shard_folder, write_shard
from exegete.datastore.splits import SHARES
from exegete.errors import JobError, SubjectError, UsageError
from exegete.subjects.checkpoint import EVERY, Checkpoints
from exegete.subjects.corpora import Corpus
from exegete.subjects.dictionaries import Dictionary, absolute, open_dictionary
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.spec import WHOLE, HarvestSpec, Progress, Shard
from exegete.subjects.streaming import Pass, Strand

MAX_CONTEXT = 65_535
"""Positions are kept in 16 bits."""

_OWN = ("site", "features", "dictionary")
"""Parameters in which harvests of one pass may differ."""

OnProgress = Callable[[Progress], None]


def harvest(
    subject: HuggingFaceSubject,
    corpus: Corpus,
    spec: HarvestSpec,
    folder: Path,
    on_progress: OnProgress = lambda _: None,
    checkpoint_every: float = EVERY,
) -> tuple[Manifest, bool]:
    """Harvest evidence, or find that the same harvest is already there. See `harvest_all`."""
    return harvest_all(subject, corpus, [spec], folder, on_progress, checkpoint_every)[0]


def harvest_all(
    subject: HuggingFaceSubject,
    corpus: Corpus,
    specs: Sequence[HarvestSpec],
    folder: Path,
    on_progress: OnProgress = lambda _: None,
    checkpoint_every: float = EVERY,
) -> list[tuple[Manifest, bool]]:
    """Harvest evidence of several sites and dictionaries in one pass of the model.

    A harvest that was killed goes on at its last checkpoint, and ends with the evidence of one that wasn't.

    Args:
        subject: the model under study.
        corpus: the text.
        specs: what to read and how much to keep; they may differ in site, features and dictionary only.
        folder: where evidence files stand.
        on_progress: called now and then.
        checkpoint_every: seconds between checkpoints.

    Returns:
        For each spec the harvest's manifest, and whether it was made now: those that are there are not made
        again.

    Raises:
        SubjectError: no such site or feature.
        CorpusError: too little text.
        WorkspaceError: the file can't be written.
    """
    strands = _strands(subject, corpus, specs)
    paths = {name: folder / f"{name}.duckdb" for name in strands}
    new = {
        n: s for n, s in strands.items() if not (paths[n].exists() and paths[n].with_suffix(".json").exists())
    }
    if new:
        checkpoints = _checkpoints(folder, list(new.values()), WHOLE, checkpoint_every)
        Pass(subject, corpus, list(new.values()), checkpoints, on_progress=on_progress).run()
        for strand in new.values():
            check_enough(strand.keeper, strand.parameters)
            on_progress(Progress("writing", strand.keeper.statistics.tokens))
            folder.mkdir(parents=True, exist_ok=True)
            write_evidence(paths[strand.name], strand.parameters, strand.slots, strand.keeper.finish())
        checkpoints.clear()
    # Also of those that were there: what was moved is found again by harvesting again.
    return [
        (note_source(paths[name], _source(subject, strand.spec)), name in new)
        for name, strand in strands.items()
    ]


def harvest_shard(
    subject: HuggingFaceSubject,
    corpus: Corpus,
    specs: Sequence[HarvestSpec],
    folder: Path,
    shard: Shard,
    on_progress: OnProgress = lambda _: None,
    checkpoint_every: float = EVERY,
) -> list[tuple[Path, bool]]:
    """Harvest one part of a corpus, to be merged with the others (datastore/shards.py).

    Args:
        shard: which part.
        subject, corpus, specs, folder, on_progress, checkpoint_every: as of `harvest_all`.

    Returns:
        For each spec the shard's folder, and whether it was made now.

    Raises:
        UsageError: there is no such part, or activations are to be shuffled.
        SubjectError, CorpusError, WorkspaceError: as `harvest_all`.
    """
    if not 0 <= shard.number < shard.of:
        raise UsageError(
            f"there is no shard {shard.number}/{shard.of}: they are 0/{shard.of} to {shard.of - 1}/{shard.of}"
        )
    if any(spec.shuffle for spec in specs):
        raise UsageError("shuffled activations can't be harvested in shards: run it whole, on fewer tokens")
    strands = _strands(subject, corpus, specs)
    paths = {name: shard_folder(folder, name, shard.number, shard.of) for name in strands}
    new = {name: strand for name, strand in strands.items() if not paths[name].exists()}
    if new:
        checkpoints = _checkpoints(folder, list(new.values()), shard, checkpoint_every)
        Pass(subject, corpus, list(new.values()), checkpoints, shard, on_progress, folder).run()
        for name, strand in new.items():
            on_progress(Progress("writing", strand.keeper.statistics.tokens))
            part = (shard.number, shard.of)
            source = _source(subject, strand.spec)
            write_shard(paths[name], name, strand.parameters, part, strand.slots, strand.keeper, source)
        checkpoints.clear()
    return [(paths[name], name in new) for name in strands]


def _strands(subject: HuggingFaceSubject, corpus: Corpus, specs: Sequence[HarvestSpec]) -> dict[str, Strand]:
    """A strand for every spec, by the harvest's name."""
    shared = [{k: v for k, v in asdict(spec).items() if k not in _OWN} for spec in specs]
    if any(values != shared[0] for values in shared):
        raise JobError("harvests of one pass differ in site, features and dictionary only: run them apart")
    longest = min(subject.max_context, MAX_CONTEXT)
    context = specs[0].context
    if context <= subject.n_special or context > longest:
        raise UsageError(
            f"--context {context} does not fit: {subject.name} takes {subject.n_special + 1} to "
            f"{longest} tokens"
        )
    fingerprint = corpus.fingerprint()
    strands: dict[str, Strand] = {}
    for spec in specs:
        dictionary = open_dictionary(spec.dictionary, subject.width(spec.site))
        parameters = _parameters(subject, corpus.name, fingerprint, spec, dictionary)
        name = _name(parameters)
        if name in strands:
            raise UsageError(f"site {spec.site!r} is asked for twice with the same dictionary: name it once")
        strands[name] = Strand.begin(name, parameters, spec, dictionary, _wanted(spec, dictionary))
    return strands


def _checkpoints(folder: Path, strands: Sequence[Strand], shard: Shard, every: float) -> Checkpoints:
    about = {
        "harvests": {strand.name: strand.parameters for strand in strands},
        "shard": shard.number,
        "of": shard.of,
    }
    return Checkpoints(folder, about, every)


def _wanted(spec: HarvestSpec, dictionary: Dictionary) -> list[int]:
    if dictionary.sparse and spec.polarity != "+":
        raise UsageError(f"the features of {spec.dictionary} have one side: leave --polarity at +")
    if spec.features is None:
        return list(range(dictionary.n_features))
    beyond = [i for i in spec.features if not 0 <= i < dictionary.n_features]
    if beyond:
        raise SubjectError(
            f"feature {beyond[0]} is out of range: {spec.dictionary} at {spec.site} has features 0 to "
            f"{dictionary.n_features - 1}"
        )
    return sorted(set(spec.features))


def _parameters(
    subject: HuggingFaceSubject, corpus: str, fingerprint: str, spec: HarvestSpec, dictionary: Dictionary
) -> dict[str, Any]:
    """What a harvest was run with, as JSON values."""
    values = asdict(spec)
    values["features"] = None if spec.features is None else list(spec.features)
    values["dictionary"] = dictionary.name
    return {
        "kind": "harvest",
        "subject": subject.name,
        "dtype": subject.dtype,
        "layer": subject.site(spec.site).layer,
        "corpus": corpus,
        "corpus_fingerprint": fingerprint,
        "shares": list(SHARES),
        "format": FORMAT,
        **values,
    }


def _source(subject: HuggingFaceSubject, spec: HarvestSpec) -> dict[str, str | None]:
    """Where the subject and the dictionary were loaded from."""
    return {"subject": subject.source, "dictionary": absolute(spec.dictionary)}


def _name(parameters: dict[str, Any]) -> str:
    """A name a person can recognise, that changes with any parameter."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    subject, dictionary = (
        str(parameters[key]).rstrip("/").rsplit("/", 1)[-1].split("@")[0] for key in ("subject", "dictionary")
    )
    words = f"{subject}-{parameters['site']}-{dictionary}"
    return "".join(ch if ch.isalnum() or ch in "-._" else "-" for ch in words).lower() + "-" + digest
