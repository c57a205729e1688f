"""A night in which every feature failed: it is said why, a report is made, and no label is lost."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_night_in_which_all_failed(cli: Cli, tmp_path: Path) -> None:
    """The commonest reason stands below the counts; the report is written; what another run found stays."""
    before = cli("label", "--features", "0,1")
    assert before.code == 0, before.err
    script = tmp_path / "s.jsonl"
    script.write_text('{"purpose": "propose", "reply": {"labels": [{"text": "words of degree"}]}}\n')
    words = ("--explainer", "highlight", "--llm", f"scripted:{script}", "--features", "0,1", "--name", "bad")
    failed = cli("label", *words)
    assert "run bad: 2 features: 2 failed" in failed.out
    why = "s.jsonl has no rule for this request of purpose 'simulate': add one (2 of 2)"
    assert why in failed.out
    page = tmp_path / "night.html"
    reported = cli("report", "--run", "bad", "--out", page)
    assert reported.code == 0, reported.err
    assert "2 features failed" in reported.out
    assert page.stat().st_size > 1_000
    believed = cli("sql", "SELECT run, label, status FROM labels WHERE feature_index < 2", "--json")
    assert "failed" not in believed.out
    assert '"run": "lexical' in believed.out or '"run":"lexical' in believed.out
