"""Tests that try to break a label: texts with what the label predicts of them, written before they are run.

1. A model is shown excerpts of the explain split, the label with its worst errors on the refine split, and
   the tests that were run before. It writes up to n texts of six kinds, each with the prediction that the
   feature fires in it, or stays silent.
2. What can't be run is left out (sifting.py), test by test, and the log says why.
3. The predictions go back to the caller, who has them run (experiments.py). The reply that holds them is in
   the journal by then: nothing that the subject does can change what was predicted.

A text is data for the subject's tokenizer and nothing else; no code is taken from a reply, and nothing in one
is executed. After the agent of Shaham et al. 2024, "A multimodal automated interpretability agent", which
designs inputs to test what it believes of a unit; here each comes with a prediction, and prompts are our own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from exegete.datastore.records import Evidence, Excerpt, Experiment, Prediction, PredictionKind
from exegete.errors import NoReadableReply
from exegete.explainers.explainer import Attempt
from exegete.explainers.proposing import refuse_other_splits
from exegete.explainers.shown import as_attempts, as_experiments, as_marked
from exegete.explainers.sifting import Sifted, sift
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.structured import ask
from exegete.prompts import digest, render

METHOD = "falsify"

STRONGEST, SPREAD = 6, 10
"""Excerpts that are shown: the strongest, and others spread evenly over the rest. Whoever tests a label has
to know what it was written from, and need not find it again."""
BEFORE = 12
"""Earlier tests that are shown: so many failed ones at most, and so many that held."""

ROOM, ROOM_PER_TEST = 1024, 128
"""Output tokens: a text of 40 words with its names and marks takes some 90."""

_log = logging.getLogger(__name__)


class WrittenTest(BaseModel):
    """One test, as a model writes it."""

    model_config = ConfigDict(extra="forbid")

    kind: PredictionKind
    text: str
    """What the subject is to read."""
    fires: bool
    """Whether the label says that the feature fires in it."""
    pair: int | None = None
    """The same number in both texts of a minimal pair."""


class WrittenTests(BaseModel):
    """The reply of a model that was asked for tests, the most telling first."""

    model_config = ConfigDict(extra="forbid")

    tests: list[WrittenTest]


_SCHEMA = WrittenTests.model_json_schema()


class Falsifier:
    """Asks a language model for tests of a label.

    >>> predictions = await Falsifier(llm, "openai:NAME", n_tests=8).predictions(attempt, evidence, ())
    >>> experiments = await run_predictions(bench, attempt.label, 1, predictions)
    """

    def __init__(self, llm: LLM, model_name: str, n_tests: int) -> None:
        """Remember whom to ask.

        Args:
            llm: the model.
            model_name: its name as on the command line.
            n_tests: at most so many tests a round.
        """
        self._llm = llm
        self._model = model_name
        self._n = n_tests

    @property
    def name(self) -> str:
        """falsify/model@prompt digest."""
        return f"{METHOD}/{self._model}@{digest(METHOD)}"

    async def predictions(
        self, attempt: Attempt, evidence: Evidence, before: Sequence[Experiment]
    ) -> list[Prediction]:
        """Have tests of a label written.

        Args:
            attempt: the label, with its worst errors on the refine split.
            evidence: of the explain split; some of its excerpts are shown.
            before: tests of this feature's labels so far; none of them comes again.

        Returns:
            Up to n_tests predictions, in the model's order; the texts of a minimal pair stand together.

        Raises:
            LeakageError: the evidence is of another split.
            NoReadableReply: no reply could be read, or no test in it can be run.
            LLMUnavailable, LLMStop: the model could not be reached.
        """
        refuse_other_splits(self.name, evidence)
        excerpts = _chosen(evidence.activating)
        answer = await ask(self._llm, self._request(attempt, evidence, excerpts, before), WrittenTests)
        if answer.value is None:
            raise NoReadableReply(
                f"{self.name} wrote no readable test for feature {evidence.feature}: {answer.why_missing}"
            )
        mistakes = (mistake.excerpt for mistake in (*attempt.misses, *attempt.false_alarms))
        shown = [excerpt.context.text for excerpt in (*excerpts, *mistakes)]
        written = [Prediction(test.kind, test.text, test.fires, test.pair) for test in answer.value.tests]
        sifted = sift(written, shown, before, self._n)
        self._say(sifted, evidence)
        if not sifted.kept:
            why = "; ".join(dict.fromkeys(sifted.left_out)) or "it wrote none"
            raise NoReadableReply(f"{self.name} wrote no usable test for feature {evidence.feature}: {why}")
        return list(sifted.kept)

    def _request(
        self, attempt: Attempt, evidence: Evidence, excerpts: Sequence[Excerpt], before: Sequence[Experiment]
    ) -> Request:
        """The call: the excerpts first, which all rounds of a feature share, then what changes."""
        earlier = as_experiments(before, evidence.maximum, BEFORE, BEFORE)
        prompt = render(
            METHOD,
            excerpts=as_marked(excerpts, evidence.maximum),
            before="\n".join(earlier) or None,
            attempt=as_attempts([replace(attempt, experiments=())], evidence.maximum),
            n=self._n,
        )
        return Request(
            model=self._model,
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            schema=_SCHEMA,
            max_tokens=ROOM + ROOM_PER_TEST * self._n,
            prompt_version=prompt.version,
            tags={"purpose": METHOD, "feature": str(evidence.feature)},
        )

    def _say(self, sifted: Sifted, evidence: Evidence) -> None:
        """Log what was left out, and what is odd about what was not, a sentence each."""
        if sifted.left_out:
            _log.info(
                "of the tests that %s wrote for feature %s, %d of %d can't be run: %s",
                self.name,
                evidence.feature,
                len(sifted.left_out),
                len(sifted.left_out) + len(sifted.kept),
                "; ".join(dict.fromkeys(sifted.left_out)),
            )
        for told in dict.fromkeys(sifted.told):
            _log.warning("of the tests of feature %s: %s", evidence.feature, told)


def _chosen(activating: Sequence[Excerpt]) -> list[Excerpt]:
    """The strongest excerpts, and some of the rest from the strongest to the weakest."""
    rest = activating[STRONGEST:]
    n = min(SPREAD, len(rest))
    return [*activating[:STRONGEST], *(rest[i * len(rest) // n] for i in range(n))]
