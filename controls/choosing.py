"""Which features there are to plant on a text: for each kind, truths in random order.

A truth is planted only where it can be scored (see `Frequencies.enough`). What makes one kind hard must
matter, so the exception of a "negated" feature, and the condition of an "and", concern a good part of the
word's occurrences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice

import numpy as np

from exegete.controls import wrong
from exegete.controls.frequencies import FIRING, Frequencies, plain
from exegete.controls.passages import Passages
from exegete.controls.truths import WITHIN, Truth, came_before, levels
from exegete.errors import CorpusError
from exegete.simulators.grammar import ANY, NEVER, STRENGTHS, Clause, Kind, Pattern, render, rule_of
from exegete.simulators.word_classes import classes_of
from exegete.simulators.word_forms import stem

ENDINGS = (
    *("ing", "tion", "ed", "ly", "ment", "able", "er", "ence", "al", "ity"),
    *("ive", "ion", "or", "ible", "ance", "ous", "ize", "es"),
)
BEGINNINGS = ("re", "un", "in", "de", "ex", "con", "pre", "sub", "inter", "com", "pro", "dis", "over", "imp")
WRITTEN = (
    *("capitalised words", "words in capitals", "numbers", "words with digits"),
    *("names with underscores", "camel case names", "single letters", "quotation marks"),
)
GRADES = (1.0, 0.5, 0.2)
"""Levels of graded features: those that the lexical grammar calls strong, medium and weak."""
EXCEPTED = (0.3, 0.6)
"""Share of a word's occurrences that the exception of a negated feature takes away."""
MET = (0.2, 0.5)
"""Share of a word's occurrences at which the condition of an "and" is met."""


class Chooser:
    """Chooses truths on one text."""

    def __init__(self, passages: Passages, seed: int) -> None:
        """Choose on passages whose splits are known, by a seed."""
        self._passages, self._seed, self._text = passages, seed, Frequencies(passages)

    def choose(self, kind: str, n: int) -> list[Truth]:
        """Truths of one kind.

        Args:
            kind: of `POSITIVE`.
            n: how many; where the text has fewer, they come again, to be planted with other noise.

        Returns:
            n truths, or none where the text has no room for this kind. Duplicates come in twos.
        """
        rng = np.random.default_rng([self._seed, *kind.encode()])
        # Some kinds never run out of candidates, of which none may fit.
        candidates = islice(_KINDS[kind](self, rng), 100 + 20 * n)
        fit = (truth for truth in candidates if self._fits(truth))
        if kind == "duplicate":
            found = list(islice(fit, (n + 1) // 2))
            return [truth for truth in islice(cycle(found), (n + 1) // 2) for _ in range(2)] if found else []
        found = list(islice(fit, n))
        return list(islice(cycle(found), n)) if found else []

    def check(self) -> None:
        """Refuse a text on which hardly anything can be planted.

        Raises:
            CorpusError: fewer than two dozen words are frequent enough.
        """
        if len(self._text.common) < 24:
            raise CorpusError(
                f"this text is too short to plant features on: {len(self._text.common)} of its words stand "
                f"in {FIRING} contexts of each split, and 24 are needed; take more text"
            )

    def _fits(self, truth: Truth) -> bool:
        return self._text.enough(levels(truth.rule, self._passages) > 0)

    def _one_word(self, rng: np.random.Generator, kind: str) -> Iterator[Truth]:
        for word in self._text.shuffled(rng):
            label = wrong.words([word])
            rule = {"rule": "words", "words": [word], "levels": [1.0]}
            fewer = next((o for o, share in self._text.neighbours(word) if share <= 0.6), None)
            narrow = None if fewer is None else render(rule_of([_after(word, fewer)]))
            broad = wrong.broader_beginning(word, self._passages, self._text.count)
            yield Truth(kind, label, label, (word,), rule, wrong.named(broad, narrow))

    def token(self, rng: np.random.Generator) -> Iterator[Truth]:
        """One word."""
        return self._one_word(rng, "token")

    def duplicate(self, rng: np.random.Generator) -> Iterator[Truth]:
        """One word, for two features."""
        return self._one_word(rng, "duplicate")

    def token_class(self, rng: np.random.Generator) -> Iterator[Truth]:
        """Some members of a closed class of words, or all forms of a word."""
        groups: dict[str, list[str]] = {}
        for word in self._text.plain_where(self._text.now_and_then, 2):
            for name in {*classes_of(word), f"forms of {stem(word)}"}:
                groups.setdefault(name, []).append(word)
        fit = [name for name in sorted(groups) if len(groups[name]) >= 3]
        while fit:
            name = fit[int(rng.integers(len(fit)))]
            members = [groups[name][i] for i in rng.permutation(len(groups[name])).tolist()]
            chosen = members[: int(rng.integers(3, 7))]
            rule = {"rule": "words", "words": chosen, "levels": [1.0] * len(chosen)}
            label = wrong.words(chosen)
            rarest = min(chosen, key=lambda w: (self._text.frequency(w), w))
            broad = wrong.words([*chosen, *self._text.some(rng, 2 * len(chosen))])
            lies = wrong.named(broad, wrong.words([rarest]))
            yield Truth("token class", label, label, tuple(chosen), rule, lies)

    def form(self, rng: np.random.Generator) -> Iterator[Truth]:
        """How a word ends, begins or is written."""
        forms: list[tuple[Kind, str]] = [
            *(("ending", text) for text in ENDINGS),
            *(("beginning", text) for text in BEGINNINGS),
            *(("class", text) for text in WRITTEN),
        ]
        for i in rng.permutation(len(forms)).tolist():
            name, text = forms[i]
            rule = {"rule": name, "text": text}
            label = render(rule_of([Clause(Pattern(name, text))]))
            fires = levels(rule, self._passages) > 0
            if not fires.any():
                continue
            commonest = Counter(self._passages.word[fires].tolist()).most_common(1)[0][0]
            narrow = wrong.words([self._passages.words[commonest]])
            keys = () if name == "class" else (text,)
            broad = wrong.broader_form(name, text)
            yield Truth("form", label, label, keys, rule, wrong.named(broad, narrow))

    def after_word(self, rng: np.random.Generator) -> Iterator[Truth]:
        """Whatever stands directly after a word."""
        for word in self._text.shuffled(rng):
            rule = {"rule": "after", "text": word}
            fires = levels(rule, self._passages) > 0
            if not fires.any():
                continue
            follower = Counter(self._passages.word[fires].tolist()).most_common(1)[0][0]
            others = [w for w in self._text.some(rng, 4) if w != word][:3]
            label, broad = (
                render(rule_of([Clause(ANY, side="after", beside=Pattern("word", w)) for w in some]))
                for some in ([word], [word, *others])
            )
            narrow = render(rule_of([_after(self._passages.words[follower], word)]))
            yield Truth("after a word", label, label, (word,), rule, wrong.named(broad, narrow))

    def graded(self, rng: np.random.Generator) -> Iterator[Truth]:
        """Words, each with a strength of its own."""
        while True:
            chosen = self._text.some(rng, int(rng.integers(3, 7)))
            if len(chosen) < 3:
                return
            grades = [GRADES[i % len(GRADES)] for i in range(len(chosen))]
            rule = {"rule": "words", "words": chosen, "levels": grades}
            label = wrong.graded(chosen, grades)
            more = self._text.some(rng, 2 * len(chosen))
            weakest = [word for word, grade in zip(chosen, grades, strict=True) if grade == GRADES[-1]]
            broad = wrong.words([*chosen, *more])
            yield Truth("graded", label, label, tuple(chosen), rule, wrong.named(broad, wrong.words(weakest)))

    def either(self, rng: np.random.Generator) -> Iterator[Truth]:
        """Two words that have nothing to do with each other."""
        words = self._text.shuffled(rng)
        for first in words:
            others = [w for w in words if w != first and self._text.alike(first, w)]
            if not others:
                continue
            pair = [first, others[int(rng.integers(len(others)))]]
            rule = {"rule": "words", "words": pair, "levels": [1.0, 1.0]}
            label = wrong.words(pair)
            broad = wrong.words([*pair, *self._text.some(rng, 4)])
            lies = wrong.named(broad, None, wrong.words(pair[:1]))
            yield Truth("or", label, label, tuple(pair), rule, lies)

    def negated(self, rng: np.random.Generator) -> Iterator[Truth]:
        """A word, except directly after another."""
        for word in self._text.shuffled(rng):
            before = self._text.neighbours(word)
            for other, share in before:
                if not EXCEPTED[0] <= share <= EXCEPTED[1]:
                    continue
                rule = {"rule": "not after", "word": word, "text": other}
                label = render(rule_of([Clause(Pattern("word", word)), _after(word, other, NEVER)]))
                narrow = next((render(rule_of([_after(word, o)])) for o, _ in before if o != other), None)
                lies = wrong.named(wrong.words([word]), narrow)
                yield Truth("negated", label, label, (word,), rule, lies)

    def both(self, rng: np.random.Generator) -> Iterator[Truth]:
        """A word, where another one came shortly before."""
        p = self._passages
        others = [p.words[i] for i in np.argsort(-self._text.count, kind="stable")[:150].tolist()]
        others = [word for word in others if plain(word, 2)]
        reached = {other: came_before(p, other) for other in others}
        for word in self._text.shuffled(rng):
            here = p.is_word([word])
            for i in rng.permutation(len(others)).tolist():
                other = others[i]
                share = float(reached[other][here].mean())
                if other == word or not MET[0] <= share <= MET[1]:
                    continue
                rule = {"rule": "with", "word": word, "text": other}
                said = f'"{word}" where "{other}" came among the {WITHIN} words before'
                narrow = render(rule_of([_after(word, other)]))
                yield Truth("and", said, None, (word, other), rule, wrong.named(wrong.words([word]), narrow))
                break

    def brackets(self, rng: np.random.Generator) -> Iterator[Truth]:
        """Whatever stands inside round brackets."""
        lies = wrong.named("words inside brackets, quotation marks or headings", 'any word after "("')
        rule = {"rule": "inside", "depth": 1}
        yield Truth("bracket depth", "any word inside round brackets", None, (), rule, lies)

    def position(self, rng: np.random.Generator) -> Iterator[Truth]:
        """Words at some places of the harvested context, whatever they are."""
        longest = int(self._passages.place.max(initial=0))
        for first in rng.permutation(np.arange(1, longest, 4)).tolist():
            rule = {"rule": "places", "first": first, "end": first + 4}
            said = f"the {first + 1}th to {first + 4}th word of a passage, whatever it says"
            lies = wrong.named("words in the second half of a passage", None)
            yield Truth("position", said, None, (), rule, lies)


def _after(word: str, other: str, level: int = STRENGTHS["strong"]) -> Clause:
    return Clause(Pattern("word", word), level, "after", Pattern("word", other))


_KINDS: Mapping[str, Callable[[Chooser, np.random.Generator], Iterator[Truth]]] = {
    "token": Chooser.token,
    "token class": Chooser.token_class,
    "form": Chooser.form,
    "after a word": Chooser.after_word,
    "graded": Chooser.graded,
    "or": Chooser.either,
    "negated": Chooser.negated,
    "duplicate": Chooser.duplicate,
    "and": Chooser.both,
    "bracket depth": Chooser.brackets,
    "position": Chooser.position,
}
