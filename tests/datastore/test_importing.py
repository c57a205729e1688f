"""Bringing one's own activations: what the evidence is, against the rows that were written."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exegete.datastore import import_tables
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of
from exegete.datastore.words import unit_starts
from exegete.errors import FormatError
from tests.datastore.imported import SPEC, found_in
from tests.datastore.parquet_folders import Folder, good


def opened(folder: Folder, tmp_path: Path, spec: ImportSpec = SPEC) -> EvidenceFile:
    folder.write(tmp_path / "acts")
    manifest, made = import_parquet(tmp_path / "acts", spec, tmp_path / "evidence")
    assert made
    return EvidenceFile(tmp_path / "evidence" / f"{manifest.name}.duckdb")


def expected_of(folder: Folder, shown: Any, seed: int = 0) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The same, worked out row by row."""
    acts: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    for feature, context_id, position, value in folder.activations:
        acts[feature, context_id][position] = float(np.float32(value))
    features = {row[0] for row in folder.activations} | set(folder.features or [])
    activating, quiet = {}, {}
    for context_id, document, tokens in folder.contexts:
        split, pieces = split_of(document, seed), shown(tokens)
        starts = [*unit_starts(pieces, "word").tolist(), len(pieces)]
        spans = list(pairwise(starts))
        words = tuple("".join(pieces[a:b]) for a, b in spans)
        for feature in features:
            own = acts.get((feature, context_id))
            if own:
                activating[feature, split, document, words] = [
                    max(own.get(i, 0.0) for i in range(a, b)) for a, b in spans
                ]
            else:
                quiet[feature, split, document, words] = [0.0] * len(words)
    return activating, quiet


def as_they_are(tokens: list[str]) -> list[str]:
    return tokens


def as_words(tokens: list[str]) -> list[str]:
    return [" " + t for t in tokens]


def as_pieces(tokens: list[str]) -> list[str]:
    return [t[2:] if t in ("##lock", "##ing", "##s") else " " + t for t in tokens]


def as_marked(tokens: list[str]) -> list[str]:
    return [" " + t[1:] if t[0] in "Ġ▁" else t for t in tokens]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([" the", " un", "lock", "ing", ".", " cat", "s"], as_they_are),
        (["the", "un", "lock", "ing", ".", "cat", "s"], as_words),
        (["the", "un", "##lock", "##ing", ".", "cat", "##s"], as_pieces),
        (["the", "un", "##lock", "##ing", "##", "Ġ", "##s"], as_pieces),
        (["Ġthe", "Ġun", "lock", "ing", "####", "Ġcat", "s"], as_marked),
        (["▁the", "▁un", "lock", "ing", ".", "▁cat", "s"], as_marked),
    ],
    ids=["spaces", "no spaces", "word pieces", "odd word pieces", "byte-level marks", "sentencepiece marks"],
)
def test_as_literally(tmp_path: Path, words: list[str], shown: Any) -> None:
    """Every context is an example of every feature, activating or quiet, in its split, as the rows say."""
    folder = good(words)
    file = opened(folder, tmp_path)
    assert found_in(file) == expected_of(folder, shown)
    assert file.tokens == sum(len(tokens) for _, _, tokens in folder.contexts)
    file.close()


def test_statistics(tmp_path: Path) -> None:
    """Counts, density and maxima are those of the rows."""
    folder = good()
    file = opened(folder, tmp_path)
    for feature in file.features:
        own = [row for row in folder.activations if row[0] == feature.index]
        summary = file.summary(feature)
        assert summary.fired == len(own)
        assert summary.density == len(own) / file.tokens
        assert summary.maximum == float(np.float32(max((row[3] for row in own), default=0.0)))
        assert summary.threshold == 0.0
        split = {i: split_of(document, 0) for i, document, _ in folder.contexts}
        for name in SPLITS:
            assert summary.fired_contexts[name] == len({r[1] for r in own if split[r[1]] == name})
    file.close()


def test_features_file(tmp_path: Path) -> None:
    """A feature that is described and never fires is there, dead; what is said of features is metadata."""
    folder = replace(good(), features={0: "zero", 900: "it's \u202e odd"})
    file = opened(folder, tmp_path)
    indices = {f.index for f in file.features}
    assert 900 in indices
    assert {row[0] for row in folder.activations} < indices
    assert file.summary(file.feature(900)).fired == 0
    assert file.summary(file.feature(900)).metadata == {"feature": 900, "name": "it's \u202e odd"}
    assert file.summary(file.feature(0)).metadata["name"] == "zero"
    assert file.summary(file.feature(1)).metadata == {}
    file.close()


def test_rows_in_any_order(tmp_path: Path) -> None:
    """Shuffled rows, in many small row groups, are the same evidence."""
    folder = good()
    rng = np.random.default_rng(0)
    mixed = replace(
        folder,
        contexts=[folder.contexts[i] for i in rng.permutation(len(folder.contexts))],
        activations=[folder.activations[i] for i in rng.permutation(len(folder.activations))],
        row_group=7,
    )
    one, other = opened(folder, tmp_path / "a"), opened(mixed, tmp_path / "b")
    assert found_in(one) == found_in(other)
    one.close()
    other.close()


def test_other_types(tmp_path: Path) -> None:
    """Ids in other integer types, float64 activations, large strings and further columns read the same."""
    folder = good()
    usual = opened(folder, tmp_path / "a")
    acts = {
        "feature": pa.array([r[0] for r in folder.activations], pa.uint32()),
        "context_id": pa.array([r[1] for r in folder.activations], pa.int32()),
        "position": pa.array([r[2] for r in folder.activations], pa.int8()),
        "activation": pa.array([r[3] for r in folder.activations], pa.float64()),
    }
    contexts = {
        "context_id": pa.array([c[0] for c in folder.contexts], pa.uint64()),
        "document": pa.array([c[1] for c in folder.contexts], pa.large_string()),
        "tokens": pa.array([c[2] for c in folder.contexts], pa.large_list(pa.string())),
        "more": [1] * len(folder.contexts),
    }
    source = tmp_path / "b's acts"
    source.mkdir()
    pq.write_table(pa.table(acts), source / "activations.parquet")
    pq.write_table(pa.table(contexts), source / "contexts.parquet")
    manifest, _ = import_parquet(source, SPEC, tmp_path / "evidence")
    other = EvidenceFile(tmp_path / "evidence" / f"{manifest.name}.duckdb")
    assert found_in(other) == found_in(usual)
    other.close()
    usual.close()


def test_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts read three at a time are the same evidence, and progress counts them."""
    folder = good()
    whole = opened(folder, tmp_path / "a")
    monkeypatch.setattr(import_tables, "_BATCH", 3)
    said: list[int] = []
    manifest, _ = import_parquet(tmp_path / "a" / "acts", SPEC, tmp_path / "b", said.append)
    parts = EvidenceFile(tmp_path / "b" / f"{manifest.name}.duckdb")
    assert found_in(parts) == found_in(whole)
    assert said[-1] == len(folder.contexts)
    assert said == sorted(said)
    assert len(said) == -(-len(folder.contexts) // 3)
    parts.close()
    whole.close()


class Cursor:
    """Rows a few at a time, however many are asked for."""

    def __init__(self, rows: list[tuple[int, int, int, float]], size: int) -> None:
        self.rows, self.size = rows, size

    def fetchmany(self, _: int) -> list[tuple[int, int, int, float]]:
        some, self.rows = self.rows[: self.size], self.rows[self.size :]
        return some


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_chunks_of_activations(size: int) -> None:
    """Activations arrive in chunks that end anywhere; each context gets all of its own, and no other's."""
    rng = np.random.default_rng(size)
    rows = [(int(r), i, i % 7, 1.0 + i) for i, r in enumerate(sorted(rng.integers(0, 40, 60)))]
    triples = import_tables._Triples(Cursor(rows, size))
    taken: list[tuple[int, int, int, float]] = []
    for edge in (0, 3, 3, 10, 31, 40):
        part = list(zip(*(column.tolist() for column in triples.until(edge)), strict=True))
        assert all(row[0] < edge for row in part)
        taken += part
        assert len(taken) == sum(row[0] < edge for row in rows)
    assert taken == rows


def test_again(tmp_path: Path) -> None:
    """The same import again does nothing; other bytes, sizes, names or seeds make another harvest."""
    folder = good()
    folder.write(tmp_path / "acts")
    evidence = tmp_path / "evidence"
    first, made = import_parquet(tmp_path / "acts", SPEC, evidence)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in evidence.iterdir()}
    assert (made, import_parquet(tmp_path / "acts", SPEC, evidence)) == (True, (first, False))
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in evidence.iterdir()} == before
    names = {first.name}
    for spec in (replace(SPEC, seed=1), replace(SPEC, top=3), replace(SPEC, site="x")):
        names.add(import_parquet(tmp_path / "acts", spec, evidence)[0].name)
    replace(folder, features={5: "five"}).write(tmp_path / "acts")
    names.add(import_parquet(tmp_path / "acts", SPEC, evidence)[0].name)
    assert len(names) == 5


def test_duplicates_across_splits(tmp_path: Path) -> None:
    """A text that stands in documents of several splits is left in one of them only."""
    folder = good()
    copies = [(10_000 + i, f"copy {i}", folder.contexts[0][2]) for i in range(12)]
    assert len({split_of(document, 0) for _, document, _ in copies}) == 3
    file = opened(replace(folder, contexts=[*folder.contexts, *copies]), tmp_path)
    _, quiet = found_in(file)
    text = tuple(folder.contexts[0][2])
    places = {split for _, split, _, tokens in quiet if "".join(tokens) == "".join(text)}
    assert places <= {"explain"}
    file.close()


def test_seed_deals_documents(tmp_path: Path) -> None:
    """Another seed deals documents to other splits, as the split function says."""
    folder = good()
    file = opened(folder, tmp_path, replace(SPEC, seed=5))
    assert found_in(file) == expected_of(folder, as_they_are, seed=5)
    file.close()


def test_nothing_is_left_of_a_refused_import(tmp_path: Path) -> None:
    """A refusal makes no folder and no file."""
    folder = good()
    replace(folder, activations=[*folder.activations, (0, 1, 10**6, 1.0)]).write(tmp_path / "acts")
    with pytest.raises(FormatError):
        import_parquet(tmp_path / "acts", SPEC, tmp_path / "evidence")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["acts"]
