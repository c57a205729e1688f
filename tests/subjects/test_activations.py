"""Activations at sites, against the model's own arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exegete.errors import SubjectError
from exegete.subjects.huggingface import HuggingFaceSubject
from tests.subjects.conftest import KINDS
from tests.subjects.tiny import LAYERS, NEURONS, TEXT, WIDTH

Ids = NDArray[np.int32]
Subjects = dict[str, HuggingFaceSubject]
SITES = ("hook_resid_pre", "hook_resid_post", "mlp.hook_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z")


@pytest.fixture
def inference() -> Iterator[None]:
    """Arithmetic on what came back, which carries no graph."""
    with torch.inference_mode():
        yield


def ids_of(subject: HuggingFaceSubject, n: int = 20) -> Ids:
    return subject.tokenise(TEXT).ids[:n]


def whole(subject: HuggingFaceSubject, ids: Ids) -> torch.Tensor:
    """A context as the model gets it, special tokens included."""
    return torch.tensor([[*subject._prefix, *ids.tolist(), *subject._suffix]])


def own(subject: HuggingFaceSubject, acts: torch.Tensor, ids: Ids) -> torch.Tensor:
    """What stands at the text's own tokens."""
    return acts[0, len(subject._prefix) : len(subject._prefix) + len(ids)]


def hidden_states(subject: HuggingFaceSubject, ids: Ids) -> list[torch.Tensor]:
    with torch.inference_mode():
        out = subject._model(whole(subject, ids), output_hidden_states=True)
    return [own(subject, h, ids) for h in out.hidden_states]


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("kind", KINDS)
def test_residual_stream(kind: str, subjects: Subjects) -> None:
    """A block's input and output are the model's hidden states; the last comes before the final norm."""
    subject = subjects[kind]
    ids = ids_of(subject)
    states = hidden_states(subject, ids)
    for layer in range(LAYERS):
        pre = subject.activations(f"blocks.{layer}.hook_resid_pre", [ids])[0]
        torch.testing.assert_close(pre, states[layer], rtol=1e-5, atol=1e-5)
        post = subject.activations(f"blocks.{layer}.hook_resid_post", [ids])[0]
        if layer < LAYERS - 1 or kind == "bert":
            torch.testing.assert_close(post, states[layer + 1], rtol=1e-5, atol=1e-5)
        else:
            norm = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}.get(kind, "norm")
            assert not torch.allclose(post, states[-1], atol=1e-3)
            torch.testing.assert_close(getattr(subject._model, norm)(post), states[-1], rtol=1e-4, atol=1e-4)


def at(subject: HuggingFaceSubject, ids: Ids, layer: int) -> dict[str, torch.Tensor]:
    return {s: subject.activations(f"blocks.{layer}.{s}", [ids])[0] for s in SITES}


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("layer", range(LAYERS))
def test_gpt2(layer: int, subjects: Subjects) -> None:
    """GPT-2's sites add up, and its neurons are gelu of the first projection of the normed middle."""
    subject = subjects["gpt2"]
    found, block = at(subject, ids_of(subject), layer), subject._model.h[layer]
    middle = found["hook_resid_pre"] + found["hook_attn_out"]
    close(middle + found["hook_mlp_out"], found["hook_resid_post"])
    x = block.ln_2(middle) @ block.mlp.c_fc.weight + block.mlp.c_fc.bias
    close(found["mlp.hook_post"], torch.nn.functional.gelu(x, approximate="tanh"))
    close(found["hook_mlp_out"], found["mlp.hook_post"] @ block.mlp.c_proj.weight + block.mlp.c_proj.bias)
    close(found["hook_attn_out"], found["attn.hook_z"] @ block.attn.c_proj.weight + block.attn.c_proj.bias)
    assert found["mlp.hook_post"].shape[-1] == NEURONS


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_llama(kind: str, layer: int, subjects: Subjects) -> None:
    """Llama's sites add up, and its neurons are silu(gate) times up of the normed middle."""
    subject = subjects[kind]
    found, block = at(subject, ids_of(subject), layer), subject._model.layers[layer]
    middle = found["hook_resid_pre"] + found["hook_attn_out"]
    close(middle + found["hook_mlp_out"], found["hook_resid_post"])
    x = block.post_attention_layernorm(middle)
    gate, up = x @ block.mlp.gate_proj.weight.T, x @ block.mlp.up_proj.weight.T
    close(found["mlp.hook_post"], torch.nn.functional.silu(gate) * up)
    close(found["hook_mlp_out"], found["mlp.hook_post"] @ block.mlp.down_proj.weight.T)
    close(found["hook_attn_out"], found["attn.hook_z"] @ block.self_attn.o_proj.weight.T)


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("layer", range(LAYERS))
def test_gpt_neox(layer: int, subjects: Subjects) -> None:
    """GPT-NeoX's blocks work in parallel: attention and MLP both read the block's input."""
    subject = subjects["gpt_neox"]
    found, block = at(subject, ids_of(subject), layer), subject._model.layers[layer]
    close(found["hook_resid_pre"] + found["hook_attn_out"] + found["hook_mlp_out"], found["hook_resid_post"])
    x = block.mlp.dense_h_to_4h(block.post_attention_layernorm(found["hook_resid_pre"]))
    close(found["mlp.hook_post"], torch.nn.functional.gelu(x))
    close(found["hook_mlp_out"], block.mlp.dense_4h_to_h(found["mlp.hook_post"]))
    close(found["hook_attn_out"], block.attention.dense(found["attn.hook_z"]))


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("layer", range(LAYERS))
def test_bert(layer: int, subjects: Subjects) -> None:
    """BERT norms after adding: its sites are what is added before each norm."""
    subject = subjects["bert"]
    found, block = at(subject, ids_of(subject), layer), subject._model.encoder.layer[layer]
    middle = block.attention.output.LayerNorm(found["hook_attn_out"] + found["hook_resid_pre"])
    close(block.output.LayerNorm(found["hook_mlp_out"] + middle), found["hook_resid_post"])
    close(found["mlp.hook_post"], torch.nn.functional.gelu(block.intermediate.dense(middle)))
    close(found["hook_mlp_out"], block.output.dense(found["mlp.hook_post"]))
    close(found["hook_attn_out"], block.attention.output.dense(found["attn.hook_z"]))


@pytest.mark.parametrize("kind", KINDS)
def test_module_paths(kind: str, subjects: Subjects) -> None:
    """Every module that gives a vector a token can be read by its path, and is what a plain hook sees."""
    subject = subjects[kind]
    ids = ids_of(subject, 9)
    seen: dict[str, Any] = {}

    def note(name: str) -> Any:
        return lambda _m, _args, out: seen.setdefault(name, out)

    handles = [m.register_forward_hook(note(n)) for n, m in subject._model.named_modules() if n]
    with torch.inference_mode():
        subject._model(whole(subject, ids))
    for handle in handles:
        handle.remove()
    n_read = 0
    for name, out in seen.items():
        value = out[0] if isinstance(out, tuple) else getattr(out, "last_hidden_state", out)
        if value.ndim == 3 and value.shape[1] == whole(subject, ids).shape[1]:
            close(subject.activations(name, [ids])[0], own(subject, value, ids))
            n_read += 1
        else:
            with pytest.raises(SubjectError, match="contexts, tokens, channels"):
                subject.activations(name, [ids])
    assert n_read > 20


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str, subjects: Subjects) -> None:
    """A context's activations are the same alone and beside longer ones, at every site."""
    subject = subjects[kind]
    ids = subject.tokenise(TEXT * 2).ids
    batch = [ids[:3], ids[3:30], ids[30:31], ids[31:42]]
    for site in SITES:
        name = f"blocks.{LAYERS - 1}.{site}"
        together = subject.activations(name, batch)
        assert together.shape[:2] == (4, 27)
        for row, one in enumerate(batch):
            close(together[row, : len(one)], subject.activations(name, [one])[0])


def hooks_of(subject: HuggingFaceSubject) -> list[int]:
    """How many hooks each module has."""
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject._modules.values()]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_later_is_run(kind: str, subjects: Subjects) -> None:
    """The model stops after the module that is read; nothing later is computed, and no hook stays behind."""
    subject = subjects[kind]
    blocks = {"bert": "encoder.layer", "gpt2": "h"}.get(kind, "layers")
    calls: list[int] = []
    handles = [
        subject._modules[f"{blocks}.{layer}"].register_forward_pre_hook(
            lambda _m, _args, layer=layer: calls.append(layer)
        )
        for layer in range(LAYERS)
    ]
    ids = ids_of(subject)
    subject.activations("blocks.0.mlp.hook_post", [ids])
    assert calls == [0]
    subject.activations("blocks.1.hook_resid_post", [ids])
    assert calls == [0, 0, 1]
    for handle in handles:
        handle.remove()
    before = hooks_of(subject)
    subject.activations("blocks.0.mlp.hook_post", [ids])
    subject.activations("blocks.0.hook_resid_post", [ids])
    assert hooks_of(subject) == before
    assert len(hidden_states(subject, ids)) == LAYERS + 1


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_left_out(kind: str, subjects: Subjects) -> None:
    """The model is given its special tokens around every context, and none of them is in what comes back."""
    subject = subjects[kind]
    added = {"bert": (1, 1), "llama": (1, 0), "qwen3": (1, 0)}.get(kind, (0, 0))
    assert (len(subject._prefix), len(subject._suffix)) == added
    assert subject.n_special == sum(added)
    text = "the lazy dog"
    ids = subject.tokenise(text).ids
    given: list[torch.Tensor] = []
    handle = subject._model.get_input_embeddings().register_forward_pre_hook(
        lambda _m, args: given.append(args[0])
    )
    acts = subject.activations("blocks.0.hook_resid_pre", [ids, ids[:2]])
    handle.remove()
    assert given[0][0].tolist() == subject._tokenizer(text)["input_ids"]
    assert acts.shape == (2, len(ids), WIDTH)


def test_shapes(subjects: Subjects) -> None:
    """Widths are found without running a corpus; a site that mixes contexts, or has no tokens, is refused."""
    subject = subjects["gpt2"]
    assert subject.width("blocks.1.mlp.hook_post") == NEURONS
    assert subject.width("h.1") == WIDTH
    with pytest.raises(SubjectError, match=r"site 'wpe' gives Tensor of shape \(1, 1, 16\)"):
        subject.width("wpe")
    with pytest.raises(SubjectError, match=r"of shape \(2, 16\)"):
        subjects["bert"].width("pooler")
    with pytest.raises(SubjectError, match="never run by the model"):
        subject.width("h")


def test_the_whole_model_of_a_head(subjects: Subjects) -> None:
    """A language model's folder is opened as its bare trunk; a module's path may begin as in the whole."""
    trunk, head = subjects["gpt2"], subjects["gpt2-lm"]
    assert type(head._model) is type(trunk._model)
    ids = ids_of(head)
    close(
        head.activations("transformer.h.1.mlp", [ids])[0], head.activations("blocks.1.hook_mlp_out", [ids])[0]
    )


def test_no_gradients(subjects: Subjects) -> None:
    """Activations carry no graph: a harvest's memory is what it keeps."""
    subject = subjects["gpt2"]
    assert not subject.activations("h.0", [ids_of(subject)]).requires_grad
    assert not subject._model.training
    assert next(subject._model.parameters()).dtype is torch.float32
