"""The questions that a report asks of the public views, one query a table; docs/sql.md has every column.

All are asked on one connection in one read, so that the tables of a page agree while a job runs. `$run` is
the run, `$digest` the sha256 of its parameters, by which what is shown of many is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from exegete.datastore.store import Store

POINTS = 3000
"""Features in a scatter plot at most; beyond, as many are drawn from all of them."""
SCORE_BIN, WIDTH_BIN, Q_BIN = 0.05, 0.05, 0.05
"""Widths of the bins of histograms."""
TIME_BINS = 48
"""Parts that the time of a run is cut into."""
KINDS_OF_WHY = 12
"""Different sentences that are shown of each verdict at most."""

_Q = "count(*) FILTER (q_value <= 0.05)"
_DIFFERENT = r"regexp_replace(why, '-?\d*\.?\d+(e-?\d+)?', '#', 'g')"
"""A sentence without its numbers."""


def _bin(what: str, width: float) -> str:
    """The number of a value's bin; a value on an edge is in the upper one, whatever rounding did to it."""
    return f"CAST(floor({what} / {width} + 1e-9) AS INTEGER)"


QUESTIONS: Mapping[str, str] = {
    "statuses": """
        SELECT status, count(*) AS features, count(label) AS labelled, count(score) AS scored
        FROM outcomes WHERE run = $run GROUP BY status
        ORDER BY list_position(['accepted', 'review', 'rejected', 'unscorable', 'dead', 'failed'], status)""",
    "now": """
        SELECT status, count(*) AS features FROM labels WHERE run = $run GROUP BY status ORDER BY status""",
    "people": """
        SELECT decision, count(*) AS events, count(*) FILTER (stands) AS standing,
            count(*) FILTER (audit) AS of_the_audit, count(DISTINCT reviewer) AS reviewers
        FROM reviews r WHERE EXISTS (
            SELECT 1 FROM outcomes o WHERE o.run = $run AND o.harvest = r.harvest
            AND o.feature_index = r.feature_index AND o.polarity = r.polarity AND o.label = r.label_before
        ) GROUP BY decision ORDER BY decision""",
    "scorers": f"""
        SELECT side, scorer, count(*) AS labels, count(value) AS scored, median(value) AS median,
            quantile_cont(value, 0.05) AS p05, quantile_cont(value, 0.95) AS p95, avg(chance) AS chance,
            avg(lift) AS lift, {_Q} AS better_than_chance, count(q_value) AS compared
        FROM scores WHERE run = $run AND split = 'report'
        GROUP BY ALL ORDER BY side, labels DESC, scorer""",
    "nulls": """
        SELECT scorer, kind, count(*) AS asked, count(value) AS scored, avg(value) AS mean,
            quantile_cont(value, 0.95) AS p95, avg(score) AS own, avg(lift) AS lift,
            count(*) FILTER (lift > 0) AS own_better, count(lift) AS compared,
            count(*) FILTER (status = 'accepted') AS accepted
        FROM nulls WHERE run = $run GROUP BY scorer, kind ORDER BY scorer, kind""",
    "score_bins": f"""
        SELECT scorer, 'own label' AS kind, {_bin("value", SCORE_BIN)} AS bin, count(*) AS n
        FROM scores WHERE run = $run AND split = 'report' AND side = 'input' AND value IS NOT NULL
        GROUP BY ALL
        UNION ALL
        SELECT scorer, kind, {_bin("value", SCORE_BIN)} AS bin, count(*) AS n
        FROM nulls WHERE run = $run AND value IS NOT NULL GROUP BY ALL
        ORDER BY scorer, kind, bin""",
    "densities": """
        SELECT CAST(floor(log10(density) * 4 + 1e-9) AS INTEGER) AS quarter, count(*) AS features,
            count(score) AS scored,
            median(score) AS median, count(*) FILTER (status = 'accepted') AS accepted
        FROM outcomes WHERE run = $run AND density > 0 GROUP BY quarter ORDER BY quarter""",
    "points": f"""
        SELECT feature_index, polarity, density, score, status FROM outcomes
        WHERE run = $run AND density > 0 AND score IS NOT NULL
        ORDER BY md5($digest || ':' || feature_index || polarity) LIMIT {POINTS}""",
    "widths": """
        SELECT status, count(*) AS scored, count(high - low) AS with_interval,
            median(high - low) AS median, quantile_cont(high - low, 0.9) AS p90
        FROM outcomes WHERE run = $run AND score IS NOT NULL GROUP BY status
        ORDER BY list_position(['accepted', 'review', 'rejected'], status)""",
    "width_bins": f"""
        SELECT {_bin("(high - low)", WIDTH_BIN)} AS bin, count(*) AS n
        FROM outcomes WHERE run = $run AND high - low IS NOT NULL GROUP BY ALL ORDER BY ALL""",
    "qs": f"""
        SELECT count(q_value) AS with_q, count(*) FILTER (q_value <= 0.01) AS to_01, {_Q} AS to_05,
            count(*) FILTER (q_value <= 0.05 AND status = 'accepted') AS accepted_to_05,
            count(*) - count(q_value) AS without
        FROM outcomes WHERE run = $run""",
    "q_bins": f"""
        SELECT least({_bin("q_value", Q_BIN)}, {round(1 / Q_BIN) - 1}) AS bin, count(*) AS n
        FROM outcomes WHERE run = $run AND q_value IS NOT NULL GROUP BY ALL ORDER BY ALL""",
    "controls": """
        SELECT c.kind, c.positive, count(*) AS planted, count(c.score) AS scored,
            count(*) FILTER (c.status = 'accepted') AS accepted, count(k.is_right) AS checked,
            count(*) FILTER (c.status = 'accepted' AND k.is_right) AS recovered, median(c.score) AS median
        FROM controls c LEFT JOIN store.checked k ON k.run = c.run AND k.harvest = c.harvest
            AND k.feature_index = c.feature_index AND k.polarity = c.polarity
        WHERE c.run = $run GROUP BY c.kind, c.positive ORDER BY c.positive DESC, c.kind""",
    "calibrations": """
        SELECT source, used, n, n_right, ece_raw, ece, why_none FROM calibrations
        WHERE run = $run ORDER BY used DESC, source""",
    "rounds": """
        WITH primary_one AS (SELECT DISTINCT scorer FROM outcomes WHERE run = $run AND scorer IS NOT NULL),
        tried AS (
            SELECT s.feature_index, s.polarity, s.round, max(s.value) AS best, count(*) AS labels
            FROM scores s JOIN primary_one p ON p.scorer = s.scorer
            WHERE s.run = $run AND s.split = 'refine' AND s.side = 'input' GROUP BY ALL
        ),
        so_far AS (
            SELECT *, max(best) OVER w AS standing, first_value(best) OVER w AS first
            FROM tried WINDOW w AS (PARTITION BY feature_index, polarity ORDER BY round)
        )
        SELECT t.round, count(*) AS features, CAST(sum(t.labels) AS BIGINT) AS labels,
            avg(t.standing) AS best_so_far, avg(t.standing - t.first) AS gain,
            count(*) FILTER (t.standing > t.first) AS improved, any_value(c.chosen) AS chosen,
            any_value(c.report) AS report
        FROM so_far t LEFT JOIN (
            SELECT s.round, count(*) AS chosen, avg(s.value) AS report
            FROM scores s JOIN primary_one p ON p.scorer = s.scorer
            WHERE s.run = $run AND s.split = 'report' AND s.side = 'input' GROUP BY s.round
        ) c ON c.round = t.round
        GROUP BY t.round ORDER BY t.round""",
    "optimism": """
        SELECT count(*) AS features, avg(refine_score) AS refine, avg(score) AS report,
            avg(refine_score - score) AS optimism
        FROM outcomes WHERE run = $run AND score IS NOT NULL AND refine_score IS NOT NULL""",
    "experiments": """
        SELECT kind, count(*) AS written, count(*) FILTER (verdict = 'held') AS held,
            count(*) FILTER (verdict = 'failed') AS failed, count(*) FILTER (verdict = 'not run') AS not_run,
            count(DISTINCT (feature_index, polarity)) AS features
        FROM experiments WHERE run = $run AND purpose = 'falsify' GROUP BY kind ORDER BY kind""",
    "not_run": """
        SELECT why, count(*) AS n FROM experiments WHERE run = $run AND verdict = 'not run'
        AND purpose = 'falsify' AND why IS NOT NULL
        GROUP BY why ORDER BY n DESC, why LIMIT 5""",
    "interventions": """
        SELECT status, count(*) AS features, count(tests) AS tested, count(generation) AS generated,
            median(generation) AS generation, count(ablation) AS ablated, median(ablation) AS ablation,
            count(*) FILTER (ablation_p <= 0.05) AS ablation_told, count(steering) AS steered,
            median(steering) AS steering, count(*) FILTER (steering_p <= 0.05) AS steering_told,
            count(output_label) AS output_labels
        FROM outcomes WHERE run = $run GROUP BY status
        ORDER BY list_position(['accepted', 'review', 'rejected', 'unscorable', 'dead', 'failed'], status)""",
    "decisions": """
        SELECT step, action, quantity, count(*) AS decisions, count(DISTINCT (feature_index,
        polarity)) AS features,
            median(value) AS median, any_value(why ORDER BY feature_index, polarity, number) AS example
        FROM decisions WHERE run = $run GROUP BY step, action, quantity
        ORDER BY decisions DESC, step, action, quantity""",
    "costs": """
        SELECT coalesce(stage, 'other') AS stage, count(*) FILTER (finish != 'ambiguous') AS calls,
            CAST(sum(input_tokens) AS BIGINT) AS input_tokens,
            CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
            sum(cached_tokens) / nullif(sum(input_tokens) FILTER (cached_tokens IS NOT NULL),
            0) AS cached_share,
            sum(usd) AS usd, count(*) FILTER (usd IS NULL AND finish != 'ambiguous') AS unpriced,
            count(*) FILTER (input_tokens IS NULL AND finish != 'ambiguous') AS uncounted,
            count(*) FILTER (finish = 'ambiguous') AS ambiguous,
            sum(most_usd) FILTER (finish = 'ambiguous') AS most_usd
        FROM calls WHERE run = $run GROUP BY 1 ORDER BY input_tokens DESC NULLS LAST, 1""",
    "models": """
        SELECT model, count(*) FILTER (finish != 'ambiguous') AS calls, string_agg(DISTINCT served_by, ', '
            ORDER BY served_by) AS served_by, string_agg(DISTINCT prices, ', ' ORDER BY prices) AS prices,
            median(latency_s) AS latency_s
        FROM calls WHERE run = $run GROUP BY model ORDER BY calls DESC, model""",
    "faults": """
        SELECT finish, count(*) AS calls FROM calls WHERE run = $run AND finish != 'stop'
        GROUP BY finish ORDER BY calls DESC, finish""",
    "retries": """
        SELECT count(*) FILTER (attempts > 1) AS retried, CAST(sum(attempts - 1) AS BIGINT) AS requests
        FROM calls WHERE run = $run""",
    "time": """
        SELECT min(made_at) AS first, max(made_at) AS last, count(*) AS features,
            date_diff('millisecond', min(made_at), max(made_at)) / 1000.0 AS seconds
        FROM outcomes WHERE run = $run""",
    "times": f"""
        WITH span AS (
            SELECT min(epoch(moment)) AS first, greatest(max(epoch(moment)) - min(epoch(moment)),
            1e-3) AS seconds FROM (
                SELECT made_at AS moment FROM outcomes WHERE run = $run
                UNION ALL SELECT called_at FROM calls WHERE run = $run AND called_at IS NOT NULL)
        ), events AS (
            SELECT epoch(made_at) AS moment, 1 AS feature, 0 AS call, 0 AS fault FROM outcomes
            WHERE run = $run
            UNION ALL SELECT epoch(called_at), 0, 1, CAST(finish != 'stop' OR coalesce(attempts,
            1) > 1 AS INTEGER)
            FROM calls WHERE run = $run AND called_at IS NOT NULL
        )
        SELECT least(CAST(floor((moment - first) / seconds * {TIME_BINS}) AS INTEGER),
        {TIME_BINS - 1}) AS bin,
            any_value(first) AS began, any_value(seconds) AS seconds,
            CAST(sum(feature) AS BIGINT) AS features,
            CAST(sum(call) AS BIGINT) AS calls, CAST(sum(fault) AS BIGINT) AS faults
        FROM events, span GROUP BY bin ORDER BY bin""",
    "reasons": """
        SELECT reason, count(*) AS features FROM (
            SELECT unnest(reasons) AS reason FROM outcomes WHERE run = $run AND status = 'review'
        ) GROUP BY reason ORDER BY features DESC, reason""",
    "whys": f"""
        SELECT status, {_DIFFERENT} AS kind, count(*) AS features,
            any_value(why ORDER BY feature_index, polarity) AS example
        FROM outcomes WHERE run = $run AND status IN ('rejected', 'unscorable', 'dead', 'failed')
        GROUP BY status, kind
        QUALIFY row_number() OVER (PARTITION BY status ORDER BY features DESC, kind) <= {KINDS_OF_WHY}
        ORDER BY list_position(['rejected', 'unscorable', 'dead', 'failed'], status), features DESC, kind""",
    "missing": """
        SELECT scorer, CAST(sum(n_asked) AS BIGINT) AS asked,
            CAST(sum(n_asked - n_read) AS BIGINT) AS missing,
            count(*) FILTER (n_read < n_asked) AS labels, count(*) AS scored
        FROM scores WHERE run = $run AND split = 'report' GROUP BY scorer ORDER BY scorer""",
    "judges": """
        SELECT coalesce(independence, 'unknown') AS independence, count(*) AS labels
        FROM outcomes WHERE run = $run AND label IS NOT NULL GROUP BY 1 ORDER BY labels DESC, 1""",
    "twins": """
        SELECT count(*) FILTER (twins > 0) AS features, count(twins) AS known
        FROM outcomes WHERE run = $run AND status = 'accepted'""",
    "looks": """
        SELECT count(*) FILTER (report_looks > 1) AS again, count(*) AS features
        FROM labels WHERE run = $run AND score IS NOT NULL""",
}
"""By the name of the table that they fill."""


def ask(store: Store, run: str, digest: str) -> dict[str, list[dict[str, Any]]]:
    """All tables of a report, rows as dicts by column.

    Args:
        store: the labels file.
        run: the run.
        digest: sha256 of its parameters.

    Raises:
        WorkspaceBusy: a writer holds the file for too long.
    """
    given = {"run": run, "digest": digest}

    def work(con: duckdb.DuckDBPyConnection) -> dict[str, list[dict[str, Any]]]:
        found = {}
        for name, sql in QUESTIONS.items():
            cursor = con.execute(sql, {key: value for key, value in given.items() if f"${key}" in sql})
            names = [column[0] for column in cursor.description or ()]
            found[name] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return found

    return store.reading(work)
