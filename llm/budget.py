"""A cap on what a job may spend, in dollars, tokens or both: never passed, at any number of calls at once.

Before a request is sent, the most it can cost is reserved: the tokens its words can have at most, and
`max_tokens`, at the dearest price. Then one of these:

    a reply that says what it used       that is spent, and the rest of the reservation is free again
    a reply that does not say            all that was reserved counts as spent
    no reply, and maybe billed           likewise: a time-out, a broken connection, a cancelled call
    no reply, and surely not billed      nothing is spent

A request that does not fit beside the reservations of others waits until they are settled. One that would not
fit even if all of them turned out to cost nothing ends the job. Every request is counted by itself, retries
included; replies from the journal cost nothing and never get here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

from exegete.errors import BudgetSpent, LLMError, LLMUnavailable, UsageError
from exegete.llm.failure import CallFailed
from exegete.llm.llm import LLM, Reply, Request
from exegete.llm.prices import Prices
from exegete.llm.size import most_tokens


@dataclass(frozen=True, slots=True)
class Amount:
    """Dollars and tokens."""

    usd: float
    tokens: int
    """Input and output."""


class Budget:
    """What a job may spend; shared by all its models."""

    def __init__(self, usd: float | None = None, tokens: int | None = None) -> None:
        """Set the caps.

        Args:
            usd: dollars at most; None for no such cap.
            tokens: input and output tokens at most; None for no such cap.

        Raises:
            UsageError: a cap is not above 0.
        """
        for name, cap in (("a budget in dollars", usd), ("a budget in tokens", tokens)):
            if cap is not None and not 0 < cap < float("inf"):
                raise UsageError(f"{name} of {cap} allows no call: it has to be a number above 0")
        self.usd, self.tokens = usd, tokens
        self.spent_usd = 0.0
        """Spent, ambiguous requests at the most they can have cost; only what has a price."""
        self.spent_tokens = 0
        self.ambiguous = 0
        """Requests without a reply that are counted as spent."""
        self.unreported = 0
        """Replies that did not say what they used, counted at the most they can have cost."""
        self._reserved_usd = Fraction(0)  # exact, so that nothing is left over when all is settled
        self._reserved_tokens = 0
        self._line: deque[tuple[Amount, asyncio.Future[None]]] = deque()

    def count(self, amount: Amount) -> None:
        """Count what was spent before, in earlier sittings of the same run."""
        self.spent_usd += amount.usd
        self.spent_tokens += amount.tokens

    def hold(self, most: Amount) -> None:
        """Put aside what an earlier sitting has ordered already, whether or not it fits."""
        self._reserved_usd += Fraction(most.usd)
        self._reserved_tokens += most.tokens

    async def reserve(self, most: Amount) -> None:
        """Put the most a request can cost aside, waiting for others to settle if need be.

        Raises:
            BudgetSpent: it can't fit any more, whatever the requests under way turn out to cost.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((most, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.settle(most, Amount(0.0, 0))
            raise

    def settle(self, reserved: Amount, spent: Amount) -> None:
        """Replace a reservation by what was spent."""
        self._reserved_usd -= Fraction(reserved.usd)
        self._reserved_tokens -= reserved.tokens
        self.spent_usd += spent.usd
        self.spent_tokens += spent.tokens
        self._admit()

    def _admit(self) -> None:
        """Let those at the head of the line go whose reservations fit, and stop those that never can."""
        while self._line:
            most, turn = self._line[0]
            if not turn.done():
                why = self._passed_by(most, 0.0, 0)
                if why is not None:
                    turn.set_exception(BudgetSpent(why))
                elif self._passed_by(most, float(self._reserved_usd), self._reserved_tokens) is None:
                    self.hold(most)
                    turn.set_result(None)
                else:
                    return
            self._line.popleft()

    def _passed_by(self, most: Amount, reserved_usd: float, reserved_tokens: int) -> str | None:
        """Which cap a request could pass, in words; None if it fits."""
        usd, tokens = (
            self.spent_usd + reserved_usd + most.usd,
            self.spent_tokens + reserved_tokens + most.tokens,
        )
        if self.usd is not None and usd > self.usd:
            return (
                f"the next call can cost up to ${most.usd:.4f}, and ${self.spent_usd:.4f} of the budget of "
                f"${self.usd:g} is spent: what is finished is kept; run the same command with a higher "
                "budget to go on"
            )
        if self.tokens is not None and tokens > self.tokens:
            return (
                f"the next call can take up to {most.tokens:,} tokens, and {self.spent_tokens:,} of the "
                f"budget of {self.tokens:,} are spent: what is finished is kept; run the same command with a "
                "higher budget to go on"
            )
        return None


class Tariff:
    """What requests to one model count in a budget."""

    def __init__(self, model: str, prices: Prices, budget: Budget, *, batch: bool = False) -> None:
        """Look the model up.

        Args:
            model: canonical name.
            prices: what it costs.
            budget: may be shared with other models.
            batch: are the requests made by the batch API? Where its price is not known, it is the full one.

        Raises:
            UsageError: there is a cap in dollars and the model's price is not known.
        """
        if budget.usd is not None and prices.find(model) is None:
            raise UsageError(
                f"no price is known for {model}, so a budget in dollars can't be kept: give its price with "
                "--prices FILE, or set --budget-tokens instead"
            )
        self.budget = budget
        self._model = model
        self._prices = prices
        self._batch = batch

    def most(self, input_tokens: int, output_tokens: int) -> Amount:
        """The most a request can cost that has at most so many tokens.

        Raises:
            LLMUnavailable: the price of a request of this length is not known.
        """
        usd = self._most_usd(input_tokens, output_tokens)
        if usd is None and self.budget.usd is not None:
            raise LLMUnavailable(
                f"{self._model}: no price is known for a request of up to {input_tokens:,} tokens"
            )
        return Amount(usd or 0.0, input_tokens + output_tokens)

    def spent(self, reply: Reply, most: Amount) -> Amount:
        """What a reply has cost; what it does not say counts at the most it can be."""
        if reply.input_tokens is None or reply.output_tokens is None:
            self.budget.unreported += 1
            return most
        usd = self._prices.cost(self._model, reply, batch=self._batch)
        if usd is None:
            usd = self._most_usd(reply.input_tokens, reply.output_tokens)
        return Amount(most.usd if usd is None else usd, reply.input_tokens + reply.output_tokens)

    def ambiguous(self, most: Amount) -> Amount:
        """What a request that may have been billed counts as."""
        self.budget.ambiguous += 1
        return most

    def _most_usd(self, input_tokens: int, output_tokens: int) -> float | None:
        """The most so many tokens can cost; None when that is not known."""
        usd, row = (
            self._prices.most(self._model, input_tokens, output_tokens),
            self._prices.find(self._model, input_tokens),
        )
        if usd is None or row is None or not self._batch or row.batch is None:
            return usd
        return usd * row.batch


class Budgeted:
    """An LLM that sends nothing its budget could be passed by. It belongs inside of the retries."""

    def __init__(self, inner: LLM, model: str, prices: Prices, budget: Budget) -> None:
        """Wrap the provider of a model.

        Args:
            inner: one request a call.
            model: canonical name.
            prices: what it costs.
            budget: may be shared with other models.

        Raises:
            UsageError: there is a cap in dollars and the model's price is not known.
        """
        self.inner = inner
        self.budget = budget
        self._tariff = Tariff(model, prices, budget)

    async def complete(self, request: Request) -> Reply:
        """Send one request within the budget.

        Raises:
            BudgetSpent: it could pass the budget; it was not sent.
            LLMUnavailable: the price of a request of this length is not known; it was not sent.
        """
        most = self._tariff.most(most_tokens(request), request.max_tokens)
        await self.budget.reserve(most)
        spent = Amount(0.0, 0)
        try:
            reply = await self.inner.complete(request)
            spent = self._tariff.spent(reply, most)
        except LLMError as error:
            if isinstance(error, CallFailed) and error.ambiguous:
                spent = self._tariff.ambiguous(most)
            raise
        except BaseException:  # cancelled, mostly: it was on its way, and nobody will see what became of it
            spent = self._tariff.ambiguous(most)
            raise
        finally:
            self.budget.settle(most, spent)
        return reply

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()
