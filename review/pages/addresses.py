"""Addresses: which card, and which queue it is looked at from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args
from urllib.parse import quote, urlencode

from exegete.datastore.records import Status
from exegete.errors import UsageError
from exegete.review.keys import Key
from exegete.review.pages.orders import Wanted

_FEATURE = re.compile(r"(\d{1,9})([+-]?)")


def card_path(key: Key) -> str:
    """Where a card is: /card/HARVEST/12+."""
    return f"/card/{quote(key.harvest, safe='')}/{key.index}{key.polarity}"


def card_address(key: Key, wanted: Wanted, after: str = "") -> str:
    """A card with the queue it is looked at from, and the event that led there."""
    parts = [wanted.address, f"after={quote(after)}" if after else ""]
    query = "&".join(part for part in parts if part)
    return card_path(key) + (f"?{query}" if query else "")


def queue_address(wanted: Wanted, after: str = "") -> str:
    """A queue."""
    parts = [wanted.address, f"after={quote(after)}" if after else ""]
    query = "&".join(part for part in parts if part)
    return f"/?{query}" if query else "/"


def with_query(path: str, **query: str) -> str:
    """A path with a query."""
    return f"{path}?{urlencode(query)}"


def key_in(harvest: str, feature: str) -> Key:
    """The card an address names.

    Raises:
        UsageError: it names none.
    """
    found = _FEATURE.fullmatch(feature)
    if found is None:
        raise UsageError(f"{feature!r} is no feature: write its index, 12, or 12- for its negative side")
    return Key(harvest, int(found[1]), "-" if found[2] == "-" else "+")


def wanted_in(query: Mapping[str, str]) -> Wanted:
    """The queue an address names.

    Raises:
        UsageError: a status or a layer that is none.
    """
    status, layer = query.get("status", ""), query.get("layer", "")
    if status and status not in get_args(Status):
        raise UsageError(f"there is no status {status!r}: choose among {', '.join(get_args(Status))}")
    if layer and not layer.isdecimal():
        raise UsageError(f"{layer!r} is no layer: write its number")
    return Wanted(
        query.get("which") or "review",
        query.get("search", "").strip(),
        query.get("saved", ""),
        query.get("harvest", ""),
        int(layer) if layer else None,
        next((s for s in get_args(Status) if s == status), None),
        query.get("reason", ""),
        query.get("run", ""),
    )
