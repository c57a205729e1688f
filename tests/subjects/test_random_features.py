"""Random directions taken for features fire as features do, and are taken off as features are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exegete.subjects.causal import CausalSubject
from exegete.subjects.control_directions import in_stream
from exegete.subjects.edits import Feature, FeatureEdit, ablated
from exegete.subjects.effects import firing
from exegete.subjects.random_features import FEWEST, RandomFeatures
from tests.subjects.causal_models import causal_subject
from tests.subjects.test_causal import ids_of
from tests.subjects.test_control_directions import FEATURES
from tests.subjects.tiny import HEADS, WIDTH

SITE = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def subject() -> CausalSubject:
    return causal_subject("gpt2")


def texts(subject: CausalSubject) -> list[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """Thirty of several lengths."""
    rng = np.random.default_rng(2)
    return [rng.permutation(ids_of(subject, 20))[: 5 + i % 15].astype(np.int32) for i in range(30)]


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("density", [0.08, 0.3])
def test_they_fire_as_often_as_asked(kind: str, density: float, subject: CausalSubject) -> None:
    """At that share of the tokens, as the subject itself runs them; never at more, where they point away."""
    batch = texts(subject)
    randoms = RandomFeatures(subject, FEATURES[kind], batch, n=8, seed=0)
    n_tokens = sum(map(len, batch))
    assert len(randoms) == 8
    for k in range(8):
        feature = randoms.feature(k, density)
        acts = np.concatenate(firing(subject, feature, batch))
        fires = int((acts > feature.threshold).sum())
        if feature.threshold > 0:
            assert fires == pytest.approx(density * n_tokens, abs=2)
        else:
            assert fires <= density * n_tokens


def test_what_is_rare_still_fires(subject: CausalSubject) -> None:
    """However rare a feature is, they fire at some tokens; what is not so rare is left as it is."""
    batch = texts(subject)
    randoms = RandomFeatures(subject, FEATURES["latent"], batch, n=2, seed=0)
    n_tokens = sum(map(len, batch))
    assert randoms.density(1e-9) * n_tokens == pytest.approx(FEWEST)
    assert randoms.density(0.5) == 0.5


def test_taken_off_there_is_nothing_left_along_them(subject: CausalSubject) -> None:
    """Ablation leaves the stream no part along the direction where it fires, and the rest as it was."""
    batch = texts(subject)
    feature = RandomFeatures(subject, Feature(FEATURES["latent"].dictionary, 0, SITE), batch, n=4, seed=1)
    one = feature.feature(2, 0.2)
    row = one.direction()
    (own,) = feature.own_texts(one, 1)
    before = subject.reader.activations(SITE, [own])[0]
    seen: list[torch.Tensor] = []
    module = subject.module(subject.reader.site(SITE))
    edit = FeatureEdit(one, ablated(one))
    handles = edit.attach(subject, torch.ones(1, len(own) + subject.reader.n_special, dtype=torch.bool))
    handles.append(module.register_forward_hook(lambda _m, _a, out: seen.append(out[0])))  # type: ignore[attr-defined]
    subject.logits([own])
    for handle in handles:
        handle.remove()
    after = (seen[0] if seen[0].ndim == 2 else seen[0][0])[-len(own) :]
    unit = row / row.norm()
    fires = (before @ unit) / row.norm() > one.threshold
    assert 0 < int(fires.sum()) < len(own)
    torch.testing.assert_close((after @ unit)[fires], torch.zeros(int(fires.sum())), atol=1e-4, rtol=0)
    torch.testing.assert_close(after[~fires], before[~fires], atol=1e-5, rtol=1e-4)


def test_own_texts(subject: CausalSubject) -> None:
    """Each fires in all of its own, one of every part by strength: the weakest part and the strongest too."""
    batch = texts(subject)
    randoms = RandomFeatures(subject, FEATURES["latent"], batch, n=6, seed=0)
    for k in range(6):
        feature = randoms.feature(k, 0.2)
        strength = {ids.tobytes(): float(firing(subject, feature, [ids])[0].max()) for ids in batch}
        firing_ones = sorted(each for each in strength.values() if each > feature.threshold)
        own = [strength[ids.tobytes()] for ids in randoms.own_texts(feature, 5)]
        assert len(own) == 5
        assert own == sorted(own)
        assert min(own) > feature.threshold
        for chosen, part in zip(own, np.array_split(firing_ones, 5), strict=True):
            assert min(part) - 1e-5 <= chosen <= max(part) + 1e-5
        assert [ids.tolist() for ids in randoms.own_texts(feature, 5)] == [
            ids.tolist() for ids in randoms.own_texts(feature, 5)
        ]


@pytest.mark.parametrize("kind", FEATURES)
def test_others_beside_one(kind: str, subject: CausalSubject) -> None:
    """As long as its own in the stream, and other directions; a head's stay in the channels of that head."""
    like = FEATURES[kind]
    randoms = RandomFeatures(subject, like, texts(subject), n=5, seed=0)
    one = randoms.feature(4, 0.2)
    rows = randoms.beside(subject, one, 4)
    own = one.direction()
    lengths = in_stream(subject, one, rows).norm(dim=-1)
    expected = in_stream(subject, one, own[None]).norm()
    torch.testing.assert_close(lengths, expected.expand(4), rtol=1e-4, atol=1e-6)
    cosines = torch.nn.functional.cosine_similarity(rows, own[None], dim=-1)
    assert float(cosines.abs().max()) < 0.99
    if kind == "head":
        width = WIDTH // HEADS
        assert not bool(rows[:, :width].any())
        assert bool(rows[:, width : 2 * width].any())
