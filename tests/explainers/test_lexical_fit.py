"""The parts of the fit, against literal loops."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from exegete.datastore.records import Context
from exegete.explainers import lexical_vocabulary
from exegete.explainers.lexical_candidates import FEWEST, PRIOR
from exegete.explainers.lexical_layout import HARD_SHARE, REACH, Doubles, lay_out
from exegete.explainers.lexical_selection import LEAST_GAIN, MARGIN, Problem, Search, select
from exegete.explainers.lexical_table import Table, build
from exegete.explainers.lexical_vocabulary import Vocabulary, patterns_of
from exegete.simulators.grammar import STRENGTHS, Clause, Pattern, rule_of
from exegete.simulators.lexical import holds, levels_of
from tests.explainers.lexical_corpus import Noise, Rule, evidence, passages
from tests.simulators.lexical_strategies import PATTERNS, RAW


@given(RAW, PATTERNS)
def test_patterns_of_a_word_are_those_that_hold(token: str, other: Pattern) -> None:
    """All that is said to hold of a word does; nothing else of the sorts looked for holds."""
    found = patterns_of(token)
    for pattern in found:
        assert holds(pattern, token) or pattern.kind == "forms"  # by its stem, which is no word
        assert pattern.text.isalpha() or pattern.kind not in ("ending", "beginning")
    affix = other.kind in ("ending", "beginning")
    looked_for = not affix or (other.text.isalpha() and 2 <= len(other.text) <= 5)
    if looked_for and other.kind != "forms":
        assert holds(other, token) == (other in found)


def test_vocabulary_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded, and forgetting changes no answer."""
    monkeypatch.setattr(lexical_vocabulary, "MOST_TOKENS", 50)
    monkeypatch.setattr(lexical_vocabulary, "MOST_CONTEXTS", 10)
    small, large = Vocabulary(), Vocabulary()
    for context in passages("explain")[:30]:
        small.make_room()
        assert small.arrays().n_tokens <= 50
        (row,) = small.read([context])
        assert len(small._contexts) <= 10
        known = small.arrays()
        named = [small.patterns[known.words[token]].text for token in row.tolist()]
        (same,) = large.read([context])
        known = large.arrays()
        assert named == [large.patterns[known.words[token]].text for token in same.tolist()]


def test_words_are_weighed_as_in_a_score() -> None:
    """1 at a peak, less around it; silent words sum to the same, and typical ones count for more."""
    shown = evidence(lambda words, i: float(words[i] == "house" and words[i - 1] == "the"))
    words = lay_out(Vocabulary(), shown)
    n = words.n_activating
    assert words.weights[:n][words.activations[:n] > 0].max() == 1.0
    for excerpt in shown.activating[:3]:
        peak = int(np.argmax(excerpt.activations))
        at = next(
            i
            for i in range(0, n, 60)
            if words.weights[i + peak] == 1.0 and (words.activations[i : i + 60] == excerpt.activations).all()
        )
        expected = [max(0.0, 1 - abs(i - peak) / REACH) for i in range(60)]
        assert words.weights[at : at + 60] == pytest.approx(expected)
    even = words.weights[:n].sum() / (len(words.weights) - n)
    assert words.weights[n:].min() == pytest.approx(even)
    assert (words.weights[n:] - even).sum() == pytest.approx(HARD_SHARE * len(shown.activating))
    tokens = [token for e in sorted(shown.quiet, key=lambda e: e.context.id) for token in e.context.tokens]
    heavier = {token for token, w in zip(tokens, words.weights[n:], strict=True) if w > 1.001 * even}
    assert heavier == {" house"}


@pytest.mark.parametrize("rule", [Noise(2), lambda words, i: float(words[i].endswith("ly"))])
def test_table_is_what_the_simulator_says(rule: Rule) -> None:
    """For every candidate, the words at which the table says it holds weigh and fire as the simulator's."""
    shown = evidence(rule)
    vocabulary = Vocabulary()
    table = build(vocabulary, shown)
    words = lay_out(vocabulary, shown)
    activating = sorted(shown.activating, key=lambda e: (-e.peak, e.context.id))
    contexts = [e.context for e in (*activating, *sorted(shown.quiet, key=lambda e: e.context.id))]
    assert len(table.candidates) > 20
    for number, clause in enumerate(table.candidates):
        there = np.concatenate(levels_of(rule_of([clause]), contexts)) > 0
        row = table.holds[[number]].toarray()[0]
        assert row @ table.weights == pytest.approx(words.weights[there].sum())
        mass = row @ (table.weights * table.activations)
        assert mass == pytest.approx((words.weights * words.activations)[there].sum())
    assert table.total == pytest.approx(float((words.weights * words.activations**2).sum()))


def test_general_candidates_are_borne_out() -> None:
    """Endings, beginnings, classes and places stand for at least so many different firing words."""
    shown = evidence(Noise(2))
    firing: dict[Clause, set[str]] = defaultdict(set)
    candidates = build(Vocabulary(), shown).candidates
    general = [c for c in candidates if c.pattern.kind not in ("word", "forms")]
    assert general
    for excerpt in shown.activating:
        for clause in general:
            (levels,) = levels_of(rule_of([clause]), [excerpt.context])
            both = np.flatnonzero((levels > 0) & (excerpt.activations > 0))
            firing[clause] |= {excerpt.context.tokens[i].strip().lower() for i in both.tolist()}
    assert all(len(firing[clause]) >= FEWEST for clause in general)


def _random_table(seed: int, n: int = 12, rows: int = 40) -> Table:
    """A table that means nothing."""
    rng = np.random.default_rng(seed)
    fires = rng.random(rows) < 0.3
    activations = np.where(fires, rng.gamma(2.0, 1.0, rows), 0.0)
    weights = rng.random(rows) * 3
    holds = (rng.random((n, rows)) < 0.3).astype(float)
    holds[n // 2 :] *= holds[: n - n // 2]  # as the forms of a word hold wherever the word does
    holds[:, 0] = 1.0
    return Table(
        candidates=tuple(Clause(Pattern("word", f"w{i:02}")) for i in range(n)),
        costs=rng.integers(5, 20, n).astype(float),
        holds=csr_array(holds),
        activations=activations,
        weights=weights,
        total=float((weights * activations**2).sum()) * 1.1,
    )


class _Literal:
    """The same selection, with everything worked out afresh at every step."""

    def __init__(self, problem: Problem, characters: float, thrift: float) -> None:
        self.problem, self.characters, self.thrift = problem, characters, thrift
        self.chosen: dict[int, int] = {}
        self.used: set[int] = set()
        self.explained = 0.0

    def said(self, chosen: dict[int, int]) -> Doubles:
        """What clauses predict together."""
        return np.asarray(
            [
                max([0, *(level for i, level in chosen.items() if self.problem.holds[i, row])])
                for row in range(len(self.problem.target))
            ],
            dtype=np.float64,
        )

    def gain(self, number: int, low: Doubles, high: Doubles) -> float:
        """By how much less the error is at a higher prediction, less the penalty of a clause for the step."""
        weights = self.problem.table.weights
        better = (weights * ((self.problem.target - low) ** 2 - (self.problem.target - high) ** 2)).sum()
        step = (weights * (high - low)).sum() / weights[self.problem.holds[number] > 0].sum()
        return float((better - PRIOR * step**2) / self.problem.total)

    def grow(self) -> bool:
        """Take the best clause, if one is good enough."""
        costs, low = self.problem.table.costs, self.said(self.chosen)
        left = self.characters - sum(costs[i] for i in self.chosen)
        options = []
        for i in range(len(costs)):
            for level in STRENGTHS.values():
                gain = self.gain(i, low, np.where(self.problem.holds[i] > 0, np.maximum(low, level), low))
                if i not in self.used and costs[i] <= left and gain >= LEAST_GAIN:
                    options.append((gain / costs[i] ** self.thrift, -i, level, gain))
        if not options:
            return False
        _, i, level, gain = max(options)
        holds = self.problem.holds
        self.chosen = {j: v for j, v in self.chosen.items() if v > level or (holds[j] > holds[-i]).any()}
        self.chosen[-i] = level
        self.used.add(-i)
        self.explained += gain
        return True

    def drop(self) -> bool:
        """Drop the worst clause, if it is worth nothing beside the others."""
        high = self.said(self.chosen)
        worth = []
        for place, i in enumerate(self.chosen):
            low = self.said({j: v for j, v in self.chosen.items() if j != i})
            worth.append((self.gain(i, low, high), place, i))
        if not worth or min(worth)[0] > 0:
            return False
        gain, _, i = min(worth)
        self.explained -= gain
        del self.chosen[i]
        return True

    def run(self) -> list[Clause]:
        """Grow and drop until neither is of use."""
        while self.grow() or self.drop():
            pass
        return [replace(self.problem.table.candidates[i], level=v) for i, v in self.chosen.items()]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([20.0, 60.0, 500.0]), st.sampled_from([0.0, 1.0]))
def test_selection_is_greedy(seed: int, characters: float, thrift: float) -> None:
    """Sums kept up to date choose what trying everything afresh at every step would."""
    problem = Problem(_random_table(seed))
    found = Search(problem, np.ones(12, dtype=bool), characters, thrift).run()
    literal = _Literal(problem, characters, thrift)
    assert [choice.clause for choice in found.choices] == literal.run()
    assert found.explained == pytest.approx(literal.explained)
    assert found.thrift == thrift
    assert sum(choice.cost for choice in found.choices) <= characters


@given(st.integers(0, 10_000))
def test_thrift_is_given_up_only_for_a_better_rule(seed: int) -> None:
    """Of the rules found with and without it, the second must explain more by a margin."""
    problem = Problem(_random_table(seed))
    every = np.ones(12, dtype=bool)
    thrifty, plain = (Search(problem, every, 40.0, thrift).run() for thrift in (1.0, 0.0))
    better = plain.explained > thrifty.explained + MARGIN
    assert select(problem, 40.0).choices == (plain if better else thrifty).choices


def test_what_is_not_allowed_is_not_chosen() -> None:
    """Only candidates that are allowed are chosen; with none there is nothing to say."""
    problem = Problem(_random_table(3))
    allowed = np.arange(12) < 4
    chosen = {choice.number for choice in Search(problem, allowed, 500.0, 1.0).run().choices}
    assert chosen
    assert chosen <= {0, 1, 2, 3}
    assert Search(problem, ~np.ones(12, dtype=bool), 500.0, 1.0).run().choices == ()


def test_a_context_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passages come again for every feature: their words are numbered the first time only."""
    vocabulary = Vocabulary()
    context = Context(5, "d", 0, (" a", " b"))
    (first,) = vocabulary.read([context])
    monkeypatch.setattr(lexical_vocabulary, "patterns_of", pytest.fail)
    (again,) = vocabulary.read([Context(6, "e", 3, (" a", " b"))])
    assert again is first
