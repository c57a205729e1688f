"""Reviewers side by side, a job that writes meanwhile, a server that dies, and an hour of keys."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from playwright.sync_api import expect

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.review.desk import Desk
from exegete.review.queue import queue
from exegete.review.record import REASONS, Act, record
from tests.browser.conftest import Visits
from tests.browser.serving import Served, events, feature_of
from tests.review.labelled import key, outcome, row_of, workspace_of

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
ALL_WAIT = 80
"""Features of the workspace, which all wait for review."""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Labels without evidence; each test has features of its own."""
    rows = [outcome(i, density=0.001 + i / 1e6) for i in range(ALL_WAIT)]
    return workspace_of(tmp_path_factory.mktemp("people") / "w", rows)


@pytest.fixture(scope="module")
def ann(space: Workspace) -> Iterator[Served]:
    """Ann's page."""
    served = Served(space, "ann")
    yield served
    served.end()


@pytest.fixture(scope="module")
def bob(space: Workspace) -> Iterator[Served]:
    """Bob's page of the same workspace."""
    served = Served(space, "bob")
    yield served
    served.end()


def press(page: Page, key: str) -> None:
    """Press a key and wait for the page it leads to."""
    with page.expect_navigation():
        page.keyboard.press(key)


def keep_writing(root: Path, stop: Event, wrote: Event) -> None:
    """Finish a feature again and again, as a job does."""
    store = Store(Workspace.open(root).labels)
    number = 10_000
    while not stop.wait(0.05):
        row = outcome(number)
        store.insert({"outcomes": [row]})
        wrote.set()
        number += 1


@contextmanager
def job_running(space: Workspace) -> Iterator[None]:
    """Another process writes the labels file meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    stop, wrote = spawn.Event(), spawn.Event()
    process = spawn.Process(target=keep_writing, args=(space.root, stop, wrote))
    process.start()
    try:
        assert wrote.wait(60)
        yield
    finally:
        stop.set()
        process.join()
    assert process.exitcode == 0


def test_two_people_do_not_get_one_card(visit: Visits, ann: Served, bob: Served) -> None:
    """Who comes second is dealt another card, is told who has this one, and can't decide about it."""
    hers, his = visit(), visit()
    hers.goto(f"{ann.address}/?which=all")
    press(hers, "j")
    his.goto(f"{bob.address}/?which=all")
    assert his.locator(".taken").count() == 1
    press(his, "j")
    feature = feature_of(hers)
    assert feature_of(his) != feature
    his.goto(bob.card(feature))
    his.wait_for_selector("#held:visible")
    assert his.inner_text("#holder") == "ann"
    before = events(ann.space)
    press(his, "a")
    assert "Somebody else has this card" in his.inner_text("#problem")
    assert events(ann.space) == before
    press(hers, "a")
    (done,) = events(ann.space)[len(before) :]
    assert (done["feature_index"], done["reviewer"], done["decision"]) == (feature, "ann", "accept")
    press(hers, "u")


def test_a_label_that_was_replaced_is_not_decided_about(visit: Visits, ann: Served) -> None:
    """A decision about an older label is refused in words, the new one is shown, and what was typed stays."""
    page = visit("409 (Conflict)")
    page.goto(ann.card(70))
    record(ann.space, Act(key(70), "edit", "carol", "label 70", text="carol's own"))
    before = events(ann.space)
    page.keyboard.press("e")
    expect(page.locator("#edit-text")).to_be_focused()
    page.keyboard.type(" and more")
    press(page, "Control+Enter")
    assert "Nothing was recorded" in page.inner_text("#problem")
    assert page.inner_text("#label") == "carol's own"
    assert page.input_value("#edit-text") == "label 70 and more"
    assert events(ann.space) == before
    page.click("#b-cancel")
    press(page, "a")
    assert [(e["decision"], e["label_before"]) for e in events(ann.space)[len(before) :]] == [
        ("accept", "carol's own")
    ]


def test_a_job_writes_meanwhile(page: Page, ann: Served) -> None:
    """Every decision is there, and so is every feature that the job finished."""
    before = len(events(ann.space))
    page.goto(ann.card(0, "review"))
    done = []
    with job_running(ann.space):
        for _ in range(8):
            done.append(feature_of(page))
            press(page, "a")
            page.wait_for_selector("#said .said")
    assert [(e["feature_index"], e["decision"]) for e in events(ann.space, before)] == [
        (feature, "accept") for feature in done
    ]
    ((n,),) = Store(ann.space.labels).reading(
        lambda con: con.execute("SELECT count(*) FROM outcomes WHERE feature_index >= 10000").fetchall()
    )
    assert n > 0
    Store(ann.space.labels).write(_without_the_job)


def _without_the_job(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("DELETE FROM store.outcomes WHERE feature_index >= 10000")


def test_a_draft_outlives_its_server(visit: Visits, space: Workspace) -> None:
    """What was typed before a crash is there after it; what was typed meanwhile is saved when it can be."""
    with Served(space, "dora") as served:
        page = visit("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
        page.goto(served.card(71))
        page.keyboard.press("e")
        expect(page.locator("#edit-text")).to_be_focused()
        page.keyboard.press("Control+A")
        page.keyboard.type("before")
        expect(page.locator("#draft-state")).to_have_text("draft saved", timeout=30_000)
        served.kill()
        assert Desk(space).draft(key(71), "dora") == "before"
        page.keyboard.type(" and after")
        expect(page.locator("#draft-state")).to_contain_text("not saved", timeout=30_000)
    with Served(space, "dora", port=served.port) as served:
        expect(page.locator("#draft-state")).to_have_text("draft saved", timeout=30_000)
        page.reload()
        assert page.input_value("#edit-text") == "before and after"
        page.click("#b-save")
        assert row_of(space, 71)["label"] == "before and after"
        assert Desk(space).draft(key(71), "dora") is None
        served.end()


def test_blind_the_label_comes_after_ones_own(visit: Visits, space: Workspace) -> None:
    """No answer of the server has it before, and no page; what was written outlives the server."""
    hidden, read = "label 72", []
    Desk(space).release(key(72), "dora")  # who may have been dealt it when her test ended
    page = visit("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")

    def reading(letter: str) -> None:
        with page.expect_navigation() as going:
            page.keyboard.press(letter)
        read.append(going.value.text())

    before = len(events(space))
    with Served(space, "finn", "--blind") as served:
        for address in (f"{served.address}/work", f"{served.address}/?which=all&search=72"):
            answer = page.goto(address)
            assert answer is not None
            read.append(answer.text())
        reading("j")
        assert feature_of(page) == 72
        for letter in "aexr1":  # none of which has a button yet
            page.keyboard.press(letter)
        reading("f")
        page.wait_for_selector("#said .said")
        assert not [text for text in (*read, page.content()) if hidden in text]
        page.focus("#blind-text")
        page.keyboard.type("what finn saw")
        press(page, "Control+Enter")
        assert page.inner_text("#label") == hidden
        served.kill()
    with Served(space, "finn", "--blind", port=served.port) as served:
        page.reload()
        assert page.inner_text("#yours") == "You wrote: what finn saw"
        press(page, "a")
        served.end()
    found = [(e["decision"], e["blind_text"], e["label_before"]) for e in events(space)[before:]]
    assert found == [("flag", None, hidden), ("accept", "what finn saw", hidden)]


def test_fifty_cards_by_keys_alone(page: Page, tmp_path: Path) -> None:
    """An hour's work, no decided card twice, and each row that it leaves in `reviews`."""
    space = workspace_of(tmp_path / "w", [outcome(i, density=0.0005 + i / 1e6) for i in range(60)])
    audit = {item.key.index: item.audit for item in queue(Store(space.labels), reviewer="eve")}
    with Served(space, "eve") as served:
        page.goto(served.address)
        press(page, "j")
        expected = []
        for number in range(50):
            feature = feature_of(page)
            label = f"label {feature}"
            act: dict[str, object] = {"decision": "accept", "label_before": label}
            match number % 5:
                case 0 | 1:
                    press(page, "a")
                case 2:
                    page.keyboard.press("e")
                    expect(page.locator("#edit-text")).to_be_focused()
                    page.keyboard.type(", said better")
                    press(page, "Control+Enter")
                    act |= {"decision": "edit", "text": f"{label}, said better"}
                case 3:
                    page.keyboard.press("x")
                    press(page, str(number % 7 + 1))
                    act |= {"decision": "reject", "reason": REASONS[number % 7]}
                case _:
                    press(page, " ")
                    act |= {"decision": "skip"}
            expected.append({"feature_index": feature, "audit": audit[feature]} | act)
        served.end()
    decided = [row["feature_index"] for row in expected if row["decision"] != "skip"]
    assert len(set(decided)) == len(decided) == 40
    found = events(space)
    same: dict[str, object] = {"reviewer": "eve", "polarity": "+", "harvest": "h", "run": "r"}
    same |= {"status_before": "review", "score_before": 0.5}
    same |= dict.fromkeys(("text", "reason", "comment", "blind_text", "target"))
    rest = ("event", "reviewed_at", "seconds", "version", "confidence_before", "stands")
    assert [{n: v for n, v in row.items() if n not in rest} for row in found] == [
        same | row for row in expected
    ]
    assert [row["stands"] for row in found] == [row["decision"] != "skip" for row in expected]
    assert len({row["event"] for row in found}) == 50
    assert all(0 <= row["seconds"] < 60 for row in found)
    assert sum(row["audit"] for row in found) in range(1, 16)
