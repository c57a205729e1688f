"""Neuronpedia's layout: its own columns, uniform lines, the right numbers, and a way back by the import."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exegete.datastore import export_rows
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.export_choice import Choice, choose
from exegete.datastore.export_neuronpedia import KINDS, export_neuronpedia
from exegete.datastore.export_passages import INTERVALS, PER_INTERVAL, TOP
from exegete.datastore.import_labels import imported_labels
from exegete.datastore.import_neuronpedia import import_neuronpedia
from exegete.datastore.placed import MARKER
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from tests.datastore.corpus import stream
from tests.datastore.imported import SPEC
from tests.datastore.labelled import LABELS, write_workspace
from tests.datastore.neuronpedia_columns import COLUMNS, NEEDED, NEVER_NULL

PLACE = Path("org-tiny-1", "0-layers-0-neurons")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_workspace(tmp_path_factory.mktemp("neuronpedia") / "w")


@pytest.fixture(scope="module")
def out(space: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All labels, exported."""
    found = tmp_path_factory.mktemp("out") / "np"
    export_neuronpedia(space, Store(space.labels), Choice(), found, overwrite=False)
    return found


def lines(out: Path, kind: str) -> list[dict[str, Any]]:
    """All lines of one kind, in order."""
    paths = sorted(
        (out / PLACE / kind).glob("batch-*.jsonl.gz"), key=lambda p: int(p.name.split("-")[1].split(".")[0])
    )
    return [json.loads(line) for path in paths for line in gzip.decompress(path.read_bytes()).splitlines()]


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns(out: Path, kind: str) -> None:
    """Every line has the same keys; all are columns of Neuronpedia's, and all it needs are there."""
    if kind in KINDS:
        found = lines(out, kind)
    else:
        folder = out / "config" if kind.startswith("explanation") else out / PLACE
        found = [json.loads(line) for line in (folder / f"{kind}.jsonl").read_text().splitlines()]
    assert found
    assert len({tuple(line) for line in found}) == 1
    assert set(found[0]) <= set(COLUMNS[kind].split())
    assert set(found[0]) >= set(NEEDED[kind].split())
    for name in NEVER_NULL.get(kind, ()):
        assert all(line[name] is not None for line in found)


def test_what_lines_name_is_described(out: Path) -> None:
    """Kinds of explanation and score are described; scores are of labels that are there; ids are unique."""
    explanations, scores = lines(out, "explanations"), lines(out, "explanation_scores")
    named = {
        "explanation_type": {line["typeName"] for line in explanations},
        "explanation_model_type": {line["explanationModelName"] for line in explanations},
        "explanation_score_type": {line["explanationScoreTypeName"] for line in scores},
        "explanation_score_model": {line["explanationScoreModelName"] for line in scores},
    }
    for file, names in named.items():
        described = [json.loads(line) for line in (out / "config" / f"{file}.jsonl").read_text().splitlines()]
        assert {line["name"] for line in described} == names
    assert {line["explanationId"] for line in scores} <= {line["id"] for line in explanations}
    every = [
        line["id"]
        for kind in ("activations", "explanations", "explanation_scores")
        for line in lines(out, kind)
    ]
    assert len(set(every)) == len(every)


def test_features(out: Path) -> None:
    """Density, maximum, and the tokens of the logit lens; null where nobody looked."""
    found = {line["index"]: line for line in lines(out, "features")}
    assert set(found) == {str(i) for i in LABELS}
    assert (found["1"]["pos_str"], found["1"]["pos_values"]) == ([" key", "logit lens"], [1.5, 1.0])
    assert (found["1"]["neg_str"], found["1"]["neg_values"]) == ([" no"], [-0.1])
    assert found["0"]["pos_str"] is None
    assert found["3"]["frac_nonzero"] == pytest.approx(0.03)
    assert {line["layer"] for line in found.values()} == {PLACE.name}


def test_labels_and_scores(out: Path) -> None:
    """A line a label, hostile or not, with every score of the report split that has a value."""
    found = {line["index"]: line for line in lines(out, "explanations")}
    assert {int(i): line["description"] for i, line in found.items()} == {
        i: text for i, (_, text) in LABELS.items() if text is not None
    }
    line = found["1"]
    assert (line["typeName"], line["explanationModelName"]) == ("exegete_highlight@1", "hf:small")
    assert line["scoreV2"] == pytest.approx(0.1)
    assert json.loads(line["notes"])["status"] == "accepted"
    scores = [s for s in lines(out, "explanation_scores") if s["explanationId"] == line["id"]]
    kinds = {s["explanationScoreTypeName"]: s for s in scores}
    assert set(kinds) == {"exegete_simulation@2", "exegete_detection@2"}
    assert kinds["exegete_simulation@2"]["explanationScoreModelName"] == "hf:small"
    details = json.loads(kinds["exegete_detection@2"]["jsonDetails"])
    assert (details["low"], details["high"], details["n_asked"], details["n_read"]) == (0.0, 0.7, 60, 59)
    # The label of feature 0 has no score: there is no line for it, and no zero.
    assert not [s for s in lines(out, "explanation_scores") if s["explanationId"] == found["0"]["id"]]


def test_no_paths(out: Path) -> None:
    """Nothing of the machine it was made on is in any file."""
    for path in out.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            text = gzip.decompress(raw) if path.suffix == ".gz" else raw
            assert b"/home/ada" not in text, path


@pytest.mark.parametrize("feature", [0, 1, 2])
def test_excerpts_literally(out: Path, feature: int) -> None:
    """The strongest excerpts are the corpus's, whole; the others are in the interval of their peak."""
    true = {}
    for context, fired in stream():
        values = np.zeros(len(context.tokens), dtype=np.float32)
        for position, value in fired.get(feature, {}).items():
            values[position] = value
        true[tuple(context.tokens)] = values
    found = [line for line in lines(out, "activations") if line["index"] == str(feature)]
    for line in found:
        values = np.asarray(line["values"], dtype=np.float32)
        assert np.array_equal(values, true[tuple(line["tokens"])])
        assert line["maxValue"] == max(line["values"]) == line["values"][line["maxValueTokenIndex"]]
        assert line["minValue"] == min(line["values"])
    top = [line for line in found if line["binContains"] == -1]
    strongest = sorted((float(v.max()) for v in true.values()), reverse=True)[:TOP]
    assert [np.float32(line["maxValue"]) for line in top] == strongest
    rest = [line for line in found if line["binContains"] != -1]
    for line in rest:
        assert line["binMin"] < np.float32(line["maxValue"]) <= np.float32(line["binMax"])
        assert 0 < line["binContains"] <= 1
    bins = {(line["binMin"], line["binMax"]): line["binContains"] for line in rest}
    assert len(bins) <= INTERVALS
    assert sum(bins.values()) <= 1 + 1e-9
    assert all(sum((r["binMin"], r["binMax"]) == b for r in rest) <= PER_INTERVAL for b in bins)
    assert len({tuple(line["tokens"]) for line in found}) == len(found)


def test_the_way_back(out: Path, tmp_path: Path) -> None:
    """`import neuronpedia` takes the export as it is, and its labels are those that were exported."""
    manifest, made = import_neuronpedia(out, SPEC, tmp_path)
    assert made
    file = EvidenceFile(tmp_path / f"{manifest.name}.duckdb")
    for i, (_, text) in LABELS.items():
        if i == 4:  # dead, without a label
            assert file.summary(file.feature(4)).fired == 0
            continue
        (label,) = imported_labels(file, file.feature(i))
        assert (label.text, label.author) == (text, "neuronpedia:exegete_highlight@1/hf:small")
    assert file.summary(file.feature(1)).metadata["pos_str"] == [" key", "logit lens"]
    file.close()


def test_the_same_bytes_in_any_batches(
    space: Workspace, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second export has the same bytes; two features at a time give the same lines in more files."""
    store = Store(space.labels)
    export_neuronpedia(space, store, Choice(), tmp_path / "again", overwrite=False)
    names = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert names == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    monkeypatch.setattr(export_rows, "AT_ONCE", 2)
    said: list[int] = []
    export_neuronpedia(space, store, Choice(), tmp_path / "twos", overwrite=False, on_progress=said.append)
    for kind in KINDS:
        assert lines(tmp_path / "twos", kind) == lines(out, kind)
    assert said == [2, 4, 6]


def test_only_what_was_chosen(space: Workspace, tmp_path: Path) -> None:
    """A choice by status holds for features, excerpts and labels alike."""
    store = Store(space.labels)
    counts = export_neuronpedia(
        space, store, choose(store, None, None, "accepted"), tmp_path / "np", overwrite=False
    )
    assert {line["index"] for kind in KINDS[:3] for line in lines(tmp_path / "np", kind)} == {"0", "1", "5"}
    assert counts["explanations"] == 3


def test_without_its_evidence_file(tmp_path: Path) -> None:
    """Where the evidence is gone, excerpts are those of the labels file, in words, and in no interval."""
    space = write_workspace(tmp_path / "w", evidence=False)
    export_neuronpedia(space, Store(space.labels), Choice(), tmp_path / "np", overwrite=False)
    found = lines(tmp_path / "np", "activations")
    assert [(line["tokens"], line["values"], line["binMin"]) for line in found] == [
        ([" a", " bank"], [0.0, 2.0], -1.0),
        ([" a", " bank"], [0.0, 1.0], -1.0),
    ]


def test_only_its_own_folders_are_replaced(space: Workspace, tmp_path: Path) -> None:
    """An earlier export is replaced when asked, whole; a folder of somebody else's never is."""
    store, out = Store(space.labels), tmp_path / "np"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="is a folder that exegete did not make"):
        export_neuronpedia(space, store, Choice(), out, overwrite=True)
    assert (out / "thesis.tex").read_text() == "mine"
    (out / "thesis.tex").rename(tmp_path / "thesis.tex")
    out.rmdir()
    export_neuronpedia(space, store, Choice(), out, overwrite=False)
    (out / "old").write_text("")
    with pytest.raises(UsageError, match="is there already"):
        export_neuronpedia(space, store, Choice(), out, overwrite=False)
    export_neuronpedia(space, store, Choice(), out, overwrite=True)
    assert not (out / "old").exists()
    assert (out / MARKER).is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["np", "thesis.tex"]
