"""Hook names of every family, against the model's own arithmetic on small random models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from exegete.errors import SubjectError
from exegete.subjects.huggingface import HuggingFaceSubject
from tests.subjects.tiny import HEADS, LAYERS, NEURONS, TEXT, WIDTH, model_of, tokenizer_of

NORMED_AFTER = ("gemma2", "gemma3_text", "gemma3", "olmo2", "olmo3")
LLAMAS = ("llama", "mistral", "qwen2", "qwen3", "gemma")
ALL = ("bert", "gpt2", "gpt_neox", *LLAMAS, *NORMED_AFTER)
HOOKS = (
    *("hook_resid_pre", "hook_attn_out", "attn.hook_z", "hook_resid_mid", "ln2.hook_normalized"),
    *("mlp.hook_in", "mlp.hook_post", "hook_mlp_out", "hook_resid_post"),
)
LACKED = {
    "bert": {"hook_resid_mid", "ln2.hook_normalized"},
    "gpt_neox": {"hook_resid_mid"},
    "olmo2": {"ln2.hook_normalized"},
    "olmo3": {"ln2.hook_normalized"},
}

Found = dict[str, torch.Tensor]


def subject_of(kind: str) -> HuggingFaceSubject:
    model = model_of(kind)
    # Norms that all weigh 1 (or 0) would hide whether their gain is in what is read.
    for name, weight in model.named_parameters():
        if "norm" in name.lower() or "ln_" in name:
            weight.data.copy_(torch.linspace(0.5, 1.5, weight.numel()).reshape(weight.shape))
    return HuggingFaceSubject(kind, model, tokenizer_of(kind))


@pytest.fixture(scope="module")
def families() -> dict[str, HuggingFaceSubject]:
    return {kind: subject_of(kind) for kind in ALL}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def hooks_of(kind: str) -> list[str]:
    return [hook for hook in HOOKS if hook not in LACKED.get(kind, set())]


def at(subject: HuggingFaceSubject, kind: str, layer: int) -> Found:
    ids = subject.tokenise(TEXT).ids[:20]
    names = [f"blocks.{layer}.{hook}" for hook in hooks_of(kind)]
    return {name.split(".", 2)[2]: acts[0] for name, acts in subject.activations_at(names, [ids]).items()}


def trunk(subject: HuggingFaceSubject) -> Any:
    return getattr(subject._model, "language_model", subject._model)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def gated_mlp(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    return mlp.act_fn(x @ mlp.gate_proj.weight.T) * (x @ mlp.up_proj.weight.T)


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("kind", LLAMAS)
def test_normed_before(kind: str, layer: int, families: dict[str, HuggingFaceSubject]) -> None:
    """Llama's layout: attention and MLP add to the stream what they give, and read it normed."""
    found, block = at(families[kind], kind, layer), trunk(families[kind]).layers[layer]
    middle = found["hook_resid_pre"] + found["hook_attn_out"]
    close(found["hook_resid_mid"], middle)
    close(middle + found["hook_mlp_out"], found["hook_resid_post"])
    norm = block.post_attention_layernorm
    gain = norm.weight + (1 if kind == "gemma" else 0)
    eps = norm.eps if kind == "gemma" else norm.variance_epsilon
    close(found["ln2.hook_normalized"], rms(middle, eps))
    close(found["mlp.hook_in"], rms(middle, eps) * gain)
    close(found["mlp.hook_post"], gated_mlp(block.mlp, found["mlp.hook_in"]))
    close(found["hook_mlp_out"], found["mlp.hook_post"] @ block.mlp.down_proj.weight.T)
    close(found["hook_attn_out"], found["attn.hook_z"] @ block.self_attn.o_proj.weight.T)
    assert found["mlp.hook_post"].shape[-1] == NEURONS


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("kind", NORMED_AFTER)
def test_normed_after(kind: str, layer: int, families: dict[str, HuggingFaceSubject]) -> None:
    """Gemma 2's and OLMo 2's layout: what is added to the stream, and read, comes out of a second norm."""
    found, block = at(families[kind], kind, layer), trunk(families[kind]).layers[layer]
    gemma = kind.startswith("gemma")
    middle = found["hook_resid_pre"] + found["hook_attn_out"]
    close(found["hook_resid_mid"], middle)
    close(middle + found["hook_mlp_out"], found["hook_resid_post"])
    if gemma:
        norm = block.pre_feedforward_layernorm
        close(found["ln2.hook_normalized"], rms(middle, norm.eps))
        close(found["mlp.hook_in"], rms(middle, norm.eps) * (1 + norm.weight))
    else:
        close(found["mlp.hook_in"], middle)
    close(found["mlp.hook_post"], gated_mlp(block.mlp, found["mlp.hook_in"]))
    bare_mlp = found["mlp.hook_post"] @ block.mlp.down_proj.weight.T
    bare_attention = found["attn.hook_z"] @ block.self_attn.o_proj.weight.T
    for bare, out, norm in (
        (bare_mlp, "hook_mlp_out", block.post_feedforward_layernorm),
        (bare_attention, "hook_attn_out", block.post_attention_layernorm),
    ):
        eps = norm.eps if gemma else norm.variance_epsilon
        close(found[out], rms(bare, eps) * (norm.weight + (1 if gemma else 0)))
        assert not torch.allclose(found[out], bare, atol=1e-2)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox"])
def test_layer_norms(kind: str, families: dict[str, HuggingFaceSubject]) -> None:
    """Where the norm is a LayerNorm, it is read before its gain and bias; the MLP reads after."""
    found = at(families[kind], kind, 1)
    block = trunk(families[kind]).h[1] if kind == "gpt2" else trunk(families[kind]).layers[1]
    norm = block.ln_2 if kind == "gpt2" else block.post_attention_layernorm
    before = found["hook_resid_pre"] + (found["hook_attn_out"] if kind == "gpt2" else 0)
    if kind == "gpt2":
        close(found["hook_resid_mid"], before)
    own = before - before.mean(-1, keepdim=True)
    close(found["ln2.hook_normalized"], own / (own.square().mean(-1, keepdim=True) + norm.eps).sqrt())
    close(found["mlp.hook_in"], found["ln2.hook_normalized"] * norm.weight + norm.bias)


def test_bert_mlp(families: dict[str, HuggingFaceSubject]) -> None:
    """BERT's MLP reads the normed middle of its block."""
    found, block = at(families["bert"], "bert", 1), families["bert"]._model.encoder.layer[1]
    middle = block.attention.output.LayerNorm(found["hook_attn_out"] + found["hook_resid_pre"])
    close(found["mlp.hook_in"], middle)
    close(found["mlp.hook_post"], torch.nn.functional.gelu(block.intermediate.dense(found["mlp.hook_in"])))


@pytest.mark.parametrize("kind", ALL)
def test_last_block(kind: str, families: dict[str, HuggingFaceSubject]) -> None:
    """The stream after the last block comes before the final norm; the model's last state after."""
    subject = families[kind]
    ids = subject.tokenise(TEXT).ids[:20]
    post = subject.activations(f"blocks.{LAYERS - 1}.hook_resid_post", [ids])[0]
    whole = torch.tensor([[*subject._prefix, *ids.tolist(), *subject._suffix]])
    last = subject._model(whole).last_hidden_state[0, len(subject._prefix) :][: len(ids)]
    if kind == "bert":
        close(post, last)
    else:
        assert not torch.allclose(post, last, atol=1e-2)
        norm = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}.get(kind, "norm")
        close(getattr(trunk(subject), norm)(post), last)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_heads(kind: str) -> None:
    """hook_z is each head's attention-weighted values, one head after another."""
    subject = subject_of(kind)
    subject._model.set_attn_implementation("eager")
    ids = subject.tokenise(TEXT).ids[:12]
    whole = torch.tensor([[*subject._prefix, *ids.tolist()]])
    block = trunk(subject).h[1].attn if kind == "gpt2" else trunk(subject).layers[1].self_attn
    values: list[torch.Tensor] = []
    module = block.c_attn if kind == "gpt2" else block.v_proj
    handle = module.register_forward_hook(lambda _m, _args, out: values.append(out[0][:, -WIDTH:]))
    weights_HTT = subject._model(whole, output_attentions=True).attentions[1][0]
    handle.remove()
    size = WIDTH // HEADS
    z = []
    for head in range(HEADS):
        own = 0 if kind != "gpt2" else head * size  # one head's values serve all where they are grouped
        z.append(weights_HTT[head] @ values[0][:, own : own + size])
    found = subject.activations("blocks.1.attn.hook_z", [ids])[0]
    close(found, torch.cat(z, -1)[len(subject._prefix) :])


@pytest.mark.parametrize("kind", ALL)
def test_several_sites_at_once(kind: str, families: dict[str, HuggingFaceSubject]) -> None:
    """Sites read together are what each is alone, by the names they were asked by, in any order."""
    subject = families[kind]
    text = subject.tokenise(TEXT * 2).ids
    batch = [text[:9], text[9:30]]
    names = [f"blocks.{layer}.{hook}" for layer in range(LAYERS) for hook in hooks_of(kind)]
    together = subject.activations_at(names[::-1], batch)
    assert set(together) == set(names)
    for name in names:
        alone = subject.activations(name, batch)
        for row, ids in enumerate(batch):
            assert torch.equal(together[name][row, : len(ids)], alone[row, : len(ids)]), name


def test_one_pass(families: dict[str, HuggingFaceSubject]) -> None:
    """Several sites take one pass, which ends after the last of them, and leave no hook behind."""
    subject = families["gpt2"]
    calls: list[int] = []
    handles = [
        subject._modules[f"h.{layer}.ln_1"].register_forward_pre_hook(
            lambda _m, _args, layer=layer: calls.append(layer)
        )
        for layer in range(LAYERS)
    ]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject._modules.values()]
    ids = [subject.tokenise(TEXT).ids[:5]]
    subject.activations_at(["blocks.1.hook_resid_pre", "blocks.0.mlp.hook_post", "h.0"], ids)
    assert calls == [0]
    subject.activations_at(["blocks.1.hook_resid_mid", "wte"], ids)
    assert calls == [0, 0, 1]
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject._modules.values()]
    for handle in handles:
        handle.remove()


def test_two_names_of_one_site(families: dict[str, HuggingFaceSubject]) -> None:
    """A site asked for by two names is given by both."""
    found = families["gpt2"].activations_at(
        ["blocks.1.hook_resid_post", "h.1"], [families["gpt2"].tokenise("fox").ids]
    )
    assert torch.equal(found["blocks.1.hook_resid_post"], found["h.1"])


def test_a_site_that_is_never_reached(families: dict[str, HuggingFaceSubject]) -> None:
    """Of several sites the one that no pass reaches is named."""
    subject = families["gpt2"]
    with pytest.raises(SubjectError, match="module 'h' is never run"):
        subject.activations_at(["h.1", "h"], [subject.tokenise("fox").ids])


def test_writing_in_place(families: dict[str, HuggingFaceSubject]) -> None:
    """What a later module writes into a tensor is not in what was read before."""
    subject = families["gpt2"]
    ids = [subject.tokenise(TEXT).ids[:5]]
    before = subject.activations("blocks.1.hook_resid_pre", ids).clone()

    def write(_module: Any, args: tuple[torch.Tensor]) -> None:
        args[0].zero_()

    handle = subject._modules["h.1.ln_1"].register_forward_pre_hook(write)
    found = subject.activations_at(["blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"], ids)
    handle.remove()
    assert bool(before.any())
    assert torch.equal(found["blocks.1.hook_resid_pre"], before)
