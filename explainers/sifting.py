"""What a written test must be to be run: a short text of its own, with one prediction that says one thing.

Whoever writes tests has read a corpus, so a test is text from outside: it is cleaned before it is kept, and
what is wrong with it costs that test and no other.

    left out       nothing visible; too long; written before, in this reply or an earlier round; copied from
                   what was shown; of a kind that says the opposite of the prediction; a minimal pair that is
                   not two texts with opposite predictions
    kept, told     a text that reads like an instruction: the subject computes on it and obeys nobody, and a
                   feature may well fire on such texts; a reply whose tests all predict the same, which can
                   show that a label is too wide or too narrow and never both

A copied text is allowed in a minimal pair: there it is what its changed twin is held against.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from exegete.datastore.records import Experiment, Prediction, PredictionKind
from exegete.explainers.hygiene import clean, reads_like_instruction, same_label
from exegete.prompts.material import LINE_BREAK

MAX_WORDS, MAX_CHARACTERS = 40, 400
"""Of one text. A longer one is left out, not cut: what it was to fire on may stand at its end."""
COPIED = 5
"""Words in a row from which on a text that stands in what was shown counts as copied from there."""

_SAYS: dict[PredictionKind, bool | None] = {
    "fires": True,
    "silent": False,
    "near miss": False,
    "without the key token": True,
    "key token elsewhere": False,
    "minimal pair": None,
}
"""What each kind predicts; None for either."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """Tests that can be run, and what there was to say of the others."""

    kept: tuple[Prediction, ...]
    left_out: tuple[str, ...]
    """One clause for each test that is not run."""
    told: tuple[str, ...]
    """One clause for whatever is odd about those that are."""


def sift(written: Sequence[Prediction], shown: Sequence[str], before: Sequence[Experiment], n: int) -> Sifted:
    """Keep the tests that can be run.

    Args:
        written: as a model wrote them, in its order.
        shown: passages that it was shown, whose outcome is known.
        before: tests of earlier rounds.
        n: at most so many are kept; a pair is not parted for it.
    """
    kept: list[Prediction] = []
    left_out: list[str] = []
    passages = [_words(passage) for passage in shown]
    said = [experiment.prediction for experiment in before]
    for group in _groups([replace(one, text=_cleaned(one.text)) for one in written]):
        known = [*said, *kept]
        why = _why_no_pair(group) if group[0].kind == "minimal pair" else None
        why = why or next((w for one in group if (w := _why_left_out(one, known, passages))), None)
        if why is None and len(kept) + len(group) > n:
            why = f"more than the {n} that were asked for"
        if why is None:
            kept += group
        else:
            left_out += [why] * len(group)
    return Sifted(tuple(kept), tuple(left_out), tuple(_told(kept)))


def _groups(written: Sequence[Prediction]) -> Iterator[list[Prediction]]:
    """Tests that stand or fall together: the texts of a minimal pair, and others one by one."""
    pairs: dict[int | None, list[Prediction]] = {}
    for one in written:
        if one.kind == "minimal pair":
            pairs.setdefault(one.pair, []).append(one)
    for one in written:
        if one.kind != "minimal pair":
            yield [replace(one, pair=None)]
        elif one.pair in pairs:
            yield pairs.pop(one.pair)


def _why_no_pair(group: Sequence[Prediction]) -> str | None:
    """Why tests of one pair number are no minimal pair, or None."""
    if len(group) == 1:
        return "a minimal pair with one text"
    if len(group) > 2:
        return f"a minimal pair with {len(group)} texts"
    one, other = group
    if one.fires == other.fires:
        return "a minimal pair of which both texts are predicted the same"
    if one.text == other.text:
        return "a minimal pair of one text, predicted both ways"
    return None


def _why_left_out(one: Prediction, known: Sequence[Prediction], passages: Sequence[list[str]]) -> str | None:
    """Why a test can't be run, or None."""
    words = _words(one.text)
    says = _SAYS[one.kind]
    if not any(unicodedata.category(char)[0] in "LNPS" for char in one.text):
        return "a test without text"
    if len(words) > MAX_WORDS or len(one.text) > MAX_CHARACTERS:
        return f"a text of {len(words)} words and {len(one.text)} characters"
    if says is not None and one.fires != says:
        return f"a test of the kind {one.kind!r} that is predicted to {'fire' if one.fires else 'be silent'}"
    if any(_repeats(one, earlier) for earlier in known):
        return "a test that was written before"
    if one.kind != "minimal pair" and len(words) >= COPIED and any(_stands_in(words, p) for p in passages):
        return "a text that was shown"
    return None


def _told(kept: Sequence[Prediction]) -> Iterator[str]:
    """What is odd about tests that can be run."""
    for one in kept:
        if reads_like_instruction(one.text):
            yield "a test reads like an instruction"
    if len(kept) > 1 and len({one.fires for one in kept}) == 1:
        every, shown = ("fire", "narrow") if kept[0].fires else ("be silent", "wide")
        yield f"all {len(kept)} tests are predicted to {every}: they can't show that a label is too {shown}"


def _repeats(one: Prediction, earlier: Prediction) -> bool:
    """Is a test an earlier one over again: the same text, or nearly so with the same prediction?

    Texts that differ in a word or two and are predicted differently are what minimal pairs and near misses
    are made of.
    """
    return one.text == earlier.text or (one.fires == earlier.fires and same_label(one.text, earlier.text))


def _stands_in(words: Sequence[str], passage: Sequence[str]) -> bool:
    """Do these words stand in a passage, one after the other?"""
    folded, n = [word.casefold() for word in words], len(words)
    inside = [word.casefold() for word in passage]
    return any(inside[at : at + n] == folded for at in range(len(inside) - n + 1))


def _words(text: str) -> list[str]:
    """A text's words, as spaces part them."""
    return text.split()


def _cleaned(text: str) -> str:
    """A text without what can't be seen; its line breaks, however they were written, and indents stay."""
    lines = text.replace(LINE_BREAK, "\n").split("\n")
    kept = (" " * (len(line) - len(line.lstrip(" "))) + clean(line) for line in lines)
    return "\n".join(kept).strip()
