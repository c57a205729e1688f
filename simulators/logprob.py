"""Simulate by the probabilities that a model gives to every level of every word, without letting it answer.

1. One request an excerpt: the instructions and examples, the label, the excerpt, and the model's reply begun
   for it: a table of all the excerpt's words, each with a placeholder where its level would stand. What comes
   first is the same for all excerpts of a label, and most of it for all labels.
2. The model runs once over the prompt. At each placeholder its distribution over the next token is read,
   given the words so far and the placeholders before them; no level, true or predicted, is in the prompt.
   This is the all-at-once simulation of Bills et al. 2023, step 2, and their "unknown" is our placeholder.
3. A word's level is the expectation over the levels (expected_level.py), a number and not a whole one.

It takes a model that tells probabilities of its prompt: a local one, or a server such as vLLM. A word is
given its level from what stands up to it in the table, and the whole excerpt, which the prompt shows before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from exegete.datastore.records import Context
from exegete.errors import LLMStop
from exegete.llm.abilities import AbilityName
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.slots import Slots, table
from exegete.prompts import digest, render
from exegete.prompts.material import spaced
from exegete.simulators.expected_level import LEVELS, Expected, expected_levels
from exegete.simulators.simulator import Simulation

VERSION = 1
"""Raised when equal replies would be read differently, or equal contexts asked about differently."""

PROMPT = "logprob"


class LogprobSimulator:
    """Predicts levels by reading a language model's probabilities of them.

    >>> simulation = await LogprobSimulator(llm, "hf:FOLDER").simulate("words of degree", contexts)
    """

    ONE_OF: ClassVar[tuple[AbilityName, ...]] = ("prompt_logprobs", "token_id_logprobs")
    """A model has to have one of these."""

    def __init__(self, llm: LLM, model_name: str) -> None:
        """Remember whom to ask.

        Args:
            llm: the model.
            model_name: its name as on the command line.
        """
        self._llm = llm
        self._model = model_name

    @property
    def name(self) -> str:
        """logprob@version/model@prompt digest."""
        return f"{PROMPT}@{VERSION}/{self._model}@{digest(PROMPT)}"

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Predict a level for every word of every context.

        Args:
            label: the statement to simulate from; may be empty.
            contexts: passages; each is asked about by itself, so that their order changes nothing.

        Returns:
            A simulation aligned with `contexts`; (n_tokens,) levels from 0 to 10 for each, or why not, with
            the missing mass.

        Raises:
            UsageError: the model can't tell probabilities of a prompt.
            LLMUnavailable, LLMStop: a call could not be made. Other calls under way are let finish first, so
                that no paid reply is lost.
        """
        done = await asyncio.gather(
            *(self._simulate_one(label, context) for context in contexts), return_exceptions=True
        )
        failures = [result for result in done if isinstance(result, BaseException)]
        if failures:
            raise next((failure for failure in failures if isinstance(failure, LLMStop)), failures[0])
        results = [result for result in done if not isinstance(result, BaseException)]
        return Simulation(
            levels=tuple(None if isinstance(result, str) else result.levels for result in results),
            why_missing=tuple(result if isinstance(result, str) else None for result in results),
            missing_mass=tuple(
                None if isinstance(result, str) else result.missing_mass for result in results
            ),
        )

    async def _simulate_one(self, label: str, context: Context) -> Expected | str:
        """Levels of one context, or why they are missing."""
        if not context.tokens:
            return Expected(np.zeros(0, np.float32), 0.0)
        reply = await self._llm.complete(self._request(label, context))
        if reply.finish != "stop" or reply.slots is None:
            return f"the reply holds no probabilities (it ended with {reply.finish})"
        if len(reply.slots) != len(context.tokens):
            return f"the reply tells of {len(reply.slots)} words of {len(context.tokens)}"
        return expected_levels(reply.slots)

    def _request(self, label: str, context: Context) -> Request:
        """What is asked about one context."""
        prompt = render(PROMPT, label=label, excerpt=spaced(context.tokens))
        words = [spaced((token,)) for token in context.tokens]
        return Request(
            model=self._model,
            system=prompt.system,
            messages=(Message("user", prompt.user), Message("assistant", table(words))),
            max_tokens=len(words),
            prompt_version=prompt.version,
            slots=Slots(LEVELS),
            tags={"purpose": "simulate"},
        )
