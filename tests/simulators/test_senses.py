"""A label with senses is simulated sense by sense, and predicts what any of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.records import Context, FeatureId, Label
from exegete.errors import BudgetSpent, LLMUnavailable
from exegete.simulators.senses import combined, simulate_label
from exegete.simulators.simulator import Simulation

FEATURE = FeatureId("tiny@1", "layers.3", "neurons", 32)
CONTEXTS = tuple(Context(i, "d", 0, ("one", " two", " three")) for i in range(3))
Said = Sequence[Sequence[float] | str]
"""For every context its levels, or why they are missing."""


class Scripted:
    """Says what it is told of a text, and keeps what it was asked."""

    name = "scripted@1"

    def __init__(self, said: Mapping[str, Said | Exception]) -> None:
        self._said = said
        self.asked: list[str] = []

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        self.asked.append(label)
        await asyncio.sleep(0)
        said = self._said[label]
        if isinstance(said, Exception):
            raise said
        return saying(said)


def saying(said: Said, masses: Sequence[float | None] = ()) -> Simulation:
    """A simulation of these levels."""
    levels = [None if isinstance(one, str) else np.asarray(one, dtype=np.float32) for one in said]
    return Simulation(
        tuple(levels), tuple(one if isinstance(one, str) else None for one in said), tuple(masses)
    )


def label(*senses: str) -> Label:
    """A label with these senses."""
    return Label(FEATURE, "either: …", "test", senses=senses)


FIRST: Said = ([10, 0, 0], [0, 0, 3], "cut off")
SECOND: Said = ([0, 4, 0], [0, 0, 8], [1, 1, 1])


def test_word_by_word_the_largest() -> None:
    """Levels are the largest of any sense; a context one of them misses is missing, with which and why."""
    simulator = Scripted({"a": FIRST, "b": SECOND})
    found = asyncio.run(simulate_label(simulator, label("a", "b"), CONTEXTS))
    assert [None if x is None else x.tolist() for x in found.levels] == [[10, 4, 0], [0, 0, 8], None]
    assert found.why_missing == (None, None, "sense 1: cut off")
    assert simulator.asked == ["a", "b"]


def test_a_label_without_senses_is_its_text() -> None:
    """It is put to the simulator as it is, and what comes back is handed on."""
    simulator = Scripted({"words": FIRST})
    found = asyncio.run(simulate_label(simulator, Label(FEATURE, "words", "test"), CONTEXTS))
    assert simulator.asked == ["words"]
    assert found.why_missing == (None, None, "cut off")


def test_what_ends_the_job_is_raised_first() -> None:
    """Every sense is let finish, and of several failures the one that no later call survives is raised."""
    simulator = Scripted({"a": LLMUnavailable("down"), "b": SECOND, "c": BudgetSpent("spent")})
    with pytest.raises(BudgetSpent):
        asyncio.run(simulate_label(simulator, label("a", "b", "c"), CONTEXTS))
    assert len(simulator.asked) == 3
    with pytest.raises(LLMUnavailable):
        asyncio.run(simulate_label(simulator, label("a", "b"), CONTEXTS))


def test_senses_that_do_not_fit_are_refused() -> None:
    """Other numbers of contexts, or of words, are an error and no prediction."""
    with pytest.raises(ValueError, match="shorter"):
        combined([saying(FIRST), saying(SECOND[:2])])
    with pytest.raises(ValueError, match="shape"):
        combined([saying([[1, 2]]), saying([[1, 2, 3]])])


def test_the_missing_mass_is_the_largest() -> None:
    """It is kept where all senses have one."""
    one, other = saying(SECOND, (0.1, 0.5, 0.2)), saying(SECOND, (0.3, 0.4, None))
    assert combined([one, other]).missing_mass == (0.3, 0.5, None)
    assert combined([one, saying(SECOND)]).missing_mass == ()


@given(st.data())
def test_against_a_literal_loop(data: st.DataObject) -> None:
    """Any number of senses, any of them missing anywhere: the loop over words says the same."""
    n_senses, n_contexts = data.draw(st.integers(2, 5)), data.draw(st.integers(0, 4))
    one = st.one_of(st.just("lost"), st.lists(st.integers(0, 10), min_size=3, max_size=3))
    several = data.draw(st.lists(st.tuples(*[one] * n_contexts), min_size=n_senses, max_size=n_senses))
    found = combined([saying(said) for said in several])
    for c in range(n_contexts):
        given_levels = [said[c] for said in several]
        levels = found.levels[c]
        if "lost" in given_levels:
            assert (levels, found.why_missing[c]) == (None, f"sense {given_levels.index('lost') + 1}: lost")
        else:
            assert levels is not None
            for word in range(3):
                assert levels[word] == max(int(given[word]) for given in given_levels)
