"""Every fault of a cache is refused in a sentence that names its file and entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from exegete.datastore.delphi_cache import open_cache
from exegete.datastore.import_delphi import import_delphi
from exegete.errors import FormatError
from tests.datastore.delphi_folders import Words, good
from tests.datastore.imported import SPEC

Tensors = dict[str, dict[str, np.ndarray[Any, Any]]]
FIRST = "0_3.safetensors"


def at(name: str, index: Any, value: Any, file: str = FIRST) -> Callable[[Tensors], Any]:
    """Change one entry."""

    def change(files: Tensors) -> None:
        files[file][name] = files[file][name].copy()
        files[file][name][index] = value

    return change


def put(name: str, change: Callable[[Any], Any], file: str = FIRST) -> Callable[[Tensors], Any]:
    """Replace a tensor, or drop it."""

    def work(files: Tensors) -> None:
        files[file][name] = change(files[file][name])
        if files[file][name] is None:
            del files[file][name]

    return work


def twice(files: Tensors) -> None:
    for name in ("locations", "activations"):
        files[FIRST][name] = np.concatenate([files[FIRST][name][:1], files[FIRST][name]])


def unknown(files: Tensors) -> None:
    for tensors in files.values():
        tensors["tokens"] = np.full_like(tensors["tokens"], 99)


def renamed(new: str) -> Callable[[Tensors], Any]:
    def change(files: Tensors) -> None:
        files[new] = files.pop(FIRST)

    return change


def silent(files: Tensors) -> None:
    for tensors in files.values():
        tensors["activations"] = -np.abs(tensors["activations"])


FAULTS: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "NaN": (at("activations", 4, np.nan), "0_3.safetensors, entry 4: the activation is nan"),
    "overflow": (
        at("activations", 2, np.inf),
        r"entry 2: the activation is inf \(half floats end at 65504\)",
    ),
    "row": (at("locations", (-1, 0), 150), r"0_3.safetensors, entry \d+: locations has row 150"),
    "position": (at("locations", (3, 1), 8), "entry 3: locations has position 8, but the tokens have 8"),
    "feature": (
        at("locations", (3, 2), 4),
        "entry 3: locations has feature 4, but the range in its name has 4",
    ),
    "columns": (
        put("locations", lambda x: x[:, ::-1].copy()),
        r"entry \d+: locations has feature",
    ),
    "two columns": (put("locations", lambda x: x[:, :2].copy()), r"locations of shape \[\d+, 2\]"),
    "flat": (put("locations", lambda x: x.reshape(-1)), "locations of type U16 and shape"),
    "lengths": (put("activations", lambda x: x[:-1].copy()), r"and \d+ activations: there must be"),
    "float places": (put("locations", lambda x: x.astype(np.float32)), "locations of type F32"),
    "whole numbers": (put("activations", lambda x: x.astype(np.int8)), "activations of type I8"),
    "no tokens": (put("tokens", lambda _: None), "has no tokens: make the cache again with a delphi of 2025"),
    "no locations": (put("locations", lambda _: None), "has no locations: it has activations, tokens"),
    "tokens differ": (at("tokens", (0, 0), 99), "4_11.safetensors has other tokens than 0_3.safetensors"),
    "unknown tokens": (unknown, "token 99 is not one of the tokenizer words@1"),
    "empty tokens": (put("tokens", lambda x: x[:, :0].copy()), "contexts of 0 tokens"),
    "order": (put("locations", lambda x: x[::-1].copy()), "out of the order of their rows"),
    "twice": (twice, "has feature [0-3] at row 0, position [0-7] twice"),
    "overlap": (renamed("2_5.safetensors"), "2_5.safetensors and 4_11.safetensors hold the same features"),
    "backwards": (renamed("3_0.safetensors"), "3_0.safetensors is not named after a range"),
    "far": (renamed(f"9_{2**31}.safetensors"), "is not named after a range"),
    "silent": (silent, "has no activations above 0: there is no feature"),
}


@pytest.mark.parametrize(("damage", "sentence"), FAULTS.values(), ids=list(FAULTS))
def test_refused(tmp_path: Path, damage: Callable[[Tensors], Any], sentence: str) -> None:
    """The file and entry are named, what is wrong and what to do; no evidence is made."""
    place = good().write(tmp_path / "latents")
    files = good().tensors()
    damage(files)
    for path in place.glob("*.safetensors"):
        path.unlink()
    for name, tensors in files.items():
        save_file(tensors, place / name)
    with pytest.raises(FormatError, match=sentence) as caught:
        import_delphi(place, SPEC, Words(), tmp_path / "evidence")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.duckdb"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (FIRST, b"", "0_3.safetensors can't be read as safetensors"),
        (FIRST, b"\xff" * 100, "0_3.safetensors can't be read as safetensors"),
        ("config.json", b"{", "config.json is not JSON"),
        ("config.json", b"[" * 200_000, "config.json is not JSON"),
        ("config.json", b"[1]", "config.json is not a JSON object"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    """Files that are no safetensors, or no JSON, are named."""
    place = good().write(tmp_path / "latents")
    (place / name).write_bytes(content)
    with pytest.raises(FormatError, match=sentence) as caught:
        import_delphi(place, SPEC, Words(), tmp_path / "evidence")
    assert "\n" not in str(caught.value)


def test_cut_short(tmp_path: Path) -> None:
    """A file that ends before its tensors do is refused."""
    place = good().write(tmp_path / "latents")
    path = place / FIRST
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FormatError, match="can't be read as safetensors"):
        open_cache(place)


def test_config_is_data(tmp_path: Path) -> None:
    """Whatever config.json says of the model and corpus is a name, and no path."""
    config = {"model_name": "../../x\x1b[2J", "dataset_repo": ["a"], "n_tokens": float("inf")}
    place = replace(good(), config=config).write(tmp_path / "latents")
    manifest, _ = import_delphi(place, SPEC, Words(), tmp_path / "evidence")
    assert manifest.parameters["subject"] == "../../x\x1b[2J"
    assert manifest.parameters["corpus"] == "unknown"
    assert manifest.parameters["cache"] == {"model_name": "../../x\x1b[2J"}
    (path,) = (tmp_path / "evidence").glob("*.duckdb")
    assert path.stem == manifest.name
    assert "\x1b" not in path.name
    assert json.loads(path.with_suffix(".json").read_text())["parameters"]["site"] == "layers.3.mlp"
