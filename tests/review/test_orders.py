"""In which order cards come, over queues that are built anew while they are worked on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.store import Store
from exegete.errors import WorkspaceBusy
from exegete.review.keys import Key
from exegete.review.pages import orders
from exegete.review.pages.orders import Orders, Wanted
from exegete.review.pages.pauses import PAUSE_S, Pauses
from exegete.review.queue import Item


def item(index: int) -> Item:
    """A card."""
    return Item(
        key=Key("h", index, "+"),
        label=f"label {index}",
        status="review",
        score=0.5,
        low=0.4,
        high=0.6,
        confidence=0.5,
        reasons=(),
        worth=1.0,
        audit=False,
    )


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the next queue will hold."""
    held = [0, 1, 2, 3]

    def queue(*_: Any, **__: Any) -> list[Item]:
        return [item(index) for index in held]

    monkeypatch.setattr(orders, "queue", queue)
    monkeypatch.setattr(orders, "stamp", lambda _: (0, 0))
    return held


def after(some: Orders, index: int, step: int = 1) -> list[int]:
    """Cards after one."""
    return [found.key.index for found in some.beside(Wanted(), Key("h", index, "+"), step)]


def test_a_skipped_card_comes_last(built: list[int], tmp_path: Path) -> None:
    """Also where a queue that was built since has it right behind the card that is open."""
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None, Pauses())
    assert after(some, 1) == [2, 3, 0]
    some.done(Key("h", 2, "+"), skipped=True)
    assert after(some, 1) == [3, 0]
    built[:] = [0, 1, 3, 2]
    some.forget_all()
    assert after(some, 3) == [0, 1, 2], "unseen ones in front of it come before it"
    assert after(some, 3, -1) == [1, 0, 2], "going back is going back"
    some.undone(Key("h", 2, "+"))
    assert after(some, 3) == [2, 0, 1]


def test_a_decided_card_is_left_out_until_a_queue_is_built(built: list[int], tmp_path: Path) -> None:
    """What was decided here is not dealt from a queue that is older than the decision."""
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None, Pauses())
    assert [found.key.index for found in some.of(Wanted())] == built
    some.done(Key("h", 1, "+"))
    assert [found.key.index for found in some.of(Wanted())] == [0, 2, 3]
    assert after(some, 1) == [2, 3, 0]


def waiting_for(holds: Any) -> bool:
    """Whether something comes to hold within some seconds."""
    until = time.monotonic() + 10
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.005)
    return bool(held)


def test_an_older_queue_is_shown_until_the_next_is_built(
    built: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the file has changed and the queue has aged; what is decided while it is built stays out of it."""
    stamps, hours = [(0, 0)], [100.0]
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> list[Item]:
        begun.set()
        assert go_on.wait(10)
        return [item(index) for index in built]

    monkeypatch.setattr(orders, "stamp", lambda _: stamps[0])
    monkeypatch.setattr(orders, "time", SimpleNamespace(monotonic=lambda: hours[0]))
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None, Pauses())
    assert len(some.of(Wanted())) == 4
    monkeypatch.setattr(orders, "queue", slow)
    hours[0] += orders.FRESH_S + 1
    some.of(Wanted())
    assert not begun.is_set(), "nothing has changed"
    stamps[0] = (1, 1)
    some.done(Key("h", 2, "+"))
    hours[0] += 1
    built[:] = [5, 2, 1]
    assert [found.key.index for found in some.of(Wanted())] == [0, 1, 3]
    assert begun.wait(10)
    assert [found.key.index for found in some.of(Wanted())] == [0, 1, 3], "while the next one is built"
    hours[0] += 1
    some.done(Key("h", 1, "+"))
    go_on.set()
    assert waiting_for(lambda: [found.key.index for found in some.of(Wanted())] == [5, 2])


def test_a_failed_build_leaves_the_older_queue_and_is_tried_again(
    built: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that holds the file for long costs nobody the queue."""
    stamps, hours, failed = [(0, 0)], [100.0], []
    real = orders.queue

    def busy(*_: Any, **__: Any) -> list[Item]:
        failed.append(1)
        raise WorkspaceBusy("held")

    monkeypatch.setattr(orders, "stamp", lambda _: stamps[0])
    monkeypatch.setattr(orders, "time", SimpleNamespace(monotonic=lambda: hours[0]))
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None, Pauses())
    some.of(Wanted())
    monkeypatch.setattr(orders, "queue", busy)
    stamps[0], hours[0] = (1, 1), hours[0] + orders.FRESH_S + 1
    assert waiting_for(lambda: len(some.of(Wanted())) == 4 and len(failed) >= 2), "again and again"
    monkeypatch.setattr(orders, "queue", real)
    built[:] = [7]
    assert waiting_for(lambda: [found.key.index for found in some.of(Wanted())] == [7])


def test_counts_are_made_in_the_background_and_follow_the_file(
    built: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for them: a page has none, or the last ones, until the next are there."""
    stamps, hours, held = [(0, 0)], [100.0], {"all": 3}
    monkeypatch.setattr(orders, "stamp", lambda _: stamps[0])
    monkeypatch.setattr(orders, "time", SimpleNamespace(monotonic=lambda: hours[0]))
    monkeypatch.setattr(orders, "counts", lambda *_: dict(held))
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None, Pauses())
    assert waiting_for(lambda: some.counts() == {"all": 3})
    held["all"] = 4
    hours[0] += orders.FRESH_S + 1
    assert some.counts() == {"all": 3}, "the file is as it was"
    stamps[0] = (1, 1)
    assert waiting_for(lambda: some.counts() == {"all": 4})


def test_nothing_is_made_ahead_while_somebody_waits() -> None:
    """Who waits for a pause goes on in one, or after as long as it was to wait, and not once all is over."""
    pauses, passed = Pauses(), threading.Event()
    assert pauses.wait()
    with pauses.request():
        assert pauses.wait(at_most=0.01), "as long as it was to wait"
        waiter = threading.Thread(target=lambda: pauses.wait() and passed.set())
        waiter.start()
        assert not passed.wait(3 * PAUSE_S)
    assert passed.wait(10)
    waiter.join(10)
    with pauses.request():
        pauses.close()
        assert not pauses.wait()


def test_two_who_ask_for_a_new_queue_build_it_once(
    built: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first: building takes the labels file for itself."""
    builds, go_on = [], threading.Event()

    def slow(*_: Any, **__: Any) -> list[Item]:
        builds.append(1)
        assert go_on.wait(10)
        return [item(index) for index in built]

    monkeypatch.setattr(orders, "queue", slow)
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None, Pauses())
    found: list[int] = []
    askers = [threading.Thread(target=lambda: found.append(len(some.of(Wanted())))) for _ in range(3)]
    for asker in askers:
        asker.start()
    assert waiting_for(lambda: builds)
    go_on.set()
    for asker in askers:
        asker.join(10)
    assert (found, builds) == ([4, 4, 4], [1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An empty one."""
    return Store(tmp_path_factory.mktemp("orders") / "labels.duckdb")


@given(st.lists(st.integers(0, 9), unique=True), st.sets(st.integers(0, 9)), st.integers(-1, 9))
def test_beside_is_the_order_turned_round(store: Store, order: list[int], done: set[int], here: int) -> None:
    """From a card on and round, or back and round, without what is done; from no card all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orders, "queue", lambda *_, **__: [item(index) for index in order])
        some = Orders(store, "ada", lambda _: None, Pauses())
        some.of(Wanted())
        for index in done:
            some.done(Key("h", index, "+"))
        at = order.index(here) if here in order else None
        turned = order if at is None else order[at + 1 :] + order[:at]
        left = [index for index in turned if index not in done]
        assert after(some, here) == left
        assert after(some, here, -1) == left[::-1]
