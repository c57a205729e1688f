"""Explaining from marked text."""

from __future__ import annotations

import asyncio

from exegete.explainers.highlight import Highlight
from exegete.explainers.shown import as_marked, as_pairs
from exegete.prompts.material import fenced
from tests.explainers.explainer_fakes import DEGREE, FakeLLM, excerpt, proposing


def test_plan() -> None:
    """It wants 40 activating excerpts of 32 tokens, weak ones among them, and no quiet ones."""
    plan = Highlight(FakeLLM(""), "m").plan
    assert plan.top + 10 * plan.per_decile == 40
    assert (plan.window, plan.quiet, plan.hard, plan.unit) == (32, 0, 0, "word")


def test_excerpts_are_marked() -> None:
    """The block of the prompt is the excerpts as marked text, levels relative to the feature's maximum."""
    llm = FakeLLM(proposing("a b"))
    asyncio.run(Highlight(llm, "m").explain(DEGREE, 1))
    user = llm.asked[0].messages[0].text
    assert fenced(as_marked(DEGREE.activating, 8.0), "excerpts") in user


def test_it_is_cheaper_than_numbers() -> None:
    """Excerpts of 32 words, two of them firing, take less than three quarters of the characters of pairs."""
    words = " ".join(["one", "or", "the", "other", "of", "thirty", "words", "here"] * 4)
    shown = [excerpt(words, [8] + [0] * 30 + [4])] * 40
    assert len(as_marked(shown, 8.0)) < 0.75 * len(as_pairs(shown, 8.0, "word"))
