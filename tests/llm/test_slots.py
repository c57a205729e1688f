"""Slots: a table of words, where its slots are among a server's tokens, and what the journal keeps."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exegete.llm import Journal
from exegete.llm.record import reply_in
from exegete.llm.size import most_tokens
from exegete.llm.slots import LEAST, Slots, aligned, count_slots, number_in, odds_of, table, texts_of
from tests.llm.fakes import reply, request

LEVELS = ("0", "1", "2")
WORDS = st.lists(
    st.sampled_from(["?", "0", "too", "(?)", "ĉ?", "<0x09>", "?\u00a0", "\ufffd", "日本", "Ġ", "x"])
    | st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1, max_size=6),
    min_size=1,
    max_size=8,
)


def test_a_table() -> None:
    """One line a word, with a tab and the placeholder; a word that could make a slot is refused."""
    assert table(["too", "?", "hot"]) == "too\t?\n?\t?\nhot\t?"
    assert count_slots(table(["too", "?", "hot"])) == 3
    for word in ("", "a\tb", "a\nb", "a\rb", "\t?"):
        with pytest.raises(ValueError, match="can't stand on a line"):
            table(["good", word])


def cut(text: str, at: set[int]) -> list[str]:
    """A text in pieces, cut at some places."""
    places = sorted({0, len(text), *at})
    return [text[a:b] for a, b in pairwise(places)]


@given(
    WORDS,
    st.text("ab\t? \n<>", max_size=30),
    st.sampled_from(["", "<end>", "\n<end>\n"]),
    st.randoms(use_true_random=False),
)
def test_slots_are_found_where_they_are(words: list[str], before: str, after: str, random: object) -> None:
    """However a prompt is cut into tokens, if every slot begins one, those are found."""
    text = table(words)
    prompt = f"{before}\n{text}{after}"
    starts = [i for i in range(len(prompt)) if prompt[i - 1 : i + 1] == "\t?"][-len(words) :]
    extra = {i for i in range(len(prompt)) if random.random() < 0.5}  # type: ignore[attr-defined]
    # A token holds a slot and no more than the line break after it.
    ends = {i + (2 if i + 1 in extra and prompt[i + 1 : i + 2] == "\n" else 1) for i in starts}
    inside = {i + 1 for i in starts if i + 2 in ends}
    tokens = cut(prompt, (extra - inside) | set(starts) | ends)
    found = aligned(texts_of(tokens), text)
    positions = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    assert found is not None
    assert [positions[i] for i in found] == starts


@given(WORDS, st.integers(0, 7), st.sampled_from(["merged", "lost", "changed", "more"]))
def test_what_does_not_align_is_not_read(words: list[str], which: int, how: str) -> None:
    """A slot inside a token, a missing line, another word or a further tab: nothing is found at all."""
    which %= len(words)
    text = table(words)
    lines = text.split("\n")
    if how == "merged":
        tokens = [piece for line in lines for piece in (line[:-2], "\t", "?", "\n")][:-1]
        tokens[4 * which + 1 : 4 * which + 3] = ["\t?"]
    elif how == "lost":
        tokens = list("".join(f"{line}\n" for i, line in enumerate(lines) if i != which))
    elif how == "changed":
        lines[which] = "wrong" + lines[which]
        assume(not lines[which][5:-2].endswith("wrong"))
        tokens = list("\n".join(lines))
        assume(which > 0)  # what stands before the first word is the rest of the prompt
    else:
        # What stands before a first word is the rest of the prompt, and of it ASCII alone is compared.
        assume(not "more".endswith("".join(char for char in words[0] if "!" <= char <= "~")))
        tokens = [*list(text), "\n", "more", "\t", "?"]
    assert aligned(texts_of(tokens), text) is None


def test_tokens_printed_with_marks() -> None:
    """Marks for blanks and names of bytes are read as such, and letters that look like them as letters."""
    text = table(["ĉ?", "no", "é"])
    marked = ["Ġ", "Ċ", "Äī?", "ĉ", "?Ċ", "no", "ĉ", "?", "Ċ", "Ã©", "ĉ", "?"]
    assert aligned(texts_of(marked), text) == [4, 7, 11]
    plain = [" ", "\n", "ĉ", "?", "\t", "?\n", "no", "\t", "?", "\n", "é", "\t", "?"]
    assert aligned(texts_of(plain), text) == [5, 8, 12]
    text = table(["no", "é"])
    named = ["▁a", "<0x0A>", "▁no", "<0x09>", "?", "<0x0A>", "<0xC3>", "<0xA9>", "<0x09>", "?"]
    assert aligned(texts_of(named), text) == [4, 9]


def test_odds_add_up_what_means_the_same() -> None:
    """A level counts with and without a blank before it; what was not told is None, and so is no number."""
    told = [("0", math.log(0.5)), (" 0", math.log(0.25)), ("12", -1.0), ("2", -math.inf), ("1", None)]
    odds = odds_of(told, LEVELS)
    assert odds == (round(math.log(0.75), 6), None, LEAST)
    assert json.loads(json.dumps(odds)) == list(odds)
    assert [number_in(x) for x in (1, -1.5, {"logprob": -2}, None, True, "x", math.nan, math.inf, {})] == [
        1.0,
        -1.5,
        -2.0,
        *[None] * 6,
    ]


def test_old_keys_are_what_they_were() -> None:
    """A request without slots has the key it had before there were any; slots make it another one."""
    asked = request()
    before = {
        "model": "m",
        "system": "be brief",
        "messages": [["user", "hello"]],
        "schema": None,
        "max_tokens": 2048,
        "temperature": None,
        "sample": 0,
        "prompt_version": "",
    }
    canonical = json.dumps(before, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert asked.key == hashlib.sha256(canonical.encode()).hexdigest()
    assert asked.key == "80b5497bf0cae29928dfe3973cdd64ce9a24ae152e974d58fe4d15f6074ecd4c"
    keys = {asked.key, request(slots=Slots(LEVELS)).key, request(slots=Slots(LEVELS[:2])).key}
    assert len(keys) == 3


ODDS = st.none() | st.lists(st.none() | st.floats(LEAST, 0.01), min_size=3, max_size=3).map(tuple)


@given(rows=st.lists(ODDS, max_size=5).map(tuple))
def test_a_reply_comes_back_exactly(rows: tuple[tuple[float | None, ...] | None, ...]) -> None:
    """What the journal keeps of slots is read back to the bit, missing ones as missing."""
    from exegete.llm.record import line_of, record_of

    asked = request(slots=Slots(LEVELS))
    line = line_of(record_of(asked, reply(text="", slots=rows), keep_messages=False))
    assert reply_in(json.loads(line)) == reply(text="", slots=rows, journalled=True)


def test_in_the_journal(tmp_path: Path) -> None:
    """Slots survive the disk; a record without them, as all were before, is a reply without."""
    asked = request("word\t?", slots=Slots(LEVELS))
    rows = ((-0.1, None, -3.25), None)
    with Journal(tmp_path) as journal:
        asyncio.run(journal.put(asked, reply(slots=rows)))
        asyncio.run(journal.put(request(), reply()))
    with Journal(tmp_path) as journal:
        assert journal.get(asked.key) == reply(slots=rows, journalled=True)
        assert journal.get(request().key) == reply(journalled=True)
        new, old = (journal.record(one.key) or {} for one in (asked, request()))
    assert new["slots"] == {"levels": list(LEVELS), "mark": "\t?"}
    assert "slots" not in old
    assert "slots" not in old["reply"]


def test_the_most_it_can_cost() -> None:
    """A server may be sent the prompt once a slot: a budget reserves for that."""
    text = table(["a", "b", "c"])
    assert most_tokens(request(text, slots=Slots(LEVELS))) == 3 * most_tokens(request(text))
