"""Texts continued at matched movement: as far as asked on either side, and only the direction differs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exegete.subjects.causal import CausalSubject
from exegete.subjects.directions import Directions
from exegete.subjects.edits import Feature, FeatureEdit, shifted
from exegete.subjects.effects import moved_by
from exegete.subjects.output_tokens import token_names
from exegete.subjects.steered import FARTHEST, push_needed, steer
from tests.subjects.causal_models import causal_subject
from tests.subjects.test_causal import STREAM, coder, ids_of
from tests.subjects.tiny import WIDTH


@pytest.fixture(scope="module")
def subject() -> CausalSubject:
    return causal_subject("llama")


FEATURE = Feature(coder(), 2, STREAM)


def test_the_streams_length(subject: CausalSubject) -> None:
    """The root mean square over the texts' own tokens, of what the last norm is given."""
    seen: list[torch.Tensor] = []
    handle = subject.reader.modules["norm"].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    texts = [ids_of(subject, 9), ids_of(subject, 4)]
    found = subject.stream_length(texts)
    for own in texts:
        subject.logits([own])
    handle.remove()
    squares = [float((x[0, 1:] ** 2).sum()) for x in seen[1:]]  # after the token that every text begins with
    assert found == pytest.approx(np.sqrt(sum(squares) / 13), rel=1e-4)


def test_both_sides(subject: CausalSubject) -> None:
    """Either shift moves predictions as far as asked, and the texts are the model's under that shift."""
    texts = [ids_of(subject, 6), ids_of(subject, 6)]
    found = steer(subject, FEATURE, texts, kl=0.4, n_tokens=3, seed=5)
    assert found is not None
    assert found.shift_up > 0 > found.shift_down
    for value, written in ((found.shift_up, found.up), (found.shift_down, found.down)):
        edit = FeatureEdit(FEATURE, shifted(value))
        assert moved_by(subject, edit, texts) == pytest.approx(0.4, rel=0.02)
        again = subject.continuations(texts, 3, [edit], temperature=1.0, seed=5)
        assert written == tuple(tuple(token_names(subject, ids.tolist())) for ids in again)


def test_length_does_not_count(subject: CausalSubject) -> None:
    """A direction ten times as long is pushed a tenth as far, and writes the same."""
    texts = [ids_of(subject, 6)]
    along = torch.randn(WIDTH, generator=torch.Generator().manual_seed(2))
    one, ten = (steer(subject, FEATURE, texts, kl=0.4, n_tokens=3, seed=5, along=along * k) for k in (1, 10))
    assert one is not None
    assert ten is not None
    assert one.shift_up == pytest.approx(10 * ten.shift_up, rel=1e-3)
    assert one.push == pytest.approx(ten.push, rel=1e-3)
    lengths = float(along.norm()) / subject.stream_length(texts)
    assert one.push == pytest.approx(one.shift_up * lengths, rel=1e-3)
    again = push_needed(subject, FEATURE, texts, kl=0.4, along=along)
    assert again == pytest.approx(one.push, rel=1e-6)
    assert one.up == ten.up


def test_no_push_is_enough(subject: CausalSubject) -> None:
    """Where predictions can't be moved so far, or the direction is none, there is nothing to compare."""
    texts = [ids_of(subject, 6)]
    for along in (None, torch.zeros(WIDTH)):
        kl = 1e4 if along is None else 0.1
        assert steer(subject, FEATURE, texts, kl=kl, n_tokens=3, seed=5, along=along) is None
        assert push_needed(subject, FEATURE, texts, kl=kl, along=along) is None


def test_the_farthest_push_is_in_lengths_of_the_stream(subject: CausalSubject) -> None:
    """A longer dictionary row changes nothing about how far is tried."""
    texts = [ids_of(subject, 6)]
    rows = torch.randn((1, WIDTH), generator=torch.Generator().manual_seed(2))
    for scale in (0.01, 100.0):
        feature = Feature(Directions("d", rows * scale), 0, STREAM)
        found = push_needed(subject, feature, texts, kl=0.4)
        assert found is not None
        assert 0 < found < FARTHEST
        assert found == pytest.approx(push_needed(subject, feature, texts, kl=0.4, along=rows[0]), rel=1e-2)
