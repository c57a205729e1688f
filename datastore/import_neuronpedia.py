"""Neuronpedia's exports become evidence, and the explanations in them labels to be compared with.

An export has, of each feature, the excerpts on which it is strongest and some from intervals of its
activation, and nothing of where else it fires. So:

1. Excerpts are gathered by their text (neuronpedia_export.py).
2. Contexts are dealt to splits by their text, as no document is named.
3. The quiet pool is drawn from all contexts. A feature counts as silent in those it is not listed with,
   which is presumed and not known.
4. Density is what the export says (`frac_nonzero`), where it says how many tokens that is a share of.
5. Explanations go into the features' metadata (import_labels.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np

from exegete.datastore.database import connect
from exegete.datastore.evidence_writer import Manifest, Slot, read_manifest, write_evidence
from exegete.datastore.import_tables import keep_tables
from exegete.datastore.import_target import BY_CONTEXT, ImportSpec, evidence_path, is_made, parameters_of
from exegete.datastore.kept import Kept
from exegete.datastore.neuronpedia_export import Export, read_export
from exegete.datastore.neuronpedia_rows import batches, find_source, read_lines
from exegete.errors import WorkspaceError

_KINDS = ("features", "activations", "explanations")


def import_neuronpedia(
    folder: Path,
    spec: ImportSpec,
    evidence: Path,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[Manifest, bool]:
    """Import one source of a Neuronpedia export.

    Args:
        folder: `{modelId}/{sourceId}`, or a folder that holds only that.
        spec: sizes; its names are taken from the export instead.
        evidence: where evidence files stand.
        on_progress: told the number of excerpts read so far.

    Returns:
        The manifest, and whether it was made now. Its `caveats` say what is not known of this evidence.

    Raises:
        FormatError: a file is missing, damaged, or says what can't be.
        WorkspaceError: the evidence file can't be written.
    """
    source = find_source(folder)
    files = [source / "source.jsonl", *(path for kind in _KINDS for path in batches(source, kind))]
    known = _facts(source)
    name = known["id"]
    names = replace(spec, subject=known["modelId"], site=name, dictionary=name)
    more = {
        "layout": "neuronpedia",
        "layer": _layer(name),
        "corpus": known.get("dataset") or "unknown",
        "split_by": "context",
        "silence": "presumed",
        "weights": "unknown",
    }
    parameters = parameters_of(source, names, files, more)
    path = evidence_path(evidence, f"{names.subject}-{name}", parameters)
    if is_made(path):
        return read_manifest(path), False
    evidence.mkdir(parents=True, exist_ok=True)
    export = Export(source, known)
    slots, kept = _kept(export, names, evidence, on_progress)
    dense = _correct_density(export, slots, kept)
    found = {"site": export.site or name, "caveats": _caveats(export, kept, dense=dense)}
    return write_evidence(path, parameters | found, slots, kept), True


def _kept(
    export: Export, spec: ImportSpec, evidence: Path, on_progress: Callable[[int], None]
) -> tuple[list[Slot], Kept]:
    """Read an export into a scratch database beside the evidence, and keep what is wanted of it."""
    try:
        with (
            TemporaryDirectory(prefix=".importing-", dir=evidence) as scratch,
            connect(Path(scratch) / "scratch.duckdb", read_only=False) as con,
        ):
            read_export(con, export, on_progress)
            slots = [Slot(i, "+", 0.0, f.metadata()) for i, f in sorted(export.features.items())]
            return slots, keep_tables(con, slots, spec, lambda _: None)
    except duckdb.Error as error:
        raise WorkspaceError(
            f"the import could not be prepared in {evidence} ({str(error).splitlines()[0]}): make room and "
            "run the command again"
        ) from error


def _facts(source: Path) -> dict[str, Any]:
    """What source.jsonl says; the names of the folders where it says nothing."""
    path = source / "source.jsonl"
    line = next(read_lines(path), None) if path.exists() else None
    found: dict[str, Any] = {"id": source.resolve().name, "modelId": source.resolve().parent.name}
    if line is None:
        return found
    for key in ("id", "modelId", "dataset"):
        found[key] = line.text(key) or found.get(key)
    for key in ("num_prompts", "num_tokens_in_prompt"):
        found[key] = line.number_of(key)
    return found


def _layer(source_id: str) -> int | None:
    """The layer that a source's name begins with, as in "20-gemmascope-res-16k"."""
    found = re.match(r"(\d{1,4})-", source_id)
    return int(found[1]) if found else None


def _correct_density(export: Export, slots: Sequence[Slot], kept: Kept) -> bool:
    """Count firing tokens in the corpus of the export, not among its excerpts, which were chosen for firing.

    Returns:
        Whether the export says enough for that.
    """
    tokens = (export.source.get("num_prompts") or 0) * (export.source.get("num_tokens_in_prompt") or 0)
    shares = [export.features[slot.index].record.get("frac_nonzero") for slot in slots]
    if not kept.statistics.tokens <= tokens < 2**53 or None in shares:
        return False
    # frac_nonzero is rounded: what was seen to fire has fired.
    fired = np.rint(np.asarray(shares, dtype=np.float64) * tokens).astype(np.int64)
    kept.statistics.fired[:] = np.maximum(fired, kept.statistics.fired)
    kept.statistics.tokens = round(tokens)
    return True


def _caveats(export: Export, kept: Kept, *, dense: bool) -> list[str]:
    """What a person should know of this evidence.

    Args:
        export: what was read.
        kept: what was kept of it.
        dense: whether densities are those of the corpus.
    """
    found = [
        _presumed(export, kept),
        "examples are the strongest and some of each interval of activation, so what they weigh in the "
        "corpus is unknown, and a decile is one of the examples",
        BY_CONTEXT,
    ]
    if not dense:
        found.append(
            "densities are shares of these excerpts, which were chosen for firing, and not of a corpus"
        )
    labels = sum(len(feature.labels) for feature in export.features.values())
    if labels:
        found.append(
            f"{labels:,} labels came with it; their authors may have seen any of these contexts, those of "
            "the report split too, so their scores lean their way"
        )
    if export.orphans:
        found.append(f"{export.orphans:,} labels that are empty, or of features not in it, were left out")
    return found


def _presumed(export: Export, kept: Kept) -> str:
    """How silence was come by, and how often it may be wrong: P(fires in a context) <= density x length."""
    sentence = (
        "a feature is presumed silent in contexts that are not listed under it: nothing in the files says so"
    )
    shares = [f.record["frac_nonzero"] for f in export.features.values() if "frac_nonzero" in f.record]
    if not shares or not kept.contexts:
        return sentence
    length = float(np.median([len(context.tokens) for context in kept.contexts.values()]))
    density = float(np.median(shares))
    most = min(1.0, density * length)
    often = f"one of median density, {density:.2g}, fires in up to {most:.0%} of contexts drawn at random"
    return f"{sentence} ({often})"
