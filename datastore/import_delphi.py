"""delphi's activation caches become evidence.

A cache has every activation of its features on every row, so silence in it is known. It names no documents:
rows are contexts, dealt to splits by a digest of their tokens, so that equal rows are on one side. Features
that never fire in it are not imported, as nothing says whether they were cached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.delphi_cache import Cache, cache_files, find_cache, open_cache, read_config
from exegete.datastore.evidence_writer import Manifest, Slot, read_manifest, write_evidence
from exegete.datastore.hashing import digest64
from exegete.datastore.import_target import (
    BY_CONTEXT,
    ImportSpec,
    evidence_path,
    is_made,
    new_keeper,
    parameters_of,
)
from exegete.datastore.kept import Firings, Kept, KeptContext
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of

THRESHOLD = 1e-5
"""Activations at or below it are not cached."""
_ROWS = 64
"""Contexts handled at a time."""


class TokenTexts(Protocol):
    """What knows the text of a tokenizer's tokens."""

    @property
    def name(self) -> str:
        """The tokenizer, with a digest."""

    def texts(self, ids: NDArray[np.int64]) -> list[str]:
        """The text of each token of a context, with its leading space.

        Raises:
            FormatError: the tokenizer has no such id.
        """


def cached_model(folder: Path) -> str | None:
    """The model whose activations are cached, as config.json has it.

    Raises:
        FormatError: there is no cache, or its config can't be read.
    """
    name = read_config(find_cache(folder)).get("model_name")
    return name if isinstance(name, str) and name else None


def import_delphi(
    folder: Path,
    spec: ImportSpec,
    tokens: TokenTexts,
    evidence: Path,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[Manifest, bool]:
    """Import the cache of one hook.

    Args:
        folder: the hook's folder, or one that holds only that.
        spec: the dictionary's name and sizes; subject and site are the cache's own.
        tokens: gives token ids their text.
        evidence: where evidence files stand.
        on_progress: told the number of rows read so far.

    Returns:
        The manifest, and whether it was made now.

    Raises:
        FormatError: a file is missing or damaged, or says what can't be.
        WorkspaceError: the evidence file can't be written.
    """
    source = find_cache(folder)
    config = read_config(source)
    site = source.resolve().name
    names = replace(spec, subject=cached_model(source) or spec.subject, site=site)
    more = {
        "layout": "delphi",
        "layer": _layer(site),
        "corpus": str(config.get("dataset_repo", "unknown")),
        "tokenizer": tokens.name,
        "split_by": "context",
        "cache": config,
        "caveats": [BY_CONTEXT],
    }
    parameters = parameters_of(source, names, cache_files(source), more)
    path = evidence_path(evidence, f"{names.subject.rsplit('/', 1)[-1]}-{site}", parameters)
    if is_made(path):
        return read_manifest(path), False
    cache = open_cache(source)
    slots = [Slot(i, "+", THRESHOLD) for i in cache.features.tolist()]
    kept = _keep(cache, slots, names, tokens, on_progress)
    evidence.mkdir(parents=True, exist_ok=True)
    return write_evidence(path, parameters, slots, kept), True


def _keep(
    cache: Cache,
    slots: Sequence[Slot],
    spec: ImportSpec,
    tokens: TokenTexts,
    on_progress: Callable[[int], None],
) -> Kept:
    keeper = new_keeper(slots, spec)
    indices = np.asarray([slot.index for slot in slots], dtype=np.int64)
    for first, batch in _contexts(cache, spec.seed, tokens):
        found = cache.entries(first, first + len(batch))
        slot = np.searchsorted(indices, found.feature)
        keeper.add(batch, Firings(slot, found.row - first, found.position, found.value))
        on_progress(first + len(batch))
    return keeper.finish()


def _contexts(cache: Cache, seed: int, tokens: TokenTexts) -> Iterator[tuple[int, list[KeptContext]]]:
    """Some rows at a time, with the number of the first."""
    for first in range(0, len(cache.tokens), _ROWS):
        batch = []
        for number, ids in enumerate(cache.tokens[first : first + _ROWS], start=first):
            text = "\x1f".join(piece.replace("\x1f", " ") for piece in tokens.texts(ids))
            small = ids.astype(np.int32)
            id_ = digest64(small.tobytes())
            split = SPLITS.index(split_of(f"{id_:016x}", seed))
            batch.append(KeptContext(id_, split, f"row {number}", 0, small, text))
        yield first, batch


def _layer(hook: str) -> int | None:
    """The layer in a hook's name, as in "layers.10.mlp"."""
    found = re.search(r"(?:^|[._])(\d{1,4})(?:[._]|$)", hook)
    return int(found[1]) if found else None
