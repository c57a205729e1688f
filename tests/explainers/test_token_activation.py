"""Explaining from words and numbers."""

from __future__ import annotations

import asyncio

from exegete.explainers.shown import as_pairs
from exegete.explainers.token_activation import TokenActivation
from exegete.prompts.material import fenced
from tests.explainers.explainer_fakes import DEGREE, FakeLLM, proposing


def test_plan() -> None:
    """It wants 40 activating excerpts of 32 tokens, weak ones among them, and no quiet ones."""
    plan = TokenActivation(FakeLLM(""), "m").plan
    assert plan.top + 10 * plan.per_decile == 40
    assert (plan.window, plan.quiet, plan.hard, plan.unit) == (32, 0, 0, "word")


def test_every_word_is_shown_with_its_level() -> None:
    """The block of the prompt is the excerpts as pairs, relative to the feature's maximum."""
    llm = FakeLLM(proposing("a b"))
    asyncio.run(TokenActivation(llm, "m").explain(DEGREE, 1))
    user = llm.asked[0].messages[0].text
    assert fenced(as_pairs(DEGREE.activating, 8.0, "word"), "excerpts") in user
    assert "terribly\t10" in user
    assert "slightly\t3" in user
