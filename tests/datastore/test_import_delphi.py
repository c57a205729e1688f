"""delphi's caches: what the evidence is, against the arrays that were cached."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from exegete.datastore import delphi_cache, import_delphi
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.hashing import digest64
from exegete.datastore.import_delphi import cached_model
from exegete.datastore.importing import ImportSpec
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of
from exegete.datastore.words import unit_starts
from exegete.errors import FormatError
from tests.datastore.delphi_folders import WORDS, Folder, Words, good
from tests.datastore.imported import SPEC, found_in


def opened(folder: Folder, tmp_path: Path, spec: ImportSpec = SPEC) -> EvidenceFile:
    place = folder.write(tmp_path / "latents")
    manifest, made = import_delphi.import_delphi(place, spec, Words(), tmp_path / "evidence")
    assert made
    return EvidenceFile(tmp_path / "evidence" / f"{manifest.name}.duckdb")


def expected_of(folder: Folder, seed: int = 0) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The same, worked out row by row and feature by feature."""
    activating, quiet, done = {}, {}, set()
    features = [f for f in range(folder.acts.shape[2]) if (folder.acts[:, :, f] > 0).any()]
    for row, ids in enumerate(folder.tokens):
        if tuple(ids) in done:
            continue
        done.add(tuple(ids))
        split = split_of(f"{digest64(ids.astype(np.int32).tobytes()):016x}", seed)
        pieces = [WORDS[i].replace("\x1f", " ") for i in ids]
        spans = list(pairwise([*unit_starts(pieces, "word").tolist(), len(pieces)]))
        words = tuple("".join(pieces[a:b]) for a, b in spans)
        for feature in features:
            own = np.maximum(folder.acts[row, :, feature], 0)
            where = activating if own.any() else quiet
            where[feature, split, f"row {row}", words] = [float(own[a:b].max()) for a, b in spans]
    return activating, quiet


@pytest.mark.parametrize("floats", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("whole", [np.uint16, np.uint32, np.int64])
def test_as_literally(tmp_path: Path, whole: Any, floats: Any) -> None:
    """Every row is an example of every feature that fires anywhere: activating or silent, in its split."""
    folder = replace(good(), kinds=(whole, floats))
    file = opened(folder, tmp_path)
    assert found_in(file) == expected_of(folder)
    file.close()


@pytest.mark.parametrize("ranges", [[(0, 11)], [(i, i) for i in range(12)], [(8, 11), (0, 7)]])
def test_ranges(tmp_path: Path, ranges: list[tuple[int, int]]) -> None:
    """However features are spread over files, the evidence is the same."""
    folder = replace(good(), ranges=ranges)
    file = opened(folder, tmp_path)
    assert found_in(file) == expected_of(folder)
    file.close()


def test_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks and batches make the same evidence, and progress counts rows."""
    monkeypatch.setattr(delphi_cache, "_CHUNK", 7)
    monkeypatch.setattr(import_delphi, "_ROWS", 4)
    folder = good()
    place = folder.write(tmp_path / "latents")
    said: list[int] = []
    manifest, _ = import_delphi.import_delphi(place, SPEC, Words(), tmp_path / "evidence", said.append)
    file = EvidenceFile(tmp_path / "evidence" / f"{manifest.name}.duckdb")
    assert found_in(file) == expected_of(folder)
    assert said == [*range(4, 150, 4), 150]
    file.close()


def test_part_of_a_cache(tmp_path: Path) -> None:
    """Files that are left out take their features with them, and nothing else."""
    folder = good()
    file = opened(replace(folder, ranges=[(4, 11)]), tmp_path)
    own = replace(folder, acts=np.where(np.arange(12) >= 4, folder.acts, 0))
    assert found_in(file) == expected_of(own)
    file.close()


def test_statistics(tmp_path: Path) -> None:
    """Counts, density and maxima are those of the arrays; what never fires is not there."""
    folder = good()
    file = opened(folder, tmp_path)
    assert [f.index for f in file.features] == [0, 1, 2, 3, 4, 6, 7, 8, 10, 11]
    assert file.tokens == 150 * 8
    for feature in file.features:
        own = folder.acts[:, :, feature.index]
        summary = file.summary(feature)
        assert summary.fired == (own > 0).sum()
        assert summary.density == (own > 0).sum() / (150 * 8)
        assert summary.maximum == own.max()
        assert summary.threshold == np.float32(1e-5)
        for split in SPLITS:
            rows = [
                row
                for row, ids in enumerate(folder.tokens)
                if split_of(f"{digest64(ids.astype(np.int32).tobytes()):016x}", 0) == split
            ]
            assert summary.fired_contexts[split] == (own[rows] > 0).any(axis=1).sum()
    file.close()


def test_token_ids_and_parameters(tmp_path: Path) -> None:
    """Ids are kept beside their text; what the cache says of itself is recorded, and how splits were made."""
    folder = good()
    file = opened(folder, tmp_path, replace(SPEC, dictionary="sae-70m"))
    p = file.parameters
    assert (p["subject"], p["site"], p["dictionary"]) == ("EleutherAI/pythia-70m", "layers.3.mlp", "sae-70m")
    assert (p["layer"], p["corpus"]) == (3, "EleutherAI/SmolLM2-135M-10B")
    assert (p["split_by"], p["tokenizer"], p["cache"]) == ("context", "words@1", folder.config)
    assert "dealt to splits by their text" in p["caveats"][0]
    assert not {"silence", "weights"} & set(p)
    stored = file._con.execute("SELECT document, token_ids FROM contexts").fetchall()
    assert len(stored) == 149
    for document, ids in stored:
        assert folder.tokens[int(document.removeprefix("row "))].tolist() == ids
    file.close()


def test_again(tmp_path: Path) -> None:
    """The same cache again does nothing; other bytes, sizes, tokenizers or seeds make another harvest."""
    place = good().write(tmp_path / "latents")
    evidence = tmp_path / "evidence"

    def run(spec: ImportSpec = SPEC, tokens: Any = None) -> tuple[str, bool]:
        manifest, made = import_delphi.import_delphi(tmp_path / "latents", spec, tokens or Words(), evidence)
        return manifest.name, made

    first, made = run()
    assert (made, run()) == (True, (first, False))
    other = Words()
    other.name = "words@2"
    names = {first, run(replace(SPEC, seed=1))[0], run(replace(SPEC, top=3))[0], run(tokens=other)[0]}
    path = place / "0_3.safetensors"
    tensors = load_file(path)
    tensors["activations"][0] += 1
    save_file(tensors, path)
    assert len(names | {run()[0]}) == 5


def test_which_hook(tmp_path: Path) -> None:
    """A folder of one hook's folder will do; of several, they are named; of none, it is said."""
    place = good().write(tmp_path / "latents")
    assert cached_model(tmp_path) == cached_model(place) == "EleutherAI/pythia-70m"
    good().write(tmp_path / "latents", "layers.4.mlp")
    assert cached_model(place) == "EleutherAI/pythia-70m"
    with pytest.raises(FormatError, match=r"several hooks \(layers.3.mlp, layers.4.mlp\): pass"):
        cached_model(tmp_path / "latents")
    with pytest.raises(FormatError, match=r"has no START_END\.safetensors"):
        cached_model(tmp_path / "nowhere")


def test_no_config(tmp_path: Path) -> None:
    """Without config.json the model is named by whoever imports."""
    place = replace(good(), config=None).write(tmp_path / "latents")
    assert cached_model(place) is None
    spec = replace(SPEC, subject="mine")
    manifest, _ = import_delphi.import_delphi(place, spec, Words(), tmp_path / "evidence")
    assert manifest.parameters["subject"] == "mine"
    assert manifest.parameters["corpus"] == "unknown"
