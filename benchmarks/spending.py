"""Where a job's tokens go: by stage, with tests and without, and what features take that are clear at once.

    python -m benchmarks.spending [--json] [--features 24] [--workspace W] [--seed 0]

The subject is the causal model that comes with exegete; features are latents of its autoencoder, over the
Python source. The job has the default strategy (three candidates, up to two revisions, early stopping, nulls)
and a scripted model (guesser.py, of scattered guesses), then `--falsify` as well, from an empty journal.
Tokens are characters / 4. All of it is read from the views `calls`, `decisions` and `labels`.

Features are told apart by what was decided after their first trial. With a model that labels better or worse
more or fewer of them are clear at once; what each of them takes by stage depends on it less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.guesser import Guesser
from benchmarks.refinement import split_off
from exegete import llm
from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.cli.demo import LATENTS
from exegete.cli.harvest import run_harvest
from exegete.controls.text import corpus_text
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm.abilities import Abilities, Ability
from exegete.llm.abilities_file import remember
from exegete.subjects.corpora import open_corpus

MODEL = "scripted:guesser"
SETTINGS: Mapping[str, Mapping[str, Any]] = {"tests off": {}, "tests on": {"falsify": True}}

_STAGES = """
SELECT stage, count(*) / $2 AS calls,
    sum(input_tokens) / $2 AS tokens_in, sum(output_tokens) / $2 AS tokens_out
FROM calls WHERE run = $1 GROUP BY stage ORDER BY min(called_at)
"""
_FATES = """
WITH decided AS (
    SELECT feature_index, arg_min(action, number) FILTER (step = 'trial') AS after_first_trial,
        arg_min(value, number) FILTER (step = 'trial') AS first_score,
        count(*) FILTER (step = 'falsify') AS tests, count(*) FILTER (step = 'revise') AS revisions
    FROM decisions WHERE run = $1 GROUP BY feature_index
), asked AS (
    SELECT feature, count(*) FILTER (stage IN ('falsify', 'revise')) AS calls
    FROM calls WHERE run = $1 GROUP BY feature
)
SELECT d.after_first_trial, count(*) AS features,
    min(d.first_score) AS refine_from, max(d.first_score) AS refine_to,
    CAST(sum(d.tests) AS BIGINT) AS rounds_of_tests, CAST(sum(d.revisions) AS BIGINT) AS revisions,
    CAST(sum(a.calls) AS BIGINT) AS calls_of_rounds, avg(l.tokens_spent) AS tokens_to_label
FROM decided d JOIN labels l USING (feature_index) JOIN asked a ON a.feature = d.feature_index::VARCHAR
WHERE l.run = $1 AND d.after_first_trial IS NOT NULL GROUP BY d.after_first_trial ORDER BY refine_from DESC
"""


def measure(evidence: Path, guesser: Guesser, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run the job one way in a workspace of its own, and say what it took.

    Args:
        evidence: the harvest's folder.
        guesser: the model.
        settings: parameters of the job beside the default ones.
    """
    with tempfile.TemporaryDirectory(dir=evidence.parent) as folder:
        space = Workspace.open_or_create(Path(folder) / "workspace")
        for path in evidence.iterdir():
            os.link(path, space.evidence / path.name)
        llm.PROVIDERS["scripted"] = lambda name: guesser
        remember(space.root, Abilities(MODEL, structured_output=Ability(True, "it reads every schema")))
        report = asyncio.run(Job(space, JobSpec(explainer="highlight", llm=MODEL, **settings)).run())
        store, n = Store(space.labels), report.progress.done
        return {
            "features": n,
            "stages": store.read(_STAGES, [report.run, n]),
            "fates": store.read(_FATES, [report.run]),
        }


def show(title: str, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print rows as a table."""
    console.print(title, style="italic")
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(
            *(f"{value:,.2f}" if isinstance(value, float) else str(value) for value in row.values())
        )
    console.print(table)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--features", type=int, default=24)
    parser.add_argument("--workspace", type=Path, help="where the harvest is kept; default: nowhere")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    _, known = split_off(corpus_text(open_corpus(LATENTS.corpus), given.seed))
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.open_or_create(given.workspace or Path(folder) / "workspace")
        harvest = replace(LATENTS.harvest, features=tuple(range(given.features)))
        run_harvest(space, LATENTS.subject, LATENTS.corpus, harvest)
        guesser = Guesser("scattered", known)
        results = {name: measure(space.evidence, guesser, of) for name, of in SETTINGS.items()}
    if given.json:
        print(json.dumps(results))
        return
    console = Console(width=160)
    for name, found in results.items():
        show(f"{name}: calls and tokens a feature, {found['features']} features", found["stages"], console)
        show(f"{name}: features, by what was decided after the first trial", found["fates"], console)


if __name__ == "__main__":
    main()
