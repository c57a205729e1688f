"""In which order cards come: queues built once, kept in memory, and built anew in the background.

Building a queue over many labels takes a while, and a job that runs changes the labels file every other
second. So a queue that is out of date is shown while the next one is built, and what this page's own reviewer
decided meanwhile is left out of it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from exegete.datastore.records import Status
from exegete.datastore.store import Store
from exegete.errors import ExegeteError
from exegete.review.keys import Key
from exegete.review.pages.pauses import Pauses
from exegete.review.queue import Item, counts, queue, stamp

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


@dataclass(slots=True)
class Counted:
    """How many cards each queue held; the other fields are as `Order`'s."""

    counts: dict[str, int]
    stamp: tuple[int, int]
    at: float
    took: float


class Orders:
    """The queues that are being looked at."""

    def __init__(
        self, store: Store, reviewer: str, saved: Callable[[str], str | None], pauses: Pauses
    ) -> None:
        """Build nothing yet.

        Args:
            store: the labels file.
            reviewer: who looks.
            saved: the query of a saved queue by its name.
            pauses: when to build in the background.
        """
        self._store, self._reviewer, self._saved, self._pauses = store, reviewer, saved, pauses
        self._orders: OrderedDict[Wanted, Order] = OrderedDict()
        self._done: dict[Key, float] = {}
        """What was decided here, and when: a queue built before does not know it."""
        self._skipped: set[Key] = set()
        """What was skipped here: dealt again only when nothing else is left."""
        self._counted: Counted | None = None
        self._building: set[Wanted | None] = set()
        """What is built in the background; None are the counts."""
        self._turns: dict[Wanted, threading.Lock] = {}
        """Who builds a queue for the first time."""
        self._mutex = threading.Lock()

    def of(self, wanted: Wanted) -> list[Item]:
        """The cards that are left, in order.

        Raises:
            UsageError: there is no such queue.
            WorkspaceBusy: it was never built, and a writer holds the labels file for too long.
        """
        order = self._order(wanted)
        gone = self._gone(order)
        return [item for place, item in enumerate(order.items) if place not in gone]

    def beside(self, wanted: Wanted, key: Key | None, step: int) -> list[Item]:
        """The cards after one (step 1) or before it (-1), nearest first, then round from the other end.

        After no card, or one that is not in the queue, comes the first.
        """
        order = self._order(wanted)
        n, here = len(order.items), None if key is None else order.places.get(key)
        if here is None:
            left = [*range(n)[::step]]
        elif step > 0:
            left = [*range(here + 1, n), *range(here)]
        else:
            left = [*range(here - 1, -1, -1), *range(n - 1, here, -1)]
        # What these hold does not get less by decisions: a card that was dealt is not dealt again.
        again = wanted.which == "all" or bool(wanted.saved)
        if gone := self._gone(order, at_any_time=again):
            left = [place for place in left if place not in gone]
        with self._mutex:
            skipped = {order.places.get(key) for key in self._skipped}
        if step > 0 and skipped:
            left.sort(key=skipped.__contains__)
        return [*map(order.items.__getitem__, left)]

    def item(self, wanted: Wanted, key: Key) -> tuple[Item, int] | None:
        """A card of a queue with its place from 1; None when it is not in it."""
        order = self._order(wanted)
        place = order.places.get(key)
        return None if place is None else (order.items[place], place + 1)

    def counts(self) -> Mapping[str, int]:
        """How many cards each queue holds, as of some moments ago; empty while nobody knows."""
        counted = self._counted
        if counted is None or self._is_old(counted):
            self._in_background(None, self._count)
        return {} if counted is None else counted.counts

    def forget(self, wanted: Wanted) -> None:
        """Build a queue anew when it is asked for next."""
        with self._mutex:
            self._orders.pop(wanted, None)

    def forget_all(self) -> None:
        """Build all of them anew."""
        with self._mutex:
            self._orders.clear()
            self._counted = None

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

    def _gone(self, order: Order, *, at_any_time: bool = False) -> set[int]:
        """Places of cards that were decided here since a queue was built, or at any time."""
        with self._mutex:
            keys = [key for key, at in self._done.items() if at_any_time or at > order.at]
        return {order.places[key] for key in keys if key in order.places}

    def _order(self, wanted: Wanted) -> Order:
        order = self._orders.get(wanted)
        if order is None:
            return self._first(wanted)
        if self._is_old(order):
            self._in_background(wanted, lambda: self._build(wanted))
        return order

    def _is_old(self, made: Order | Counted) -> bool:
        age = time.monotonic() - made.at
        return age > max(FRESH_S, REST * made.took) and stamp(self._store) != made.stamp

    def _in_background(self, what: Wanted | None, build: Callable[[], object]) -> None:
        """Build something anew, unless that is under way."""
        with self._mutex:
            begin = what not in self._building
            self._building.add(what)
        if begin:
            threading.Thread(target=self._rebuild, args=(what, build), daemon=True).start()

    def _first(self, wanted: Wanted) -> Order:
        """A queue that nobody has built yet; who asks while somebody does waits for that one."""
        with self._mutex:
            turn = self._turns.setdefault(wanted, threading.Lock())
        try:
            with turn:
                return self._orders.get(wanted) or self._build(wanted)
        finally:
            with self._mutex:
                self._turns.pop(wanted, None)

    def _rebuild(self, what: Wanted | None, build: Callable[[], object]) -> None:
        try:
            if self._pauses.wait(at_most=FRESH_S):
                build()
        except ExegeteError:
            pass  # the older one stands; whoever asks next tries again
        finally:
            with self._mutex:
                self._building.discard(what)

    def _count(self) -> None:
        began, seen = time.monotonic(), stamp(self._store)
        found = counts(self._store, self._reviewer)
        self._counted = Counted(found, seen, began, time.monotonic() - began)

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
