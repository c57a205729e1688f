"""`exegete import delphi` and `neuronpedia`, from a folder to labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tests.cli.conftest import Cli
from tests.datastore import delphi_folders, neuronpedia_folders
from tests.datastore.neuronpedia_folders import MODEL, SOURCE, Export, activation, explanation, feature

WORDS = ["fox", "dog", "cat", "bird", "tree", "house", "river", "stone", "cloud", "field", "lamp", "book"]
WIDTH = 16


def passages(n: int, seed: int = 0) -> list[list[int]]:
    """Numbers of words."""
    return np.random.default_rng(seed).integers(0, len(WORDS), (n, WIDTH)).tolist()  # type: ignore[no-any-return]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A folder with a tokenizer of the words alone."""
    known = ["<unk>", *(f"▁{word}" for word in WORDS)]
    made = Tokenizer(models.Unigram([(word, -1.0) for word in known], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    (tmp_path / "tokenizer").mkdir()
    made.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    return tmp_path / "tokenizer"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache in which feature 0 fires on "fox", 1 on "dog", and so on to 3."""
    rows = np.asarray(passages(200))
    acts = np.zeros((*rows.shape, 4), dtype=np.float32)
    for number in range(4):
        acts[:, :, number] = 2.0 * (rows == number)
    return delphi_folders.Folder(rows + 1, acts, [(0, 1), (2, 3)]).write(tmp_path / "latents")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export in which feature 0 fires on "fox", 1 on "dog", and so on; 0 to 2 have labels."""
    lines: list[dict[str, Any]] = []
    for row in passages(240):
        for number in range(4):
            if number in row:
                values = [round(1.5 + 0.01 * i, 3) if word == number else 0 for i, word in enumerate(row)]
                lines.append(activation(number, [f" {WORDS[word]}" for word in row], values))
    labels = [
        explanation(0, 'the word "fox"'),
        explanation(1, "nothing of the kind\x1b[2J"),
        explanation(1, 'the word "dog"', typeName="np_max-act-logits"),
        explanation(2, "y" * 400),
    ]
    features = [feature(number, 0.08) for number in range(4)]
    return Export([lines], [features], [labels]).write(tmp_path / "export")


def test_delphi(cli: Cli, cache: Path, tokenizer: Path, tmp_path: Path) -> None:
    """A cache is imported, said what is lost, and labelled like any harvest."""
    space = tmp_path / "space"
    ended = cli("import", "delphi", cache, "--subject", tokenizer, "--dictionary", "sae", "-w", space)
    assert ended.code == 0, ended.err
    assert "made harvest pythia-70m-layers.3.mlp-" in ended.out
    assert "3,200 tokens" in ended.out
    assert "note: documents are not named, so contexts were dealt to splits by their text" in ended.err
    again = cli(
        "import", "delphi", cache, "--subject", tokenizer, "--dictionary", "sae", "--json", "-w", space
    )
    facts = json.loads(again.out)
    assert (facts["made_now"], facts["features"], facts["dead"]) == (False, 4, 0)
    assert cli("label", "--name", "l", "--features", "0-1", "-w", space).code == 0
    rows = json.loads(
        cli(
            "sql", "SELECT label, status, subject, dictionary FROM labels ORDER BY 1", "--json", "-w", space
        ).out
    )
    assert [(r["status"], r["subject"], r["dictionary"]) for r in rows] == [
        ("accepted", "EleutherAI/pythia-70m", "sae")
    ] * 2
    assert "dog" in rows[0]["label"]
    assert "fox" in rows[1]["label"]


def test_delphi_without_a_tokenizer(cli: Cli, cache: Path, tmp_path: Path) -> None:
    """Without a tokenizer it is said what to pass, with the model's name, and nothing is made."""
    space = tmp_path / "space"
    ended = cli("import", "delphi", cache, "-w", space)
    assert ended.code == 2
    assert (
        "pass --subject with the tokenizer of the model that was cached (EleutherAI/pythia-70m)"
        in ended.complaint
    )
    ended = cli("import", "delphi", cache, "--subject", tmp_path, "-w", space)
    assert ended.code == 2
    assert "has no tokenizer.json" in ended.complaint
    ended = cli("import", "delphi", tmp_path / "nowhere", "--subject", tmp_path, "-w", space)
    assert ended.code == 2
    assert "has no START_END.safetensors" in ended.complaint
    assert not space.exists()


def test_delphi_with_another_tokenizer(cli: Cli, cache: Path, tokenizer: Path, tmp_path: Path) -> None:
    """A tokenizer that lacks a token of the cache is refused before anything is written."""
    made = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    small = Tokenizer(models.Unigram([("<unk>", -1.0), ("▁fox", -1.0)], unk_id=0))
    small.pre_tokenizer, small.decoder = made.pre_tokenizer, made.decoder
    small.save(str(tokenizer / "tokenizer.json"))
    ended = cli("import", "delphi", cache, "--subject", tokenizer, "-w", tmp_path / "space")
    assert ended.code == 2
    assert "is not one of the tokenizer tokenizer@" in ended.complaint
    assert not list((tmp_path / "space").rglob("*.duckdb"))


def test_neuronpedia(cli: Cli, export: Path, tmp_path: Path) -> None:
    """An export is imported, said what is not known, and labelled like any harvest, its labels in reach."""
    space = tmp_path / "space"
    ended = cli("import", "neuronpedia", export.parent.parent, "-w", space)
    assert ended.code == 0, ended.err
    assert f"made harvest {MODEL}-{SOURCE}-" in ended.out
    assert "4 features, 0 dead, median density 8.000%" in ended.out
    for words in ("presumed silent", "4 labels came with it", "weigh in the corpus is unknown"):
        assert f"{words}" in ended.err
    assert all(line.startswith("note: ") for line in ended.err.splitlines())
    facts = json.loads(cli("import", "neuronpedia", export, "--json", "-w", space).out)
    assert (facts["made_now"], facts["features"], facts["tokens"]) == (False, 4, 24576 * 128)
    assert cli("label", "--name", "l", "--features", "0-1", "-w", space).code == 0
    found = cli(
        "sql",
        "SELECT l.label, l.status, l.density, f.metadata->>'$.labels[*].author' AS authors "
        "FROM labels l JOIN features f USING (harvest, feature_index) ORDER BY feature_index",
        "--json",
        "-w",
        space,
    )
    rows = json.loads(found.out)
    assert [row["status"] for row in rows] == ["accepted"] * 2
    assert ("fox" in rows[0]["label"], "dog" in rows[1]["label"]) == (True, True)
    assert rows[0]["density"] == pytest.approx(0.08, abs=1e-5)
    assert rows[1]["authors"] == [
        "neuronpedia:oai_token-act-pair/gpt-4o-mini",
        "neuronpedia:np_max-act-logits/gpt-4o-mini",
    ]
    shown = cli("sql", "SELECT metadata FROM features", "-w", space)
    assert shown.code == 0
    assert "\x1b" not in shown.out


def test_neuronpedia_refused(cli: Cli, tmp_path: Path) -> None:
    """A fault is one sentence with file and line."""
    bad = replace(
        neuronpedia_folders.good(), activations=[[activation(0, ["a"], [1]), activation(0, ["a"], [1, 2])]]
    )
    place = bad.write(tmp_path / "export")
    ended = cli("import", "neuronpedia", place, "-w", tmp_path / "space")
    assert ended.code == 2
    assert "batch-0.jsonl.gz, line 2: it has 1 tokens and 2 values" in ended.complaint
    ended = cli("import", "neuronpedia", tmp_path / "nowhere", "-w", tmp_path / "space")
    assert "has no folder activations" in ended.complaint
