"""Dictionaries that can't be right are refused in one sentence, and no code in them is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from exegete.errors import SubjectError
from exegete.subjects.dictionaries import Dictionary, dictionary_origin, open_dictionary
from tests.subjects.dictionary_files import (
    FEATURES,
    STANDARD,
    WIDTH,
    K,
    arrays,
    plain_standard,
    saelens_6,
    save_dictionary_learning,
    save_saelens,
    save_sparsify,
    tensors,
)
from tests.subjects.dictionary_kinds import (
    CONFIGURED,
    KINDS,
    LINEAR,
    dictionary_learning,
    gemma_scope_2,
    refused,
    saelens,
)

Tensors = dict[str, torch.Tensor]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_ones_are_read(kind: str, tmp_path: Path) -> None:
    """The folders that are damaged below are read before they are."""
    assert open_dictionary(str(KINDS[kind][0](tmp_path / "d")), WIDTH).n_features == FEATURES


@pytest.mark.parametrize(
    "architecture", ["abstopk", "matching_pursuit", "temporal", "new", None, 3, ["topk"]]
)
def test_saelens_architectures(architecture: Any, tmp_path: Path) -> None:
    """Architectures that are not known are named, with those that are."""
    folder = plain_standard(tmp_path / "sae")
    (folder / "cfg.json").write_text(json.dumps(saelens_6("standard") | {"architecture": architecture}))
    said = refused(folder)
    assert f"the architecture {architecture!r}, which can't be read: standard, topk, jumprelu" in said
    with pytest.raises(SubjectError, match="can't be read"):
        dictionary_origin(str(folder))


def test_saelens_normalisation(tmp_path: Path) -> None:
    """So are normalisations: whitening that was not folded can't be guessed."""
    folder = plain_standard(tmp_path / "sae", normalize_activations="covariance_whitening")
    assert "'covariance_whitening', which can't be read: none, expected_average_only_in" in refused(folder)


def test_saelens_activation_before_6(tmp_path: Path) -> None:
    """So are activation functions of before 6.0."""
    config = {"d_in": WIDTH, "d_sae": FEATURES, "activation_fn_str": "tanh-relu"}
    assert "'tanh-relu', which can't be read" in refused(
        save_saelens(tmp_path / "d", config, arrays(STANDARD))
    )


@pytest.mark.parametrize(
    ("more", "said"), [({"activation": "relu"}, "'relu'"), ({"signed": True}, "'signed topk'")]
)
def test_sparsify_activations(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    """And those of sparsify."""
    assert f"{said}, which can't be read: topk and groupmax can" in refused(
        save_sparsify(tmp_path / "d", more, {})
    )


@pytest.mark.parametrize("kind", ["IdentityDict", "CrossCoder"])
def test_dictionary_learning_classes(kind: str, tmp_path: Path) -> None:
    """And dictionary_learning's classes."""
    folder = save_dictionary_learning(tmp_path / "d", {"dict_class": kind}, {})
    assert f"the class {kind!r}, which can't be read: AutoEncoder, AutoEncoderNew" in refused(folder)


def test_gemma_scope_architectures(tmp_path: Path) -> None:
    """And Gemma Scope's."""
    folder = gemma_scope_2(tmp_path / "d")
    (folder / "config.json").write_text('{"architecture": "topk"}')
    assert "'topk', which can't be read: jump_relu can" in refused(folder)


def test_cross_layer_transcoders(tmp_path: Path) -> None:
    """A decoder for every layer is of another shape than one decoder."""
    folder = gemma_scope_2(tmp_path / "d")
    w = arrays(STANDARD | {"threshold": (FEATURES,), "W_dec": (FEATURES, 3, WIDTH)})
    save_file(tensors(w), folder / "params.safetensors")
    assert "W_dec in" in (said := refused(folder))
    assert f"has shape (20, 3, 6) where ({FEATURES}, {WIDTH}) is needed" in said


def change(folder: Path, edit: Callable[[Tensors], Tensors]) -> Path:
    """Write a SAELens dictionary's weights anew."""
    save_file(edit(tensors(arrays(STANDARD))), folder / "sae_weights.safetensors")
    return folder


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(name: str, value: float, tmp_path: Path) -> None:
    """NaN or infinity anywhere in the weights is refused, with the tensor's name."""

    def edit(w: Tensors) -> Tensors:
        w[name].view(-1)[-1] = value
        return w

    assert f"{name} in" in (said := refused(change(saelens(tmp_path / "d"), edit)))
    assert "holds NaN or infinity" in said


@pytest.mark.parametrize("name", STANDARD)
def test_missing_tensors(name: str, tmp_path: Path) -> None:
    """A missing tensor is named."""
    folder = change(saelens(tmp_path / "d"), lambda w: {n: t for n, t in w.items() if n != name})
    assert f"lacks {name}: it is not whole" in refused(folder)


def test_unknown_tensors(tmp_path: Path) -> None:
    """A tensor that has no part in the formula may stand for one that is not known: it is named."""
    folder = change(saelens(tmp_path / "d"), lambda w: w | {"W_gate": torch.zeros(3)})
    assert "holds 'W_gate', which has no part in the architecture" in refused(folder)


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("wrong", ["turned", "longer", "flat", "empty"])
def test_shapes(name: str, wrong: str, tmp_path: Path) -> None:
    """A tensor of another shape than the config and the other tensors say is named, with both shapes."""
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "turned": lambda t: t.T.contiguous() if t.ndim == 2 else t[None],
        "longer": lambda t: torch.cat([t, t[:1]]),
        "flat": lambda t: t.reshape(-1) if t.ndim == 2 else t[0].clone(),
        "empty": lambda t: t[:0],
    }
    folder = change(saelens(tmp_path / "d"), lambda w: w | {name: ways[wrong](w[name])})
    assert f"{name} in" in (said := refused(folder))
    assert "is needed: it does not go with its config" in said


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    """Weights that are no real numbers are refused."""
    folder = change(saelens(tmp_path / "d"), lambda w: w | {"W_enc": w["W_enc"].to(dtype)})
    assert f"W_enc in {folder}/sae_weights.safetensors is of type {dtype} where real numbers" in refused(
        folder
    )


@pytest.mark.parametrize("kind", CONFIGURED)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000])
def test_configs_that_are_none(kind: str, content: bytes, tmp_path: Path) -> None:
    """A config that is no JSON object is refused, with its name."""
    make, config, _ = KINDS[kind]
    folder = make(tmp_path / "d")
    (folder / config).write_bytes(content)
    assert config in refused(folder)
    (folder / config).unlink()
    assert f"{config} can't be read as JSON" in refused(folder)


@pytest.mark.parametrize("key", ["d_in", "d_sae", "k"])
@pytest.mark.parametrize("value", [None, "6", 6.0, True, [6]])
def test_config_values(key: str, value: Any, tmp_path: Path) -> None:
    """A size that is no whole number is refused, with its name."""
    folder = save_saelens(tmp_path / "d", saelens_6("topk", k=K) | {key: value}, arrays(STANDARD))
    assert f"has {value!r} for {key!r}, which must be of type int" in refused(folder)
    folder = save_saelens(tmp_path / "d", {n: v for n, v in saelens_6("topk", k=K).items() if n != key}, {})
    (folder / "sae_weights.safetensors").write_bytes(
        (saelens(tmp_path / "e") / "sae_weights.safetensors").read_bytes()
    )
    assert f"lacks {key!r}, which must be of type int" in refused(folder)


@pytest.mark.parametrize(
    ("head", "said"), [(-1, "heads count from 0"), (True, "type int"), ("2", "type int")]
)
def test_heads(head: Any, said: str, tmp_path: Path) -> None:
    """A head is a whole number from 0."""
    config = saelens_6("standard")
    config["metadata"]["hook_head_index"] = head
    assert said in refused(save_saelens(tmp_path / "d", config, arrays(STANDARD)))


@pytest.mark.parametrize("k", [0, -1, FEATURES + 1])
@pytest.mark.parametrize("kind", ["saelens", "sparsify", "dictionary_learning"])
def test_k(kind: str, k: int, tmp_path: Path) -> None:
    """k is at least 1 and at most the number of features."""
    make, config, _ = KINDS[kind]
    folder = make(tmp_path / "d")
    values = json.loads((folder / config).read_text())
    (values["trainer"] if kind == "dictionary_learning" else values)["k"] = k
    (folder / config).write_text(json.dumps(values))
    assert f"k = {k}, which must be between 1 and the 20 features" in refused(folder)


def test_two_ks(tmp_path: Path) -> None:
    """A state dict with another k than its config is of another training."""
    folder = dictionary_learning(tmp_path / "d")
    state = torch.load(folder / "ae.pt", weights_only=True)
    torch.save(state | {"k": torch.tensor(K + 1)}, folder / "ae.pt")
    assert f"k = {K} and ae.pt has another" in refused(folder)


def test_groups_that_do_not_divide(tmp_path: Path) -> None:
    """groupmax needs groups of one size."""
    w = arrays(LINEAR | {"W_dec": (FEATURES, WIDTH), "b_dec": (WIDTH,)})
    folder = save_sparsify(tmp_path / "d", {"activation": "groupmax", "k": 3}, w)
    assert "k = 3 groups, which do not divide the 20 features" in refused(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)
KEYS = {
    "saelens": tuple(saelens_6("topk", k=K))
    + tuple(saelens_6("topk")["metadata"])
    + ("hook_point", "activation_fn"),
    "sparsify": (
        "d_in",
        "num_latents",
        "expansion_factor",
        "k",
        "activation",
        "transcode",
        "skip_connection",
        "signed",
    ),
    "dictionary_learning": (
        "trainer",
        "dict_class",
        "k",
        "layer",
        "submodule_name",
        "activation_dim",
        "lm_name",
    ),
    "gemma_scope_2": (
        "architecture",
        "hf_hook_point_in",
        "hf_hook_point_out",
        "model_name",
        "affine_connection",
    ),
}


@pytest.mark.parametrize("kind", CONFIGURED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_any_config(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever a config's values are, the dictionary is read or refused in a sentence."""
    make, config, _ = KINDS[kind]
    folder = tmp_path / "d"
    folder = folder if folder.exists() else make(folder)
    path = folder / config
    kept = path.with_suffix(".kept")
    if not kept.exists():
        kept.write_bytes(path.read_bytes())
    values = json.loads(kept.read_text())
    changes = data.draw(st.dictionaries(st.sampled_from(KEYS[kind]), JSON, min_size=1, max_size=3))
    inner = values.get("metadata", values.get("trainer", {}))
    for key, value in changes.items():
        (inner if key in inner else values)[key] = value
    path.write_text(json.dumps(values))
    try:
        dictionary: Dictionary = open_dictionary(str(folder), WIDTH)
    except SubjectError:
        refused(folder, WIDTH)
        return
    assert dictionary.encode(torch.ones(2, WIDTH), torch.arange(2)).shape == (2, 2)
    dictionary.fire(torch.ones(2, WIDTH))
    origin = dictionary.origin
    assert all(v is None or isinstance(v, str) for v in (origin.site, origin.site_out, origin.model))
    json.dumps(origin.metadata)
