"""`exegete harvest --shard`, `exegete merge`, and several sites at once, as a person would run them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from exegete.datastore.workspace import Workspace
from tests.cli.conftest import Cli


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Options that name a small model and a small text."""
    from tests.subjects import tiny

    root = tmp_path_factory.mktemp("source")
    model = tiny.save("gpt2", root / "model")
    texts = [" ".join(tiny.WORDS[i % 5 :] * (i % 7 + 3)) + f" {i}" for i in range(200)]
    (root / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return [
        "--subject", model, "--corpus", root / "c.jsonl", "--context", 16, "--features", "0-7",
        "--batch-tokens", 32, "--device", "cpu", "--dtype", "float32",
    ]  # fmt: skip


@pytest.mark.slow
def test_shards_and_merge(cli: Cli, source: list[object], tmp_path: Path) -> None:
    """Shards are made once each; merge names what lacks, and then makes what an unsharded harvest makes."""
    words: list[object] = ["harvest", "--site", "h.1.mlp.act", *source, "-w", tmp_path / "w"]
    first = cli(*words, "--shard", "0/3")
    assert (first.code, first.err) == (0, "")
    assert "made shard" in first.out
    assert "already there" in cli(*words, "--shard", "0/3").out
    assert json.loads(cli(*words, "--shard", "2/3", "--json").out)["made_now"] is True
    lacking = cli("merge", "-w", tmp_path / "w")
    assert lacking.code == 2
    assert "lacks the shards 1/3" in " ".join(lacking.err.split())
    assert ": 2 of 3 are there, 1 still to come" in cli("status", "-w", tmp_path / "w").out
    cli(*words, "--shard", "1/3")
    assert ": 3 of 3 are there, run exegete merge" in cli("status", "-w", tmp_path / "w").out
    merged: dict[str, Any] = json.loads(cli("merge", "-w", tmp_path / "w", "--json").out)
    assert merged["made_now"] is True
    assert json.loads(cli("status", "-w", tmp_path / "w", "--json").out)["shards"] == []
    assert "already there" in cli("merge", "-w", tmp_path / "w").out
    assert "already there" in cli(*words).out
    whole = json.loads(cli(*words[:-1], tmp_path / "plain", "--json").out)
    assert {k: whole[k] for k in ("harvest", "tokens", "contexts", "dead")} == {
        k: merged[k] for k in ("harvest", "tokens", "contexts", "dead")
    }


@pytest.mark.slow
def test_merge_from_elsewhere(cli: Cli, source: list[object], tmp_path: Path) -> None:
    """Shards of other folders are merged into a workspace; a folder without any is said."""
    for i in range(2):
        cli("harvest", "--site", "h.1", *source, "-w", tmp_path / "a", "--shard", f"{i}/2")
    (shards,) = (tmp_path / "a" / "evidence").glob("*.shards")
    moved = shutil.move(shards, tmp_path / "moved")
    assert cli("merge", moved, "-w", tmp_path / "b").code == 0
    assert len(Workspace.open(tmp_path / "b").harvests()) == 1
    nothing = cli("merge", "-w", tmp_path / "a")
    assert (nothing.code, "there is no shard" in " ".join(nothing.err.split())) == (2, True)


@pytest.mark.slow
def test_several_sites(cli: Cli, source: list[object], tmp_path: Path) -> None:
    """Two sites make two harvests, which --json lists."""
    words: list[object] = ["harvest", "--site", "h.1.mlp.act", "--site", "h.0", *source, "-w", tmp_path / "w"]
    made = json.loads(cli(*words, "--json").out)
    assert [facts["made_now"] for facts in made] == [True, True]
    assert sorted(facts["harvest"] for facts in made) == sorted(Workspace.open(tmp_path / "w").harvests())
    assert cli(*words).out.count("already there") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--site", "h.1", "--shard", "3/3"], "--shard '3/3' can't be read: write 0/8"),
        (["--site", "h.1", "--shard", "1"], "--shard '1' can't be read"),
        (["--site", "h.1", "--shard", "-1/3"], "--shard '-1/3' can't be read"),
        (["--site", "h.1", "--shard", "0/2", "--ray"], "leave out --shard"),
        (["--site", "h.1", "--workers", "2"], "add --ray"),
        (
            ["--site", "h.1", "--dictionary", "neurons", "--dictionary", "neurons"],
            "1 sites and 2 dictionaries",
        ),
        ([], "name it with --site"),
        (["--site", "h.1", "--batch-tokens", "many"], "--batch-tokens 'many' is no number"),
        (["--site", "h.1", "--shard", "0/2", "--shuffle-activations"], "run it whole"),
    ],
)
def test_refused(words: list[str], said: str, cli: Cli, source: list[object], tmp_path: Path) -> None:
    """Options that can't be had are refused in a sentence."""
    done = cli(
        "harvest", *[w for w in source if w not in ("--batch-tokens", 32)], *words, "-w", tmp_path / "w"
    )
    assert done.code == 2
    assert said in " ".join(done.err.split())


@pytest.mark.slow
def test_a_dictionary_of_another_site(cli: Cli, source: list[object], tmp_path: Path) -> None:
    """A dictionary that is read elsewhere than it was trained is used, and it is said."""
    from tests.subjects.dictionary_files import arrays, saelens_6, save_saelens
    from tests.subjects.tiny import WIDTH

    config = saelens_6("standard", d_in=WIDTH)
    config["metadata"] |= {"hook_name": "blocks.1.hook_resid_post", "prepend_bos": None}
    shapes = {"W_enc": (WIDTH, 20), "b_enc": (20,), "W_dec": (20, WIDTH), "b_dec": (WIDTH,)}
    folder = save_saelens(tmp_path / "sae", config, arrays(shapes))
    words: list[object] = ["harvest", *source, "--dictionary", folder, "-w", tmp_path / "w"]
    assert cli(*words).err == ""
    elsewhere = cli(*words, "--site", "blocks.0.hook_resid_post")
    assert elsewhere.code == 0
    assert "was trained at blocks.1.hook_resid_post and is read at blocks.0" in " ".join(
        elsewhere.err.split()
    )
    shard = cli(*words, "--site", "blocks.0.hook_resid_post", "--shard", "0/2")
    assert (shard.code, "was trained at" in shard.err) == (0, True)
