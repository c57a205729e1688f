"""Explain without a language model: name the words, and their neighbours, that tell firing from silence.

1. Evidence becomes a table of words by possible clauses (lexical_table.py).
2. Clauses are chosen one by one, by what each explains for the characters it needs (lexical_selection.py).
3. They are written as a label (simulators/grammar.py) that a person can read, and that the `lexical`
   simulator reads back from its text alone.

Candidates differ in style: as much as fits, the few strongest clauses, and words only. They generalise in
different ways, and which does best on the refine split is for the agent to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from exegete.datastore.records import Evidence, Label, Plan
from exegete.errors import LeakageError
from exegete.explainers.explainer import Attempt
from exegete.explainers.hygiene import MAX_LENGTH, distinct
from exegete.explainers.lexical_selection import Choice, Problem, Search, select
from exegete.explainers.lexical_table import build
from exegete.explainers.lexical_vocabulary import Vocabulary
from exegete.simulators.grammar import render, rule_of

VERSION = 1
"""Raised when equal evidence would give other labels."""

ALL = 1_000_000
PLAN = Plan(top=20, per_decile=ALL, quiet=ALL, hard=0, window=None, unit="word")

FULL, MIDDLE, SHORT = 260, 180, 110
"""Characters of the clauses of a label; the words between them come on top."""


class LexicalExplainer:
    """Proposes labels from counts.

    >>> labels = await LexicalExplainer().explain(evidence, k=3)
    """

    def __init__(self) -> None:
        """Start without having seen a word."""
        self._vocabulary = Vocabulary()

    @property
    def name(self) -> str:
        """lexical@version."""
        return f"lexical@{VERSION}"

    @property
    def plan(self) -> Plan:
        """Whole contexts, all there are: counting is cheap, and every silent word counts."""
        return PLAN

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        """Propose up to k labels from excerpts of the explain split.

        Returns:
            Labels of at most MAX_LENGTH characters, the fullest first; none when nothing fires.

        Raises:
            LeakageError: the evidence is of another split.
        """
        if evidence.split != "explain":
            raise LeakageError(
                f"explainer {self.name} takes evidence of the explain split and was handed the "
                f"{evidence.split} split of feature {evidence.feature}: this is a bug in what called it"
            )
        if k < 1 or not any(excerpt.peak > 0 for excerpt in evidence.activating):
            return []
        texts: list[str] = []
        for text in self._texts(evidence):
            texts = distinct([*texts, *([text] if text else [])])
            if len(texts) == k:
                break
        return [Label(evidence.feature, text, self.name) for text in texts]

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        """Propose nothing.

        Counting the misses in would raise a label's refine score ten times as much as its score on excerpts
        that neither saw (measured: .10 and .01), and the refine score is what labels are compared by.
        """
        return []

    def _texts(self, evidence: Evidence) -> Iterator[str]:
        """Label texts, one a style, best first."""
        self._vocabulary.make_room()
        problem = Problem(build(self._vocabulary, evidence))
        full = select(problem, FULL)
        yield written(full.choices)
        candidates = problem.table.candidates
        every = np.ones(len(candidates), dtype=bool)
        words = np.asarray([c.pattern.kind in ("word", "forms") and c.side is None for c in candidates])
        for allowed, characters in ((every, SHORT), (words, FULL), (every, MIDDLE)):
            yield written(Search(problem, allowed, characters, full.thrift).run().choices)


def written(choices: Sequence[Choice]) -> str:
    """Write choices as a label, leaving out the last ones where it would get too long."""
    for n in range(len(choices), 0, -1):
        text = render(rule_of(choice.clause for choice in choices[:n]))
        if len(text) <= MAX_LENGTH:
            return text
    return ""
