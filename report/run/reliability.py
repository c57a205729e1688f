"""How often labels of a stated confidence were right, before and after confidence was mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from exegete.agent.confidence import Source, known_labels
from exegete.datastore.store import Store
from exegete.scorers.calibration import Bin, held_out, reliability


@dataclass(frozen=True, slots=True)
class Curve:
    """The reliability of a run's confidence, by one source of truth."""

    source: Source
    raw: tuple[Bin, ...]
    """Before the map."""
    mapped: tuple[Bin, ...]
    """After it, each label mapped without its own tenth; empty where there is no map."""


def curves(store: Store, run: str, sources: Mapping[Source, bool]) -> list[Curve]:
    """Reliability curves of a run, one a source of truth that says something of its labels.

    Args:
        store: the labels file.
        run: the run.
        sources: what is known of its labels, and whether that was enough for a map.
    """
    found = []
    for source, has_map in sources.items():
        known = store.reading(lambda con, source=source: known_labels(con, run, source))  # type: ignore[misc]
        if known is None:
            continue
        mapped: tuple[Bin, ...] = ()
        if has_map:
            fair = held_out(known.confidence, known.right, known.folds)
            there = ~np.isnan(fair)
            mapped = tuple(reliability(fair[there], known.right[there]))
        found.append(Curve(source, tuple(reliability(known.confidence, known.right)), mapped))
    return found
