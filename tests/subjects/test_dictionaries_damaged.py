"""Files that are cut short, hold something else, or want code run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.subjects.dictionary_kinds import KINDS, dictionary_learning, gemma_scope, refused


@pytest.mark.parametrize("kind", KINDS)
def test_weights_cut_short(kind: str, tmp_path: Path) -> None:
    """A weights file cut short anywhere is refused, with its name; so is one of something else."""
    make, _, weights = KINDS[kind]
    path = make(tmp_path / "d") / weights
    raw = path.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(raw), max(1, len(raw) // 40)), len(raw) - 1]:
        path.write_bytes(raw[:length])
        assert weights in refused(path.parent), length
    path.write_bytes(b"junk" * 200)
    assert weights in refused(path.parent)


class Trap:
    """What a pickle does to whoever trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickles_that_want_code(tmp_path: Path) -> None:
    """A pickle that wants code run is refused, and the code has not run: in ae.pt as in params.npz."""
    ran = tmp_path / "ran"
    folder = dictionary_learning(tmp_path / "d")
    for trap in ({"encoder.weight": Trap(ran)}, Trap(ran)):
        torch.save(trap, folder / "ae.pt")
        said = refused(folder)
        assert "no pickle that wants code is read" in said
        assert ("it calls " in said, "weights_only" in said) == (True, False)
        (folder / "ae.pt").write_bytes(pickle.dumps(trap))
        assert "no pickle that wants code is read" in refused(folder)
    other = gemma_scope(tmp_path / "e")
    np.savez(other / "params.npz", **{"W_enc": np.asarray([Trap(ran)], dtype=object)})
    assert "can't be read as arrays of numbers" in refused(other)
    assert not ran.exists()
    pickle.loads(pickle.dumps(Trap(ran)))  # noqa: S301 - the trap works
    assert ran.exists()


@pytest.mark.parametrize("thing", [[1, 2], {"encoder.weight": 3}, {1: torch.zeros(2)}, torch.zeros(3)])
def test_pickles_of_something_else(thing: Any, tmp_path: Path) -> None:
    """A plain pickle that is no state dict is refused."""
    folder = dictionary_learning(tmp_path / "d")
    torch.save(thing, folder / "ae.pt")
    assert "holds no state dict of tensors" in refused(folder)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("directions:", "names no directions"),
        ("directions:probe.pt", "names no directions"),
        ("directions:missing.safetensors", "can't be read as safetensors"),
        ("directions:two.safetensors", "holds 2 tensors (a, b): name one, directions:two.safetensors:TENSOR"),
        ("directions:two.safetensors:c", "has no tensor 'c': it has a, b"),
        ("directions:odd.safetensors:cube", "has shape (2, 2, 2) where (n, d) is needed"),
        ("directions:odd.safetensors:whole", "is of type torch.int64 where real numbers are needed"),
        ("directions:odd.safetensors:nan", "holds NaN or infinity"),
        ("directions:odd.safetensors:empty", "has shape (0, 3) where"),
        ("directions:two.safetensors:a:b", "has no tensor 'a:b'"),
    ],
)
def test_directions(spec: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions that are none are refused, with what there is."""
    monkeypatch.chdir(tmp_path)
    save_file({"a": torch.ones(2, 3), "b": torch.ones(3)}, "two.safetensors")
    odd = {"cube": torch.ones(2, 2, 2), "whole": torch.ones(2, 3).long(), "empty": torch.ones(0, 3)}
    save_file(odd | {"nan": torch.full((2, 3), torch.nan)}, "odd.safetensors")
    assert said in refused(spec)
