"""What the lexical pair is worth on controls: features of known truth, and features with nothing to find.

    python -m benchmarks.controls [--json] [--n 24] [--negatives 550] [--workspace FOLDER] [--out PAGE.html]

1. `exegete controls` with so many of each kind on the Python documentation: recovery by kind, false accepts,
   AUROC of right against wrong labels, calibration error. A workspace that is named goes on where it was.
2. Random directions at layer 3 instead of the last: how many of 100 are accepted there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

from rich.console import Console

from exegete.agent.spec import JobSpec
from exegete.cli.controls import share, show
from exegete.controls.suite import SuiteSpec
from exegete.controls.text import Text, corpus_text
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.controls_run import run_controls
from exegete.report.evaluation import Evaluation
from exegete.report.page import write_page
from exegete.subjects.corpora import open_corpus

LEXICAL = JobSpec(nulls=0, stop_early=False)
EARLIER = "encoder.layer.3"


def evaluate(space: Workspace, text: Text, suite: SuiteSpec, spec: JobSpec = LEXICAL) -> Evaluation:
    """Run a suite to its end."""
    found = asyncio.run(run_controls(space, text, suite, spec)).evaluation
    assert found is not None, "the run was interrupted"
    return found


def main() -> None:
    """Run both parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--negatives", type=int, default=550)
    parser.add_argument("--directions", type=int, default=100)
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.open_or_create(given.workspace or Path(folder) / "workspace")
        text = corpus_text(open_corpus("stdlib-docs"), 0)
        whole = evaluate(space, text, SuiteSpec.of_each(given.n, given.negatives, 0))
        if not given.json:
            show(whole)
        if given.out is not None:
            said = {"explainer": "lexical", "simulator": "lexical", "source": text.source}
            write_page(given.out, whole, Store(space.labels), said)
        counts = (("token", 8), ("random direction", given.directions))
        earlier = evaluate(space, text, SuiteSpec(counts, site=EARLIER)).false_accepts["random direction"]
    if given.json:
        print(json.dumps(whole.to_json() | {f"random direction at {EARLIER}": earlier.value}))
    else:
        Console().print(f"\nrandom directions at {EARLIER}: {share(earlier)} of {earlier.n} accepted")


if __name__ == "__main__":
    main()
