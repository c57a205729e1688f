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
from exegete.datastore.evidence_contexts import REMEMBERED, ContextReader
from exegete.datastore.evidence_rows import Key, Rows, read_rows
from exegete.datastore.evidence_writer import Manifest, read_manifest
from exegete.datastore.neighbours import Firing, Neighbours
from exegete.datastore.quiet_pool import QuietPool
from exegete.datastore.records import SPLITS, FeatureId, Polarity, Split, Unit
from exegete.datastore.strip import Ints, PreparedContext, Strip
from exegete.errors import SubjectError, WorkspaceDamaged

_FEATURES_REMEMBERED = 2048
TOKENS_AHEAD = 4_000_000
"""Tokens of a file's contexts up to which all of them are read ahead: some 70 MB."""
"""Features whose rows are remembered: more than a job has under way and has read ahead."""


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
        self.weighted = self.parameters.get("weights") != "unknown"
        """Whether it is known how likely each kept context was to be kept."""
        self.silence_known = self.parameters.get("silence") != "presumed"
        """Whether a feature is known to be silent where it is not listed."""
        self._contexts = ContextReader(self._con)
        self._rows: OrderedDict[Key, Rows] = OrderedDict()
        self._pools: dict[tuple[Split, Unit], QuietPool] = {}
        self._neighbours = Neighbours(self._con, len(self._summaries))

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
        wanted = {(f.index, f.polarity) for f in features} - self._rows.keys()
        if not wanted:
            return
        with self._intact():
            self._rows.update(read_rows(self._con, wanted))
        self._contexts.expect([self._rows[key].context_ids for key in wanted])
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
        key = (feature.index, feature.polarity)
        if key not in self._rows:
            self.prefetch([feature])
        return self._rows[key]

    def pool(self, split: Split, unit: Unit) -> QuietPool:
        """The quiet pool of one split."""
        if (split, unit) not in self._pools:
            with self._intact():
                self._pools[(split, unit)] = QuietPool(self._contexts.pool(split, unit))
        return self._pools[(split, unit)]

    def contexts(self, ids: Ints, unit: Unit) -> tuple[Strip, Ints]:
        """A strip that has some contexts, and their rows in it; good until contexts are asked for again.

        Raises:
            WorkspaceDamaged: DuckDB can't read them.
        """
        with self._intact():
            return self._contexts.rows(ids, unit)

    def prepared(self, ids: Sequence[int], unit: Unit) -> tuple[PreparedContext, ...]:
        """Contexts by id, in the order asked for, each by itself and cut into units.

        Raises:
            WorkspaceDamaged: DuckDB can't read them.
        """
        strip, rows = self.contexts(np.asarray(ids, dtype=np.int64), unit)
        return strip.prepared(rows)

    def token_ids(self, ids: Sequence[int]) -> list[NDArray[np.int32]]:
        """The subject's token ids of contexts, in the order asked for: (n_tokens,) each, as harvested.

        Raises:
            WorkspaceDamaged: DuckDB can't read them.
        """
        with self._intact():
            rows = self._con.execute(
                "SELECT context_id, token_ids FROM contexts WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
                [list(ids)],
            ).fetchall()
        found = {context_id: np.asarray(tokens, dtype=np.int32) for context_id, tokens in rows}
        return [found[i] for i in ids]

    def read_contexts(self, unit: Unit) -> bool:
        """Read all contexts at once, unless they are more than are remembered or than `TOKENS_AHEAD`.

        Worth it for whoever looks at features in no order, each of which is a scan of the contexts otherwise.

        Returns:
            Whether they were read.

        Raises:
            WorkspaceDamaged: DuckDB can't read them.
        """
        with self._intact():
            ids = self._con.execute("SELECT context_id FROM contexts").fetchnumpy()["context_id"]
        length = self._tokens / max(1, sum(self.contexts_by_split.values()))
        if not len(ids) or len(ids) > REMEMBERED or len(ids) * length > TOKENS_AHEAD:
            return False
        self._contexts.expect([ids])
        self.prepared([int(ids[0])], unit)
        return True

    def fires_near(self, feature: FeatureId, split: Split, k: int) -> list[list[Firing]]:
        """Where each of a feature's k nearest neighbours fires in the quiet pool, nearest first.

        Raises:
            WorkspaceDamaged: DuckDB can't read them.
        """
        with self._intact():
            nearest = self._neighbours.nearest((feature.index, feature.polarity), k)
            return [self._neighbours.firings(key, split) for key, _ in nearest]

    def histogram(self, feature: FeatureId) -> list[int]:
        """How many tokens fired how strongly: one number a bin of `kept.HISTOGRAM_EDGES`, outer bins open.

        Raises:
            SubjectError: the harvest has no such feature.
            WorkspaceDamaged: DuckDB can't read it.
        """
        self.summary(feature)
        with self._intact():
            rows = self._con.execute(
                "SELECT histogram FROM features WHERE feature_index = ? AND polarity = ?",
                [feature.index, feature.polarity],
            ).fetchall()
        return [int(n) for (counts,) in rows for n in counts]

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
