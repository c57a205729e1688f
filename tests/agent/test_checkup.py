"""The doctor finds what is not as it was written, and only that."""

from __future__ import annotations

import json
from pathlib import Path

from exegete.agent.checkup import check_workspace
from exegete.datastore.sealed import seal
from exegete.datastore.workspace import Workspace
from exegete.llm import Journal
from exegete.llm.compressed import compress
from tests.agent.harness import Runner
from tests.llm.fakes import request


def found(root: Path) -> dict[str, tuple[bool, str]]:
    """What the doctor found, by the first word of what it looked at."""
    return {finding.what.split()[0]: (finding.ok, finding.found) for finding in check_workspace(root)}


def test_a_healthy_workspace(run: Runner) -> None:
    """Everything is well, with counts."""
    run(features="6-8")
    findings = found(run.workspace.root)
    assert all(ok for ok, _ in findings.values())
    assert "20 features, digest as recorded" in findings["evidence"][1]
    assert "3 labelled features" in findings["labels"][1]
    assert findings["journal"][1] == f"{len(run.llm.asked)} replies"
    assert findings["decisions"][1] == "2 events noted"
    with run.workspace.job_lock():
        assert "is running" in found(run.workspace.root)["job"][1]


def test_what_the_journal_holds(run: Runner) -> None:
    """Compressed segments are read like others, and lost calls are counted apart from replies."""
    run(features="8")
    folder = run.workspace.journal
    with Journal(folder) as journal:
        journal.lost(request(), "cut off", 0.1)
    replies = len(run.llm.asked)
    lost = "1 lost calls (sent, maybe billed, never answered)"
    assert found(run.workspace.root)["journal"] == (True, f"{replies} replies, {lost}")
    assert compress(folder / "000001.jsonl", folder / "000001.jsonl.zst")
    (folder / "000001.jsonl").rename(folder / "000002.jsonl")
    both = f"{2 * replies} replies, 1 of 2 segments compressed, 2 lost calls"
    assert found(run.workspace.root)["journal"][1].startswith(both)
    packed = folder / "000001.jsonl.zst"
    packed.write_bytes(packed.read_bytes()[:100])
    ok, said = found(run.workspace.root)["journal"]
    assert (ok, "damaged lines" in said) == (False, True)


def test_damage_is_named(run: Runner) -> None:
    """A flipped byte of evidence or journal, a broken labels file: each named, and nothing else."""
    run(features="8")
    root = run.workspace.root
    (evidence,) = root.glob("evidence/*.duckdb")
    (journal,) = root.glob("journal/*.jsonl")
    (decisions,) = root.glob("decisions/*.jsonl")
    places = ((evidence, 5000, "evidence"), (journal, 400, "journal"), (decisions, 100, "decisions"))
    for path, where, named in places:
        whole = path.read_bytes()
        path.write_bytes(whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :])
        findings = found(root)
        assert {what for what, (ok, _) in findings.items() if not ok} == {named}
        path.write_bytes(whole)
    assert "1 damaged line" not in found(root)["journal"][1]
    labels = root / "labels.duckdb"
    labels.write_bytes(b"no database at all" * 1000)
    assert {what for what, (ok, _) in found(root).items() if not ok} == {"labels"}


def test_measurements(tmp_path: Path) -> None:
    """Whole lines are counted; one that is still being written is no damage, and a flipped byte is."""
    space = Workspace.open_or_create(tmp_path)
    assert "measurements" not in found(tmp_path)
    space.measurements.mkdir()
    whole = seal(b'{"index":1,"runs":[]}') + seal(b'{"index":2,"runs":[]}')
    path = space.measurements / "0.jsonl"
    path.write_bytes(whole + whole[:10])
    assert found(tmp_path)["measurements"] == (True, "2 sets of texts measured")
    path.write_bytes(whole.replace(b"2", b"3", 1))
    ok, said = found(tmp_path)["measurements"]
    assert (ok, said[:43]) == (False, "1 sets of texts measured; 1 damaged lines, ")


def test_what_is_no_workspace(tmp_path: Path) -> None:
    """One finding, with the sentence; a newer layout likewise."""
    assert found(tmp_path) == {"workspace": (False, found(tmp_path)["workspace"][1])}
    (tmp_path / "workspace.json").write_text(json.dumps({"format": 99}))
    assert "newer exegete" in found(tmp_path)["workspace"][1]
