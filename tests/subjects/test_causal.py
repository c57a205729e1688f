"""A causal subject's logits, lens and edits, against the model's own arithmetic written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exegete.errors import SubjectError
from exegete.subjects.causal import CausalSubject, open_causal
from exegete.subjects.coder import Encoder, SparseCoder
from exegete.subjects.dictionaries import Neurons
from exegete.subjects.directions import Directions
from exegete.subjects.edits import Feature, FeatureEdit, ablated, clamped
from exegete.subjects.huggingface import open_subject
from exegete.subjects.nonlinearity import Relu
from exegete.subjects.origin import Needs, Origin
from tests.subjects.causal_models import KINDS, causal_subject, language_model, rest_of
from tests.subjects.tiny import NEURONS, TEXT, WIDTH, byte_level, save

STREAM = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def subjects() -> dict[str, CausalSubject]:
    return {kind: causal_subject(kind) for kind in KINDS}


def coder(n: int = 6, width: int = WIDTH, **origin: object) -> SparseCoder:
    """An autoencoder with random weights, half of whose features fire on a random token."""
    generator = torch.Generator().manual_seed(5)
    made = [torch.randn(shape, generator=generator) for shape in ((n, width), (n,), (width,), (n, width))]
    encoder = Encoder(made[0], made[1], made[2])
    return SparseCoder("coder@1", Origin(**origin), encoder, Relu(), made[3])  # type: ignore[arg-type]


def ids_of(subject: CausalSubject, n: int = 20) -> np.ndarray:
    return subject.reader.tokenise(TEXT).ids[:n]


def stream(subject: CausalSubject, kind: str, n: int = 20) -> tuple[torch.Tensor, int]:
    """The stream after layer 1 with the special tokens, and how many of those come first."""
    ids, _, first = subject.reader.padded([ids_of(subject, n)])
    with torch.inference_mode():
        hidden = language_model(kind)(input_ids=ids, output_hidden_states=True).hidden_states
    return hidden[2][0], first


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_models_own(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """Without an edit they are those of the whole model, text by text, however the batch is padded."""
    subject, model = subjects[kind], language_model(kind)
    batch = [ids_of(subject, 20), ids_of(subject, 7)]
    found = subject.logits(batch)
    for row, own in enumerate(batch):
        ids, _, first = subject.reader.padded([own])
        with torch.inference_mode():
            expected = model(input_ids=ids).logits[0, first:]
        torch.testing.assert_close(found[row, : len(own)], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_losses(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """Each is minus the log probability of the token that follows."""
    own = ids_of(subjects[kind])
    p = torch.softmax(subjects[kind].logits([own])[0].double(), -1)
    expected = [-np.log(float(p[place, token])) for place, token in enumerate(own[1:])]
    np.testing.assert_allclose(subjects[kind].losses([own])[0], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_lens(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """A direction is normed, with gain and no bias, and multiplied with the unembedding, at any length."""
    model = language_model(kind)
    rows = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(2)) * torch.tensor(
        [[0.1], [1], [9], [99]]
    )
    x = rows - rows.mean(-1, keepdim=True) if kind == "gpt2" else rows
    gain = model.transformer.ln_f.weight if kind == "gpt2" else model.model.norm.weight
    expected = (x / x.pow(2).mean(-1, keepdim=True).sqrt() * gain) @ model.lm_head.weight.T
    torch.testing.assert_close(subjects[kind].lens(rows), expected.detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_adds_the_features_own_contribution(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """What is added is (wanted - activation) times the decoder row, at the texts' own tokens only."""
    subject, dictionary = subjects[kind], coder()
    x_TD, first = stream(subject, kind)
    feature = Feature(dictionary, 3, STREAM)
    acts_T = dictionary.encode(x_TD, torch.tensor([3]))[:, 0]
    assert 0 < int((acts_T[first:] > 0).sum()) < len(acts_T) - first
    for target, wanted_T in (
        (clamped(4.0), torch.full_like(acts_T, 4.0)),
        (ablated(feature), acts_T.clamp(max=0)),
    ):
        change_T = wanted_T - acts_T
        change_T[:first] = 0
        edited = x_TD + change_T[:, None] * dictionary.decode_rows(torch.tensor([3]))
        with torch.inference_mode():
            expected = rest_of(language_model(kind), kind, 1, edited)[first:]
        found = subject.logits([ids_of(subject)], [FeatureEdit(feature, target)])[0]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_set_to_what_it_is_changes_nothing(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """The dictionary's error stays in the stream: its reconstruction is never put in the stream's place."""
    subject, own = subjects[kind], ids_of(subjects[kind])
    edit = FeatureEdit(Feature(coder(), 2, STREAM), lambda acts_BT: acts_BT)
    torch.testing.assert_close(subject.logits([own], [edit]), subject.logits([own]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_neuron_zeroed(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """The stream loses the neuron's activation times its row of the down projection, at the texts' tokens."""
    subject, model = subjects[kind], language_model(kind)
    mlp = (model.transformer.h if kind == "gpt2" else model.model.layers)[1].mlp
    row = mlp.c_proj.weight[7] if kind == "gpt2" else mlp.down_proj.weight[:, 7]
    acts_T = subject.reader.activations("blocks.1.mlp.hook_post", [ids_of(subject)])[0, :, 7]
    x_TD, first = stream(subject, kind)
    with torch.inference_mode():
        edited = x_TD - torch.cat([torch.zeros(first), acts_T])[:, None] * row
        expected = rest_of(model, kind, 1, edited)[first:]
    feature = Feature(Neurons(NEURONS), 7, "blocks.1.mlp.hook_post")
    found = subject.logits([ids_of(subject)], [FeatureEdit(feature, clamped(0.0))])[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_what_neurons_and_heads_write(subjects: dict[str, CausalSubject]) -> None:
    """A neuron's direction in the stream is its column of the down projection; a head channel's likewise."""
    for kind, subject in subjects.items():
        block = language_model(kind).base_model
        block = block.h[1] if kind == "gpt2" else block.layers[1]
        down = block.mlp.c_proj.weight if kind == "gpt2" else block.mlp.down_proj.weight.T
        out = block.attn.c_proj.weight if kind == "gpt2" else block.self_attn.o_proj.weight.T
        rows = torch.eye(NEURONS)[[7, 2]]
        torch.testing.assert_close(subject.to_stream("blocks.1.mlp.hook_post", rows), down[[7, 2]].detach())
        rows = torch.eye(out.shape[0])[[5]]
        torch.testing.assert_close(subject.to_stream("blocks.1.attn.hook_z", rows), out[[5]].detach())
        torch.testing.assert_close(subject.to_stream(STREAM, torch.eye(WIDTH)), torch.eye(WIDTH))


def test_what_is_not_added_to_the_stream_has_no_output_side(subjects: dict[str, CausalSubject]) -> None:
    """What the MLP reads, and its projection upwards, are not in the stream's space: said, not guessed."""
    for site, width in (("blocks.1.ln2.hook_normalized", WIDTH), ("layers.1.mlp.up_proj", NEURONS)):
        with pytest.raises(SubjectError, match="not added to the residual stream"):
            subjects["llama"].to_stream(site, torch.eye(width))


def test_a_direction_zeroed_is_gone(subjects: dict[str, CausalSubject]) -> None:
    """After ablation the stream has no part along the direction wherever it had a positive one."""
    subject = subjects["llama"]
    v = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(3)) * 3
    feature = Feature(Directions("probe", v), 0, STREAM)
    seen: list[torch.Tensor] = []
    handle = subject.reader.modules["layers.2"].register_forward_pre_hook(
        lambda _m, args: seen.append(args[0])
    )
    subject.logits([ids_of(subject)])
    subject.logits([ids_of(subject)], [FeatureEdit(feature, ablated(feature))])
    handle.remove()
    before, after = (x[0, 1:] @ v[0] for x in seen)
    assert (before > 1e-3).any()
    torch.testing.assert_close(after, before.clamp(max=0), rtol=1e-3, atol=1e-3)


def test_a_control_moves_as_far_along_another_direction(subjects: dict[str, CausalSubject]) -> None:
    """What it takes off has the feature's amounts, and the control's direction and length."""
    subject, dictionary = subjects["gpt2"], coder()
    along = torch.randn(WIDTH, generator=torch.Generator().manual_seed(4)) * 7
    x_TD, _ = stream(subject, "gpt2")
    acts_T = dictionary.encode(x_TD, torch.tensor([3]))[:, 0].clamp(min=0)
    edited = x_TD - acts_T[:, None] * along
    feature = Feature(dictionary, 3, STREAM)
    found = subject.logits([ids_of(subject)], [FeatureEdit(feature, ablated(feature), along)])[0]
    with torch.inference_mode():
        expected = rest_of(language_model("gpt2"), "gpt2", 1, edited)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_transcoder_reads_in_one_place_and_writes_in_another(subjects: dict[str, CausalSubject]) -> None:
    """Its activation is that at the site it reads; its row is added where it writes."""
    subject = subjects["llama"]
    dictionary = coder(site="blocks.1.mlp.hook_in", site_out="blocks.1.hook_mlp_out")
    feature = Feature(dictionary, 3, "blocks.1.mlp.hook_in")
    own = ids_of(subject)
    read = subject.reader.activations("blocks.1.mlp.hook_in", [own])[0]
    acts_T = dictionary.encode(read, torch.tensor([3]))[:, 0]
    x_TD, first = stream(subject, "llama")
    change_T = torch.cat([torch.zeros(first), 2.5 - acts_T])
    edited = x_TD + change_T[:, None] * dictionary.decode_rows(torch.tensor([3]))
    with torch.inference_mode():
        expected = rest_of(language_model("llama"), "llama", 1, edited)[first:]
    found = subject.logits([own], [FeatureEdit(feature, clamped(2.5))])[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scaling", ["layer_norm", "constant_norm_rescale"])
def test_inputs_scaled_token_by_token(scaling: str, subjects: dict[str, CausalSubject]) -> None:
    """A unit of a feature counts as much as its inputs were divided by."""
    plain = coder()
    dictionary = SparseCoder(
        "scaled@1",
        Origin(needs=Needs()),
        Encoder(plain._encoder.weight, plain._encoder.bias, None, scaling),  # type: ignore[arg-type]
        Relu(),
        plain.decode_rows(torch.arange(6)),
    )
    x = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(6)) * 4
    divided = x.std(-1) + 1e-5 if scaling == "layer_norm" else x.norm(dim=-1) / WIDTH**0.5
    torch.testing.assert_close(dictionary.scale(x), divided)
    assert plain.scale(x) == 1.0


def test_continuations(subjects: dict[str, CausalSubject]) -> None:
    """Greedy ones are the argmax token after token; sampled ones are the seed's; an edit changes them."""
    subject = subjects["llama"]
    prompts = [ids_of(subject, 5), ids_of(subject, 9)]
    greedy = subject.continuations(prompts, 4, (), temperature=0.0, seed=0)
    for prompt, written in zip(prompts, greedy, strict=True):
        text = prompt
        for token in written:
            assert token == int(subject.logits([text])[0, len(text) - 1].argmax())
            text = np.append(text, token)
    sampled = [subject.continuations(prompts, 6, (), temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(sampled[0], sampled[1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(sampled[0], sampled[2], strict=True))
    edit = FeatureEdit(Feature(coder(), 3, STREAM), clamped(200.0))
    steered = subject.continuations(prompts, 4, [edit], temperature=0.0, seed=0)
    assert any(not np.array_equal(a, b) for a, b in zip(greedy, steered, strict=True))


def test_open(tmp_path: Path) -> None:
    """A saved language model is opened with its head, under the name its trunk has as a subject."""
    model = language_model("llama")
    model.save_pretrained(tmp_path / "lm")
    byte_level(bos=True).save_pretrained(tmp_path / "lm")
    subject = open_causal(str(tmp_path / "lm"), device="cpu")
    assert subject.name == open_subject(str(tmp_path / "lm"), device="cpu").name
    own = ids_of(subject)
    torch.testing.assert_close(subject.logits([own]), causal_subject("llama").logits([own]))
    assert subject.n_vocabulary == 400
    assert TEXT.startswith("".join(subject.token_text(own.tolist())).replace("Ġ", " "))


def test_an_encoder_predicts_nothing(tmp_path: Path) -> None:
    """Said in a sentence, before weights are read."""
    with pytest.raises(SubjectError, match=r"is an encoder \(bert\)"):
        open_causal(str(save("bert", tmp_path / "bert")))


def test_a_dictionary_without_a_decoder(subjects: dict[str, CausalSubject]) -> None:
    """Its features can't be edited, and that is said."""
    whole = coder()
    bare = SparseCoder("bare@1", Origin(), whole._encoder, Relu(), None)
    with pytest.raises(SubjectError, match="has no decoder"):
        FeatureEdit(Feature(bare, 0, STREAM), clamped(1.0))
    edit = FeatureEdit(Feature(whole, 0, "blocks.1.ln2.hook_normalized"), clamped(1.0))
    with pytest.raises(SubjectError, match="can't be edited"):
        subjects["llama"].logits([ids_of(subjects["llama"])], [edit])
