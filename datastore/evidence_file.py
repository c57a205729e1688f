"""The evidence file, opened: a harvest's features, examples, contexts and quiet pool, read by feature.

It gives rows, not evidence: which of them an explainer or a scorer sees, and how they are cut, is decided
in evidence.py.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from exegete.datastore.database import connect
from exegete.datastore.evidence_writer import Manifest, read_manifest
from exegete.datastore.quiet_pool import PreparedContext, QuietPool
from exegete.datastore.records import SPLITS, FeatureId, Floats, Polarity, Split, Unit
from exegete.datastore.words import join_units, unit_starts
from exegete.errors import SubjectError, WorkspaceDamaged

_CONTEXTS_REMEMBERED = 20_000
_FEATURES_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """What is known of a feature without reading an example."""

    feature: FeatureId
    density: float
    """Share of tokens that fire."""
    fired: int
    """Tokens that fired."""
    fired_contexts: dict[Split, int]
    maximum: float
    maximum_explain: float
    threshold: float
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """One kept pair, as stored."""

    context_id: int
    sampled: bool
    """Whether the uniform sample drew it (the top contexts are kept whether or not it did)."""
    positions: NDArray[np.uint16]
    values: Floats


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything stored of one feature."""

    examples: dict[Split, list[Example]]
    """Strongest first."""
    loud: frozenset[int]
    """Ids of contexts in which the feature is known to fire: the pool's, and its own examples."""


class EvidenceFile:
    """One harvest's evidence, read-only; any number of processes may have it open."""

    def __init__(self, path: Path) -> None:
        """Open an evidence file.

        Args:
            path: `evidence/NAME.duckdb`, with its manifest beside it.

        Raises:
            WorkspaceError: no manifest, a newer format.
            WorkspaceDamaged: DuckDB can't read the file.
        """
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        self.parameters: dict[str, Any] = self.manifest.parameters
        with self._intact(), ExitStack() as stack:
            self._con = stack.enter_context(connect(path, read_only=True))
            self.contexts_by_split = self._load_meta()
            self._summaries = self._load_summaries()
            stack.pop_all()  # opened whole: from here on `close` closes it
        self.seed = int(self.parameters["seed"])
        self.k_top = int(self.parameters["top"])
        """Contexts kept by strength, for each feature and split."""
        self._prepared: OrderedDict[tuple[int, Unit], PreparedContext] = OrderedDict()
        self._rows: OrderedDict[tuple[int, Polarity], Rows] = OrderedDict()
        self._pools: dict[tuple[Split, Unit], QuietPool] = {}

    @property
    def name(self) -> str:
        """The harvest's name."""
        return self.manifest.name

    @property
    def features(self) -> list[FeatureId]:
        """All features, in order."""
        return [s.feature for s in self._summaries.values()]

    @property
    def tokens(self) -> int:
        """Tokens the harvest saw."""
        return self._tokens

    def summary(self, feature: FeatureId) -> FeatureSummary:
        """What is known of a feature at a glance.

        Raises:
            SubjectError: the harvest has no such feature.
        """
        found = self._summaries.get((feature.index, feature.polarity))
        if found is None:
            raise SubjectError(
                f"feature {feature} is not in harvest {self.name}: it has {self.range_in_words()}"
            )
        return found

    def range_in_words(self) -> str:
        """Which features there are, for messages."""
        indices = [index for index, _ in self._summaries]
        return f"{len(self._summaries)} features between {min(indices)} and {max(indices)}"

    def feature(self, index: int, polarity: Polarity = "+") -> FeatureId:
        """The identity of one of the harvest's features.

        Raises:
            SubjectError: the harvest has no such feature.
        """
        p = self.parameters
        return self.summary(FeatureId(p["subject"], p["site"], p["dictionary"], index, polarity)).feature

    def prefetch(self, features: Sequence[FeatureId]) -> None:
        """Read the rows of many features in one query; worth it for a few dozen at a time.

        Raises:
            WorkspaceDamaged: DuckDB can't read them.
        """
        wanted = {(f.index, f.polarity) for f in features} - set(self._rows)
        if not wanted:
            return
        indices = sorted({index for index, _ in wanted})
        where = "feature_index IN (SELECT unnest(?::INTEGER[]))"
        if indices[-1] - indices[0] + 1 == len(indices):
            where = f"feature_index BETWEEN {indices[0]} AND {indices[-1]} AND len(?) > 0"
        with self._intact():
            examples = self._con.execute(
                "SELECT feature_index, polarity, split, context_id, sampled, positions, activations "
                f"FROM examples WHERE {where} ORDER BY feature_index, polarity, split, rank",
                [indices],
            ).fetchnumpy()
            loud = self._con.execute(
                f"SELECT feature_index, polarity, context_id FROM quiet_activations WHERE {where}", [indices]
            ).fetchall()
        by_feature: dict[tuple[int, Polarity], dict[Split, list[Example]]] = {}
        for i, (index, polarity) in enumerate(
            zip(examples["feature_index"].tolist(), examples["polarity"].tolist(), strict=True)
        ):
            by_split = by_feature.setdefault((index, polarity), {})
            by_split.setdefault(examples["split"][i], []).append(
                Example(
                    int(examples["context_id"][i]),
                    bool(examples["sampled"][i]),
                    np.asarray(examples["positions"][i], dtype=np.uint16),
                    np.asarray(examples["activations"][i], dtype=np.float32),
                )
            )
        loud_of: dict[tuple[int, Polarity], set[int]] = {}
        for index, polarity, context_id in loud:
            loud_of.setdefault((index, polarity), set()).add(context_id)
        # A duplicate may have fired where the pool's copy, just below the threshold, did not.
        for key, by_split in by_feature.items():
            loud_of.setdefault(key, set()).update(e.context_id for own in by_split.values() for e in own)
        for key in wanted:
            self._rows[key] = Rows(by_feature.get(key, {}), frozenset(loud_of.get(key, ())))
        while len(self._rows) > max(_FEATURES_REMEMBERED, len(wanted)):
            self._rows.popitem(last=False)

    def close(self) -> None:
        """Close the file."""
        self._con.close()

    def rows(self, feature: FeatureId) -> Rows:
        """Everything stored of one feature.

        Raises:
            SubjectError: the harvest has no such feature.
            WorkspaceDamaged: DuckDB can't read it.
        """
        self.summary(feature)
        self.prefetch([feature])
        return self._rows[(feature.index, feature.polarity)]

    def pool(self, split: Split, unit: Unit) -> QuietPool:
        """The quiet pool of one split."""
        if (split, unit) not in self._pools:
            with self._intact():
                rows = self._con.execute(
                    "SELECT context_id, document, tokens FROM contexts "
                    "WHERE quiet AND split = ? ORDER BY context_id",
                    [split],
                ).fetchall()
            self._pools[(split, unit)] = QuietPool(tuple(_prepare(row, unit) for row in rows))
        return self._pools[(split, unit)]

    def prepared(self, ids: Sequence[int], unit: Unit) -> list[PreparedContext]:
        """Contexts by id, in the order asked for, cut into units; the recently used ones are remembered."""
        missing = list({i for i in ids if (i, unit) not in self._prepared})
        if missing:
            with self._intact():
                rows = self._con.execute(
                    "SELECT context_id, document, tokens FROM contexts "
                    "WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
                    [missing],
                ).fetchall()
            for row in rows:
                self._prepared[(row[0], unit)] = _prepare(row, unit)
        for i in ids:
            self._prepared.move_to_end((i, unit))
        found = [self._prepared[(i, unit)] for i in ids]
        while len(self._prepared) > _CONTEXTS_REMEMBERED:
            self._prepared.popitem(last=False)
        return found

    @contextmanager
    def _intact(self) -> Iterator[None]:
        """Damage shows only when a block is read: whatever DuckDB complains of meanwhile is one."""
        try:
            yield
        except duckdb.Error as error:
            raise WorkspaceDamaged(
                f"the evidence file {self.path.name} can't be read ({str(error).splitlines()[0]}): "
                "delete it and its .json and harvest again; labels made from it are kept"
            ) from error

    def _load_meta(self) -> dict[Split, int]:
        meta = dict(self._con.execute("SELECT key, value FROM meta").fetchall())
        self._tokens = int(meta["tokens"])
        return dict(zip(SPLITS, json.loads(meta["contexts"]), strict=True))

    def _load_summaries(self) -> dict[tuple[int, Polarity], FeatureSummary]:
        p = self.parameters
        rows = self._con.execute(
            "SELECT feature_index, polarity, density, fired, maximum, maximum_explain, threshold, metadata, "
            + ", ".join(f"fired_contexts_{split}" for split in SPLITS)
            + " FROM features ORDER BY feature_index, polarity"
        ).fetchall()
        summaries: dict[tuple[int, Polarity], FeatureSummary] = {}
        for index, polarity, density, fired, maximum, explain, threshold, metadata, *by_split in rows:
            summaries[(index, polarity)] = FeatureSummary(
                FeatureId(p["subject"], p["site"], p["dictionary"], index, polarity),
                density,
                fired,
                dict(zip(SPLITS, by_split, strict=True)),
                maximum,
                explain,
                threshold,
                json.loads(metadata) if metadata else {},
            )
        return summaries


def _prepare(row: tuple[int, str, list[str]], unit: Unit) -> PreparedContext:
    context_id, document, tokens = row
    starts = unit_starts(tokens, unit)
    return PreparedContext(context_id, document, len(tokens), starts, join_units(tokens, starts))
