"""Features of a model for which no label should be right: how often they fire, and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from exegete.controls import subjects
from exegete.controls.subjects import random_directions, random_weights
from exegete.datastore.kept import KeptContext
from tests.subjects.tiny import save

N, WIDTH = 300, 6


class Known:
    """A model whose activations are a table, by token id."""

    n_special = 0

    def __init__(self) -> None:
        self.table = torch.randn((N * 20, WIDTH), generator=torch.Generator().manual_seed(0))

    def width(self, site: str) -> int:
        return WIDTH

    def activations(self, site: str, batch: Sequence[np.ndarray]) -> torch.Tensor:
        longest = max(map(len, batch))
        padded = torch.full((len(batch), longest, WIDTH), torch.nan)
        for row, ids in enumerate(batch):
            padded[row, : len(ids)] = self.table[torch.from_numpy(ids).long()]
        return padded


def contexts() -> list[KeptContext]:
    """Each token id once, in contexts of 12 to 20 tokens."""
    found, first = [], 0
    for i in range(N):
        n = 12 + i % 9
        ids = np.arange(first, first + n, dtype=np.int32)
        found.append(KeptContext(i, i % 3, str(i), 0, ids, "\x1f".join(map(str, ids))))
        first += n
    return found


def test_directions_fire_above_their_own_quantile() -> None:
    """Each fires on about the share of tokens it is to fire on, where its product is largest."""
    model, text = Known(), contexts()
    densities = np.asarray([0.002, 0.01, 0.05], dtype=np.float32)
    fired = random_directions(model, "site", text, densities, 0)  # type: ignore[arg-type]
    n_tokens = sum(len(c.token_ids) for c in text)
    rows = np.random.default_rng([0, 1]).normal(size=(3, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for direction, density, some in zip(rows, densities, fired, strict=True):
        product = model.table.numpy()[:n_tokens] @ direction
        ids = [text[r].token_ids[p] for r, p in zip(some.row, some.position, strict=True)]
        np.testing.assert_allclose(some.value, product[ids], rtol=1e-5)
        assert some.value.min() > 0
        assert {*ids} == {*np.flatnonzero(product >= some.value.min() * (1 - 1e-6)).tolist()}
        assert 0.5 * density < len(ids) / n_tokens < 1.6 * density


def test_untrained_weights_are_a_seeds(tmp_path: Path) -> None:
    """The same architecture with other weights: the same from the same seed, others from another."""
    folder = save("bert", tmp_path / "bert")
    ids = [np.arange(5, 15, dtype=np.int32)]
    one, same, other = (subjects._untrained(folder, seed) for seed in (1, 1, 2))
    site = "encoder.layer.1.intermediate"
    first = one.activations(site, ids)
    assert torch.equal(first, same.activations(site, ids))
    assert not torch.allclose(first, other.activations(site, ids))


def test_neurons_come_again_after_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More features than neurons are the neurons again."""
    folder = save("bert", tmp_path / "bert")
    width = subjects._untrained(folder, 0).width("encoder.layer.1.intermediate")
    monkeypatch.setattr(subjects, "NEURONS", "encoder.layer.1.intermediate")
    ids = [np.arange(5, 25, dtype=np.int32) for _ in range(20)]
    text = [KeptContext(i, 0, str(i), 0, one, "x") for i, one in enumerate(ids)]
    found = random_weights(folder, text, np.full(width + 2, 0.2, dtype=np.float32), 0)
    assert len(found) == width + 2
    np.testing.assert_array_equal(found[0].value, found[width].value)
    np.testing.assert_array_equal(found[1].position, found[width + 1].position)
