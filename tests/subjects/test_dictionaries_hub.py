"""Dictionaries of the hub, with folders that stand in for its downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exegete.errors import SubjectError
from exegete.subjects.dictionaries import dictionary_origin, open_dictionary
from tests.subjects.dictionary_files import FEATURES, WIDTH, plain_standard

HUB = "hf://someone/their-saes/blocks.1.hook_resid_post"


def test_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the hub: its files only, of the wanted revision, and named after its whole path."""
    import huggingface_hub

    asked: dict[str, Any] = {}

    def stand_in(repo: str, **options: Any) -> str:
        asked.update(options, repo=repo)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", stand_in)
    plain_standard(tmp_path / "blocks.1.hook_resid_post")
    dictionary = open_dictionary(f"{HUB}@refs/pr/1", WIDTH)
    assert dictionary.name.startswith("someone/their-saes/blocks.1.hook_resid_post@")
    assert (asked["repo"], asked["revision"]) == ("someone/their-saes", "refs/pr/1")
    files = (
        "cfg.json",
        "config.json",
        "params.npz",
        "params.safetensors",
        "sae.safetensors",
        "sae_weights.safetensors",
    )
    assert asked["allow_patterns"] == [f"blocks.1.hook_resid_post/{name}" for name in files]
    dictionary_origin(HUB)
    assert asked["revision"] is None


def test_hub_without_subfolder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository may be one dictionary."""
    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda repo, **_: str(plain_standard(tmp_path / repo))
    )
    assert open_dictionary("hf://someone/their-sae").name.startswith("someone/their-sae@")


def test_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub's own client has in its cache is read without the network."""
    from huggingface_hub import constants

    commit = "0" * 40
    repo = tmp_path / "models--someone--their-saes"
    plain_standard(repo / "snapshots" / commit / "blocks.1.hook_resid_post")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert open_dictionary(HUB).n_features == FEATURES
    assert dictionary_origin(HUB).model == "gpt2-small"


@pytest.mark.parametrize("spec", ["hf://", "hf://one", "hf://a//b", "hf://a/b/../c", "hf:///a"])
def test_no_name_of_the_hub(spec: str) -> None:
    """A name without an organisation and a repository, or that leaves its folder, is refused."""
    with pytest.raises(SubjectError, match=r"names no folder of the hub: write hf://ORG/REPO"):
        open_dictionary(spec)


def test_hub_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be had is one sentence that says what to check."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SubjectError, match=r"can't be had from the hub .*check the name and the network"):
        open_dictionary("hf://nobody/nothing")


def test_no_pickle_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ae.pt is not fetched, and it is said that it can be fetched by hand."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(SubjectError, match=r"holds none of .*fetch an ae\.pt by hand"):
        open_dictionary("hf://someone/their-dictionaries")
