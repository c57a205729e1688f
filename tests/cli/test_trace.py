"""`exegete trace`, from a planted feature's harvest to the table, the JSON and the page; and bad input."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.cli.show import out
from exegete.datastore.workspace import Workspace
from tests.cli.conftest import Cli
from tests.subjects.planted import STRENGTH, planted_evidence

TEXT = "the quick fox said able dog said <b>twice</b>"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the planted model's harvest, labelled without an LLM; not to be written to."""
    space = Workspace.open_or_create(tmp_path_factory.mktemp("traced") / "workspace")
    planted_evidence(space.root).close()
    asyncio.run(Job(space, JobSpec(name="first", nulls=0, top=4, per_decile=1, quiet=8)).run())
    return space.root


def test_trace(root: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted feature is found on its two words, as strong as it is: table, JSON and page."""
    page = tmp_path / "page.html"
    ended = cli("trace", TEXT, "-w", root, "--json", "--out", page)
    assert (ended.code, ended.err) == (0, f"wrote {page}\n")
    facts = json.loads(ended.out)
    assert "".join(facts["words"]) == TEXT
    (own,) = [one for one in facts["features"] if one["feature_index"] == 0]
    assert [(place["text"].strip(), place["strength"]) for place in own["fires"]] == [
        ("fox", 1.0),
        ("dog", pytest.approx(STRENGTH["dog"] / STRENGTH["fox"])),
    ]
    assert "&lt;b" in page.read_text()
    assert "<b>" not in page.read_text()
    monkeypatch.setattr(out, "_width", 80)
    told = cli("trace", TEXT, "-w", root)
    assert told.code == 0
    line = next(line for line in told.out.splitlines() if line.split()[:1] == ["0"])
    assert "fox dog" in line
    assert "features of model-wte-neurons-" in told.out
    assert max(map(len, told.out.splitlines()[:-1])) <= 80


def test_a_file_and_a_status(root: Path, cli: Cli, tmp_path: Path) -> None:
    """A file's text is traced; a status that no feature here has leaves the sentence alone."""
    (tmp_path / "text.txt").write_text(TEXT)
    whole = json.loads(cli("trace", tmp_path / "text.txt", "-w", root, "--json").out)
    assert "".join(whole["words"]) == TEXT
    none = cli("trace", TEXT, "-w", root, "--status", "failed")
    assert (none.code, none.out.count("\n")) == (0, 1)
    assert ", 0 shown" in none.out


def test_bad_input(root: Path, cli: Cli, tmp_path: Path) -> None:
    """Each is one sentence, and exit code 2."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for words, why in (
        (("nowhere.txt",), "there is no file nowhere.txt: check the name, or put a space before it"),
        (("some/where",), "there is no file some/where"),
        ((" ",), "there is nothing to trace"),
        ((tmp_path / "bytes",), "is no text in UTF-8"),
        ((tmp_path,), "can't be read"),
        (("fox " * 20, "--status", "good"), "there is no status 'good'"),
        (("fox " * 60_000,), "tokens: give one of 1 to 100,000"),
        (("fox", "--subject", tmp_path / "gone"), "can't be loaded again"),
    ):
        ended = cli("trace", *words, "-w", root)
        assert why in ended.complaint
        assert ended.code == 2


def test_evidence_without_a_subject(cli: Cli) -> None:
    """Imported evidence has no model to run, and says so."""
    ended = cli("trace", "some text")
    assert "it was imported, and its model was never here" in ended.complaint


def test_the_subject_has_moved(root: Path, cli: Cli, tmp_path: Path) -> None:
    """Where it is now can be said."""
    shutil.copytree(root, tmp_path / "copy")
    shutil.move(tmp_path / "copy" / "model", tmp_path / "elsewhere" / "model")
    ended = cli("trace", TEXT, "-w", tmp_path / "copy", "--subject", tmp_path / "elsewhere" / "model")
    assert ended.code == 0
