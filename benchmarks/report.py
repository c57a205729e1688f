"""How long the page of a run takes, and how large it is.

    python -m benchmarks.report [--features 20000] [--keep FOLDER]

A workspace is filled with a finished run in which everything happened that a report has a section for: calls
and faults, nulls, planted features, rounds, experiments, interventions, reviews, and evidence with a quiet
pool. What is in it is drawn by a hash. With `--keep` it stays, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import duckdb

from exegete.agent.confidence import map_confidence
from exegete.datastore.database import connect
from exegete.datastore.evidence_writer import FORMAT, Manifest, manifest_path
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.run.page import write_report

RUN, HARVEST, PLANTED = "night", "model-site-sae", "controls-model"
CONTEXTS = 2000
"""Of the quiet pool, in which a feature fires in some twenty."""
_SHA256 = "0" * 64
_PARAMETERS = {
    "explainer": "highlight",
    "explainer_version": "highlight@4(openai:large)",
    "simulator": "sparse@3(openai:small)",
    "scorers": ["simulation", "detection"],
    "scorer_versions": ["simulation@2(sparse@3)", "detection@2(sparse@3)"],
    "llm": "openai:large",
    "threshold": 0.5,
    "rounds": 2,
    "seed": 0,
    "evidence_sha256": _SHA256,
}
_MACROS = """
CREATE TEMP MACRO u(i, k) AS (hash(i, k) % 1000000) / 1e6;
CREATE TEMP MACRO label_of(i, r) AS md5(i::VARCHAR || ':' || r)[:16];
CREATE TEMP MACRO moment(i) AS TIMESTAMP '2026-03-01 22:00:00' + to_milliseconds(CAST(i * 1500 AS BIGINT));
CREATE TEMP TABLE f AS SELECT *, CASE WHEN kind != 'scored' THEN kind WHEN low >= 0.5 THEN 'accepted'
    WHEN high < 0.5 THEN 'rejected' ELSE 'review' END AS status
FROM (SELECT i, density, score, score - 0.05 - 0.1 * u(i, 3) AS low, least(1, score + 0.05 + 0.1 * u(i,
        4)) AS high,
    CASE WHEN u(i, 5) < 0.02 THEN 'dead' WHEN u(i, 5) < 0.07 THEN 'unscorable' WHEN u(i, 5) < 0.08
        THEN 'failed'
        ELSE 'scored' END AS kind, CAST(floor(u(i, 6) * 3) AS INTEGER) AS last
    FROM (SELECT i::INTEGER AS i, 10 ** (-5 + 3 * u(i, 1)) AS density, 0.95 * sqrt(u(i, 2)) - 0.05 AS score
        FROM range($n) t(i)));
CREATE TEMP TABLE scored AS SELECT * FROM f WHERE kind = 'scored';
"""
_ROWS = (
    """INSERT INTO store.features BY NAME SELECT 'HARVEST' AS harvest, i AS feature_index, '+' AS polarity,
        density,
        CAST(density * 1e7 AS BIGINT) AS fired, 10.0 AS maximum, 0.0 AS threshold FROM f""",
    """INSERT INTO store.labels BY NAME SELECT 'RUN' AS run, label_of(i, r) AS label_id,
        'HARVEST' AS harvest,
        i AS feature_index, '+' AS polarity, r AS round, 'words such as w' || i || ', round ' || r AS text,
        'highlight@4' AS author, moment(i) AS made_at, [] AS senses, 'input' AS side
        FROM scored, range(3) t(r) WHERE r <= last""",
    """INSERT INTO store.scores BY NAME SELECT 'RUN' AS run, label_of(i, r) AS label_id,
        'simulation@2(sparse@3)' AS scorer, 'refine' AS split, score + 0.05 * u(i,
        r + 10) - 0.04 * (last - r) AS value,
        30 AS n_asked, 30 AS n_read, moment(i) AS made_at FROM scored, range(3) t(r) WHERE r <= last""",
    """INSERT INTO store.scores BY NAME SELECT 'RUN' AS run, label_of(i, last) AS label_id, scorer,
        'report' AS split,
        CASE WHEN scorer LIKE 's%' THEN score ELSE 0.5 + score / 3 END AS value,
        CASE WHEN scorer LIKE 's%' THEN low ELSE 0.4 + score / 3 END AS low,
        CASE WHEN scorer LIKE 's%' THEN high ELSE 0.6 + score / 3 END AS high,
        CASE WHEN scorer LIKE 's%' THEN 0.02 * u(i, 20) ELSE 0.5 END AS chance, u(i, 21) ** 4 AS p_value,
        60 AS n_asked, 60 - CAST(u(i, 22) < 0.05 AS INTEGER) AS n_read, moment(i) AS made_at
        FROM scored, (VALUES ('simulation@2(sparse@3)'), ('detection@2(sparse@3)')) s(scorer)""",
    """INSERT INTO store.outcomes BY NAME SELECT 'RUN' AS run, 'HARVEST' AS harvest, i AS feature_index,
        '+' AS polarity, status, CASE WHEN kind = 'scored' THEN label_of(i, last) END AS label_id,
        CASE WHEN kind = 'scored' THEN 'words such as w' || i || ', round ' || last END AS label,
        CASE WHEN kind = 'scored' THEN 'highlight@4' END AS author,
        CASE WHEN kind = 'scored' THEN round(u(i, 30) * 0.3 + 0.7 * CAST(low > 0.4 AS INTEGER), 3)
        END AS confidence,
        CASE status WHEN 'accepted' THEN 'r clears .50' WHEN 'review' THEN 'r straddles .50'
            WHEN 'rejected' THEN 'r = ' || round(score, 2) || ' stays below .50' WHEN 'dead'
            THEN 'it never rose'
            WHEN 'failed' THEN 'no reply could be read'
            ELSE 'too few activating contexts: 3 of 5 in report' END AS why,
        last + 1 AS rounds, 3 * (last + 1) AS candidates, 'simulation@2(sparse@3)' AS scorer,
        CASE WHEN kind = 'scored' THEN score END AS score, CASE WHEN kind = 'scored' THEN low END AS low,
        CASE WHEN kind = 'scored' THEN high END AS high, CASE WHEN kind = 'scored' THEN 0.01 END AS chance,
        CASE WHEN kind = 'scored' THEN u(i, 21) ** 4 END AS p_value,
        CASE WHEN kind = 'scored' THEN score + 0.05 END AS refine_score,
        CASE WHEN kind = 'dead' THEN 0 ELSE density END AS density, 10.0 AS maximum, moment(i) AS made_at,
        CASE WHEN status = 'review' THEN ['interval straddles the threshold',
        'scorers disagree'][:1 + i % 2]
            ELSE [] END AS reasons, [] AS senses, 'same family' AS independence,
        CASE WHEN i % 3 = 0 AND kind = 'scored' THEN 8 END AS tests,
        CASE WHEN i % 3 = 0 AND kind = 'scored' THEN 6 END AS tests_held,
        CASE WHEN i % 2 = 0 AND kind = 'scored' THEN u(i, 40) END AS generation,
        CASE WHEN i % 4 = 0 AND kind = 'scored' THEN u(i, 41) / 10 END AS ablation,
        CASE WHEN i % 4 = 0 AND kind = 'scored' THEN u(i, 42) / 5 END AS ablation_p,
        CASE WHEN i % 4 = 0 AND kind = 'scored' THEN u(i, 43) END AS steering,
        CASE WHEN i % 4 = 0 AND kind = 'scored' THEN u(i, 44) / 5 END AS steering_p,
        CASE WHEN i % 4 = 0 AND kind = 'scored' THEN 'raises w' || i END AS output_label FROM f""",
    """INSERT INTO store.q_values BY NAME SELECT 'RUN' AS run, scorer, i AS feature_index, '+' AS polarity,
        u(i, 21) ** 3 AS q_value, CAST(u(i, 45) < 0.03 AS INTEGER) AS twins
        FROM scored, (VALUES ('simulation@2(sparse@3)'), ('detection@2(sparse@3)')) s(scorer)""",
    """INSERT INTO store.nulls BY NAME SELECT 'RUN' AS run, 'HARVEST' AS harvest, i AS feature_index,
        '+' AS polarity,
        kind, 'another' AS text, scorer, CASE WHEN kind != 'empty' THEN 0.3 * u(i, 50) - 0.1 END AS value,
        60 AS n_asked, 60 AS n_read,
        CASE WHEN scorer LIKE 's%' THEN CASE WHEN u(i, 51) < 0.02 THEN 'accepted' ELSE 'rejected' END
        END AS status,
        moment(i) AS made_at FROM (SELECT i FROM scored ORDER BY i LIMIT 100),
        (VALUES ('another feature'), ('empty'), ('lexical')) k(kind),
        (VALUES ('simulation@2(sparse@3)'), ('detection@2(sparse@3)')) s(scorer)""",
    "INSERT INTO store.null_plans VALUES ('RUN', 300)",
    """INSERT INTO store.examples BY NAME SELECT 'HARVEST' AS harvest, i AS feature_index, '+' AS polarity,
        rank,
        'top' AS stratum, 10.0 - rank AS peak, 1.0 AS weight, 'd' AS document, i * 100 + rank AS context_id,
        0 AS start, 'text' AS text, list_transform(range(24), lambda k: 'word' || (i + k)) AS words,
        list_transform(range(24), lambda k: CASE WHEN k = 12 THEN 10.0 - rank WHEN k = 13 THEN 3.0
        ELSE 0 END)
            AS activations FROM f, range(10) t(rank) WHERE kind != 'dead'""",
    """INSERT INTO store.calls BY NAME SELECT md5(i::VARCHAR || ':' || c) AS key, 'RUN' AS run,
        i::VARCHAR AS feature,
        ['propose', 'trial', 'revise', 'report'][1 + c % 4] AS stage, 'simulate' AS purpose,
        'openai:large' AS model,
        'large-2026' AS served_by, 'sparse@3' AS prompt, 0 AS sample,
        CASE WHEN u(i * 10 + c, 60) < 0.01 THEN 'length' WHEN u(i * 10 + c, 60) < 0.012 THEN 'ambiguous'
            ELSE 'stop' END AS finish, 2000 AS input_tokens, 150 AS output_tokens, 1000 AS cached_tokens,
        CASE WHEN u(i * 10 + c, 60) BETWEEN 0.01 AND 0.012 THEN NULL ELSE 0.002 END AS usd,
        0.01 AS most_usd,
        2.0 AS latency_s, 1 + CAST(u(i * 10 + c, 61) < 0.02 AS INTEGER) AS attempts,
        'prices 2026-03' AS prices,
        moment(i) AS made_at FROM f, range(9) t(c)""",
    """INSERT INTO store.experiments BY NAME SELECT 'RUN' AS run, 'HARVEST' AS harvest, i AS feature_index,
        '+' AS polarity, label_of(i, 0) AS label_id, 'words such as w' || i AS label, 1 AS round,
        t AS number,
        ['fires', 'silent', 'minimal pair', 'near miss'][1 + t % 4] AS kind, 'a text' AS text,
        'fires' AS predicted, u(i * 8 + t, 70) AS measured, 0.2 AS threshold,
        CASE WHEN u(i * 8 + t, 70) < 0.2 THEN 'failed' WHEN u(i * 8 + t, 71) < 0.02 THEN 'not run'
        ELSE 'held' END
            AS verdict, CASE WHEN u(i * 8 + t, 71) < 0.02 THEN 'it is too long' END AS why,
            moment(i) AS made_at
        FROM scored, range(8) t(t) WHERE i % 3 = 0""",
    """INSERT INTO store.decisions BY NAME SELECT 'RUN' AS run, 'HARVEST' AS harvest, i AS feature_index,
        '+' AS polarity, r AS number, ['recall', 'trial', 'trial'][1 + r] AS step,
        ['propose', 'revise', 'report'][1 + r] AS action, 'the score leaves room' AS why,
        'refine score' AS quantity,
        score AS value, 0.8 AS bar, moment(i) AS made_at FROM scored, range(3) t(r)""",
    """INSERT INTO store.reviews BY NAME SELECT 'HARVEST' AS harvest, i AS feature_index, '+' AS polarity,
        ['accept', 'reject'][1 + CAST(score < 0.6 AS INTEGER)] AS decision,
        'words such as w' || i || ', round ' || last
        AS label_before, 'ada' AS reviewer, moment(i + 100) AS made_at, 'event' || i AS event,
        i % 2 = 0 AS audit
        FROM scored WHERE i < 200""",
    """INSERT INTO store.controls BY NAME SELECT 'PLANTED' AS harvest, i AS feature_index, '+' AS polarity,
        CASE WHEN i % 4 = 3 THEN 'random firing' ELSE ['token', 'class', 'ending'][1 + i % 4] END AS kind,
        CASE WHEN i % 4 != 3 THEN 'the truth' END AS truth, i % 4 != 3 AS positive FROM range(64) t(i)""",
    """INSERT INTO store.outcomes BY NAME SELECT 'RUN' AS run, 'PLANTED' AS harvest, i AS feature_index,
        '+' AS polarity, CASE WHEN i % 4 != 3 AND u(i, 80) < 0.9 THEN 'accepted' ELSE 'rejected'
        END AS status,
        'control ' || i AS label, CASE WHEN i % 4 != 3 THEN 0.95 ELSE 0.1 END AS confidence, 'why' AS why,
        1 AS rounds,
        3 AS candidates, 'simulation@2(sparse@3)' AS scorer, u(i, 81) AS score, 0.001 AS density,
        1.0 AS maximum,
        moment(i) AS made_at FROM range(64) t(i)""",
    """INSERT INTO store.checked BY NAME SELECT 'RUN' AS run, 'PLANTED' AS harvest, i AS feature_index,
        '+' AS polarity, i % 4 != 3 AND u(i, 82) < 0.9 AS is_right FROM range(64) t(i)""",
)
_EVIDENCE = """
CREATE TABLE features AS SELECT i::INTEGER AS feature_index, '+' AS polarity, 10.0::FLOAT AS maximum
    FROM range($n) t(i);
CREATE TABLE contexts AS SELECT c::BIGINT AS context_id, true AS quiet FROM range($contexts) t(c);
CREATE TABLE quiet_activations AS SELECT i::INTEGER AS feature_index, '+' AS polarity,
    (hash(i, c) % $contexts)::BIGINT AS context_id, [3, 9]::USMALLINT[] AS positions,
    [0.5 + i % 7, 1 + c % 3]::FLOAT[] AS activations FROM range($n) t(i), range(20) s(c);
"""


def fill(space: Workspace, n_features: int) -> None:
    """Put a finished run over n features into an empty workspace, with its evidence."""
    names = {"'RUN'": f"'{RUN}'", "'HARVEST'": f"'{HARVEST}'", "'PLANTED'": f"'{PLANTED}'"}

    def named(sql: str) -> str:
        for name, value in names.items():
            sql = sql.replace(name, value)
        return sql

    def work(con: duckdb.DuckDBPyConnection) -> None:
        for harvest, kind in ((HARVEST, "harvest"), (PLANTED, "controls")):
            con.execute(
                "INSERT INTO store.harvests BY NAME SELECT ? AS harvest, 'model' AS subject, 'h.6' AS site, "
                "6 AS layer, 'sae' AS dictionary, 'books' AS corpus, 10000000 AS tokens, ? AS sha256, "
                "'{}' AS parameters, ? AS kind",
                [harvest, _SHA256, kind],
            )
        con.execute(
            "INSERT INTO store.runs VALUES (?, 'job', ?, ?, ?, '0.1.0', TIMESTAMP '2026-03-01 21:59:00')",
            [RUN, HARVEST, "ab" * 32, json.dumps(_PARAMETERS)],
        )
        for statement in _MACROS.replace("$n", str(n_features)).split(";\n"):
            if statement.strip():
                con.execute(statement)
        for sql in _ROWS:
            con.execute(named(sql))
        for name in ("f", "scored"):
            con.execute(f"DROP TABLE {name}")
        map_confidence(con, RUN)

    Store(space.labels).write(work)
    path = space.evidence / f"{HARVEST}.duckdb"
    with connect(path, read_only=False) as con:
        given = _EVIDENCE.replace("$n", str(n_features)).replace("$contexts", str(CONTEXTS))
        for statement in given.split(";\n"):
            if statement.strip():
                con.execute(statement)
    manifest = Manifest(HARVEST, _SHA256, FORMAT, {"kind": "harvest"})
    record = {field: getattr(manifest, field) for field in Manifest.__slots__}
    manifest_path(path).write_text(json.dumps(record), encoding="utf-8")


def main() -> None:
    """Fill a workspace, write its page, and print how long that took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="Folder for the workspace and the page.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = given.keep or Path(folder)
        space = Workspace.open_or_create(root / "workspace")
        fill(space, given.features)
        for turn in ("first", "second"):
            began = time.perf_counter()
            _, page = write_report(space, RUN, root / "report.html")
            print(f"{time.perf_counter() - began:5.1f} s  {turn} page of {given.features:,} features")
        print(f"{page.stat().st_size / 1e6:5.1f} MB  its size")


if __name__ == "__main__":
    main()
