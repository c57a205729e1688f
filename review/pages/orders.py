"""In which order cards come: queues built once, kept in memory, and built anew in the background.

Building a queue over many labels takes a while, and a job that runs changes the labels file every other
second. So a queue that is out of date is shown while the next one is built, and what this page's own reviewer
decided meanwhile is left out of it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from exegete.datastore.records import Status
from exegete.datastore.store import Store
from exegete.errors import ExegeteError
from exegete.review.keys import Key
from exegete.review.queue import Item, queue, stamp

FRESH_S = 5.0
"""A queue is built anew this long after the last time at the earliest."""
REST = 40.0
"""Nor before it has rested so many times as long as it took: a card that is asked for meanwhile waits."""
_KEPT = 16
"""Queues in memory."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which queue, as it stands in an address."""

    which: str = "review"
    search: str = ""
    saved: str = ""
    """Name of a saved queue."""
    harvest: str = ""
    layer: int | None = None
    status: Status | None = None
    reason: str = ""
    run: str = ""

    @property
    def address(self) -> str:
        """As the query of an address, without what is usual; "" for the usual queue."""
        return urlencode({name: value for name, value in asdict(self).items() if value != _USUAL[name]})


_USUAL: dict[str, Any] = asdict(Wanted())


@dataclass(slots=True)
class Order:
    """A queue as it was built."""

    items: list[Item]
    places: dict[Key, int]
    stamp: tuple[int, int]
    at: float
    """When, on the monotonic clock."""
    took: float
    """Seconds."""


class Orders:
    """The queues that are being looked at."""

    def __init__(self, store: Store, reviewer: str, saved: Callable[[str], str | None]) -> None:
        """Build nothing yet.

        Args:
            store: the labels file.
            reviewer: who looks.
            saved: the query of a saved queue by its name.
        """
        self._store, self._reviewer, self._saved = store, reviewer, saved
        self._orders: OrderedDict[Wanted, Order] = OrderedDict()
        self._done: dict[Key, float] = {}
        """What was decided here, and when: a queue built before does not know it."""
        self._skipped: set[Key] = set()
        """What was skipped here: dealt again only when nothing else is left."""
        self._building: set[Wanted] = set()
        self._mutex = threading.Lock()

    def of(self, wanted: Wanted) -> list[Item]:
        """The cards that are left, in order.

        Raises:
            UsageError: there is no such queue.
            WorkspaceBusy: it was never built, and a writer holds the labels file for too long.
        """
        order = self._order(wanted)
        return [item for item in order.items if not self._is_done(item.key, order)]

    def beside(self, wanted: Wanted, key: Key | None, step: int) -> list[Item]:
        """The cards after one (step 1) or before it (-1), nearest first, then round from the other end.

        After no card, or one that is not in the queue, comes the first.
        """
        order = self._order(wanted)
        start = -1 if step > 0 else 0
        n, place = len(order.items), start if key is None else order.places.get(key, start)
        around = (order.items[(place + step * i) % n] for i in range(1, n + 1))
        # What these hold does not get less by decisions: a card that was dealt is not dealt again.
        again = self._done.keys() if wanted.which == "all" or wanted.saved else ()
        left = [
            item
            for item in around
            if item.key != key and item.key not in again and not self._is_done(item.key, order)
        ]
        return sorted(left, key=lambda item: item.key in self._skipped) if step > 0 else left

    def item(self, wanted: Wanted, key: Key) -> tuple[Item, int] | None:
        """A card of a queue with its place from 1; None when it is not in it."""
        order = self._order(wanted)
        place = order.places.get(key)
        return None if place is None else (order.items[place], place + 1)

    def forget(self, wanted: Wanted) -> None:
        """Build a queue anew when it is asked for next."""
        with self._mutex:
            self._orders.pop(wanted, None)

    def forget_all(self) -> None:
        """Build all of them anew."""
        with self._mutex:
            self._orders.clear()

    def done(self, key: Key, *, skipped: bool = False) -> None:
        """Leave a card out, until a queue built later says otherwise."""
        with self._mutex:
            self._done[key] = time.monotonic()
            (self._skipped.add if skipped else self._skipped.discard)(key)

    def undone(self, key: Key) -> None:
        """It is back."""
        with self._mutex:
            self._done.pop(key, None)
            self._skipped.discard(key)

    def _is_done(self, key: Key, order: Order) -> bool:
        return self._done.get(key, -1.0) > order.at

    def _order(self, wanted: Wanted) -> Order:
        order = self._orders.get(wanted)
        if order is None:
            return self._build(wanted)
        age = time.monotonic() - order.at
        if age > max(FRESH_S, REST * order.took) and stamp(self._store) != order.stamp:
            with self._mutex:
                begin = wanted not in self._building
                self._building.add(wanted)
            if begin:
                threading.Thread(target=self._rebuild, args=(wanted,), daemon=True).start()
        return order

    def _rebuild(self, wanted: Wanted) -> None:
        try:
            self._build(wanted)
        except ExegeteError:
            pass  # the older one stands; whoever asks next tries again
        finally:
            with self._mutex:
                self._building.discard(wanted)

    def _build(self, wanted: Wanted) -> Order:
        began, seen = time.monotonic(), stamp(self._store)
        items = queue(
            self._store,
            which=wanted.which,
            search=wanted.search,
            sql=self._saved(wanted.saved) if wanted.saved else None,
            harvest=wanted.harvest or None,
            reviewer=self._reviewer,
            layer=wanted.layer,
            status=wanted.status,
            reason=wanted.reason or None,
            run=wanted.run or None,
        )
        places = {item.key: i for i, item in enumerate(items)}
        order = Order(items, places, seen, began, time.monotonic() - began)
        with self._mutex:
            self._orders[wanted] = order
            self._orders.move_to_end(wanted)
            while len(self._orders) > _KEPT:
                self._orders.popitem(last=False)
        return order
