"""What every import has in common: its sizes, the name of its evidence file, its keeper.

An import's parameters have four more keys where they apply:

    split_by: "context"      there are no document names, so contexts are dealt to splits one by one
    silence: "presumed"      a feature counts as silent wherever the source does not list it
    weights: "unknown"       the source does not say how its examples were drawn from its corpus
    caveats                  what a person should know of this evidence, a sentence each
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exegete.datastore.evidence_writer import FORMAT, Slot
from exegete.datastore.keeper import Keeper
from exegete.datastore.splits import SHARES


@dataclass(frozen=True, slots=True)
class ImportSpec:
    """What is said about imported activations, and how much of them to keep."""

    subject: str = "imported"
    site: str = "imported"
    dictionary: str = "imported"
    top: int = 20
    sample: int = 200
    quiet: int = 2000
    seed: int = 0


BY_CONTEXT = (
    "documents are not named, so contexts were dealt to splits by their text: "
    "parts of one document may stand on both sides"
)
"""The caveat of an import whose source does not say which contexts belong together."""


def parameters_of(
    source: Path, spec: ImportSpec, files: Iterable[Path], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that decides what an import's evidence is.

    Args:
        source: the folder it comes from.
        spec: names and sizes.
        files: what is read; a digest of their bytes is part of the parameters.
        more: further parameters, which go before those of the same name.
    """
    return {
        "kind": "import",
        "source": source.resolve().name,
        "fingerprint": _fingerprint(files),
        "corpus": source.resolve().name,
        "layer": None,
        "shares": list(SHARES),
        "format": FORMAT,
        **{name: getattr(spec, name) for name in ImportSpec.__slots__},
        **more,
    }


def evidence_path(folder: Path, name: str, parameters: Mapping[str, Any]) -> Path:
    """Where the evidence of an import goes: named after its source and a digest of its parameters."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    stem = "".join(ch if ch.isalnum() or ch in "-_." else "-" for ch in name).lower()[:80].lstrip(".")
    return folder / f"{stem}-{digest}.duckdb"


def is_made(path: Path) -> bool:
    """Whether an evidence file stands there, whole."""
    return path.exists() and path.with_suffix(".json").exists()


def new_keeper(slots: Sequence[Slot], spec: ImportSpec) -> Keeper:
    """A keeper of an import's features; the same feature is sampled alike in every import."""
    keys = np.asarray([slot.index * 2 for slot in slots], dtype=np.int64)
    a, b, c = (max(1, round(spec.sample * share)) for share in SHARES)
    d, e, f = (max(1, round(spec.quiet * share)) for share in SHARES)
    return Keeper(len(slots), keys, spec.top, (a, b, c), (d, e, f), spec.seed)


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
