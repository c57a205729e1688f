"""What calls cost: a dated table, its own version stored with every call.

    prices = load_prices(user_file)
    prices.cost("openai:gpt-5-nano", reply)        0.00042, or None where it is not known

Missing is never zero: a model that is not in the table has no known cost, and neither has a reply that does
not say what it used.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exegete.errors import UsageError
from exegete.llm.llm import LLM, Reply, Request

BUILT_IN = Path(__file__).with_name("prices.toml")
_MILLION = 1_000_000

_Usd = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Price(BaseModel):
    """One row: USD per million tokens of the models it fits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: tuple[str, ...] = Field(min_length=1)
    """Canonical model names; * and ? stand for any text and any character."""
    input: _Usd
    output: _Usd
    """Hidden reasoning is output too."""
    cached_input: _Usd | None = None
    """Tokens read from the provider's cache; None: like any input."""
    cache_write: _Usd | None = None
    """Tokens written to it; None: like any input."""
    batch: _Usd | None = None
    """Factor on everything in the batch API; None: not known."""
    up_to: int | None = Field(default=None, ge=1)
    """Holds for requests with at most so many input tokens; None: for all."""
    source: str = ""
    seen: date | None = None

    def is_for(self, model: str) -> bool:
        """Is this a row of that model?"""
        return any(fnmatchcase(model, pattern) for pattern in self.match)

    def fits(self, model: str, input_tokens: int) -> bool:
        """Is this the row for a request of that size to that model?"""
        return (self.up_to is None or input_tokens <= self.up_to) and self.is_for(model)


class _File(BaseModel):
    """A price file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(min_length=1)
    price: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices."""

    version: str
    """Date of the built-in table, and name and digest of the user's in front of it."""
    rows: Sequence[Price]
    """The first that fits counts."""

    def of(self, model: str) -> Prices:
        """The rows of one model (canonical name) alone: what calls by the thousand are priced with."""
        return replace(self, rows=[row for row in self.rows if row.is_for(model)])

    def find(self, model: str, input_tokens: int = 0) -> Price | None:
        """The row of a model (canonical name) for requests of that size, or None."""
        return next((row for row in self.rows if row.fits(model, input_tokens)), None)

    def cost(self, model: str, reply: Reply, *, batch: bool = False) -> float | None:
        """USD that a reply has cost.

        Returns:
            None when the price is not known, or the reply does not say all that the price depends on.
        """
        if reply.input_tokens is None or reply.output_tokens is None:
            return None
        row = self.find(model, reply.input_tokens)
        if row is None or (batch and row.batch is None):
            return None
        usd = reply.input_tokens * row.input + reply.output_tokens * row.output
        special = ((reply.cached_tokens, row.cached_input), (reply.cache_write_tokens, row.cache_write))
        for tokens, price in special:
            if price is None or price == row.input:
                continue
            if tokens is None:
                return None
            usd += tokens * (price - row.input)
        return usd / _MILLION * ((row.batch or 0.0) if batch else 1.0)

    def most(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """USD that a call with at most so many tokens can cost, whatever of it is cached; None: not known."""
        row = self.find(model, input_tokens)
        if row is None:
            return None
        dearest = max(row.input, row.cached_input or 0.0, row.cache_write or 0.0)
        return (input_tokens * dearest + output_tokens * row.output) / _MILLION


class Priced:
    """An LLM whose replies carry what they cost, and by which table."""

    def __init__(self, inner: LLM, model: str, prices: Prices) -> None:
        """Wrap the LLM with that canonical name."""
        self.inner = inner
        self.prices = prices.of(model)
        self._model = model

    async def complete(self, request: Request) -> Reply:
        """Complete a request; see `LLM.complete`."""
        reply = await self.inner.complete(request)
        usd = self.prices.cost(self._model, reply)
        return reply if usd is None else replace(reply, usd=usd, prices=self.prices.version)

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()


def load_prices(path: Path | None = None) -> Prices:
    """The built-in table, with the rows of a user's file in front of it.

    Raises:
        UsageError: the file can't be read, or is no table of prices; says where.
    """
    built_in = _read(BUILT_IN)[0]
    if path is None:
        return Prices(built_in.version, built_in.price)
    own, digest = _read(path)
    return Prices(f"{own.version}#{digest} over {built_in.version}", own.price + built_in.price)


@lru_cache(maxsize=8)
def _read_bytes(content: bytes) -> _File:
    """A file's content as a table."""
    return _File.model_validate(tomllib.loads(content.decode()))


def _read(path: Path) -> tuple[_File, str]:
    """A file as a table, and 8 hex digits of its digest."""
    try:
        content = path.read_bytes()
        return _read_bytes(content), hashlib.sha256(content).hexdigest()[:8]
    except OSError as error:
        raise UsageError(f"can't read the prices {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise UsageError(f"the prices {path} are no table of prices: {place}: {first['msg']}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise UsageError(f"the prices {path} are no TOML: {error}") from None
