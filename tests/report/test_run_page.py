"""The page of a run: complete, self-contained, harmless, and never an empty chart."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import re
import shutil
from pathlib import Path

import duckdb
import pytest

from benchmarks.report import RUN
from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError, WorkspaceError
from exegete.report.run.facts import Facts, collect
from exegete.report.run.findings import negative, shown
from exegete.report.run.page import as_data, page, write_report
from exegete.report.run.sections import Section
from tests.report.hostile import EVIL, poison


@pytest.fixture(scope="module")
def night(filled: Path) -> Facts:
    """What a run shows in which everything happened."""
    return collect(Workspace.open(filled), RUN)


@pytest.fixture
def space(filled: Path, tmp_path: Path) -> Workspace:
    """A workspace with that run, of the test's own."""
    return Workspace.open(shutil.copytree(filled, tmp_path / "space"))


@pytest.fixture(scope="module")
def plain(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A real run of the lexical pair: no model, nothing planted, nothing tested."""
    space = Workspace.open(shutil.copytree(template, tmp_path_factory.mktemp("plain") / "space"))
    asyncio.run(Job(space, JobSpec(name="plain", nulls=0, limit=6)).run())
    return space


def plots_of(text: str) -> dict[str, dict[str, object]]:
    """The plots that a page carries."""
    found = re.search(r'<script type="application/json" id="plots">(.*?)</script>', text)
    assert found is not None
    plots: dict[str, dict[str, object]] = json.loads(found[1])
    return plots


def without_scripts(text: str) -> str:
    """A page without what is in its script elements."""
    return re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", text, flags=re.DOTALL)


def test_all_is_in_the_file(night: Facts) -> None:
    """Nothing is fetched; every section, table cell and finding is there; the page prints."""
    text = page(night)
    bare = without_scripts(text)
    assert not re.search(r"""\s(src|srcset|data|action)\s*=|@import|url\(|href="(?!#)""", bare)
    read = html.unescape(bare)
    for sentence in shown(night) + negative(night):
        assert sentence in read
    assert "@media print" in bare
    assert "prefers-color-scheme: dark" in bare
    assert len(text) < 6_000_000


def test_tables_are_shown_to_the_last_cell(night: Facts) -> None:
    """Every cell of every table of every section stands in the page."""
    from exegete.report.run.page import _SECTIONS

    read = html.unescape(without_scripts(page(night)))
    sections: list[Section] = [make(night) for make in _SECTIONS]
    cells = {cell for section in sections for table in section.tables for row in table.rows for cell in row}
    assert len(cells) > 250
    assert {cell for cell in cells if f">{cell}<" not in read} == set()
    for section in sections:
        for table in section.tables:
            assert {len(row) for row in table.rows} == {len(table.columns)}


def test_plots_are_plotlys(night: Facts) -> None:
    """Every figure is one that plotly knows, has data, and stands beside words that say what is in it."""
    import plotly.graph_objects as go

    text = page(night)
    plots = plots_of(text)
    assert len(plots) >= 13
    for name, figure in plots.items():
        known = go.Figure(figure)
        assert all(len(trace.x) for trace in known.data), name
        assert f'id="plot-{name}" role="img" aria-labelledby="words-{name}"' in text
        assert re.search(rf'<figcaption id="words-{name}">[^<]{{10,}}', text), name


def test_its_policy_names_its_scripts(night: Facts) -> None:
    """Two scripts may run, by their digests, and nothing else; plots are data."""
    text = page(night)
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    policy = html.unescape(found[1])
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert text.index("Content-Security-Policy") < text.index("<script")


def test_hostile_text_is_harmless(space: Workspace) -> None:
    """Labels, words, reasons, models, stages and texts that hold markup are shown and not obeyed."""
    poison(space, EVIL)
    text = page(collect(space, RUN))
    assert text.count("<script") == text.count("</script>") == 3
    bare = without_scripts(text)
    assert "<img" not in bare
    assert "onerror=" not in re.sub(r">[^<]*<", "><", bare)
    assert "{{7*7}}" in html.unescape(bare)
    plots_of(text)


def test_data_cannot_end_its_script() -> None:
    """What JSON holds comes back whole, and no mark in it means anything to HTML."""
    value = {"a": [EVIL, "<!--", "\u2028"], "b": 1.5, "c": None}
    text = as_data(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)


def test_what_is_missing_is_said(plain: Workspace) -> None:
    """A run without a model, controls, tests or nulls has sentences with options in place of empty charts."""
    facts = collect(plain, None)
    text = page(facts)
    read = html.unescape(re.sub(r"</?code>", "`", without_scripts(text)))
    for option in ("--nulls", "--with-controls", "--falsify", "--effects", "generation", "exegete review"):
        assert f"`{option}" in read, option
    assert "asked no model anything" in read
    plots = plots_of(text)
    assert {"experiments", "reliability-controls", "layers", "rounds"} & plots.keys() == set()
    assert all(figure["data"] for figure in plots.values())


def test_figures_of_a_real_run_are_its_views(plain: Workspace) -> None:
    """The first sentence, and the counts, are those of the view `runs`."""
    row = Store(plain.labels).read("SELECT * FROM runs WHERE run = 'plain'")[0]
    facts = collect(plain, "plain")
    assert shown(facts)[0].startswith(f"{row['accepted']} of {row['attempted']} attempted features")
    assert facts.attempted == 6
    assert not isinstance(facts.coverage, str)
    assert facts.coverage.features["not attempted"] == row_count(plain) - 6


def row_count(space: Workspace) -> int:
    """Harvested features."""
    return int(Store(space.labels).read("SELECT count(*) AS n FROM features")[0]["n"])


def test_a_run_that_is_not_there(plain: Workspace, tmp_path: Path) -> None:
    """An unknown name names the known ones; an empty workspace says what to do."""
    with pytest.raises(UsageError, match=r"no run 'other' in .*: it has plain"):
        collect(plain, "other")
    with pytest.raises(UsageError, match="exegete label"):
        collect(Workspace.open_or_create(tmp_path / "new"), None)


def test_a_run_with_nothing_to_say(space: Workspace) -> None:
    """A run that has finished nothing, and one of planted features alone, are told from each other."""
    Store(space.labels).write(lambda con: con.execute("DELETE FROM store.outcomes"))
    with pytest.raises(UsageError, match="has not finished a feature yet"):
        collect(space, None)
    Store(space.labels).write(lambda con: con.execute("UPDATE store.runs SET harvest = 'controls-model'"))
    with pytest.raises(UsageError, match="exegete controls"):
        collect(space, None)


def test_the_page_is_written_whole(plain: Workspace, tmp_path: Path) -> None:
    """It replaces an older one and leaves no draft; where it can't be written, one sentence says so."""
    place = tmp_path / "page.html"
    place.write_text("old")
    _, written = write_report(plain, None, place)
    assert written == place
    assert place.read_text(encoding="utf-8").endswith("</html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(WorkspaceError, match="name another with --out"):
        write_report(plain, None, tmp_path / "no" / "page.html")


def test_layers_stand_side_by_side(space: Workspace) -> None:
    """A second harvest's latest run has a row and a mark of its own; without evidence it has no coverage."""

    def work(con: duckdb.DuckDBPyConnection) -> None:
        con.execute(
            "INSERT INTO store.harvests SELECT * REPLACE ('other' AS harvest, 7 AS layer, 'h.7' AS site) "
            "FROM store.harvests WHERE kind = 'harvest'"
        )
        for run, day in (("early", 1), ("late", 2)):
            con.execute(
                "INSERT INTO store.runs SELECT * REPLACE (? AS run, 'other' AS harvest, "
                f"TIMESTAMP '2026-04-0{day}' AS made_at) FROM store.runs WHERE run = ?",
                [run, RUN],
            )
            con.execute(
                "INSERT INTO store.outcomes SELECT * REPLACE (? AS run, 'other' AS harvest) "
                "FROM store.outcomes WHERE run = ? AND harvest != 'controls-model'",
                [run, RUN],
            )

    Store(space.labels).write(work)
    facts = collect(space, RUN)
    assert [layer.row["run"] for layer in facts.layers] == [RUN, "late"]
    assert isinstance(facts.layers[1].coverage, str)
    plots = plots_of(page(facts))
    assert "layers" in plots
