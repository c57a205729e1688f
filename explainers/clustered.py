"""Explain a feature that may have several senses: one label for each group of like firings [Kopf et al. 2025,
"Capturing polysemanticity with PRISM", which embeds and clusters top excerpts, and labels every cluster].

1. The inner explainer proposes labels from all excerpts, as it would alone.
2. The firing word of each activating excerpt is embedded with its near context (surroundings.py), and the
   excerpts are put in groups where some stand clearly apart (clusters.py).
3. The inner explainer is asked about each group's excerpts by themselves. A word at which another group's
   excerpts peak, and this group's never do, is silent there: it is that other sense's.
4. What it says of the groups, near duplicates left out, are the senses of one more label. It comes last, so
   that among equals on the refine split a label without senses is taken.

A label with senses is simulated sense by sense (`exegete.simulators.senses`). Revisions are the inner
explainer's, from all excerpts: a miss does not say which sense should have seen it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from exegete.datastore.records import Evidence, Excerpt, Floats, Label, Plan
from exegete.errors import NoReadableReply, UsageError
from exegete.explainers.clusters import Grouping, group
from exegete.explainers.explainer import Attempt, Explainer
from exegete.explainers.highlight import Highlight
from exegete.explainers.hygiene import MAX_LENGTH, clean, distinct, why_refused
from exegete.explainers.lexical import LexicalExplainer
from exegete.explainers.proposing import refuse_other_splits
from exegete.explainers.surroundings import Embeds, Profile, firing_word, vectors_of
from exegete.llm.llm import LLM
from exegete.simulators.word_forms import fold
from exegete.subjects.sentences import Sentences

VERSION = 1
"""Raised when equal evidence and equal replies would give other labels."""

LONGEST = 2 * MAX_LENGTH
"""Characters of a label with senses, of which each has MAX_LENGTH at most."""

WORDINGS = 2
"""Labels asked for about each group: a shorter one is taken where the first leaves the others little room."""

_log = logging.getLogger(__name__)


def clustered(
    llm: LLM | None = None, model_name: str | None = None, sentence_model: str | None = None
) -> ClusteredExplainer:
    """Cluster around `highlight` where there is a language model, else around `lexical`.

    Args:
        llm: the model `highlight` asks.
        model_name: its name as on the command line.
        sentence_model: a folder or name as of `Sentences.open`. None: beside a language model
            all-MiniLM-L6-v2, if it is installed; otherwise `Profile`, which needs no model.

    Raises:
        UsageError: the sentence model that was named is not there.
    """
    inner = LexicalExplainer() if llm is None or model_name is None else Highlight(llm, model_name)
    if sentence_model is None and isinstance(inner, LexicalExplainer):
        return ClusteredExplainer(inner, Profile())
    try:
        return ClusteredExplainer(inner, Sentences.open(sentence_model))
    except UsageError as error:
        if sentence_model is not None:
            raise
        _log.warning("excerpts are grouped by their words, not by meaning: %s", error)
        return ClusteredExplainer(inner, Profile())


class ClusteredExplainer:
    """Adds, where a feature's excerpts fall into groups, a label with a sense for each.

    >>> labels = await ClusteredExplainer(Highlight(llm, "openai:NAME"), Profile()).explain(evidence, k=3)
    >>> labels[-1].senses
    ('animals', 'vehicles')
    """

    def __init__(self, inner: Explainer, embedder: Embeds) -> None:
        """Wrap an explainer.

        Args:
            inner: proposes labels, of the whole and of each group.
            embedder: turns texts into vectors.
        """
        self._inner = inner
        self._embedder = embedder

    @property
    def name(self) -> str:
        """clustered@version, with the inner explainer and what embeds."""
        return f"clustered@{VERSION}({self._inner.name}, {self._embedder.name})"

    @property
    def plan(self) -> Plan:
        """What the inner explainer wants."""
        return self._inner.plan

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        """Propose up to k labels from excerpts of the explain split.

        Returns:
            The inner explainer's labels; k - 1 of them and one with senses where there are groups. With k = 1
            there would be nothing to hold senses against, so none are looked for.

        Raises:
            LeakageError: the evidence is of another split.
            NoReadableReply: nothing could be read about the whole.
            LLMUnavailable, LLMStop: a model could not be reached.
        """
        refuse_other_splits(self.name, evidence)
        firing = tuple(excerpt for excerpt in evidence.activating if excerpt.peak > 0)
        grouping = await self._group(firing) if k > 1 else Grouping((), None)
        if len(grouping.groups) < 2:
            return await self._inner.explain(evidence, k)
        labels = await self._inner.explain(evidence, k - 1)
        grouped = replace(evidence, activating=firing)
        parts = [part_of(grouped, grouping, number) for number in range(len(grouping.groups))]
        senses = fitting([await self._wordings(part) for part in parts])
        if len(senses) < 2:
            return labels
        return [*labels, Label(evidence.feature, written(senses), self.name, senses=senses)]

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        """Propose what the inner explainer proposes, given how earlier labels failed.

        Raises:
            As the inner explainer's.
        """
        return await self._inner.revise(evidence, attempts, k)

    async def _group(self, excerpts: Sequence[Excerpt]) -> Grouping:
        """Groups of excerpts; embedding is a model's work, for which the event loop does not wait."""
        if not excerpts:
            return Grouping((), None)
        vectors: Floats = await asyncio.to_thread(vectors_of, excerpts, self._embedder)
        return group(vectors)

    async def _wordings(self, part: Evidence) -> list[str]:
        """What the inner explainer says of a group, best first; nothing when nothing could be read."""
        try:
            labels = await self._inner.explain(part, WORDINGS)
        except NoReadableReply as error:
            _log.info("a sense of feature %s has no label: %s", part.feature, error)
            return []
        return [label.text for label in labels if why_refused(label.text) is None]


def part_of(evidence: Evidence, grouping: Grouping, number: int) -> Evidence:
    """One group's excerpts, in which the feature is silent at the words of other groups.

    Args:
        evidence: what was grouped; its quiet excerpts are every group's.
        grouping: of its activating excerpts.
        number: which group.
    """
    words = [{fold(firing_word(evidence.activating[i])) for i in members} for members in grouping.groups]
    others = set().union(*words) - words[number]
    own = (evidence.activating[i] for i in grouping.groups[number])
    return replace(evidence, activating=tuple(_without(excerpt, others) for excerpt in own))


def fitting(wordings: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Choose a wording for each sense so that all of them fit into one label.

    Args:
        wordings: of each sense, best first.

    Returns:
        For each sense the first wording within its share of MAX_LENGTH, or the shortest, near duplicates
        left out. Where they are too long together, the last senses are left out.
    """
    said = [texts for texts in wordings if texts]
    share = MAX_LENGTH // max(1, len(said))
    chosen = [next((t for t in texts if len(t) <= share), min(texts, key=len)) for texts in said]
    senses = distinct(chosen)
    while senses and len(written(senses)) > LONGEST:
        senses.pop()
    return tuple(senses)


def written(senses: Sequence[str]) -> str:
    """One text that says all senses."""
    return clean("either: " + "; or ".join(f"({n}) {sense}" for n, sense in enumerate(senses, start=1)))


def _without(excerpt: Excerpt, words: set[str]) -> Excerpt:
    """An excerpt with the feature silent at some words."""
    silent = [fold(token) in words for token in excerpt.context.tokens]
    if not any(silent):
        return excerpt
    activations = excerpt.activations.copy()
    activations[silent] = 0.0
    return replace(excerpt, activations=activations)
