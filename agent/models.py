"""The language models of a job: each opened once, over one journal, metered and tallied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from exegete.agent.spending import spent_before
from exegete.agent.tags import Tags
from exegete.agent.tally import Tallied
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.llm import LLM, Account, BatchLog, Budget, Journal, Prices, load_prices, open_llm, parse
from exegete.llm.abilities import AbilityName
from exegete.llm.budget import Amount
from exegete.llm.meter import Metered, Spent
from exegete.llm.prepare import prepare, refuse_without
from exegete.llm.reach import check_reachable
from exegete.llm.slots import WHO_CAN

NEEDS: tuple[AbilityName, ...] = ("structured_output",)
"""What our explainers and simulators want of a model; a simulator can need more (`simulators.one_of`)."""


class Opens(Protocol):
    """What finds a job's models by their names."""

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """A model by name and its canonical name; (None, None) for None."""


@dataclass(slots=True)
class Models:
    """The language models of a job: each opened once, all over one journal."""

    workspace: Workspace
    concurrency: int
    prices: Prices | None = None
    """None: the built-in table."""
    budget: Budget | None = None
    """Shared by all of them; None: anything may be spent."""
    batch: bool = False
    """Ask them by their providers' batch APIs."""
    spent: Spent = field(default_factory=Spent)
    tags: Tags = field(default_factory=Tags)
    journal: Journal | None = None
    batches: BatchLog | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
    """What each provider's account bears, shared by all models that are billed to it."""
    one_of: dict[str, tuple[str, tuple[AbilityName, ...]]] = field(default_factory=dict)
    """By model, the simulator that asks it, and abilities of which that needs one."""
    _opened: dict[str, LLM] = field(default_factory=dict)

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """A model by name and its canonical name; (None, None) for None.

        Raises:
            UsageError: the name is none, or its key is not set.
            WorkspaceBusy: another process has the journal.
        """
        if spec is None:
            return None, None
        name = str(parse(spec))
        if name not in self._opened:
            if self.journal is None:
                self.journal = Journal(self.workspace.journal)
            if self.batch and self.batches is None:
                self.batches = BatchLog(self.workspace.batches)
            inner = open_llm(
                spec,
                journal=self.journal,
                concurrency=self.concurrency,
                accounts=self.accounts,
                prices=self.prices,
                budget=self.budget,
                batches=self.batches,
            )
            self._opened[name] = Tallied(Metered(inner, self.tags, self.spent))
        return self._opened[name], name

    def of(self, name: str) -> LLM:
        """A model that has been opened, by its canonical name."""
        return self._opened[name]

    def begin(self, run: str) -> None:
        """From here on calls are made for a run; what it spent before counts in its budget.

        Raises:
            UsageError: there is a budget in dollars, and an earlier call of the run has no known price.
        """
        self.tags.run = run
        if self.budget is None or self.journal is None:
            return
        prices = load_prices() if self.prices is None else self.prices
        before = spent_before(self.journal.entries(), run, prices)
        if before.usd is None and self.budget.usd is not None:
            raise UsageError(
                f"earlier calls of the run {run} have no known price, so a budget in dollars can't be kept: "
                "give their price with --prices, or set --budget-tokens"
            )
        self.budget.count(Amount(before.usd or 0.0, before.tokens))

    async def check(self) -> list[str]:
        """Make sure that every server is there, and find out what it lacks, before anything is started.

        Returns:
            Lines for a person: what a model can't do, and what is done instead.

        Raises:
            LLMUnavailable, LLMStop: one is not there, or refuses the key.
            UsageError: one can't do what its simulator needs.
        """
        for name in self._opened:
            await check_reachable(parse(name))
        lines = await prepare(self._opened, self.workspace.root, NEEDS)
        for name, (simulator, one_of) in self.one_of.items():
            if self.batch:
                raise UsageError(f"simulator {simulator!r} can't ask {name} in batches: leave out --batch")
            what = f"simulator {simulator!r}"
            lines += await refuse_without(name, self.workspace.root, one_of, what, WHO_CAN)
        return lines

    async def close(self) -> None:
        """Let go of connections, then of the journal and the log of batches."""
        for llm in self._opened.values():
            await llm.close()
        if self.batches is not None:
            self.batches.close()
        if self.journal is not None:
            self.journal.close()
