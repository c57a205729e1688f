"""What a card shows: inert text, no report split, simulated levels, and markup that everybody can use."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.kept import HISTOGRAM_EDGES
from exegete.datastore.records import Context, Excerpt, Label
from exegete.datastore.splits import split_of
from exegete.datastore.workspace import Workspace
from exegete.review.keys import Key
from exegete.review.pages.drawings import histogram, scale_of
from exegete.review.pages.excerpts import marks, show
from exegete.review.pages.orders import Wanted
from exegete.review.pages.room import Room
from exegete.review.pages.texts import differences, visible
from exegete.review.record import Act, record
from exegete.scorers.reading import read
from exegete.simulators.lexical import LexicalSimulator
from tests.agent import planted
from tests.agent.harness import SMALL, Runner, competently
from tests.review.labelled import outcome, workspace_of
from tests.review.paged import Page, rows, visiting

HOSTILE = (
    "<script>alert(1)</script>",
    "<img/src=x/onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "\u202eevil\u202c",
    "{{7*7}}",
    "'onmouseover='alert(1)",
    "\x1b]0;owned\x07",
    "javascript:alert(1)",
    "</textarea></script>",
    "=cmd|calc",
    "\u2066isolated",
    "&lt;b&gt;",
)
"""What stands in the corpus for the words of features 8 to 19, and in labels."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Hostile words in the corpus, in the labels that quote it, and said by people."""
    root = tmp_path_factory.mktemp("hostile")
    folder = planted.write_folder(root / "<b>planted", dict(zip(planted.SINGLE, HOSTILE, strict=True)))
    space = Workspace.open_or_create(root / "workspace")
    import_parquet(folder, ImportSpec(quiet=300), space.evidence)
    asyncio.run(Job(space, JobSpec(features="0-19", name="first", nulls=0)).run())
    for i, text in enumerate(HOSTILE):
        key = Key(space.harvests()[0], 8 + i, "+")
        (row,) = rows(space, "SELECT label FROM labels WHERE feature_index = ?", key.index)
        record(space, Act(key, "comment", f"bob {text}", row["label"], comment=f"x {text}"))
        record(space, Act(key, "edit", "bob", row["label"], text=f"says {text} here"))
    return space


@pytest.fixture(scope="module")
def pages(hostile: Workspace) -> list[Page]:
    """All there is to see, as somebody with a hostile name sees it."""
    return every_page(hostile, "<b>ann</b>")


def every_page(space: Workspace, reviewer: str) -> list[Page]:
    """All there is to see."""
    with visiting(space, reviewer) as visitor:
        pages = [
            visitor.get(a) for a in ("/", "/?which=all", "/?which=all&search=%3Cscript%3E", "/work", "/keys")
        ]
        harvest = space.harvests()[0]
        pages += [visitor.get(f"/card/{harvest}/{i}+?which=all") for i in range(20)]
        assert visitor.status == 200
    return pages


def test_hostile_text_is_shown_and_does_nothing(pages: list[Page]) -> None:
    """No script but ours, no handler, style, foreign address or control character; and it can be read."""
    shown = ""
    for page in pages:
        shown += page.root.text
        for element in page.root.all():
            assert element.tag not in ("img", "iframe", "object", "style", "base", "b><svg")
            assert not [name for name in element.attributes if name.startswith("on") or name == "style"]
            if element.tag == "script":
                assert (element.attributes["src"], element.text) == ("/static/review.js", "")
            for name in ("href", "action", "formaction", "src"):
                address = element.attributes.get(name, "/")
                assert re.match(r"(/(?!/)|#|\?|data:,$|$)", address), address
        for ch in page.html:
            assert ch == "\n" or unicodedata.category(ch) not in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp"), hex(
                ord(ch)
            )
    for text in ("<script>alert(1)</script>", "{{7*7}}", "⟨U+202E⟩evil", "&lt;b&gt;"):
        assert text in shown


def test_no_page_holds_anything_of_the_report_split(pages: list[Page]) -> None:
    """Every context says its document: none on a card is of the split that labels are scored on."""
    documents = {mark for page in pages for mark in planted.MARK.findall(page.html)}
    splits = {split_of(name, 0) for name in documents}
    assert splits == {"explain", "refine"}


def test_looking_writes_nothing(hostile: Workspace, pages: list[Page]) -> None:
    """After every page the files are what they were, byte for byte."""
    assert pages  # the files that the first visit makes are there

    def digests() -> dict[str, str]:
        files = [
            p for p in hostile.root.rglob("*") if p.is_file() and not p.name.startswith("review.sqlite-")
        ]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = digests()
    every_page(hostile, "ann")
    assert digests() == before


def test_every_field_and_button_has_a_name_and_every_id_is_one(pages: list[Page]) -> None:
    """What a screen reader needs of the markup; a browser's tests ask axe for the rest."""
    for page in pages:
        ids = [e.attributes["id"] for e in page.root.all() if "id" in e.attributes]
        assert len(ids) == len(set(ids))
        named = {e.attributes["for"] for e in page.elements("label") if "for" in e.attributes}
        for tag in ("input", "textarea", "select"):
            for element in page.elements(tag):
                inside = element.inside is not None and element.inside.tag == "label"
                hidden = element.attributes.get("type") == "hidden"
                assert hidden or inside or element.attributes.get("id") in named
        assert all(e.text.strip() for e in (*page.elements("button"), *page.elements("summary")))
        assert len(page.elements("h1")) == len(page.elements("main")) == 1
        assert all(
            "aria-label" in e.attributes or "aria-labelledby" in e.attributes for e in page.elements("nav")
        )
        for svg in page.elements("svg"):
            drawn_for_all = svg.attributes.get("role") == "img" and svg.attributes["aria-label"]
            assert drawn_for_all or (svg.inside is not None and svg.inside.attributes.get("aria-hidden"))


def test_every_key_of_the_list_has_a_button(hostile: Workspace) -> None:
    """And the reasons of a rejection the numbers; the list says all of them."""
    with visiting(hostile) as ann:
        page = ann.get(f"/card/{hostile.harvests()[0]}/8+?which=all")
        keys = {e.attributes["data-key"] for e in page.root.all() if "data-key" in e.attributes}
        assert keys == {"a", "e", "x", " ", "u", "U", "f", "c", "r", "j", "k", "t", "s", "/", "n", "?"}
        reasons = [e.attributes["data-reason"] for e in page.root.all() if "data-reason" in e.attributes]
        assert reasons == list("1234567")
        listed = {"".join(dt.text.split()) for dt in ann.get("/keys").elements("dt")}
    assert keys - {" "} | {"space", "Ctrl+Enter", "Esc"} == listed


def test_a_model_is_not_asked_again_for_what_it_simulated(run: Runner, workspace: Workspace) -> None:
    """Its replies are read from the journal, while a job has that to itself: same levels, and no call."""
    run(competently, features="0-3", **SMALL)
    with workspace.job_lock():
        room = Room(workspace, "ann", False)
        room._simulations.prepare()
        card = room.card(Key(workspace.harvests()[0], 0, "+"))
        assert card is not None
        assert not isinstance(card.examples, str)
        assert card.examples.unsimulated == ""
        shown = {tab.id: tab.excerpts for tab in card.examples.tabs}
        assert all(e.simulated is not None for e in shown["quiet"])
        assert all(e.simulated is None for e in shown["top"])  # of the explain split, which nobody simulated
        room.close()


def test_cards_without_evidence_are_made_ahead_too(tmp_path: Path) -> None:
    """Labels that came without their evidence file have cards, and the next ones are made while one reads."""
    space = workspace_of(tmp_path / "w", [outcome(n) for n in range(5)])
    room = Room(space, "ann", False)
    items = room.orders.of(Wanted())
    room.ahead(items[1:3])
    limit = time.monotonic() + 30
    while room._coming or room._is_going:
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert [room._known(item.key) is not None for item in items[:4]] == [False, True, True, False]
    card = room._known(items[1].key)
    assert card is not None
    assert isinstance(card.examples, str)
    room.close()


def test_mistakes_are_those_of_the_simulation_worst_first(hostile: Workspace) -> None:
    """Against a loop over words, of the label and the excerpts that the run tried it on."""
    room = Room(hostile, "ann", False)
    key = Key(hostile.harvests()[0], 4, "+")  # fires at random: there are mistakes
    card = room.card(key)
    assert card is not None
    assert not isinstance(card.examples, str)
    shown = [e.size for tab in card.examples.tabs if tab.id == "mistakes" for e in tab.excerpts]
    room.close()
    file = hostile.open_evidence()
    feature, reader = file.feature(4), AgentEvidence(file)
    evidence = reader.refine(feature, JobSpec().refine_plan)
    label = Label(feature, card.facts.row["label"], "lexical@1")
    assert sum(file.histogram(feature)) == file.summary(feature).fired > 0
    reading = asyncio.run(read(LexicalSimulator(), label, evidence, 0))
    file.close()
    sizes = []
    for excerpt, levels in zip(reading.excerpts, reading.levels, strict=True):
        worst = 0.0
        for value, level in zip(excerpt.activations, levels, strict=True):
            worst = max(worst, abs(min(float(value) / evidence.maximum, 1.0) - float(level) / 10))
        sizes.append(worst)
    expected = sorted((s for s in sizes if s >= 0.2), reverse=True)[:12]
    assert shown
    assert shown == pytest.approx(expected, abs=1e-5)


def test_a_strength_is_a_number_and_an_underline_and_words_and_not_only_a_colour() -> None:
    """Each firing word has its level as text, one class of ten, and is among what a screen reader is told."""
    activations = np.asarray([0, 2, 1, 0.01, 0], dtype=np.float32)
    context = Context(1, "d", 0, (" a", " b", " c", " d", " e"))
    shown = show(Excerpt(context, activations, "top", 1.0), 2.0)
    found = Page(shown.true).elements("i")
    assert [(e.text, e.attributes["data-l"], e.attributes["class"]) for e in found] == [
        ("b", "10", "w l10 peak"),
        ("c", "5", "w l5"),
        ("d", "<1", "w l0"),
    ]
    assert shown.spoken == "fires on b 10, c 5, d 0"
    css = (Path(__file__).parents[2] / "review" / "static" / "review.css").read_text()
    assert all(re.search(rf"\.l{level}\b[^}}]*(--t|--a|border)", css) for level in range(11))


def test_a_word_of_spaces_is_seen_and_named() -> None:
    """Where a feature fires on spaces, the mark is as wide as they are, and a sign says it in words."""
    context = Context(1, "d", 0, ("a", "  ", "b"))
    excerpt = Excerpt(context, np.asarray([0, 2, 0], dtype=np.float32), "top", 1.0)
    shown = show(excerpt, 2.0, np.zeros(3, dtype=np.float32))
    (mark,) = Page(shown.true).elements("i")
    assert mark.text == "  "
    assert shown.mistake == "fires more than predicted on “␣” (true 10, simulated 0)"
    assert shown.spoken == "fires on ␣ 10"


@given(st.lists(st.tuples(st.text(max_size=6), st.floats(-1, 2)), max_size=8))
def test_marks_hold_every_word_once(words: list[tuple[str, float]]) -> None:
    """Whatever the words are, an excerpt's marks say all of it, in order, and nothing else."""
    found = marks([word for word, _ in words], [share for _, share in words])
    assert "".join(m.before + m.text for m in found) == visible("".join(word for word, _ in words))
    assert all(m.level is None or 0 <= m.level <= 10 for m in found)


@given(st.text(max_size=40), st.text(max_size=40))
def test_differences_rebuild_both_texts(before: str, after: str) -> None:
    """What is the same and gone is the older text; what is the same and new the newer."""
    pieces = differences(before, after)
    assert "".join(p.text for p in pieces if p.kind != "new") == before
    assert "".join(p.text for p in pieces if p.kind != "gone") == after


@given(st.text(max_size=60))
def test_nothing_that_is_shown_acts(text: str) -> None:
    """No control or format character is left, and plain text is as it was."""
    shown = visible(text)
    assert not [ch for ch in shown if unicodedata.category(ch) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")]
    if text.isprintable():
        assert shown == text


@given(st.lists(st.one_of(st.none(), st.floats(-1, 1)), max_size=6))
def test_all_scores_lie_on_their_scale(values: list[float | None]) -> None:
    """In order, between its ends, which are 1 and zero or a quarter below the lowest."""
    scale = scale_of(values)
    known = sorted(v for v in values if v is not None)
    places = [scale.place(v) for v in known]
    assert places == sorted(p for p in places if p is not None)
    assert all(p is not None and 0 <= p <= 100 for p in places)
    assert scale.low <= min([0.0, *known])


def test_a_histogram_has_a_bar_where_something_fired() -> None:
    """One a filled bin, at its place between the ends; the tallest is the fullest; nothing for nothing."""
    counts = [0] * (len(HISTOGRAM_EDGES) + 1)
    assert histogram(counts) is None
    counts[20], counts[22], counts[23] = 5, 1000, 1
    drawn = histogram(counts)
    assert drawn is not None
    assert [bar.x for bar in drawn.bars] == [0, 50, 75]
    assert drawn.bars[1].height == max(bar.height for bar in drawn.bars) == 100
    assert (drawn.low, drawn.high) == (float(HISTOGRAM_EDGES[19]), float(HISTOGRAM_EDGES[23]))
    assert drawn.bars[0].words == f"{HISTOGRAM_EDGES[19]:.3g} to {HISTOGRAM_EDGES[20]:.3g}: 5 tokens"
