"""What finding a run's labels took, in words: tests on the subject, rounds spared, tokens by stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from exegete.datastore.store import Store

STAGES = ("propose", "trial", "falsify", "revise", "report", "output", "null")
"""Steps of a case that ask models, in order, and what is scored beside."""
_TESTS = """
SELECT count(*) FILTER (verdict != 'not run') AS tests, count(*) FILTER (verdict = 'held') AS tests_held,
    count(*) FILTER (verdict = 'not run') AS tests_not_run, count(DISTINCT label_id) AS labels_tested
FROM store.experiments WHERE run = ? AND round > 0
"""
_CLEARED = """
SELECT count(*) AS tried, count(*) FILTER (action = 'report') AS cleared FROM (
    SELECT action FROM store.decisions WHERE run = ? AND step = 'trial'
    QUALIFY row_number() OVER (PARTITION BY harvest, feature_index, polarity ORDER BY number) = 1
)
"""
_STAGES = """
SELECT stage, sum(input_tokens + output_tokens) / (
    SELECT count(DISTINCT feature) FROM store.calls WHERE run = $1 AND stage IS NOT NULL
) AS tokens
FROM store.calls WHERE run = $1 AND stage IS NOT NULL AND input_tokens + output_tokens IS NOT NULL
GROUP BY stage
"""
"""Over all features about which a call was made, those that a stage left out included."""


def effort_of(store: Store, run: str) -> dict[str, Any]:
    """Tests on the subject, features without a further round, and mean tokens a feature by stage of a run."""
    (tests,), (cleared,) = store.read(_TESTS, [run]), store.read(_CLEARED, [run])
    tokens = {row["stage"]: round(row["tokens"]) for row in store.read(_STAGES, [run])}
    return {**tests, **cleared, "tokens_by_stage": {s: tokens[s] for s in STAGES if s in tokens}}


def effort_in_words(effort: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each of them that a run has."""
    if effort["labels_tested"]:
        not_run = f"; {effort['tests_not_run']:,} could not be run" if effort["tests_not_run"] else ""
        yield (
            f"tests: {effort['tests']:,} texts were run on the subject, to test {effort['labels_tested']:,} "
            f"label(s); {effort['tests_held']:,} came out as the label says{not_run}"
        )
    if effort["tokens_by_stage"]:
        yield f"cleared early: {effort['cleared']:,} of {effort['tried']:,} features took no further round"
        stages = ", ".join(f"{stage} {tokens:,}" for stage, tokens in effort["tokens_by_stage"].items())
        yield f"tokens a feature: {stages}"
