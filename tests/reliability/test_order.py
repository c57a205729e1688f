"""The same journal gives the same tables, at any concurrency and in any order."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.workspace import Workspace
from exegete.llm import Request
from tests.agent.harness import Runner, competently, results


@pytest.mark.slow
def test_same_journal_same_tables(
    run: Runner, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1, 7 and 64 features at once, in three orders, in two sittings: row for row, without a call."""
    run(competently, concurrency=16)
    expected = results(run.workspace)
    assert expected["outcomes"]
    real = EvidenceFile.features.fget
    assert real is not None

    def refuse(request: Request) -> str:
        raise AssertionError("everything is in the journal")

    for concurrency, seed in ((1, None), (7, 1), (64, 2)):
        root = shutil.copytree(template, tmp_path / f"at-{concurrency}")
        shutil.copytree(run.workspace.journal, root / "journal", dirs_exist_ok=True)
        other = Runner(Workspace.open(root), monkeypatch)

        def features(self: EvidenceFile, seed: int | None = seed) -> list[object]:
            found = list(real(self))
            if seed is not None:
                random.Random(seed).shuffle(found)
            return found

        monkeypatch.setattr(EvidenceFile, "features", property(features))
        other(refuse, concurrency=concurrency, limit=9)
        report = other(refuse, concurrency=concurrency)
        assert (report.left, other.llm.asked) == (0, [])
        assert results(other.workspace) == expected, concurrency


def test_the_order_of_replies_does_not_matter(run: Runner, template: Path, tmp_path: Path) -> None:
    """Two jobs whose replies come in different orders, and whose journals differ therefore, agree."""
    run(competently, concurrency=16, features="0-9")
    first = [request.key for request in run.llm.asked]
    expected = results(run.workspace)
    other = Runner(Workspace.open(shutil.copytree(template, tmp_path / "other")), run._patch)
    other(competently, concurrency=1, features="0-9")
    second = [request.key for request in other.llm.asked]
    assert sorted(first) == sorted(second)
    assert first != second
    assert results(other.workspace) == expected
