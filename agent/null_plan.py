"""Which nulls a run is to have, and which of them are left.

1. Once all features of a run have outcomes, some of those whose label was scored are drawn, by a hash of the
   feature and the run's seed: the same ones in whichever order they were labelled. Where simulations cost
   calls, at most one feature in `ONE_IN` of those the run attempted is drawn.
2. Each is given another feature's label (matching.py), the empty one, and the lexical one.
3. Those that the labels file has already are done. A feature that had failed and is scored in a later sitting
   can change who is drawn and matched: what was recorded for the old plan makes way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from exegete.agent.matching import Labelled, Matcher
from exegete.agent.nulls import Kind, Null
from exegete.agent.parts import Parts
from exegete.agent.recorder import Recorder
from exegete.datastore.hashing import digest64, uniform
from exegete.datastore.records import FeatureId
from exegete.datastore.store import Store

ONE_IN = 10
_TINY = 1e-12
"""Stands for a density that an import did not give."""


@dataclass(frozen=True, slots=True)
class NullPlan:
    """The nulls of a run."""

    nulls: tuple[Null, ...] = ()
    left: tuple[Null, ...] = ()
    """Of them, those that are not in the labels file yet."""


def kinds(explainer: str) -> tuple[Kind, ...]:
    """Which nulls a job has: the lexical label is no null of the lexical explainer."""
    return ("another feature", "empty") if explainer == "lexical" else ("another feature", "empty", "lexical")


def sample_size(nulls: int, attempted: int, scored: int, *, costs: bool) -> int:
    """How many features are drawn.

    Args:
        nulls: what the job asks for.
        attempted: features of the run with an outcome.
        scored: of them, those whose label has a primary score.
        costs: whether simulations cost calls.
    """
    return min(nulls, scored, attempted // ONE_IN if costs else scored)


def drawn(features: Sequence[FeatureId], seed: int, n: int) -> list[FeatureId]:
    """The n features with the smallest hashes: the same ones in whichever order they are given."""
    draws = [(float(uniform(seed, digest64("null", f.index, f.polarity))[0]), f) for f in features]
    return [f for _, f in sorted(draws, key=lambda pair: (pair[0], pair[1].index, pair[1].polarity))[:n]]


async def plan_nulls(recorder: Recorder, parts: Parts, wanted: Sequence[FeatureId]) -> NullPlan | None:
    """The nulls of a run and which of them are left; recorded ones that are no longer among them are deleted.

    Args:
        recorder: the run's, which has written all its outcomes so far.
        parts: what it is run with.
        wanted: the features the run is about.

    Returns:
        The plan; None while a feature has no outcome.
    """
    spec = parts.spec
    outcomes = await recorder.patiently(lambda: _outcomes(recorder.store, recorder.run, parts.evidence.name))
    by_key: dict[tuple[int, str], FeatureId] = {(f.index, f.polarity): f for f in wanted}
    outcomes = [row for row in outcomes if row[:2] in by_key]
    if len(outcomes) < len(by_key):
        return None
    labelled = [
        Labelled(by_key[index, polarity], text, tuple(senses or ()), density if density > 0 else _TINY)
        for index, polarity, scored, text, senses, density in outcomes
        if scored
    ]
    n = sample_size(spec.nulls, len(outcomes), len(labelled), costs=parts.asks_to_simulate)
    nulls = await _chosen(parts, labelled, n)
    known = await recorder.patiently(lambda: _known(recorder.store, recorder.run))
    stale = list(known - {_key(null) for null in nulls})
    await recorder.patiently(lambda: _write_plan(recorder.store, recorder.run, len(nulls), stale))
    return NullPlan(nulls, tuple(null for null in nulls if _key(null) not in known))


async def _chosen(parts: Parts, labelled: Sequence[Labelled], n: int) -> tuple[Null, ...]:
    spec = parts.spec
    by_feature = {one.feature: one for one in labelled}
    matcher = Matcher(parts.evidence, spec.unit, spec.window, spec.seed, labelled)
    found: list[Null] = []
    for feature in drawn(list(by_feature), spec.seed, n):
        other = matcher.match(by_feature[feature])
        for kind in kinds(spec.explainer):
            if kind == "another feature" and other is not None:
                found.append(Null(feature, kind, other.text, other.senses, other.feature))
            else:
                found.append(Null(feature, kind, "" if kind == "empty" else None))
        await asyncio.sleep(0)  # matching reads evidence and never yields by itself
    return tuple(found)


Outcome = tuple[int, str, bool, str, list[str] | None, float]


def _outcomes(store: Store, run: str, harvest: str) -> list[Outcome]:
    """(index, polarity, whether scored, label, senses, density) of all features with an outcome."""
    return store.reading(
        lambda con: con.execute(
            "SELECT feature_index, polarity, score IS NOT NULL, label, senses, density FROM store.outcomes "
            "WHERE run = ? AND harvest = ? ORDER BY feature_index, polarity",
            [run, harvest],
        ).fetchall()
    )


Key = tuple[int, str, str, str | None, int | None, str | None]


def _key(null: Null) -> Key:
    """What a null is known by: its feature and kind, and another feature's by which label it is."""
    f, of = null.feature, null.of
    if of is None:
        return f.index, f.polarity, null.kind, None, None, None
    return f.index, f.polarity, null.kind, null.text, of.index, of.polarity


def _known(store: Store, run: str) -> set[Key]:
    """Those that are in the labels file."""
    return store.reading(
        lambda con: set(
            con.execute(
                "SELECT DISTINCT feature_index, polarity, kind, "
                "CASE WHEN of_index IS NOT NULL THEN text END, of_index, of_polarity "
                "FROM store.nulls WHERE run = ?",
                [run],
            ).fetchall()
        )
    )


def _write_plan(store: Store, run: str, n: int, stale: Sequence[Key]) -> None:
    """How many there are to be; what was recorded before a failed feature got its label makes way."""

    def work(con: duckdb.DuckDBPyConnection) -> None:
        for index, polarity, kind, *_ in stale:
            con.execute(
                "DELETE FROM store.nulls WHERE run = ? AND feature_index = ? AND polarity = ? AND kind = ?",
                [run, index, polarity, kind],
            )
        con.execute("DELETE FROM store.null_plans WHERE run = ?", [run])
        con.execute("INSERT INTO store.null_plans VALUES (?, ?)", [run, n])

    if stale or store.read("SELECT wanted FROM store.null_plans WHERE run = ?", [run]) != [{"wanted": n}]:
        store.write(work)
