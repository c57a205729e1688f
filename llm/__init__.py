"""Talking to models: providers behind one protocol, and the journal that remembers every paid reply.

    with Journal(workspace / "journal") as journal:
        llm = open_llm("openai:NAME", journal=journal, concurrency=16)
        reply = await llm.complete(request)
        await llm.close()

A model is a stack of parts with the same `complete`, put together here and nowhere else:

    Traced         one span a call (if this process has set up OpenTelemetry)
    Journalled     answers what was paid for before, and equal requests at once by one call
    Throttled      as many calls at once as the account bears
    Recorded       stores every reply before it is seen
    Priced         says what it cost
    Retrying       tries again
    Paced          sends every request when the account's rates allow it
    Budgeted       sends nothing that a budget could be passed by (if there is one)
    Watched        notes requests that are cancelled under way
    a provider     one request

or, in batches,

    Traced, Journalled as above
    Batched        collects requests, buys them in bulk, and stores every reply before it is seen
"""

from __future__ import annotations

from collections.abc import Callable

from exegete.datastore.installed import entry_points
from exegete.errors import UsageError
from exegete.llm.account import Account, account_key
from exegete.llm.anthropic import Anthropic
from exegete.llm.anthropic_batch import AnthropicBatches
from exegete.llm.batch import Batches
from exegete.llm.batch_log import BatchLog
from exegete.llm.batch_rows import BatchRow, wave_states
from exegete.llm.batching import Batched
from exegete.llm.budget import Budget, Budgeted
from exegete.llm.hf import HuggingFace
from exegete.llm.journal import Journal
from exegete.llm.journalled import Journalled, Recorded
from exegete.llm.llm import LLM, Message, Reply, Request
from exegete.llm.lost import Watched, noted_in
from exegete.llm.names import ENTRY_POINTS, ModelName, parse
from exegete.llm.openai import OpenAI
from exegete.llm.openai_batch import OpenAIBatches
from exegete.llm.prices import Priced, Prices, load_prices
from exegete.llm.retry import Retrying
from exegete.llm.scripted import Scripted
from exegete.llm.throttle import Paced, Throttled
from exegete.llm.traced import traced

__all__ = [
    "BATCHES",
    "LLM",
    "PROVIDERS",
    "Account",
    "BatchLog",
    "BatchRow",
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
    "provider_of",
    "wave_states",
]

CONCURRENCY = 16

PROVIDERS: dict[str, Callable[[ModelName], LLM]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "hf": HuggingFace,
    "scripted": lambda name: Scripted(name.name),
}
"""Providers by the word before the colon of a model's name."""


BATCHES: dict[str, Callable[[ModelName], Batches]] = {
    "openai": OpenAIBatches,
    "anthropic": AnthropicBatches,
}
"""Batch APIs by the word before the colon of a model's name."""


def open_llm(
    spec: str,
    *,
    journal: Journal | None = None,
    concurrency: int = CONCURRENCY,
    accounts: dict[str, Account] | None = None,
    prices: Prices | None = None,
    budget: Budget | None = None,
    batches: BatchLog | None = None,
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
        batches: where batches are noted, to be shared by all models of a job: the model is asked by its
            provider's batch API, which takes a journal, and `concurrency` does not count. It stays open when
            they are closed. None: one call a request.

    Raises:
        UsageError: the name is none, the provider's key is not set, a script can't be read, there is a
            budget in dollars and no price is known, or batches are wanted and the provider has none.
    """
    name = parse(spec)
    prices = load_prices() if prices is None else prices
    if batches is not None:
        return traced(_batched(name, batches, journal, prices, budget), name)
    account = Account(concurrency)
    if accounts is not None:
        account = accounts.setdefault(account_key(name), account)
    llm: LLM = provider_of(name)
    lost = None if journal is None else noted_in(journal, prices)
    if lost is not None:
        llm = Watched(llm, lost)
    if budget is not None:
        llm = Budgeted(llm, str(name), prices, budget)
    llm = Priced(Retrying(Paced(llm, account), lost=lost), str(name), prices)
    if journal is None:
        return traced(Throttled(llm, account), name)
    return traced(Journalled(Throttled(Recorded(llm, journal), account), journal), name)


def _batched(
    name: ModelName, batches: BatchLog, journal: Journal | None, prices: Prices, budget: Budget | None
) -> LLM:
    """A model that is asked by its provider's batch API."""
    if name.provider not in BATCHES:
        known = " and ".join(f"{provider}:" for provider in BATCHES)
        raise UsageError(f"{name} has no batch API, only {known} models have: ask it without batches")
    if journal is None:
        raise UsageError(f"{name} can't be asked in batches without a journal: its replies would be lost")
    api = BATCHES[name.provider](name)
    return Journalled(Batched(api, log=batches, journal=journal, prices=prices, budget=budget), journal)


def ambiguous_calls(llm: LLM) -> int:
    """Attempts of an opened model that gave no reply and may have been billed all the same."""
    layer: object = llm
    total = 0
    while layer is not None:
        total += layer.ambiguous if isinstance(layer, Retrying | Batched) else 0
        layer = getattr(layer, "inner", None)
    return total


def provider_of(name: ModelName) -> LLM:
    """A model's provider, bare: nothing retries, stores or counts its calls.

    Raises:
        UsageError: there is no such provider, or it can't open the model.
    """
    if name.provider in PROVIDERS:
        return PROVIDERS[name.provider](name)
    for point in entry_points(group=ENTRY_POINTS).select(name=name.provider):
        factory: Callable[[ModelName], LLM] = point.load()
        return factory(name)
    raise UsageError(f"there is no provider {name.provider!r}")
