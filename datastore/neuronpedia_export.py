"""Reading a Neuronpedia export into tables of contexts and firings, and what is said of each feature.

Excerpts are gathered by their text: the same text under several features is one context, and the same text
several times under one feature (once for each of its tokens) is one excerpt, at each position with the
largest of its activations.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from exegete.datastore.hashing import digest64
from exegete.datastore.import_labels import KEY, ImportedLabel, to_metadata
from exegete.datastore.neuronpedia_rows import Activation, Line, batches, read_activation, read_lines, sound
from exegete.errors import FormatError

_NUMBERS = ("frac_nonzero", "maxActApprox")
_LISTS = ("pos_str", "neg_str")
"""What is kept of a feature's own line, by the names it has there."""
_AT_ONCE = 2000
"""Activations inserted at a time."""

Bin = tuple[float | None, float | None, float | None]
"""binMin, binMax, binContains."""


@dataclass(slots=True)
class ExportedFeature:
    """What is said of a feature beside its excerpts."""

    record: dict[str, Any] = field(default_factory=dict)
    """What is kept of its own line."""
    labels: list[ImportedLabel] = field(default_factory=list)
    bins: Counter[Bin] = field(default_factory=Counter)
    """Excerpts by the interval of activation they were drawn from."""

    def metadata(self) -> str:
        """As JSON, with what there is of it."""
        bins = [{"min": a, "max": b, "contains": c, "excerpts": n} for (a, b, c), n in self.bins.items()]
        found = self.record | {"bins": bins, KEY: to_metadata(self.labels)}
        return json.dumps({name: value for name, value in found.items() if value not in ([], None)})


@dataclass(slots=True)
class Export:
    """An export while it is read."""

    folder: Path
    source: Mapping[str, Any]
    """What its source.jsonl says."""
    features: dict[int, ExportedFeature] = field(default_factory=dict)
    site: str | None = None
    """The hook that the features are read from, where one says so."""
    orphans: int = 0
    """Labels of features that the export does not have."""


def read_export(
    con: duckdb.DuckDBPyConnection, export: Export, on_progress: Callable[[int], None] = lambda _: None
) -> None:
    """Read all files: features and labels into `export`, excerpts into tables `c` and `a` (import_tables.py).

    Args:
        con: an empty database.
        export: which one; it is filled.
        on_progress: told the number of excerpts read so far.

    Raises:
        FormatError: a file is missing, damaged, or says what can't be.
    """
    for line in _lines(export, "features"):
        _add_feature(export, line)
    _read_activations(con, export, on_progress)
    for line in _lines(export, "explanations"):
        _add_label(export, line)
    for index in [i for i, f in export.features.items() if not f.bins and "frac_nonzero" not in f.record]:
        del export.features[index]  # nothing says whether it ever fires


def _read_activations(
    con: duckdb.DuckDBPyConnection, export: Export, on_progress: Callable[[int], None]
) -> None:
    con.execute("CREATE TABLE c (context_id BIGINT, document VARCHAR, tokens VARCHAR[])")
    con.execute("CREATE TABLE read (feature INTEGER, context_id BIGINT, position INTEGER, activation FLOAT)")
    seen: set[int] = set()
    waiting: list[Activation] = []
    count = 0
    for line in _lines(export, "activations"):
        activation = read_activation(line)
        feature = export.features.setdefault(activation.feature, ExportedFeature())
        feature.bins[_bin(line)] += 1
        waiting.append(activation)
        count += 1
        if len(waiting) == _AT_ONCE:
            _insert(con, waiting, seen)
            waiting = []
            on_progress(count)
    _insert(con, waiting, seen)
    on_progress(count)
    if not count:
        raise FormatError(f"{export.folder} has no activations: there is no feature to label")
    con.execute(
        "CREATE TABLE a AS SELECT feature, context_id, position, max(activation) AS activation "
        "FROM read GROUP BY ALL"
    )


def _lines(export: Export, kind: str) -> Iterator[Line]:
    """The lines of all files of one kind; one that is about another model or source is refused."""
    for path in batches(export.folder, kind):
        for line in read_lines(path):
            _check_source(export, line)
            yield line


def _bin(line: Line) -> Bin:
    return line.number_of("binMin"), line.number_of("binMax"), line.number_of("binContains")


def _check_source(export: Export, line: Line) -> None:
    """Refuse a line that is about another model or source: two exports in one folder."""
    for key, wanted in (("modelId", export.source["modelId"]), ("layer", export.source["id"])):
        found = line.text(key)
        if found is not None and found != wanted:
            raise line.fault(f"{key} is {found!r} among lines of {wanted!r}: import one source at a time")


def _add_feature(export: Export, line: Line) -> None:
    index = line.index()
    if index in export.features:
        raise line.fault(f"feature {index} is there twice: keep one line")
    record: dict[str, Any] = {}
    for name in _NUMBERS:
        if (number := line.number_of(name)) is not None:
            record[name] = number
    share = record.get("frac_nonzero", 0.0)
    if not 0 <= share <= 1:
        raise line.fault(f"frac_nonzero is {share}: it is a share of tokens, 0 to 1")
    for name in _LISTS:
        texts = line.record.get(name)
        if isinstance(texts, list):
            record[name] = [sound(text) for text in texts if isinstance(text, str)]
    export.features[index] = ExportedFeature(record)
    export.site = export.site or line.text("hookName")


def _add_label(export: Export, line: Line) -> None:
    feature = export.features.get(line.index())
    text = line.text("description")
    if feature is None or text is None:
        export.orphans += 1
        return
    by = "/".join(part for part in (line.text("typeName"), line.text("explanationModelName")) if part)
    label = ImportedLabel(text, f"neuronpedia:{by}" if by else "neuronpedia")
    if label not in feature.labels:
        feature.labels.append(label)


def _insert(con: duckdb.DuckDBPyConnection, some: Sequence[Activation], seen: set[int]) -> None:
    """Add excerpts to the tables; a text that is there already is not added again."""
    ids = [digest64("\x1f".join(activation.tokens)) for activation in some]
    new = {i: a.tokens for i, a in zip(ids, some, strict=True) if i not in seen}
    seen.update(new)
    lengths = [len(a.positions) for a in some]
    contexts = pa.table(
        {
            "context_id": pa.array(list(new), pa.int64()),
            "document": pa.array([f"context {i:016x}" for i in new], pa.string()),
            "tokens": pa.array(list(new.values()), pa.list_(pa.string())),
        }
    )
    firing = pa.table(
        {
            "feature": pa.array(np.repeat([a.feature for a in some], lengths), pa.int32()),
            "context_id": pa.array(np.repeat(np.asarray(ids, dtype=np.int64), lengths)),
            "position": pa.array(np.concatenate([np.zeros(0, np.int32), *(a.positions for a in some)])),
            "activation": pa.array(np.concatenate([np.zeros(0, np.float32), *(a.values for a in some)])),
        }
    )
    for table, rows in (("c", contexts), ("read", firing)):
        con.register("rows", rows)
        con.execute(f"INSERT INTO {table} SELECT * FROM rows")
        con.unregister("rows")
