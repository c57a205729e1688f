"""Asking a server what it can do, by the smallest requests that show it.

1. A plain request: does the server answer at all? If not, nothing else is asked.
2. For each ability, the plain request with one thing more. A refusal (400, 404, 422) settles it. A reply
   settles it only by what is in it: logprobs that came back, the one word that the schema allows.
3. `temperature` leaves no trace in a reply. It counts as read where 0 is taken and -1, which makes no sense,
   is refused.

Everything asked is paid for and counted. What local and scripted models can do is known from the code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from exegete.errors import LLMError, LLMStop
from exegete.llm import ModelName, Prices, load_prices, provider_of
from exegete.llm.abilities import Abilities, Ability, AbilityName
from exegete.llm.failure import CallFailed
from exegete.llm.llm import LLM, Message, Reply, Request
from exegete.llm.meter import Metered, Spent
from exegete.llm.prices import Priced
from exegete.llm.reach import check_reachable
from exegete.llm.retry import Retrying
from exegete.llm.trials import Trial, known, trials_for

ATTEMPTS = 3
_ROOMS = (64, 1024)
"""Tokens of a reply: models that think first may need the second."""
_REFUSED = frozenset({400, 404, 405, 422, 501})
_SHORTEN_TO = 60


class Probed(Protocol):
    """A provider that can be asked anything."""

    async def exchange(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request with further parameters, and return the body that came."""

    def read(self, body: Mapping[str, Any]) -> Reply:
        """A body as a reply."""

    async def echo(self, text: str) -> tuple[dict[str, Any], Reply]:
        """The body of a completion that repeats a text, and that as a reply."""

    async def batches(self) -> dict[str, Any]:
        """The body of a list of the account's batches."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of asking."""

    abilities: Abilities
    """Only what was wanted is settled."""
    hello: Reply | None
    """The reply to the plain request; None for a script, which answers only what it has rules for."""
    spent: Spent


async def probe(name: ModelName, wanted: Collection[AbilityName], prices: Prices | None = None) -> Findings:
    """Ask a server what it can do.

    Args:
        name: the model.
        wanted: what to find out.
        prices: what calls cost; None: the built-in table.

    Raises:
        UsageError: the model can't be opened.
        LLMUnavailable, LLMStop: the server doesn't answer the plain request.
    """
    await check_reachable(name)
    provider = provider_of(name)
    asking = _Asking(name, provider, load_prices() if prices is None else prices)
    try:
        hello = None if name.provider == "scripted" else await asking.hello()
        found = known(name, wanted)
        for ability, trial in trials_for(name, wanted).items():
            found[ability] = await asking.settle(trial, hello)
    finally:
        await provider.close()
    return Findings(Abilities(str(name)).updated(found), hello, asking.spent)


class _Asking:
    """Asks one provider, and adds up what that costs."""

    def __init__(self, name: ModelName, provider: Any, prices: Prices) -> None:
        self.spent = Spent()
        self._name, self._provider, self._prices = name, provider, prices

    async def hello(self) -> Reply:
        """The plain request."""
        return await self._paid(self._provider, self._request(16))

    async def settle(self, trial: Trial, hello: Reply | None) -> Ability:
        """Find out about one ability."""
        if trial.of_hello is not None:
            return trial.of_hello(hello)
        if trial.listing:
            return await self._listed(trial)
        ability = await self._tried(trial)
        if ability.has is False and trial.echoed is not None:
            return await self._echoed(trial.echoed, ability)
        if not ability.has or trial.nonsense is None:
            return ability
        refused = await self._tried(trial.nonsense)
        if refused.has is False:
            return ability
        return Ability(None, trial.nonsense.seen) if refused.has else refused

    async def _tried(self, trial: Trial) -> Ability:
        """Send what a trial says and look for what it should bring."""
        for room in _ROOMS:
            exchange = _Exchange(self._provider, trial.more)
            try:
                reply = await self._paid(exchange, replace(self._request(room), **trial.options))
            except LLMError as error:
                failed = exchange.failed
                if isinstance(error, LLMStop) and (failed is None or failed.status not in _REFUSED):
                    raise
                return _failed(failed, error)
            if trial.shown(exchange.body, reply):
                return Ability(True, trial.seen)
            if reply.finish != "length" or reply.text.strip():
                break
        else:
            return Ability(None, f"cut at {_ROOMS[-1]} tokens before it showed")
        if reply.finish in ("refusal", "filtered"):
            return Ability(None, "the model refused to answer")
        return Ability(False, "taken, and ignored")

    async def _echoed(self, trial: Trial, otherwise: Ability) -> Ability:
        """Have a text repeated; what was seen before counts where that shows nothing."""
        exchange = _Exchange(self._provider, {}, echo=True)
        try:
            reply = await self._paid(exchange, self._request(_ROOMS[0]))
        except LLMError as error:
            failed = exchange.failed
            if isinstance(error, LLMStop) and (failed is None or failed.status not in _REFUSED):
                raise
            return otherwise
        return Ability(True, trial.seen) if trial.shown(exchange.body, reply) else otherwise

    async def _listed(self, trial: Trial) -> Ability:
        """Ask for a list, which costs nothing."""
        try:
            body = await self._provider.batches()
        except CallFailed as failed:
            return Ability(False, "there is none") if failed.status == 404 else _failed(failed, failed)
        return Ability(True, trial.seen) if isinstance(body.get("data"), list) else Ability(False, "no list")

    async def _paid(self, llm: LLM, request: Request) -> Reply:
        """One call, tried again if that helps, and counted."""
        priced = Priced(Retrying(llm, attempts=ATTEMPTS), str(self._name), self._prices)
        return await Metered(priced, {}, self.spent).complete(request)

    def _request(self, room: int) -> Request:
        """The plain request; 16 tokens is the least room OpenAI allows."""
        return Request(str(self._name), "", (Message("user", "Say hello."),), max_tokens=room)


class _Exchange:
    """A provider's raw exchange as an LLM, so that it is tried again like any call."""

    def __init__(self, provider: Probed, more: Mapping[str, Any], *, echo: bool = False) -> None:
        self._provider, self._more, self._echo = provider, more, echo
        self.body: Mapping[str, Any] = {}
        """Of the reply, as it came."""
        self.failed: CallFailed | None = None
        """How the last attempt failed."""

    async def complete(self, request: Request) -> Reply:
        """Send it."""
        try:
            if self._echo:
                self.body, reply = await self._provider.echo(request.messages[-1].text)
                return reply
            self.body = await self._provider.exchange(request, self._more)
            return self._provider.read(self.body)
        except CallFailed as failed:
            self.failed = failed
            raise

    async def close(self) -> None:
        """The provider is closed by whoever opened it."""


def _failed(failed: CallFailed | None, error: Exception) -> Ability:
    """What a request that failed says about an ability."""
    if failed is not None and failed.status in _REFUSED:
        return Ability(
            False, f"refused: {_short(failed.said)}" if failed.said else f"refused: {failed.status}"
        )
    return Ability(None, f"no answer: {_short(str(error))}", settled=False)


def _short(text: str) -> str:
    """A few words."""
    return text if len(text) <= _SHORTEN_TO else text[:_SHORTEN_TO].rstrip() + "…"
