"""A hint is the first candidate, whatever the explainer says, if it could be a label at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from exegete.datastore.records import Evidence, FeatureId, Label, Plan
from exegete.explainers.explainer import Attempt
from exegete.explainers.hinted import Hinted

FEATURE = FeatureId("s", "l", "d", 1)
NOTHING = Evidence(FEATURE, "explain", (), (), "word", 1.0)


class Fixed:
    """Always says the same."""

    name = "fixed/m@1"
    plan = Plan(top=3)

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        return [Label(FEATURE, text, self.name) for text in ("one", "two", "three")[:k]]

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        return [Label(FEATURE, "better", self.name, 1)]


def proposed(hint: str, k: int = 2) -> list[tuple[str, str]]:
    """Texts and authors of what is proposed with a hint."""
    labels = asyncio.run(Hinted(Fixed(), hint).explain(NOTHING, k))
    return [(label.text, label.author) for label in labels]


def test_the_hint_comes_first() -> None:
    """By a person and cleaned, beside all that the explainer says; what both say is the person's."""
    own = [("one", "fixed/m@1"), ("two", "fixed/m@1")]
    assert proposed(" the  word\u202e sea ") == [("the word sea", "person"), *own]
    assert proposed("two") == [("two", "person"), own[0]]
    for useless in ("", "\x1b[31m", "x" * 301):
        assert proposed(useless) == own


def test_the_rest_is_the_explainers() -> None:
    """Plan and revisions are as without a hint; each hint makes a name of its own, always the same."""
    hinted = Hinted(Fixed(), "sea")
    assert hinted.plan == Fixed.plan
    assert [label.text for label in asyncio.run(hinted.revise(NOTHING, (), 2))] == ["better"]
    assert hinted.name.startswith("fixed/m@1+hint#")
    assert hinted.name == Hinted(Fixed(), " sea ").name != Hinted(Fixed(), "lake").name
