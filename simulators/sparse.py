"""Simulate with any chat model: it lists the words at which a label's feature should fire.

1. Contexts go twenty to a call, in the order given (whoever calls shuffles them). Each is one line of words
   after its number; the excerpts come before the label, so that labels share a provider's cached prefix.
2. For every excerpt, by its number, the model lists [word as printed, which occurrence, level 1-10]; an
   excerpt without any has an empty list. Naming words costs no input; numbering every word is an option for
   models that miscount (`numbered=True`: `12:word`, answered by number).
3. What the reply says of each excerpt is checked (sparse_reply.py). The excerpts it does not answer readably
   are asked about once more, alone, with what was wrong; then they stay missing, and are never zeros.

One call gives a level for every word, so simulation, detection and localisation are all read from it. After
the simulation of Bills et al. 2023, step 2, which asks for a number at every word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from exegete.datastore.records import Context, Floats
from exegete.errors import LLMStop
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.structured import ask
from exegete.prompts import digest, render
from exegete.prompts.material import LINE_BREAK, breaks_line, shown_word, spaced
from exegete.simulators.simulator import Simulation
from exegete.simulators.sparse_reply import Listing, NumberedSimulation, QuotedSimulation, read_items

VERSION = 2
"""Raised when equal replies would be read differently, or equal contexts asked about differently."""

CONTEXTS_PER_CALL = 20


class SparseSimulator:
    """Predicts levels by asking a language model which words should fire.

    >>> simulation = await SparseSimulator(llm, "openai:NAME").simulate("words of degree", contexts)
    """

    def __init__(
        self,
        llm: LLM,
        model_name: str,
        *,
        contexts_per_call: int = CONTEXTS_PER_CALL,
        numbered: bool = False,
        max_tokens: int = 8192,
    ) -> None:
        """Remember whom to ask and how.

        Args:
            llm: the model.
            model_name: its name as on the command line.
            contexts_per_call: how many excerpts share a call, at least 1.
            numbered: print a number before every word, and read numbers back.
            max_tokens: of one reply; the default holds twenty excerpts of 32 words that all fire.

        Raises:
            ValueError: contexts_per_call is below 1.
        """
        if contexts_per_call < 1:
            raise ValueError(f"contexts_per_call is {contexts_per_call}: a call needs at least 1")
        self._llm = llm
        self._model = model_name
        self._per_call = contexts_per_call
        self._numbered = numbered
        self._max_tokens = max_tokens
        self._prompt = "sparse-numbered" if numbered else "sparse"
        self._reply: type[Listing] = NumberedSimulation if numbered else QuotedSimulation
        self._schema = self._reply.model_json_schema()

    @property
    def name(self) -> str:
        """sparse@version/model@prompt digest, and how many excerpts share a call where that is not twenty."""
        shared = "" if self._per_call == CONTEXTS_PER_CALL else f",{self._per_call}-a-call"
        return f"{self._prompt}@{VERSION}/{self._model}@{digest(self._prompt)}{shared}"

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Predict a level for every word of every context.

        Args:
            label: the statement to simulate from; may be empty.
            contexts: passages; their order is kept, and carries no information about activations.

        Returns:
            A simulation aligned with `contexts`; (n_tokens,) whole levels from 0 to 10 for each, or why not.

        Raises:
            LLMUnavailable, LLMStop: a call could not be made. Other calls under way are let finish first, so
                that no paid reply is lost.
        """
        batches = [contexts[at : at + self._per_call] for at in range(0, len(contexts), self._per_call)]
        done = await asyncio.gather(
            *(self._simulate_batch(label, batch) for batch in batches), return_exceptions=True
        )
        results = [result for batch in _unless_failed(done) for result in batch]
        return Simulation(
            levels=tuple(None if isinstance(result, str) else result for result in results),
            why_missing=tuple(result if isinstance(result, str) else None for result in results),
        )

    async def _simulate_batch(self, label: str, contexts: Sequence[Context]) -> list[Floats | str]:
        """Levels, or why they are missing, for the contexts of one call."""
        numbers = dict(enumerate(contexts, start=1))
        results = await self._ask(label, numbers, problems=None)
        if isinstance(results, str):
            return [results] * len(contexts)
        problems = {number: result for number, result in results.items() if isinstance(result, str)}
        if problems:
            again = await self._ask(label, {number: numbers[number] for number in problems}, problems)
            for number, why in problems.items():
                result = again if isinstance(again, str) else again[number]
                results[number] = f"{why}; asked again: {result}" if isinstance(result, str) else result
        return [results[number] for number in numbers]

    async def _ask(
        self, label: str, contexts: Mapping[int, Context], problems: Mapping[int, str] | None
    ) -> dict[int, Floats | str] | str:
        """Ask about numbered excerpts once: a result for each, or why the whole reply is unreadable."""
        lines = {number: self._line(context.tokens) for number, context in contexts.items()}
        prompt = render(
            self._prompt,
            excerpts=_by_number(lines),
            label=label,
            problems=None if problems is None else _by_number(problems),
            n=len(contexts),
        )
        request = Request(
            model=self._model,
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            schema=self._schema,
            max_tokens=self._max_tokens,
            prompt_version=prompt.version,
            tags={"purpose": "simulate"} | ({} if problems is None else {"again": "unreadable"}),
        )
        answer = await ask(self._llm, request, self._reply)
        if answer.value is None:
            return answer.why_missing or "the reply could not be read"
        asked = {number: context.tokens for number, context in contexts.items()}
        return read_items(answer.value.excerpts, asked, numbered=self._numbered)

    def _line(self, tokens: tuple[str, ...]) -> str:
        """An excerpt on one line, its words one space apart, numbered or not."""
        if not self._numbered:
            return spaced(tokens)
        return " ".join(
            f"{LINE_BREAK + ' ' if breaks_line(token) else ''}{number}:{shown_word(token)}"
            for number, token in enumerate(tokens, start=1)
        )


def _by_number(lines: Mapping[int, str]) -> str:
    """One line for each excerpt, after its number."""
    return "\n".join(f"Excerpt {number}: {line}" for number, line in lines.items())


def _unless_failed(done: Sequence[list[Floats | str] | BaseException]) -> list[list[Floats | str]]:
    """Hand back what every call gave, or raise what one of them raised: what ends the job, first."""
    failures = [result for result in done if isinstance(result, BaseException)]
    if failures:
        raise next((failure for failure in failures if isinstance(failure, LLMStop)), failures[0])
    return [result for result in done if not isinstance(result, BaseException)]
