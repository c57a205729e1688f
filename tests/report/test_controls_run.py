"""A run over controls, from planting to the page (all figures on real text: benchmarks/controls.py)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.job import Progress
from exegete.agent.spec import JobSpec
from exegete.controls.suite import SuiteSpec
from exegete.controls.text import Text, pool_text
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.controls_run import ControlsRun, run_controls
from exegete.report.page import page, write_page
from tests.controls.texts import documentation

LEXICAL = JobSpec(nulls=0, stop_early=False)
SAID = {"explainer": "lexical", "simulator": "lexical", "source": "text"}


def run(space: Workspace, text: Text, suite: SuiteSpec, **parameters: Any) -> ControlsRun:
    """Run a suite in a workspace."""
    return asyncio.run(run_controls(space, text, suite, LEXICAL.model_copy(update=parameters)))


@pytest.fixture(scope="module")
def small(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, ControlsRun]:
    """Two of each kind on the text of the agent's tests, and a workspace with them."""
    space = Workspace.open_or_create(tmp_path_factory.mktemp("controls") / "space")
    file = Workspace.open(template).open_evidence()
    text = pool_text(file)
    file.close()
    halted = run(space, text, SuiteSpec.of_each(2, 2, 0), limit=5)
    assert halted.evaluation is None
    assert halted.job.left > 0
    return space, run(space, text, SuiteSpec.of_each(2, 2, 0))


def test_a_run_goes_on_and_ends_with_figures(small: tuple[Workspace, ControlsRun]) -> None:
    """What an earlier sitting finished is not done again, and all is counted once."""
    space, found = small
    assert found.job.progress.before == 5
    evaluation = found.evaluation
    assert evaluation is not None
    assert evaluation.recovery["token"].k == evaluation.recovery["token"].n == 2
    assert evaluation.false_accepts["random firing"].k == 0
    assert evaluation.auroc["simulation"]["swapped"] is not None
    assert {"bracket depth", "random direction", "random weights"} <= {*evaluation.left_out}
    n = Store(space.labels).read("SELECT count(*) AS n FROM controls")[0]["n"]
    assert n == len(evaluation.judged)
    assert Store(space.labels).read("SELECT * FROM labels") == []
    checked = Store(space.labels).read("SELECT feature_index, is_right FROM store.checked ORDER BY ALL")
    expected = [(j.control.index, j.right) for j in evaluation.judged if j.scored]
    assert [(row["feature_index"], row["is_right"]) for row in checked] == expected


def test_progress_is_told(small: tuple[Workspace, ControlsRun], tmp_path: Path) -> None:
    """Planting, features and labels are all told of."""
    space, _ = small
    heard: list[Progress] = []
    evidence = space.open_evidence()
    text = replace(pool_text(evidence), source="other")
    evidence.close()
    other = Workspace.open_or_create(tmp_path / "other")
    suite = SuiteSpec((("token", 1), ("random firing", 1)), 0)
    asyncio.run(run_controls(other, text, suite, LEXICAL, lambda p: heard.append(replace(p))))
    assert {"planting", "writing", "holding labels against the truth"} <= {p.message for p in heard}
    assert heard[-1].done == heard[-1].total > 0


def test_the_page_needs_nothing_else(small: tuple[Workspace, ControlsRun]) -> None:
    """Plots, plotly.js and all tables are in the file; nothing is fetched."""
    space, found = small
    assert found.evaluation is not None
    html = page(found.evaluation, Store(space.labels), SAID)
    without = re.sub(r"<script>.*?</script>", "", html, count=1, flags=re.DOTALL)
    assert len(html) - len(without) > 1_000_000
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", without)
    for name in ("recovery", "false_accepts", "auroc", "values", "reliability"):
        assert f'id="plot-{name}"' in without
    for heading in ("Recovered", "Not recovered", "Accepted, and nothing to find", "Confidence"):
        assert f"<h2>{heading}</h2>" in without
    assert "@media print" in without
    assert "<mark>" in without


def test_text_in_the_page_is_harmless(small: tuple[Workspace, ControlsRun]) -> None:
    """A label, a kind, a scorer or a source with markup in it is shown and not obeyed."""
    space, found = small
    assert found.evaluation is not None
    evil = '<script>alert("x")</script><img src=x onerror=1>'
    judged = tuple(
        replace(
            j,
            label=evil,
            why=evil,
            status="accepted",
            right=False,
            control=replace(j.control, kind=evil if not j.control.positive else j.control.kind),
        )
        for j in found.evaluation.judged
    )
    told = tuple(replace(t, scorer=evil) for t in found.evaluation.told)
    hostile = replace(found.evaluation, judged=judged, told=told, run=evil, left_out=(evil,))
    html = page(hostile, Store(space.labels), {**SAID, "source": evil})
    after = html[html.index("</script>") :]
    assert "<img" not in after.replace("\\u003c", "")
    assert after.count("alert(") == after.count("&lt;script&gt;alert(") + after.count(
        "\\u003cscript\\u003e"
    ) + (after.count("\\u0026lt;script"))


def test_a_page_is_written_whole(small: tuple[Workspace, ControlsRun], tmp_path: Path) -> None:
    """It replaces an older one, and leaves no draft behind."""
    space, found = small
    assert found.evaluation is not None
    place = tmp_path / "page.html"
    place.write_text("old")
    write_page(place, found.evaluation, Store(space.labels), SAID)
    assert place.read_text(encoding="utf-8").endswith("</html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.slow
def test_the_lexical_pair_on_real_text(tmp_path: Path) -> None:
    """Words and classes are recovered in nine of ten cases; with nothing to find, no label is accepted."""
    suite = SuiteSpec((("token", 12), ("token class", 12), ("random firing", 24), ("shuffled", 24)))
    found = run(Workspace.open_or_create(tmp_path / "space"), documentation(), suite).evaluation
    assert found is not None
    rates = {**found.recovery, **found.false_accepts}
    for kind in ("token", "token class"):
        assert rates[kind].n == 12
        assert rates[kind].k >= 0.9 * 12, rates
    for kind in ("random firing", "shuffled"):
        assert rates[kind].k == 0, rates
    auroc = found.auroc["simulation"]["swapped"]
    assert auroc is not None
    assert auroc >= 0.95
