"""Opening dictionaries by their specs, and what they have in common."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exegete.errors import SubjectError
from exegete.subjects import coder
from exegete.subjects.dictionaries import (
    choose_site,
    dictionary_origin,
    open_dictionary,
    site_mismatch,
)
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.nonlinearity import Gated, GroupMax, JumpRelu, Nonlinearity, Relu, TopK
from exegete.subjects.origin import Origin
from tests.subjects.dictionary_files import (
    FEATURES,
    STANDARD,
    WIDTH,
    arrays,
    inputs,
    plain_standard,
    saelens_6,
    save_dictionary_learning,
    save_saelens,
    tensors,
)
from tests.subjects.tiny import WIDTH as MODEL_WIDTH


def test_neurons() -> None:
    """The site's channels as they are, whatever their sign; what fires is what is above 0."""
    dictionary = open_dictionary("neurons", 3)
    assert (dictionary.name, dictionary.n_features, dictionary.width) == ("neurons", 3, 3)
    assert (dictionary.sparse, dictionary.origin) == (False, Origin())
    acts = torch.tensor([[1.0, -2.0, 0.0], [0.0, 3.0, 4.0]])
    assert dictionary.encode(acts, torch.tensor([2, 1])).tolist() == [[0.0, -2.0], [4.0, 3.0]]
    assert [column.tolist() for column in dictionary.fire(acts)] == [[0, 1, 1], [0, 1, 2], [1.0, 3.0, 4.0]]
    assert dictionary.decode_rows(torch.tensor([0])) is None


def test_neurons_of_no_site() -> None:
    """Neurons are of a site: without its width there are none."""
    with pytest.raises(SubjectError, match="name the site with --site"):
        open_dictionary("neurons")


def test_heads(subjects: dict[str, HuggingFaceSubject]) -> None:
    """At hook_z the channels are the heads' outputs, one head after another."""
    subject = subjects["gpt2"]
    ids = subject.tokenise("the quick fox").ids
    seen: list[torch.Tensor] = []
    handle = subject._modules["h.1.attn.c_proj"].register_forward_pre_hook(
        lambda _m, args: seen.append(args[0])
    )
    acts = subject.activations("blocks.1.attn.hook_z", [ids])
    handle.remove()
    found = open_dictionary("neurons", acts.shape[-1]).encode(
        acts, torch.arange(MODEL_WIDTH // 2, MODEL_WIDTH)
    )
    assert torch.equal(found, seen[0][..., MODEL_WIDTH // 2 :])


def test_name(tmp_path: Path) -> None:
    """A folder's dictionary is named after it, its weights and config: the same in a copy."""
    folder = plain_standard(tmp_path / "a" / "sae")
    name = open_dictionary(str(folder)).name
    assert name.startswith("sae@")
    assert len(name) == len("sae@") + 12
    assert open_dictionary(str(shutil.copytree(folder, tmp_path / "b" / "sae"))).name == name
    others = [
        plain_standard(tmp_path / "c" / "sae", apply_b_dec_to_input=False),
        save_saelens(tmp_path / "d" / "sae", saelens_6("standard"), arrays(STANDARD, seed=5)),
    ]
    assert len({name, *(open_dictionary(str(other)).name for other in others)}) == 3


OVER: dict[str, Callable[[torch.Tensor], Nonlinearity]] = {
    "relu": lambda _: Relu(),
    "jumprelu": lambda v: JumpRelu(v.abs()),
    "gated": lambda v: Gated(v, v.exp(), -v),
    "topk": lambda _: TopK(3),
    "groupmax": lambda _: GroupMax(5),
}


@pytest.mark.parametrize("kind", OVER)
@given(n=st.integers(0, 12), chunk=st.integers(1, 150), seed=st.integers(0, 100))
def test_chunks(kind: str, n: int, chunk: int, seed: int) -> None:
    """Encoding in chunks of any size gives what encoding at once gives; firing is what is above 0."""
    generator = torch.Generator().manual_seed(seed)
    W, b, v = (torch.randn(shape, generator=generator) for shape in ((20, 4), (20,), (20,)))
    made = coder.SparseCoder("x", Origin(), coder.Encoder(W, b), OVER[kind](v), None)
    acts = torch.randn((n, 4), generator=generator)
    whole = made.encode(acts, torch.arange(20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coder, "CHUNK", chunk)
        torch.testing.assert_close(made.encode(acts, torch.arange(20)), whole)
        token, feature, value = made.fire(acts)
    where = whole.numpy().nonzero()
    np.testing.assert_array_equal(token, where[0])
    np.testing.assert_array_equal(feature, where[1])
    torch.testing.assert_close(value, whole[where])


@pytest.mark.parametrize("kind", OVER)
def test_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of pre-activations is ever larger than a chunk."""
    sizes: list[int] = []
    real = torch.addmm

    def watched(*args: Any) -> torch.Tensor:
        sizes.append(real(*args).numel())
        return real(*args)

    monkeypatch.setattr(torch, "addmm", watched)
    monkeypatch.setattr(coder, "CHUNK", 100)
    made = coder.SparseCoder(
        "x", Origin(), coder.Encoder(torch.randn(20, 4), torch.zeros(20)), OVER[kind](torch.zeros(20)), None
    )
    made.fire(torch.randn(37, 4))
    made.encode(torch.randn(37, 4), torch.arange(20))
    assert sizes == [100] * 7 + [40] + [100] * 7 + [40]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_activations(dtype: torch.dtype, tmp_path: Path) -> None:
    """Activations of a half-precision model are encoded in float32."""
    dictionary = open_dictionary(str(plain_standard(tmp_path / "sae")))
    acts = inputs().to(dtype)
    found = dictionary.encode(acts, torch.arange(FEATURES))
    assert torch.equal(found, dictionary.encode(acts.float(), torch.arange(FEATURES)))
    assert torch.equal(dictionary.fire(acts).value, dictionary.fire(acts.float()).value)


def test_half_precision_weights(tmp_path: Path) -> None:
    """So are weights that were saved in half precision."""
    w = arrays(STANDARD)
    halves = {name: np.asarray(v, np.float16) for name, v in w.items()}
    found = open_dictionary(str(save_saelens(tmp_path / "half", saelens_6("standard"), halves)))
    widened = {name: v.astype(np.float32) for name, v in halves.items()}
    same = open_dictionary(str(save_saelens(tmp_path / "full", saelens_6("standard"), widened)))
    every = torch.arange(FEATURES)
    assert torch.equal(found.encode(inputs(), every), same.encode(inputs(), every))


def test_under_inference_mode(tmp_path: Path) -> None:
    """Activations as a subject gives them, made without a graph, are encoded in that mode or out of it."""
    dictionary = open_dictionary(str(plain_standard(tmp_path / "sae")))
    plain = dictionary.fire(inputs()).value
    with torch.inference_mode():
        acts = inputs() + 0
        within = dictionary.fire(acts).value
    assert torch.equal(dictionary.fire(acts).value, plain)
    assert torch.equal(within, plain)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["neurons", "coder", "directions"])
def test_activations_that_are_not_finite(kind: str, value: float, tmp_path: Path) -> None:
    """NaN and infinity are said, never silent: NaN is not above 0."""
    from safetensors.torch import save_file

    save_file({"v": torch.ones(2, WIDTH)}, tmp_path / "v.safetensors")
    plain_standard(tmp_path / "sae")
    spec = {
        "neurons": "neurons",
        "coder": str(tmp_path / "sae"),
        "directions": f"directions:{tmp_path}/v.safetensors",
    }
    acts = inputs()
    acts[4, 2] = value
    with pytest.raises(SubjectError, match="are not finite"):
        open_dictionary(spec[kind], WIDTH).fire(acts)


def test_width(tmp_path: Path) -> None:
    """A dictionary that reads another number of channels than the site has is refused, with its site."""
    folder = str(plain_standard(tmp_path / "sae"))
    assert open_dictionary(folder, WIDTH).width == WIDTH
    with pytest.raises(
        SubjectError, match=r"reads 6 channels and the site has 7.*blocks\.1\.hook_resid_post"
    ):
        open_dictionary(folder, 7)
    for wrong in (5, 12):
        with pytest.raises(SubjectError, match=f"reads 6 channels and was given {wrong}"):
            open_dictionary(folder).encode(inputs(width=wrong), torch.tensor([0]))
        with pytest.raises(SubjectError, match=f"reads 6 channels and was given {wrong}"):
            open_dictionary(folder).fire(inputs(width=wrong))


@pytest.mark.parametrize(("width", "fits"), [(24, True), (18, True), (12, False), (20, False), (6, False)])
def test_width_of_one_head(width: int, fits: bool, tmp_path: Path) -> None:
    """One head's dictionary fits where there is such a head."""
    config = saelens_6("standard")
    config["metadata"]["hook_head_index"] = 2
    folder = str(save_saelens(tmp_path / "sae", config, arrays(STANDARD)))
    if fits:
        assert open_dictionary(folder, width).n_features == FEATURES
    else:
        with pytest.raises(SubjectError, match=f"reads head 2 of 6 channels and the site has {width}"):
            open_dictionary(folder, width)
    if width < 18:
        with pytest.raises(SubjectError, match=f"reads head 2 of 6 channels and was given {width}"):
            open_dictionary(folder).fire(inputs(width=width))


def test_site(tmp_path: Path) -> None:
    """A dictionary's own site is read unless another is asked for; where neither is known, that is said."""
    origin = dictionary_origin(str(plain_standard(tmp_path / "sae")))
    assert choose_site(None, origin, "sae") == "blocks.1.hook_resid_post"
    assert choose_site("h.0", origin, "sae") == "h.0"
    with pytest.raises(SubjectError, match="nothing says where neurons are to be read: name it with --site"):
        choose_site(None, dictionary_origin("neurons"), "neurons")


@pytest.mark.parametrize(
    ("own", "site", "same"),
    [
        ("blocks.1.hook_resid_post", "blocks.1.hook_resid_post", True),
        ("blocks.1.hook_resid_post", "h.1", True),
        ("transformer.h.1.output", "blocks.1.hook_resid_post", True),
        (None, "h.1", True),
        ("blocks.1.hook_resid_post", "h.2", False),
        ("blocks.1.hook_resid_pre", "h.1", False),
        ("blocks.31.hook_resid_post", "h.1", False),
    ],
)
def test_mismatch(own: str | None, site: str, same: bool, subjects: dict[str, HuggingFaceSubject]) -> None:
    """Another site than the dictionary's own is said; two names of one site are no other site."""
    found = site_mismatch(Origin(site=own), site, subjects["gpt2"].site)
    assert found == (
        None
        if same
        else f"the dictionary was trained at {own} and is read at {site}: its features mean little there"
    )


def test_no_folder() -> None:
    """A name that is nothing says what can be passed."""
    with pytest.raises(
        SubjectError, match=r"there is no dictionary 'nowhere': pass neurons, a folder, hf://"
    ):
        open_dictionary("nowhere", 4)


def test_which_folder(tmp_path: Path) -> None:
    """A folder of folders names those in it; one with nothing, or with two dictionaries, says so."""
    with pytest.raises(
        SubjectError, match=r"holds none of sae_weights\.safetensors, sae\.safetensors, ae\.pt"
    ):
        open_dictionary(str(tmp_path))
    folder = plain_standard(tmp_path / "layer_3" / "sae")
    with pytest.raises(SubjectError, match=r"pass one of the folders in it, such as .*layer_3/sae"):
        open_dictionary(str(tmp_path))
    save_dictionary_learning(folder, {"dict_class": "AutoEncoder"}, tensors(arrays(STANDARD)))
    with pytest.raises(
        SubjectError, match=r"holds sae_weights\.safetensors and ae\.pt, of different dictionaries"
    ):
        open_dictionary(str(folder))
