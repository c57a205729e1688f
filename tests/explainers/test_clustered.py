"""Labels with senses: proposed where excerpts fall into groups, and only there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from exegete.datastore.records import Context, Evidence, Excerpt, Floats, Label, Plan
from exegete.errors import LeakageError, LLMUnavailable, NoReadableReply, UsageError
from exegete.explainers import build
from exegete.explainers.clustered import LONGEST, ClusteredExplainer, fitting, part_of, written
from exegete.explainers.clusters import Grouping
from exegete.explainers.explainer import Attempt
from exegete.explainers.hygiene import MAX_LENGTH, clean, why_refused
from exegete.explainers.lexical import LexicalExplainer
from exegete.explainers.surroundings import Embeds, Profile
from exegete.simulators.lexical import LexicalSimulator
from exegete.simulators.senses import simulate_label
from tests.explainers.explainer_fakes import FEATURE, FakeLLM, attempt, proposing
from tests.explainers.lexical_corpus import Noise
from tests.explainers.lexical_corpus import evidence as of_rule

FILLER = "the old man went over to see what it was and then came back again with some more"


class Inner:
    """An explainer of one idea: it names the word at which the evidence fires most, in several wordings."""

    name = "inner@1"
    plan = Plan(top=7, per_decile=2)

    def __init__(self, *unreadable: str) -> None:
        self.asked: list[tuple[Evidence, int]] = []
        self._unreadable = unreadable

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        self.asked.append((evidence, k))
        word = commonest(evidence)
        if word in self._unreadable:
            raise NoReadableReply(f"nothing about {word}")
        return [Label(evidence.feature, f'{"just " * i}the word "{word}"', self.name) for i in range(k)]

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        self.asked.append((evidence, k))
        return [Label(evidence.feature, f"after {len(attempts)} attempts", self.name, 1)]


class Silent:
    """Embeds nothing: every vector is missing."""

    name = "silent@1"

    def embed(self, texts: Sequence[str]) -> Floats:
        return np.full((len(texts), 3), np.nan, dtype=np.float32)


def commonest(shown: Evidence) -> str:
    """The word with the largest sum of activations."""
    sums: dict[str, float] = {}
    for one in shown.activating:
        for token, activation in zip(one.context.tokens, one.activations.tolist(), strict=True):
            sums[token.strip()] = sums.get(token.strip(), 0.0) + activation
    return max(sorted(sums), key=lambda word: sums[word])


def firing_on(*words: str, each: int = 8, also: str | None = None) -> Evidence:
    """Excerpts of a feature that fires on these words in turn, and beside the first on another word too."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(each * len(words)):
        word = words[number % len(words)]
        tokens = rng.permutation(FILLER.split())[:9].tolist()
        tokens[4] = word
        activations = np.zeros(9, dtype=np.float32)
        activations[4] = 8.0 - number / 100
        if also is not None and word == words[0]:
            tokens[7], activations[7] = also, 2.0
        context = Context(number, "d", 0, tuple(f" {token}" for token in tokens))
        made.append(Excerpt(context, activations, "top", 1.0))
    quiet = Excerpt(Context(900, "q", 0, (" nothing", " here")), np.zeros(2, np.float32), "quiet", 1.0)
    return Evidence(FEATURE, "explain", tuple(made), (quiet,), "word", 8.0)


def explain(
    shown: Evidence, k: int = 3, inner: Inner | None = None, embedder: Embeds | None = None
) -> list[Label]:
    """Ask a clustered explainer."""
    explainer = ClusteredExplainer(inner or Inner(), embedder or Profile())
    return asyncio.run(explainer.explain(shown, k))


def test_two_unrelated_words_are_two_senses() -> None:
    """Plain labels come first, as many as leave room for one with a sense for each word, which says both."""
    inner = Inner()
    *plain, whole = explain(firing_on("river", "seven"), 3, inner)
    assert [label.text for label in plain] == ['the word "river"', 'just the word "river"']
    assert whole.senses == ('the word "river"', 'the word "seven"')
    assert whole.text == 'either: (1) the word "river"; or (2) the word "seven"'
    assert {label.author for label in plain} == {"inner@1"}
    assert (whole.author, whole.round) == ("clustered@1(inner@1, profile@1)", 0)
    shown, groups = inner.asked[0][0], [part for part, _ in inner.asked[1:]]
    assert [sorted(e.context.id for e in part.activating) for part in groups] == [
        list(range(0, 16, 2)),
        list(range(1, 16, 2)),
    ]
    assert all((part.quiet, part.maximum) == (shown.quiet, shown.maximum) for part in groups)


def test_one_word_has_one_sense() -> None:
    """A feature of one word is asked about once, and gets the inner explainer's labels and no other."""
    inner = Inner()
    labels = explain(firing_on("river"), 3, inner)
    assert [label.senses for label in labels] == [()] * 3
    assert [k for _, k in inner.asked] == [3]


def test_with_one_candidate_there_are_no_senses() -> None:
    """Nothing would stand beside them."""
    inner = Inner()
    assert [label.senses for label in explain(firing_on("river", "seven"), 1, inner)] == [()]
    assert len(inner.asked) == 1


def test_a_sense_is_silent_at_the_other_senses_words() -> None:
    """What another group peaks at, and this one never does, is no part of this sense; excerpts stay."""
    shown = firing_on("river", "seven", also="seven")
    inner = Inner()
    explain(shown, 3, inner)
    of_river = next(part for part, _ in inner.asked[1:] if commonest(part) == "river")
    assert all("seven" in "".join(e.context.tokens) for e in of_river.activating)
    assert all(np.count_nonzero(e.activations) == 1 for e in of_river.activating)
    assert all(np.count_nonzero(e.activations) == 2 for e in shown.activating[::2])
    assert all(e.activations.flags.writeable for e in shown.activating)


def test_a_word_of_both_groups_is_silent_in_neither() -> None:
    """Senses that differ in what stands around one word both keep it."""
    shown = firing_on("bass")
    grouping = Grouping((tuple(range(0, 8, 2)), tuple(range(1, 8, 2))), 0.5)
    for number in range(2):
        part = part_of(shown, grouping, number)
        assert [e.peak for e in part.activating] == [e.peak for e in shown.activating[number::2]]


def test_an_unreadable_sense_costs_the_sense() -> None:
    """Of three groups one that nothing could be read about is left out; of two, senses are."""
    labels = explain(firing_on("river", "seven", "green"), 3, Inner("seven"))
    assert labels[-1].senses == ('the word "river"', 'the word "green"')
    assert [label.senses for label in explain(firing_on("river", "seven"), 3, Inner("seven"))] == [()] * 2
    with pytest.raises(NoReadableReply):
        explain(firing_on("river", "seven"), 3, Inner("river", "seven"))


def test_an_outage_is_passed_on() -> None:
    """A model that can't be reached about a group is no missing sense."""
    shown = firing_on("river", "seven")
    llm = FakeLLM(proposing("rivers", "water"), LLMUnavailable("gone"))
    explainer = ClusteredExplainer(build("highlight", llm, "m"), Profile())
    with pytest.raises(LLMUnavailable):
        asyncio.run(explainer.explain(shown, 3))
    assert len(llm.asked) == 2


def test_senses_that_say_the_same_are_one() -> None:
    """Near duplicates are merged, and what is left then of a label with senses is none."""
    llm = FakeLLM(proposing("plain"), proposing("words of the sea"), proposing("Words of the sea."))
    explainer = ClusteredExplainer(build("highlight", llm, "m"), Profile())
    labels = asyncio.run(explainer.explain(firing_on("river", "seven"), 3))
    assert [(label.text, label.senses) for label in labels] == [("plain", ())]


@pytest.mark.parametrize("split", ["refine", "report"])
def test_other_splits_are_refused(split: str) -> None:
    """Evidence of another split is refused before anybody is asked."""
    inner = Inner()
    with pytest.raises(LeakageError, match=f"clustered@1.*{split} split"):
        explain(replace(firing_on("river", "seven"), split=split), 3, inner)  # type: ignore[arg-type]
    assert inner.asked == []


@pytest.mark.parametrize("n", [0, 1, 2])
def test_little_evidence_is_the_inner_explainers(n: int) -> None:
    """None, one or two excerpts are no groups."""
    shown = firing_on("river", "seven")
    inner = Inner() if n else LexicalExplainer()
    explainer = ClusteredExplainer(inner, Profile())
    labels = asyncio.run(explainer.explain(replace(shown, activating=shown.activating[:n]), 3))
    assert [label.senses for label in labels] == [()] * (3 if n else 0)


def test_identical_excerpts_and_missing_vectors_are_no_groups() -> None:
    """The same excerpt many times, and excerpts that can't be embedded, are no reason for senses."""
    shown = firing_on("river", "seven")
    same = replace(shown, activating=shown.activating[:1] * 30)
    assert [label.senses for label in explain(same)] == [()] * 3
    assert [label.senses for label in explain(shown, embedder=Silent())] == [()] * 3


def test_revisions_are_the_inner_explainers() -> None:
    """It is handed all evidence and every attempt, those with senses too."""
    inner, shown = Inner(), firing_on("river", "seven")
    explainer = ClusteredExplainer(inner, Profile())
    tried = [attempt("a"), attempt(written(["b", "c"]))]
    labels = asyncio.run(explainer.revise(shown, tried, 2))
    assert [label.text for label in labels] == ["after 2 attempts"]
    assert inner.asked == [(shown, 2)]
    assert (explainer.plan, explainer.name) == (Inner.plan, "clustered@1(inner@1, profile@1)")


def test_wordings_are_chosen_to_fit() -> None:
    """First wordings where they share the room, shorter ones where not, no more senses than fit at all."""
    assert fitting([["a" * 90, "a"], ["b" * 90, "b"], ["c" * 90]]) == ("a" * 90, "b" * 90, "c" * 90)
    assert fitting([["a" * 180, "a" * 160], ["b" * 150]]) == ("a" * 160, "b" * 150)
    assert fitting([[], ["b"], []]) == ("b",)
    assert fitting([]) == ()
    longest = ["".join(chr(97 + i) for _ in range(MAX_LENGTH)) for i in range(5)]
    kept = fitting([[text] for text in longest])
    assert kept == tuple(longest[:1])
    fives = fitting([[chr(97 + i) * 110] for i in range(5)])
    assert len(fives) == 5
    assert len(written(fives)) <= LONGEST


def test_senses_are_clean_and_within_bounds() -> None:
    """A sense is refused for what a label is refused for, and the whole is one visible line."""
    long, hidden = "x" * (MAX_LENGTH + 1), "rivers \u202eand\x1b[2J\nseas"
    llm = FakeLLM(proposing("plain"), proposing(long, hidden), proposing(long, "numbers"))
    explainer = ClusteredExplainer(build("highlight", llm, "m"), Profile())
    labels = asyncio.run(explainer.explain(firing_on("river", "seven"), 3))
    assert labels[-1].senses == ("rivers and seas", "numbers")
    for text in (labels[-1].text, *labels[-1].senses):
        assert text == clean(text)
        assert why_refused(text) is None


def test_groups_are_found_without_any_model() -> None:
    """Counting alone finds both words of an OR feature, a sense each, that its simulator reads back."""
    shown = of_rule(lambda words, i: 4.0 * (words[i] == "Monday" or words[i] == "garden"))
    whole = asyncio.run(build("clustered").explain(shown, 3))[-1]
    assert set(whole.senses) == {'the word "monday"', 'the word "garden"'}
    contexts = [excerpt.context for excerpt in shown.excerpts]
    for label in (whole, replace(whole, senses=())):  # its text says the same as its senses
        simulated = asyncio.run(simulate_label(LexicalSimulator(), label, contexts))
        for excerpt, levels in zip(shown.excerpts, simulated.levels, strict=True):
            assert levels is not None
            assert ((levels > 0) == (excerpt.activations > 0)).all()


@pytest.mark.parametrize(
    "rule",
    [
        lambda words, i: 4.0 * (words[i] == "garden"),
        lambda words, i: 4.0 * (i > 0 and words[i - 1] == "garden"),
        Noise(3),
    ],
)
def test_no_senses_are_made_up(rule: object) -> None:
    """One word, the word after a word, and firing at random have no senses."""
    labels = asyncio.run(build("clustered").explain(of_rule(rule), 3))  # type: ignore[arg-type]
    assert labels
    assert all(label.senses == () for label in labels)


def test_by_name(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without a model it goes around `lexical`, with one around `highlight`; what embeds is in its name."""

    def absent(name: str | None) -> None:
        raise UsageError(f"{name} is not here")

    monkeypatch.setattr("exegete.explainers.clustered.Sentences.open", absent)
    assert build("clustered").name == "clustered@1(lexical@1, profile@1)"
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        made = build("clustered", FakeLLM(""), "m")
    assert made.name.startswith("clustered@1(highlight/m@")
    assert made.name.endswith(", profile@1)")
    assert "grouped by their words" in caplog.text
    for llm in (None, FakeLLM("")):
        with pytest.raises(UsageError, match="mine is not here"):
            build("clustered", llm, "m" if llm else None, sentence_model="mine")
    monkeypatch.setattr("exegete.explainers.clustered.Sentences.open", lambda name: Silent())
    assert build("clustered", FakeLLM(""), "m").name.endswith(", silent@1)")
    assert build("clustered", sentence_model="mine").name == "clustered@1(lexical@1, silent@1)"
