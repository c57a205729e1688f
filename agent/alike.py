"""Labels of a run that a verdict at another threshold treats alike, found in SQL.

A verdict's status and reasons depend on numbers through comparisons alone (`exegete.scorers.verdict.decide`,
`exegete.scorers.triangulation`). Labels of which all comparisons come out the same get the same ones, so of
each such group one label is decided and the others follow: a million labels make some dozen groups. What is
compared, and with what, is written down here once more; a test decides random labels one by one and holds
the groups against that (tests/agent/test_rethreshold.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from exegete.explainers.hygiene import INSTRUCTIONS, reads_like_instruction
from exegete.scorers.triangulation import ALPHA, HARD_NOISE, IDLE, MIN_READ, TOP_BIAS, TOP_NOISE
from exegete.scorers.verdict import Q_MAX

COMPARED = ("r_top", "r_sampled", "r_random_quiet", "r_hard_quiet", "if_missing_wrong", "if_missing_right")
"""Details of a primary score that a verdict holds against its threshold, beside the interval's ends."""


def find_alike(
    con: duckdb.DuckDBPyConnection,
    run: str,
    threshold: float,
    between: Sequence[float],
    bars: Mapping[str, float],
) -> None:
    """Put the labels that another threshold could change into the temporary table `touched`, in groups.

    Every comparison comes out the same in the labels of a group, and the run said the same of them. The table
    `alike` has a row a group: its `number`, what its labels have in common (`COMMON`, columns of both), and
    the name of one of them (harvest, feature_index, polarity).

    Args:
        con: a connection to the labels file.
        run: the run's name.
        threshold: value to clear.
        between: the lower and the higher of that and the job's own.
        bars: values that other scorers are to clear, by name without version.
    """
    bars_table = {
        "base": pa.array(list(bars), pa.string()),
        "bar": pa.array(list(bars.values()), pa.float64()),
    }
    con.register("bars", pa.table(bars_table))
    instructions = "|".join(f"(?:{pattern.pattern})" for pattern in INSTRUCTIONS)
    ends = {"least": between[0], "most": between[1]}
    con.execute(_COMPARED, {"run": run, "instructions": instructions, **ends})
    maybe = con.execute("SELECT DISTINCT label FROM compared WHERE maybe ORDER BY label").fetchall()
    noted = [label for (label,) in maybe if reads_like_instruction(label)]
    con.register("noted", pa.table({"label": pa.array(noted, pa.string())}))
    con.execute(_TOUCHED, {"run": run, "threshold": threshold})
    con.execute(_ALIKE)


_DETAILS = (*COMPARED, "n_sampled")


def _detail(name: str) -> str:
    return f"details[{_DETAILS.index(name) + 1}]"


_COMPARED = f"""
CREATE OR REPLACE TEMP TABLE compared AS
SELECT *,
    -- Text that is not plain ASCII is Python's to read: this says nothing of it.
    NOT regexp_full_match(label, '[ -~]*')
        OR regexp_matches(regexp_replace(lower(label), ' +', ' ', 'g'), $instructions) AS maybe
FROM (
    SELECT o.harvest, o.feature_index, o.polarity, o.label_id, o.label, o.status, o.reasons, o.scorer,
        o.ablation, o.ablation_p, o.steering, o.steering_p,
        s.value, s.low, s.high, s.p_value, s.n_asked, s.n_read,
        json_extract_string(s.details, {[f"$.{name}" for name in _DETAILS]})::DOUBLE[] AS details
    FROM store.outcomes o
    JOIN store.harvests h ON h.harvest = o.harvest AND h.kind IS DISTINCT FROM 'controls'
    JOIN store.scores s
        ON s.run = o.run AND s.label_id = o.label_id AND s.split = 'report' AND s.scorer = o.scorer
    WHERE o.run = $run
)
WHERE low BETWEEN $least AND $most OR high BETWEEN $least AND $most
    OR len(list_filter(details[:{len(COMPARED)}], lambda value: value BETWEEN $least AND $most)) > 0"""


def _falls(good: str, poor: str, margin: str) -> str:
    """As in `exegete.scorers.triangulation`: a part at the bar, another below it, and further apart."""
    high, low = _detail(good), _detail(poor)
    return f"{low} < $threshold AND $threshold <= {high} AND {high} - {low} > {margin}"


def _noise(scale: float, n: str) -> str:
    return f"CASE WHEN {n} > 0 THEN {scale} / sqrt({n}) ELSE 'infinity'::DOUBLE END"


def _code(comparisons: Sequence[str]) -> str:
    """How comparisons come out as one number: true, false or, where a number is missing, neither."""
    digits = (
        f"{3**i} * CASE WHEN {one} THEN 1 WHEN NOT ({one}) THEN 2 ELSE 0 END"
        for i, one in enumerate(comparisons)
    )
    return f"CAST({' + '.join(digits)} AS BIGINT)"


_OWN = (
    *("value IS NULL", f"p_value <= {Q_MAX}", "low >= $threshold", "high < $threshold"),
    *("n_read >= n_asked", f"n_read < {MIN_READ}::DOUBLE * n_asked"),
    f"{_detail('if_missing_wrong')} < $threshold",
    f"$threshold <= {_detail('if_missing_right')}",
    _falls("r_top", "r_sampled", f"{TOP_BIAS} + {_noise(TOP_NOISE, _detail('n_sampled'))}"),
    _falls("r_random_quiet", "r_hard_quiet", _noise(HARD_NOISE, "n_read")),
    *("ablation IS NULL", f"ablation_p <= {ALPHA}", f"ablation_p > {IDLE}"),
    *("steering IS NULL", f"steering_p <= {ALPHA}", f"steering_p > {IDLE}"),
    "c.label IN (SELECT label FROM noted)",
)
"""Of the primary score, and of what the feature does."""

_BESIDE = (
    *("s.value IS NULL", "s.low >= b.bar", "s.high < b.bar", "s.value < b.bar"),
    "CAST(s.details ->> '$.auroc' AS DOUBLE) < b.bar",
)
"""Of another score of the label, with its own bar."""

COMMON = ("status", "reasons", "scorer", "own", "others")

_TOUCHED = f"""
CREATE OR REPLACE TEMP TABLE touched AS
WITH beside AS (
    SELECT s.label_id, string_agg(s.scorer || ' ' || {_code(_BESIDE)}, ' ' ORDER BY s.scorer) AS others
    FROM store.scores s JOIN compared c ON c.label_id = s.label_id AND c.scorer != s.scorer
    LEFT JOIN bars b ON b.base = split_part(s.scorer, '@', 1)
    WHERE s.run = $run AND s.split = 'report' GROUP BY s.label_id
)
SELECT c.harvest, c.feature_index, c.polarity, c.status, c.reasons, c.scorer, {_code(_OWN)} AS own, b.others
FROM compared c LEFT JOIN beside b ON b.label_id = c.label_id"""

_ALIKE = f"""
CREATE OR REPLACE TEMP TABLE alike AS
SELECT row_number() OVER () AS number, * EXCLUDE one, one.*
FROM (
    SELECT {", ".join(COMMON)},
        first({{'harvest': harvest, 'feature_index': feature_index, 'polarity': polarity}}) AS one
    FROM touched GROUP BY ALL
)"""
