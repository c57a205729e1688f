"""Labels to look at: the best, some drawn at random from all, and the worst, with what their features "
"fire on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from exegete.datastore.store import Store

Which = Literal["best", "random", "worst"]
SHOWN = 20
"""Features of each sort."""
EXCERPTS = 3
"""Of a feature, the strongest."""
_WORDS = 48
"""Of an excerpt, around its strongest."""
_TOKENS = 8
"""That a feature raises most."""

_COLUMNS = """feature_index, polarity, label, status, score, low, high, chance, q_value, confidence, why,
    density, maximum, reasons, output_label"""
_PICKED: Mapping[Which, str] = {
    "best": "WHERE run = $run AND score IS NOT NULL ORDER BY low DESC NULLS LAST, score DESC, "
    "feature_index, polarity",
    "random": "WHERE run = $run AND label IS NOT NULL ORDER BY md5($digest || ':' || feature_index || "
    "polarity)",
    "worst": "WHERE run = $run AND score IS NOT NULL ORDER BY high NULLS LAST, score, feature_index, "
    "polarity",
}
_EXCERPTS = f"""
SELECT e.feature_index, e.polarity, e.words, e.activations
FROM examples e JOIN shown s ON s.feature_index = e.feature_index AND s.polarity = e.polarity
WHERE e.harvest = ?
QUALIFY row_number() OVER (PARTITION BY e.feature_index, e.polarity ORDER BY e.rank) <= {EXCERPTS}
ORDER BY e.feature_index, e.polarity, e.rank
"""
_TOKENS_RAISED = f"""
SELECT o.feature_index, o.polarity, o.top_tokens[:{_TOKENS}]
FROM outputs o JOIN shown s ON s.feature_index = o.feature_index AND s.polarity = o.polarity
WHERE o.harvest = ? AND o.kind = 'logit lens'
"""
Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """One feature with its label, its numbers and its excerpts."""

    row: Mapping[str, Any]
    """Its row in the view `outcomes`."""
    excerpts: tuple[tuple[tuple[str, int], ...], ...]
    """The strongest of the explain split: each word with its level, in tenths of the feature's maximum."""
    tokens: tuple[str, ...]
    """Tokens it raises most by the logit lens; empty where that was not asked for."""


def examples(store: Store, run: str, harvest: str, digest: str) -> dict[Which, list[Shown]]:
    """Labels to look at, of each sort.

    Best by the lower end of the interval, worst by the upper end; drawn at random, by the digest of the run's
    parameters, from all features with a label.
    """

    def work(con: duckdb.DuckDBPyConnection) -> dict[Which, list[Shown]]:
        rows: dict[Which, list[dict[str, Any]]] = {}
        for which, rest in _PICKED.items():
            given = {key: value for key, value in (("run", run), ("digest", digest)) if f"${key}" in rest}
            cursor = con.execute(f"SELECT {_COLUMNS} FROM outcomes {rest} LIMIT {SHOWN}", given)
            names = [column[0] for column in cursor.description or ()]
            rows[which] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        keys = sorted({_key(row) for some in rows.values() for row in some})
        con.execute("CREATE TEMP TABLE shown (feature_index INTEGER, polarity VARCHAR)")
        if keys:  # none, where all failed
            con.executemany("INSERT INTO shown VALUES (?, ?)", keys)
        excerpts: dict[Key, list[tuple[tuple[str, int], ...]]] = {}
        maxima = {_key(row): row["maximum"] for some in rows.values() for row in some}
        for index, polarity, words, activations in con.execute(_EXCERPTS, [harvest]).fetchall():
            key = (index, polarity)
            excerpts.setdefault(key, []).append(_around(words, activations, maxima[key]))
        tokens = {(i, p): tuple(found) for i, p, found in con.execute(_TOKENS_RAISED, [harvest]).fetchall()}
        return {
            which: [Shown(r, tuple(excerpts.get(_key(r), ())), tokens.get(_key(r), ())) for r in some]
            for which, some in rows.items()
        }

    return store.reading(work)


def _key(row: Mapping[str, Any]) -> Key:
    return row["feature_index"], row["polarity"]


def _around(
    words: Sequence[str], activations: Sequence[float], maximum: float
) -> tuple[tuple[str, int], ...]:
    """An excerpt's words with their levels, no more than some before and after the strongest."""
    peak = max(range(len(words)), key=lambda i: activations[i], default=0)
    first = max(0, min(peak - _WORDS // 2, len(words) - _WORDS))
    shown = zip(words[first : first + _WORDS], activations[first : first + _WORDS], strict=True)
    return tuple((word, _level(value, maximum)) for word, value in shown)


def _level(value: float, maximum: float) -> int:
    """Tenths of the maximum, rounded up: whatever fires is 1 at least, and 10 at most."""
    return min(10, math.ceil(10 * value / maximum)) if value > 0 and maximum > 0 else 0
