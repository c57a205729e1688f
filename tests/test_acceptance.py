"""The main job on a real model and real text, held to what the project promises (benchmarks/labelling.py)."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import labelling
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.subjects import minilm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(minilm.wheel_folder() is None, reason="needs the wheel of the extra `demo`"),
]

NEURONS = 128


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace for all tests of this module."""
    return Workspace.open_or_create(tmp_path_factory.mktemp("acceptance") / "workspace")


@pytest.fixture(scope="module")
def real(space: Workspace) -> dict[str, Any]:
    """Layer 3 of all-MiniLM-L6-v2, labelled by the lexical pair."""
    return labelling.against_lookup(space, NEURONS)


def test_beats_a_crude_lookup(real: dict[str, Any]) -> None:
    """On the same held-out excerpts, the median r is at least .10 above that of a lookup of 12 best words."""
    assert real["gain_of_median"] >= 0.10, real


def test_most_intervals_are_above_chance(real: dict[str, Any]) -> None:
    """At least two thirds of the neurons have an interval above their chance level."""
    assert real["interval_above_chance"] >= NEURONS * 2 / 3, real


@pytest.mark.parametrize(
    ("neuron", "words"),
    [
        (32, ("large", "most", "much", "many", "powerful", "extremely", "entire")),
        (30, ("search", "look")),
        (102, ("get", "access")),
    ],
)
def test_known_neurons_get_their_words(
    neuron: int, words: tuple[str, ...], real: dict[str, Any], space: Workspace
) -> None:
    """Neurons whose meaning is known are labelled with words of that meaning."""
    assert real["features"] == NEURONS
    row = Store(space.labels).read("SELECT label FROM labels WHERE feature_index = ?", [neuron])[0]
    named = [word for word in words if word in row["label"]]
    assert len(named) >= min(3, len(words) // 2), row["label"]


def test_shuffled_activations_are_not_accepted(space: Workspace) -> None:
    """When activations are dealt to other contexts no label can be right: at most 5% are accepted."""
    found = labelling.shuffled(space, NEURONS, tokens=60_000)
    assert found["features"] == NEURONS
    assert found["accepted"] <= 0.05 * NEURONS, found
    assert abs(found["median_r"]) < 0.1, found


def test_planted_features_are_recovered(space: Workspace) -> None:
    """Single words and classes are recovered in 9 of 10 cases; features that fire at random never pass."""
    found = labelling.planted(space)
    for kind in ("single word", "class of words"):
        assert found[kind]["accepted"] >= 0.9 * found[kind]["features"], found
    assert found["random"]["accepted"] == 0, found
