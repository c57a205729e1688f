"""What the pages share: the workspace's files, the queues, and the cards that are made ahead.

A card is made of the labels file, which is opened for it and closed again, and of the evidence file. The
cards that come next are made while this one is read; one that was made is good for two minutes. A decision
names the label that was seen, so that none is taken about another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import duckdb

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError
from exegete.review.audit import is_dealt
from exegete.review.believed import Lasting, Row
from exegete.review.desk import LEASE_S, Desk
from exegete.review.keys import Key
from exegete.review.pages.facts import Facts, read_facts
from exegete.review.pages.orders import Orders, Wanted
from exegete.review.pages.pauses import Pauses
from exegete.review.pages.shelf import Examples, Shelf
from exegete.review.pages.simulated import Simulations
from exegete.review.queue import Item

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long a page waits for the labels file."""
AHEAD = 2
"""Cards made before they are asked for."""
_GOOD_S = 120.0
_MADE = 32


@dataclass(frozen=True, slots=True)
class Card:
    """One feature, as it is shown."""

    key: Key
    facts: Facts
    examples: Examples | str
    """Or why there are none."""
    knows_neighbours: bool


class Room:
    """One workspace and one reviewer."""

    def __init__(self, workspace: Workspace, reviewer: str, blind: bool) -> None:
        """Open what is small; evidence is opened when it is looked at.

        Raises:
            WorkspaceError: the labels file can't be used.
        """
        self.workspace, self.reviewer, self.blind = workspace, reviewer, blind
        # A draft of its own beside the one of an edit; no name has a control character in it.
        self._blind_reviewer = f"{reviewer}\x00blind"
        self.store = Store(workspace.labels, PATIENCE_S, often=True)
        self.desk = Desk(workspace)
        self.pauses = Pauses()
        self.orders = Orders(self.store, reviewer, self.saved_queue, self.pauses)
        self._simulations = Simulations(workspace.journal)
        self._shelf = Shelf(workspace, self._simulations)
        self._lasting = Lasting()
        self._made: OrderedDict[Key, tuple[float, Card]] = OrderedDict()
        self._said: OrderedDict[str, str] = OrderedDict()
        self._warm: set[str] = set()
        self._coming: list[Key] = []
        """Cards to be made ahead, the nearest first."""
        self._is_going = False
        """Whether somebody makes them."""
        self._mutex = threading.Lock()
        self._background = ThreadPoolExecutor(1, thread_name_prefix="cards")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="evidence")
        self._background.submit(self._quietly, self._simulations.prepare)

    def begin(self) -> None:
        """Build the usual queue, and its first cards, while the browser is being opened."""

        def work() -> None:
            self.ahead(self.orders.of(Wanted())[:AHEAD])
            self.orders.counts()

        self._background.submit(self._quietly, work)

    def close(self) -> None:
        """Let go of everything."""
        self.pauses.close()
        self._background.shutdown(wait=True, cancel_futures=True)
        self._reading.shutdown(wait=True, cancel_futures=True)
        self._shelf.close()
        self._simulations.close()
        self.store.close()

    def card(self, key: Key) -> Card | None:
        """A feature's card; None where the feature has no result.

        Raises:
            WorkspaceBusy: a writer holds the labels file for too long.
        """
        return self._known(key) or self._make(key)

    def ahead(self, items: Iterable[Item]) -> None:
        """Make some cards while nobody waits, instead of those that were to be made before."""
        coming = [item.key for item in items]
        for harvest in {key.harvest for key in coming}:
            self._warm_up(harvest)
        with self._mutex:
            self._coming = coming
            begin = bool(coming) and not self._is_going
            self._is_going |= begin
        if begin:
            self._background.submit(self._go_ahead)

    def _go_ahead(self) -> None:
        """Make the cards that are to come, each step of them in a pause."""
        while True:
            going_on = self.pauses.wait()
            with self._mutex:
                self._is_going = going_on and bool(self._coming)
                if not self._is_going:
                    return
                key = self._coming.pop(0)
            if self._known(key) is None:
                self._quietly(self._make_in_pauses, key)

    def forget(self, key: Key) -> None:
        """What was made of a card is no longer so."""
        with self._mutex:
            self._made.pop(key, None)

    def forget_all(self) -> None:
        """No card and no queue is as it was."""
        self.orders.forget_all()
        with self._mutex:
            self._made.clear()

    def say(self, event: str, words: str) -> None:
        """Remember what an event did, for the page it leads to."""
        with self._mutex:
            self._said[event] = words
            while len(self._said) > _MADE:
                self._said.popitem(last=False)

    def said(self, event: str) -> str:
        """What an event did, in words; "" for one that is not of late."""
        return self._said.get(event, "")

    def take_next(self, wanted: Wanted, after: Key | None) -> Key | None:
        """Lease the nearest card that nobody else has; None when there is none.

        Raises:
            UsageError: there is no such queue.
            WorkspaceBusy: as `card`.
        """
        items = self.orders.beside(wanted, after, 1)
        others = self.desk.leased(self.reviewer)
        for item in items:
            if item.key not in others and self.desk.lease(item.key, self.reviewer, LEASE_S) is None:
                return item.key
        return None

    def is_audit(self, wanted: Wanted, key: Key, run: str) -> bool:
        """Whether a card is of the random slice: as its queue says, or by its digest where it has none."""
        found = self.orders.item(wanted, key)
        if found is not None:
            return found[0].audit

        def work(con: duckdb.DuckDBPyConnection) -> bool:
            return is_dealt(con, run, key)

        return self.store.reading(work)

    def blind_text(self, key: Key) -> str | None:
        """The label that the reviewer wrote before seeing the job's; None while there is none."""
        return self.desk.draft(key, self._blind_reviewer) if self.blind else None

    def keep_blind_text(self, key: Key, text: str) -> None:
        """Keep it until the card is decided."""
        self.desk.save_draft(key, self._blind_reviewer, text)

    def finish(self, key: Key) -> None:
        """A card is decided: what lay on the desk for it goes."""
        self.desk.release(key, self.reviewer)
        self.desk.drop_draft(key, self.reviewer)
        if self.blind:
            self.desk.drop_draft(key, self._blind_reviewer)

    def saved_queue(self, name: str) -> str | None:
        """The query of a saved queue."""
        return self.desk.queues().get(name)

    def _known(self, key: Key) -> Card | None:
        """A card that was made and is good still."""
        with self._mutex:
            at, card = self._made.get(key, (0.0, None))
        if card is None or time.monotonic() - at >= _GOOD_S:
            return None
        return card if card.knows_neighbours or self._shelf.nearest(key) is None else None

    def _make(self, key: Key) -> Card | None:
        """Make a card for somebody who waits for it."""
        self._warm_up(key.harvest)
        nearest = self._shelf.nearest(key)
        # Both files are read at once, most of which is DuckDB's, that lets other threads go on; and what the
        # label predicts is worked out as soon as the label is known.
        self._reading.submit(self._quietly, self._shelf.read, key)
        examples: list[Future[Examples | str]] = []

        def begin(row: Row, parameters: Row | None) -> None:
            examples.append(self._reading.submit(self._shelf.examples, row, parameters))

        facts = read_facts(self.store, key, nearest or (), self._lasting, begin)
        if facts is None:
            return None
        return self._keep(Card(key, facts, examples[-1].result(), nearest is not None))

    def _make_in_pauses(self, key: Key) -> None:
        """Make a card that nobody waits for, in steps between which requests are let by."""
        nearest = self._shelf.nearest(key)
        facts = read_facts(self.store, key, nearest or (), self._lasting)
        if facts is None or not self.pauses.wait():
            return
        self._quietly(self._shelf.read, key)  # a label can be without evidence
        if self.pauses.wait():
            examples = self._shelf.examples(facts.row, facts.parameters)
            self._keep(Card(key, facts, examples, nearest is not None))

    def _keep(self, card: Card) -> Card:
        with self._mutex:
            self._made[card.key] = (time.monotonic(), card)
            self._made.move_to_end(card.key)
            while len(self._made) > _MADE:
                self._made.popitem(last=False)
        return card

    def _warm_up(self, harvest: str) -> None:
        """Work out a harvest's neighbours in the background, the first time it is seen."""
        with self._mutex:
            new = harvest not in self._warm
            self._warm.add(harvest)
        if new:
            threading.Thread(target=self._quietly, args=(self._shelf.warm, harvest), daemon=True).start()

    def _quietly(self, work: object, *args: object) -> None:
        """Do something in the background: what fails fails again, and is said, where it is asked for."""
        try:
            work(*args)  # type: ignore[operator]
        except (ExegeteError, OSError, duckdb.Error) as error:
            log.info("made nothing ahead: %s", error)
