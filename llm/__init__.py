"""Talking to models: providers behind one protocol, and the journal that remembers every paid reply.

    with Journal(workspace / "journal") as journal:
        llm = open_llm("openai:NAME", journal=journal, concurrency=16)
        reply = await llm.complete(request)
        await llm.close()

A model is a stack of parts with the same `complete`, put together here and nowhere else:

    Journalled     answers what was paid for before, and equal requests at once by one call
    Throttled      as many calls at once as the account bears
    Recorded       stores every reply before it is seen
    Priced         says what it cost
    Retrying       tries again
    Paced          sends every request when the account's rates allow it
    Budgeted       sends nothing that a budget could be passed by (if there is one)
    a provider     one request
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from exegete.errors import UsageError
from exegete.llm.account import Account, account_key
from exegete.llm.anthropic import Anthropic
from exegete.llm.budget import Budget, Budgeted
from exegete.llm.journal import Journal, Journalled, Recorded
from exegete.llm.llm import LLM, Message, Reply, Request
from exegete.llm.names import ENTRY_POINTS, ModelName, parse
from exegete.llm.openai import OpenAI
from exegete.llm.prices import Priced, Prices, load_prices
from exegete.llm.retry import Retrying
from exegete.llm.scripted import Scripted
from exegete.llm.throttle import Paced, Throttled

__all__ = [
    "LLM",
    "PROVIDERS",
    "Account",
    "Budget",
    "Journal",
    "Message",
    "ModelName",
    "Prices",
    "Reply",
    "Request",
    "ambiguous_calls",
    "load_prices",
    "open_llm",
    "parse",
]

CONCURRENCY = 16

PROVIDERS: dict[str, Callable[[ModelName], LLM]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "scripted": lambda name: Scripted(name.name),
}
"""Providers by the word before the colon of a model's name."""


def open_llm(
    spec: str,
    *,
    journal: Journal | None = None,
    concurrency: int = CONCURRENCY,
    accounts: dict[str, Account] | None = None,
    prices: Prices | None = None,
    budget: Budget | None = None,
) -> LLM:
    """Open a model by its name.

    Args:
        spec: for example "openai:NAME"; `str(parse(spec))` is what belongs into `Request.model`.
        journal: where its replies are kept; may be shared by all models of a job, and stays open when they
            are closed. None keeps nothing.
        concurrency: calls under way at once at most, at least 1; of the whole account, as its first model
            set it.
        accounts: the accounts of a job, to be shared by all its models; those that are missing are added.
        prices: what calls cost; None: the built-in table.
        budget: what may be spent, to be shared by all models of a job; None: anything.

    Raises:
        UsageError: the name is none, the provider's key is not set, a script can't be read, or there is a
            budget in dollars and no price is known.
    """
    name = parse(spec)
    prices = load_prices() if prices is None else prices
    account = Account(concurrency)
    if accounts is not None:
        account = accounts.setdefault(account_key(name), account)
    llm: LLM = _provider(name.provider)(name)
    if budget is not None:
        llm = Budgeted(llm, str(name), prices, budget)
    llm = Priced(Retrying(Paced(llm, account)), str(name), prices)
    if journal is None:
        return Throttled(llm, account)
    return Journalled(Throttled(Recorded(llm, journal), account), journal)


def ambiguous_calls(llm: LLM) -> int:
    """Attempts of an opened model that gave no reply and may have been billed all the same."""
    layer: object = llm
    total = 0
    while layer is not None:
        total += layer.ambiguous if isinstance(layer, Retrying) else 0
        layer = getattr(layer, "inner", None)
    return total


def _provider(provider: str) -> Callable[[ModelName], LLM]:
    """The factory of a provider: built in, or another package's."""
    if provider in PROVIDERS:
        return PROVIDERS[provider]
    for point in entry_points(group=ENTRY_POINTS, name=provider):
        factory: Callable[[ModelName], LLM] = point.load()
        return factory
    raise UsageError(f"there is no provider {provider!r}")
