"""On the trained model that comes with exegete: a planted direction is found among controls."""

from __future__ import annotations

import pytest

from exegete.scorers.ablation import p_among
from exegete.subjects import bundled
from exegete.subjects.causal import open_causal
from exegete.subjects.control_directions import random_rows
from exegete.subjects.directions import Directions
from exegete.subjects.edits import Feature
from exegete.subjects.effects import ablation, token_change
from exegete.subjects.output_tokens import ends, lens_tokens

TEXT = (
    "Return a new list containing all items from the iterable in ascending order. If it is not a string, "
    "a TypeError is raised, and the value of the object is left as it was before the function was called."
)


@pytest.mark.slow
@pytest.mark.parametrize("word", [" value", " list", " error"])
def test_a_planted_direction_in_a_trained_model(word: str) -> None:
    """A direction that writes a known token: first in lens and token change, and above 50 controls."""
    subject = open_causal(bundled.NAME, "cpu")
    ids = subject.reader.tokenise(TEXT).ids
    (token,) = subject.reader.tokenise(word).ids.tolist()
    head = subject._head.weight.detach().float()
    row = (head[token] - head.mean(0)) / subject._last_norm.weight.detach().float()
    directions = Directions("planted", (row / row.norm())[None])
    planted = Feature(directions, 0, "blocks.2.hook_resid_post")
    assert lens_tokens(subject, [planted])[0].top_tokens[0] == word
    change = token_change(subject, planted, [ids], 20.0)
    assert ends(subject, "token change", change).top_tokens[0] == word
    found = ablation(subject, planted, [ids], random_rows(subject, planted, 50, 0))
    assert found.kl is not None
    assert p_among(found.kl, found.controls) == pytest.approx(1 / 51)
