"""Token change, ablation and matched shifts, recomputed literally; and a planted effect is found."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from exegete.subjects import effects
from exegete.subjects.causal import CausalSubject
from exegete.subjects.directions import Directions
from exegete.subjects.edits import Feature, FeatureEdit, ablated, clamped, shifted
from exegete.subjects.effects import Ablation, ablation, firing, matched_shift, moved_by, token_change
from tests.subjects.causal_models import KINDS, causal_subject, language_model, rest_of
from tests.subjects.test_causal import STREAM, coder, ids_of, stream
from tests.subjects.tiny import WIDTH


@pytest.fixture(scope="module")
def subjects() -> dict[str, CausalSubject]:
    return {kind: causal_subject(kind) for kind in KINDS}


def kl(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    p, q = torch.softmax(before.double(), -1), torch.softmax(after.double(), -1)
    return (p * (p / q).log()).sum(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_token_change(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """The mean over all tokens of what clamping adds to each logit, written out for one text."""
    dictionary = coder()
    x_TD, first = stream(subjects[kind], kind)
    acts_T = dictionary.encode(x_TD, torch.tensor([3]))[:, 0]
    change_T = 5.0 - acts_T
    change_T[:first] = 0
    row = dictionary.decode_rows(torch.tensor([3]))
    with torch.inference_mode():
        before = rest_of(language_model(kind), kind, 1, x_TD)[first:]
        after = rest_of(language_model(kind), kind, 1, x_TD + change_T[:, None] * row)[first:]
    expected = (after - before).mean(0)
    found = token_change(subjects[kind], Feature(dictionary, 3, STREAM), [ids_of(subjects[kind])], 5.0)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-3)


def test_a_batch_is_the_mean_of_its_tokens(subjects: dict[str, CausalSubject]) -> None:
    """Texts of different lengths count by their tokens, and padding not at all."""
    subject, feature = subjects["gpt2"], Feature(coder(), 3, STREAM)
    long, short = ids_of(subject, 18), ids_of(subject, 6)
    alone = [token_change(subject, feature, [own], 5.0) for own in (long, short)]
    together = token_change(subject, feature, [long, short], 5.0)
    np.testing.assert_allclose(together, (alone[0] * 18 + alone[1] * 6) / 24, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_ablation(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """Movement, rise of the loss and logits, over the tokens where the feature fires, written out."""
    subject, dictionary = subjects[kind], coder()
    feature, own = Feature(dictionary, 3, STREAM), ids_of(subjects[kind])
    before = subject.logits([own])[0]
    after = subject.logits([own], [FeatureEdit(feature, ablated(feature))])[0]
    at = np.flatnonzero(firing(subject, feature, [own])[0] > 0)
    found = ablation(subject, feature, [own])
    assert found.n_fired == len(at) > 0
    assert found.kl == pytest.approx(float(kl(before, after)[at].mean()), rel=1e-3)
    rises = [
        float(torch.log_softmax(before[t], -1)[own[t + 1]] - torch.log_softmax(after[t], -1)[own[t + 1]])
        for t in at
        if t + 1 < len(own)
    ]
    assert found.loss == pytest.approx(np.mean(rises), rel=1e-3)
    np.testing.assert_allclose(found.logits, (after - before)[at].mean(0).numpy(), rtol=1e-3, atol=1e-3)


def test_a_feature_that_never_fires_has_no_effect_to_measure(subjects: dict[str, CausalSubject]) -> None:
    """Missing, and not zero."""
    found = ablation(subjects["gpt2"], Feature(coder(), 3, STREAM, threshold=1e9), [ids_of(subjects["gpt2"])])
    assert (found.n_fired, found.kl, found.loss, found.logits) == (0, None, None, None)


def test_the_last_token_has_no_loss(subjects: dict[str, CausalSubject]) -> None:
    """Where a feature fires at a text's end alone, its movement is known and its loss is not."""
    subject, dictionary = subjects["gpt2"], coder()
    acts = firing(subject, Feature(dictionary, 3, STREAM), [ids_of(subject)])[0]
    last = ids_of(subject)[: int(np.flatnonzero(acts > 0)[0]) + 1]
    found = ablation(subject, Feature(dictionary, 3, STREAM), [last])
    assert found.n_fired == 1
    assert found.kl is not None
    assert found.loss is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_matched_shift_moves_as_far_as_asked(sign: int, subjects: dict[str, CausalSubject]) -> None:
    """By the shift found predictions move by the wanted nats, on either side, along controls too."""
    subject, feature = subjects["llama"], Feature(coder(), 2, STREAM)
    batch = [ids_of(subject, 15), ids_of(subject, 8)]
    along = torch.randn(WIDTH, generator=torch.Generator().manual_seed(8))
    for direction in (None, along):
        value = matched_shift(subject, feature, batch, 0.5, sign=sign, most=500.0, along=direction)
        assert value is not None
        assert np.sign(value) == sign
        moved = moved_by(subject, FeatureEdit(feature, shifted(value), direction), batch)
        assert moved == pytest.approx(0.5, rel=0.02)


def test_a_shift_that_never_moves_enough(subjects: dict[str, CausalSubject]) -> None:
    """None, when the largest shift tried moves predictions by less."""
    subject = subjects["llama"]
    assert (
        matched_shift(subject, Feature(coder(), 2, STREAM), [ids_of(subject)], 0.5, sign=1, most=1e-6) is None
    )


def test_a_planted_effect_is_found_among_controls() -> None:
    """The lens, token change and steering name the token that a direction writes, above 50 random ones."""
    subject, model = causal_subject("llama"), language_model("llama")
    token = int(model.lm_head.weight.norm(dim=-1).argmax())
    planted = (model.lm_head.weight[token] / model.model.norm.weight).detach()
    generator = torch.Generator().manual_seed(9)
    rows = torch.cat([planted[None], torch.randn(50, WIDTH, generator=generator)])
    rows = rows / rows.norm(dim=-1, keepdim=True)
    site, own = "blocks.2.hook_resid_post", ids_of(subject)
    directions = Directions("planted", rows)
    assert int(subject.lens(rows)[0].argmax()) == token
    assert int(subject.lens(rows)[:, token].argmax()) == 0
    changes = [token_change(subject, Feature(directions, i, site), [own], 20.0) for i in range(51)]
    raised = [change[token] - change.mean() for change in changes]
    assert int(np.argmax(raised)) == 0
    assert int(changes[0].argmax()) == token
    edit = FeatureEdit(Feature(directions, 0, site), clamped(200.0))
    written = subject.continuations([own[:5]], 3, [edit], temperature=0.0, seed=0)[0]
    assert written.tolist() == [token] * 3


def test_controls_are_ablations_along_other_rows(
    subjects: dict[str, CausalSubject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each control's movement is that of the edit along it, one by one, over the feature's own tokens.

    However many contexts and controls fit into one pass; contexts in which the feature is silent don't count.
    """
    subject, dictionary = subjects["qwen3"], coder()
    feature = Feature(dictionary, 3, STREAM)
    batch = [ids_of(subject, 20), ids_of(subject, 9)[::-1].copy(), ids_of(subject, 5)]
    rows = torch.randn((7, WIDTH), generator=torch.Generator().manual_seed(3))
    expected = []
    for row in (None, *rows):
        moved = []
        for own in batch:
            at = np.flatnonzero(firing(subject, feature, [own])[0] > 0)
            edit = FeatureEdit(feature, ablated(feature), row)
            moved += kl(subject.logits([own])[0], subject.logits([own], [edit])[0])[at].tolist()
        expected.append(np.mean(moved))
    for room in (effects.LOGITS_AT_ONCE, 400 * 30 * 2, 1):
        monkeypatch.setattr(effects, "LOGITS_AT_ONCE", room)
        found = ablation(subject, feature, batch, rows)
        assert found.kl == pytest.approx(expected[0], rel=1e-3)
        np.testing.assert_allclose(found.controls, expected[1:], rtol=1e-3)
        weights = np.asarray(found.fired_in)
        assert weights.sum() == found.n_fired
        assert found.kl == pytest.approx(float(np.average(found.kl_in, weights=weights)))
        assert found.ratio == pytest.approx(expected[0] / np.median(expected[1:]), rel=1e-3)
    silent = ablation(subject, replace(feature, threshold=1e9), batch, rows)
    assert silent.kl is None


def test_a_part_of_an_ablation() -> None:
    """So many of its contexts, own and controls' alike; with as many as it has, it is the same."""
    whole = Ablation(0.1, None, (1, 4, 2), (0.5, 0.1, 0.2), ((0.3, 0.2, 0.1), (0.1, 0.2, 0.6)))
    pairs = {(1, 0.5, 0.3, 0.1), (4, 0.1, 0.2, 0.2), (2, 0.2, 0.1, 0.6)}
    for n, seed in itertools.product((1, 2, 3, 9), range(5)):
        part = whole.part(n, seed)
        assert len(part.fired_in) == min(n, 3)
        assert set(zip(part.fired_in, part.kl_in, *part.controls_in, strict=True)) <= pairs
    assert whole.part(3, 0).ratio == pytest.approx(whole.ratio)
    assert whole.ratio == pytest.approx((1 * 0.5 + 4 * 0.1 + 2 * 0.2) / np.median([1.3, 2.1]))
