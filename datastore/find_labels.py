"""Labels that say something: by the words of a query, or by its meaning.

By words, a label is found that has all of them, in upper or lower case. The more of them stand as whole
words, the better; then by the lower end of the score's interval. By meaning, labels are ranked by the
cosine of their embedding and the query's; embeddings are kept in the workspace by the model and a digest of
the text, so that a label is embedded once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from exegete.datastore.database import connect
from exegete.datastore.hashing import digest64
from exegete.datastore.records import Floats
from exegete.datastore.store import Store
from exegete.errors import UsageError, WorkspaceBusy

Embed = Callable[[Sequence[str]], Floats]
"""Texts to unit vectors, (n, d)."""

_COLUMNS = (
    "feature_index, polarity, label, status, confidence, score, low, high, chance, q_value, subject, "
    "harvest, run"
)
_AT_ONCE = 256
"""Labels embedded between two writes."""


def find_by_words(store: Store, text: str, limit: int) -> list[dict[str, Any]]:
    """Labels that have all words of a text.

    Args:
        store: the labels file.
        text: words.
        limit: rows at most.

    Returns:
        Rows of the view `labels`, best first, with `match`: the share of the words that stand as whole words.

    Raises:
        UsageError: there is no word to look for.
    """
    words = text.lower().split()
    if not words:
        raise UsageError("there is nothing to look for: give some words")
    whole = " + ".join("CAST(regexp_matches(lower(label), ?) AS INTEGER)" for _ in words)
    all_of = " AND ".join("contains(lower(label), ?)" for _ in words)
    patterns = [rf"(^|\W){re.escape(word)}(\W|$)" for word in words]
    return store.read(
        f"SELECT {_COLUMNS}, ({whole}) / {len(words)} AS match FROM labels WHERE {all_of} "
        f"ORDER BY match DESC, low DESC NULLS LAST, harvest, feature_index, polarity LIMIT {int(limit)}",
        [*patterns, *words],
    )


def find_by_meaning(
    store: Store,
    text: str,
    limit: int,
    *,
    model: str,
    embed: Embed,
    vectors: Path,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[dict[str, Any]]:
    """Labels that mean about what a text does.

    Args:
        store: the labels file.
        text: what to look for.
        limit: rows at most.
        model: name of the model with its revision; other vectors have another name.
        embed: the model.
        vectors: file in which vectors are kept.
        on_progress: told how many new labels are embedded, of how many.

    Returns:
        Rows of the view `labels`, nearest first, with `match`: the cosine.

    Raises:
        UsageError: there is nothing to look for, or nothing to look in.
        WorkspaceBusy: another process embeds labels at this moment.
    """
    if not text.strip():
        raise UsageError("there is nothing to look for: give some words")
    labels = {
        digest64(row["label"]): row["label"]
        for row in store.read("SELECT DISTINCT label FROM labels WHERE label IS NOT NULL ORDER BY label")
    }
    if not labels:
        raise UsageError("there is no label yet: run `exegete label` first")
    wanted = embed([text])[0]
    try:
        with connect(vectors, read_only=False) as con:
            nearest = _nearest(con, labels, wanted, limit, model, embed, on_progress)
    except duckdb.IOException as error:
        raise WorkspaceBusy(
            f"{vectors} is in use or can't be written ({str(error).splitlines()[0]}): wait for the other "
            "search"
        ) from error
    found = store.read(
        f"SELECT {_COLUMNS} FROM labels WHERE label IN (SELECT unnest(?)) "
        "ORDER BY harvest, feature_index, polarity",
        [[labels[digest] for digest in nearest]],
    )
    ranked = [{**row, "match": nearest[digest64(row["label"])]} for row in found]
    return sorted(ranked, key=lambda row: -row["match"])[:limit]


def _nearest(
    con: duckdb.DuckDBPyConnection,
    labels: dict[int, str],
    wanted: Floats,
    limit: int,
    model: str,
    embed: Embed,
    on_progress: Callable[[int, int], None],
) -> dict[int, float]:
    """Digests of the nearest labels with their cosines; what has no vector yet gets one."""
    con.execute("CREATE TABLE IF NOT EXISTS vectors (model VARCHAR, digest BIGINT, vector FLOAT[])")
    known = con.execute("SELECT digest FROM vectors WHERE model = ?", [model]).fetchall()
    missing = sorted(labels.keys() - {digest for (digest,) in known})
    for at in range(0, len(missing), _AT_ONCE):
        some = missing[at : at + _AT_ONCE]
        found = np.asarray(embed([labels[digest] for digest in some]), dtype=np.float32)
        rows = pa.table({"model": [model] * len(some), "digest": some, "vector": list(found)})
        con.register("rows", rows)
        con.execute("INSERT INTO vectors SELECT * FROM rows")
        con.unregister("rows")
        on_progress(at + len(some), len(missing))
    con.register("present", pa.table({"digest": pa.array(list(labels), pa.int64())}))
    rows = con.execute(
        "SELECT digest, list_dot_product(vector, ?::FLOAT[]) AS cosine "
        "FROM vectors JOIN present USING (digest) WHERE model = ? ORDER BY cosine DESC, digest LIMIT ?",
        [wanted.tolist(), model, limit],
    ).fetchall()
    return dict(rows)
