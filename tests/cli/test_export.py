"""`exegete export` and `exegete snapshot`: every form from the command line, and mistakes as sentences."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from exegete.cli.show import number
from exegete.datastore.records import STATUSES
from exegete.datastore.workspace import Workspace
from tests.cli.conftest import Cli
from tests.datastore.labelled import LABELS, write_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Known evidence and labels."""
    return write_workspace(tmp_path / "workspace")


def test_every_form(cli: Cli, tmp_path: Path) -> None:
    """Each form says what it wrote, as a sentence and as JSON, and what it takes unless told otherwise."""
    for form, counts in (
        ("parquet", {"labels": 6}),
        ("jsonl", {"labels": 6}),
        ("csv", {"labels": 6}),
        ("circuit-tracer", {"features": 6}),
        ("neuronpedia", {"features": 3, "explanations": 3}),
    ):
        out = tmp_path / form
        ended = cli("export", form, "--out", out, "--json")
        assert (ended.code, ended.err) == (0, "")
        said = json.loads(ended.out)
        assert (said["form"], said["out"]) == (form, str(out))
        assert counts.items() <= said.items()
    assert "is there already" in cli("export", "csv", "--out", tmp_path / "csv").complaint
    again = cli("export", "csv", "--out", tmp_path / "csv", "--overwrite", "--status", "review")
    assert (again.code, again.out) == (0, f"{tmp_path / 'csv'}: 1 labels\n")


def test_the_way_back(cli: Cli, tmp_path: Path) -> None:
    """What was put out for Neuronpedia is taken in as it stands, and its labels go through our scorers."""
    assert cli("export", "neuronpedia", "--out", tmp_path / "np", "--status", "all").code == 0
    assert cli("import", "neuronpedia", tmp_path / "np", "-w", tmp_path / "new").code == 0
    labelled = cli(
        "label", "--explainer", "imported", "--simulator", "lexical", "--nulls", 0, "-w", tmp_path / "new"
    )
    assert labelled.code == 0, labelled.err
    rows = json.loads(cli("sql", "SELECT label FROM labels", "--json", "-w", tmp_path / "new").out)
    found = {row["label"] for row in rows}
    assert {LABELS[i][1] for i in (0, 2, 3)} <= found


def test_snapshots(cli: Cli, tmp_path: Path) -> None:
    """A file and a folder, that plain DuckDB reads."""
    for out, source in (
        (tmp_path / "s.duckdb", f"'{tmp_path}/s.duckdb'"),
        (tmp_path / "s", None),
    ):
        ended = cli("snapshot", "--out", out, "--json")
        assert (ended.code, ended.err) == (0, "")
        assert json.loads(ended.out)["rows"]["labels"] == len(LABELS)
        with duckdb.connect() as con:
            if source:
                con.execute(f"ATTACH {source} AS s (READ_ONLY)")
            table = "s.labels" if source else f"'{out}/labels.parquet'"
            assert con.execute(f"SELECT count(*) FROM {table}").fetchone() == (len(LABELS),)
        said = cli("snapshot", "--out", out, "--overwrite").out
        assert "6 labels" in said
        assert "only the last part was kept" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "csv", "--out", "no/where/x.csv"), "names a new file or folder in a folder that exists"),
        (("export", "csv", "--out", "x.csv", "--run", "day"), "no label is of a run 'day'"),
        (("export", "csv", "--out", "x.csv", "--status", "best"), "--status 'best' can't be read"),
        (("snapshot", "--out", "no/where/x.duckdb"), "names a new file or folder in a folder that exists"),
    ],
)
def test_mistakes(cli: Cli, words: tuple[str, ...], said: str) -> None:
    """Each is one sentence with exit code 2."""
    ended = cli(*words)
    assert ended.code == 2
    assert said in ended.complaint


def test_find(cli: Cli) -> None:
    """By words: a table of what has them all, or a sentence; as JSON with how well it matches."""
    (row,) = json.loads(cli("find", "UNLOCK word", "--json").out)
    assert (row["feature_index"], row["match"]) == (1, 1.0)
    assert "unlock" in cli("find", "unlock").out
    assert "\x1b" not in cli("find", "unlock").out
    assert cli("find", "zebra").out == "no label has all of these words: try fewer, or --meaning\n"
    assert "nothing to look for" in cli("find", " ").complaint


def test_find_by_meaning(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearest first, each with how near it is: as a column of the table, and in JSON."""

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        angles = [0.0 if text == "a query" else zlib.crc32(text.encode()) / 2**32 for text in texts]
        return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], dtype=np.float32)

    fake = SimpleNamespace(name="angles", embed=embed)
    monkeypatch.setattr("exegete.subjects.sentences.Sentences.open", lambda model: fake)
    found = json.loads(cli("find", "--meaning", "a query", "--json").out)
    for row in found:
        assert row["match"] == pytest.approx(np.cos(zlib.crc32(row["label"].encode()) / 2**32), abs=1e-5)
    header, *lines = cli("find", "--meaning", "a query").out.splitlines()
    assert header.split() == ["feature", "label", "score", "[95%]", "likeness", "status"]
    shown = [line.split()[-2] for line in lines if line.split()[-1] in STATUSES]
    assert shown == [number(row["match"]) for row in found]
