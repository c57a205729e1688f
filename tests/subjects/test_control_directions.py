"""Control directions move the stream as far as a feature does, and are nothing of the feature otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exegete.subjects.causal import CausalSubject
from exegete.subjects.coder import Encoder, SparseCoder
from exegete.subjects.control_directions import in_stream, other_rows, random_rows
from exegete.subjects.dictionaries import Neurons
from exegete.subjects.directions import Directions
from exegete.subjects.edits import Feature, FeatureEdit, shifted
from exegete.subjects.nonlinearity import Relu
from exegete.subjects.origin import Origin
from tests.subjects.causal_models import causal_subject, language_model
from tests.subjects.test_causal import STREAM, coder, ids_of
from tests.subjects.tiny import HEADS, NEURONS, WIDTH


@pytest.fixture(scope="module")
def subject() -> CausalSubject:
    return causal_subject("gpt2")


def head_feature() -> Feature:
    """A feature of a dictionary of the second attention head."""
    whole = coder(width=WIDTH // HEADS)
    rows = whole.decode_rows(torch.arange(6))
    of_head = SparseCoder("head@1", Origin(head=1), whole._encoder, Relu(), rows)
    return Feature(of_head, 3, "blocks.1.attn.hook_z")


FEATURES = {
    "latent": Feature(coder(), 3, STREAM),
    "neuron": Feature(Neurons(NEURONS), 7, "blocks.1.mlp.hook_post", sign=-1),
    "head": head_feature(),
}


@pytest.mark.parametrize("kind", FEATURES)
def test_as_long_in_the_stream(kind: str, subject: CausalSubject) -> None:
    """Whatever the site, a unit of a control adds to the stream a vector of the feature's own length."""
    feature = FEATURES[kind]
    own = in_stream(subject, feature, feature.direction()[None]).norm()
    for rows in (random_rows(subject, feature, 20, 0), other_rows(subject, feature, 20, 0)):
        assert rows.shape[1] == len(feature.direction())
        lengths = in_stream(subject, feature, rows).norm(dim=-1)
        torch.testing.assert_close(lengths, own.expand(len(rows)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", FEATURES)
def test_the_stream_gets_what_is_said(kind: str, subject: CausalSubject) -> None:
    """What an edit along a row adds after its block is what `in_stream` says, in the model itself.

    For a head, in a model whose MLP does nothing, so that nothing else changes before the stream is read.
    """
    feature = FEATURES[kind]
    if kind == "head":
        model = language_model("gpt2")
        for name in ("c_fc", "c_proj"):
            getattr(model.transformer.h[1].mlp, name).weight.data.zero_()
        subject = CausalSubject(
            type(subject.reader)("gpt2", model.base_model, subject.reader.tokenizer), model
        )
    row = random_rows(subject, feature, 1, 0)[0]
    own, seen = ids_of(subject), list[torch.Tensor]()
    after = subject.reader.modules["h.2"]
    handle = after.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    subject.logits([own])
    subject.logits([own], [FeatureEdit(feature, shifted(2.0), row)])
    handle.remove()
    added = (seen[1] - seen[0]).reshape(-1, WIDTH)
    expected = 2.0 * in_stream(subject, feature, row[None])
    torch.testing.assert_close(added, expected.expand_as(added), rtol=1e-3, atol=1e-3)


def test_random_rows_are_isotropic(subject: CausalSubject) -> None:
    """Their second moment is the same along every axis, and they point to no side."""
    rows = random_rows(subject, FEATURES["latent"], 4000, 1)
    length = rows.norm(dim=-1).mean()
    moment = rows.T @ rows / len(rows) / length**2 * WIDTH
    torch.testing.assert_close(moment, torch.eye(WIDTH), atol=0.12, rtol=0)
    assert float((rows.mean(0) / length).abs().max()) < 0.02


def test_draws_are_a_features_own(subject: CausalSubject) -> None:
    """The same again for the same seed and feature; others for another seed, feature or side."""
    feature = FEATURES["latent"]
    first = random_rows(subject, feature, 3, 0)
    torch.testing.assert_close(first, random_rows(subject, feature, 3, 0))
    for other, seed in ((feature, 1), (replace(feature, index=2), 0), (replace(feature, sign=-1), 0)):
        rows = random_rows(subject, other, 3, seed)
        assert float(torch.cosine_similarity(rows, first).abs().max()) < 0.99


def test_others_are_other_features(subject: CausalSubject) -> None:
    """Each at most once, never the feature itself, and none that writes nothing."""
    rows = torch.eye(WIDTH)[:6] * torch.arange(1, 7)[:, None]
    rows[4] = 0
    encoder = Encoder(torch.eye(WIDTH)[:6], torch.zeros(6), None)
    feature = Feature(SparseCoder("axes@1", Origin(), encoder, Relu(), rows), 2, STREAM)
    found = other_rows(subject, feature, 20, 0)
    assert sorted(found.argmax(dim=-1).tolist()) == [0, 1, 3, 5]
    assert len(other_rows(subject, feature, 2, 0)) <= 2
    alone = Feature(Directions("one", torch.ones(1, WIDTH)), 0, STREAM)
    assert other_rows(subject, alone, 20, 0).shape == (0, WIDTH)
