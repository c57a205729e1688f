"""circuit-tracer's feature files: their fields, their names, and no list that pretends."""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.export_choice import Choice
from exegete.datastore.export_circuit import cantor, export_circuit
from exegete.datastore.placed import MARKER
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from tests.datastore.labelled import LABELS, write_workspace

# What is read of a file: github.com/decoderesearch/circuit-tracer at 4bb8c0e, frontend/assets; what is
# checked: github.com/hijohnnylin/neuronpedia at ebb8426, app/api/graph/feature-details-schema.json
READ = {"examples_quantiles", "top_logits", "bottom_logits", "act_min", "act_max", "activation_frequency"}
READ_OF_EXAMPLES = {"tokens", "tokens_acts_list", "train_token_ind", "is_repeated_datapoint"}
REQUIRED = {"index", "examples_quantiles"}
OURS = {"layer", "label", "status", "score", "low", "high", "chance", "q_value"}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_workspace(tmp_path_factory.mktemp("circuit") / "w")


@given(st.integers(0, 200), st.integers(0, 2**31))
def test_names_are_a_bijection(layer: int, feature: int) -> None:
    """The viewer's own way back from a number finds the layer and the feature."""
    z = cantor(layer, feature)
    w = (math.isqrt(8 * z + 1) - 1) // 2
    found = z - w * (w + 1) // 2
    assert (w - found, found) == (layer, feature)


def test_files(space: Workspace, tmp_path: Path) -> None:
    """A file a feature, with the viewer's fields, types as the schema has them, and ours beside them."""
    out = tmp_path / "features"
    assert export_circuit(space, Store(space.labels), Choice(), out, overwrite=False) == len(LABELS)
    densities = dict(
        Store(space.labels).reading(
            lambda con: con.execute("SELECT feature_index, density FROM labels").fetchall()
        )
    )
    packed = {"index.json.gz", "layer_0.bin"}
    assert {p.name for p in out.iterdir()} == {MARKER, *packed, *(f"{cantor(0, i)}.json" for i in LABELS)}
    for i, (status, label) in LABELS.items():
        record = json.loads((out / f"{cantor(0, i)}.json").read_text(encoding="utf-8"))
        assert REQUIRED <= set(record) <= READ | REQUIRED | OURS
        assert (record["index"], record["layer"], record["label"], record["status"]) == (i, 0, label, status)
        assert (record["act_min"], record["act_max"]) == (0.0, 2.0)
        assert record["activation_frequency"] == densities[i]
        for quantile in record["examples_quantiles"]:
            assert quantile["quantile_name"]
            for example in quantile["examples"]:
                assert set(example) == READ_OF_EXAMPLES
                acts = example["tokens_acts_list"]
                assert len(acts) == len(example["tokens"])
                assert acts[example["train_token_ind"]] == max(acts) > 0
        # Tokens of the logit lens where there are some; no empty list where nobody looked.
        assert record.get("top_logits") == ([" key", "logit lens"] if i == 1 else None)
        assert ("bottom_logits" in record) == (i == 1)
    assert json.loads((out / f"{cantor(0, 4)}.json").read_text())["examples_quantiles"] == []


def test_the_packed_form(space: Workspace, tmp_path: Path) -> None:
    """The viewer's own way from a number to its bytes finds the feature's file, and no other."""
    out = tmp_path / "features"
    export_circuit(space, Store(space.labels), Choice(statuses=("accepted",)), out, overwrite=False)
    layers = json.loads(zlib.decompress((out / "index.json.gz").read_bytes(), wbits=47))
    assert set(layers) == {"0"}
    offsets, packed = layers["0"]["offsets"], (out / layers["0"]["filename"]).read_bytes()
    assert (offsets[0], offsets[-1]) == (0, len(packed))
    accepted = {i for i, (status, _) in LABELS.items() if status == "accepted"}
    assert len(offsets) == max(accepted) + 2
    for feature in range(max(accepted) + 1):
        there = packed[offsets[feature] : offsets[feature + 1]]
        assert bool(there) == (feature in accepted)
        if there:
            (length,) = struct.unpack_from("<I", there)
            record = json.loads(zlib.decompress(there[4 : 4 + length]))
            assert record == json.loads((out / f"{cantor(0, feature)}.json").read_text(encoding="utf-8"))


def test_the_same_bytes(space: Workspace, tmp_path: Path) -> None:
    """A second export has the same files."""
    for name in ("a", "b"):
        export_circuit(space, Store(space.labels), Choice(), tmp_path / name, overwrite=False)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE store.harvests SET layer = NULL", "the layer of harvest is not known"),
        ("UPDATE store.outcomes SET polarity = '-' WHERE feature_index = 3", "negative side of a neuron"),
        (
            "INSERT INTO store.harvests SELECT * REPLACE ('other' AS harvest) FROM store.harvests; "
            "INSERT INTO store.outcomes SELECT * REPLACE ('other' AS harvest) FROM store.outcomes",
            "harvest and other would both be layer 0: export one at a time, with --harvest",
        ),
    ],
    ids=["no layer", "negative", "two of a layer"],
)
def test_what_has_no_name_there(tmp_path: Path, change: str, said: str) -> None:
    """What the format can't name is refused in a sentence, and nothing is left behind."""
    space = write_workspace(tmp_path / "w", evidence=False)
    store = Store(space.labels)
    store.write(lambda con: con.execute(change))
    with pytest.raises(UsageError, match=said):
        export_circuit(space, store, Choice(), tmp_path / "out", overwrite=False)
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
