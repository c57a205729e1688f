"""The simulation score, end to end over a simulator that is told what to predict."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from exegete.datastore.records import Context, Evidence, Excerpt, Floats, Score
from exegete.errors import LeakageError
from exegete.scorers.simulation import SimulationScorer
from exegete.scorers.stopping import Looks
from exegete.simulators.simulator import Simulation
from tests.scorers.scorer_fakes import LABEL, FakeSimulator, Predict, evidence, faithful, noisy, nothing


def score(shown: Evidence, predict: Predict, seed: int = 0, n_boot: int = 500, n_perm: int = 199) -> Score:
    """Score the test label on the report split."""
    scorer = SimulationScorer(FakeSimulator(shown, predict), "report", 0.5, seed, n_boot, n_perm)
    return asyncio.run(scorer.score(LABEL, shown))


def r_over(excerpts: Iterable[Excerpt], predict: Predict) -> float:
    """scipy's r over the words of some excerpts."""
    chosen = list(excerpts)
    simulated = np.concatenate([np.asarray(predict(e)) for e in chosen])
    return float(stats.pearsonr(simulated, np.concatenate([e.activations for e in chosen])).statistic)


def test_values_are_scipys() -> None:
    """The value and every part's r are scipy's over just the excerpts they name."""
    shown, predict = evidence(), noisy(3)
    found = score(shown, predict)
    top = [e for e in shown.activating if e.stratum == "top"]
    sampled = [e for e in shown.activating if e.stratum != "top"]
    random_quiet = [e for e in shown.quiet if e.stratum == "quiet"]
    hard_quiet = [e for e in shown.quiet if e.stratum == "hard quiet"]
    expected = {
        "r_top": r_over([*top, *shown.quiet], predict),
        "r_sampled": r_over([*sampled, *shown.quiet], predict),
        "r_random_quiet": r_over([*shown.activating, *random_quiet], predict),
        "r_hard_quiet": r_over([*shown.activating, *hard_quiet], predict),
    }
    assert found.value == pytest.approx(r_over(shown.excerpts, predict), abs=1e-9)
    assert {name: found.details[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found.details["r2"] == pytest.approx(found.value**2)
    assert found.details["n_words"] == sum(len(e.activations) for e in shown.excerpts)


class Doubtful(FakeSimulator):
    """Tells a missing mass of every context but the first of a call."""

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        plain = await super().simulate(label, contexts)
        return replace(plain, missing_mass=(None, *(mass_of(c) for c in contexts[1:])))


def mass_of(context: Context) -> float:
    """Some share of probability, a context's own."""
    return context.id % 7 / 10


def test_missing_mass_is_kept() -> None:
    """Its mean over the contexts it is known of, read at once or look by look; None where nobody tells it."""
    shown = evidence()
    doubtful = Doubtful(shown, noisy(3))
    scorer = SimulationScorer(doubtful, "report", 0.5, 0, 200, 0)
    asked: list[Context] = []
    plain = doubtful.simulate

    async def noting(label: str, contexts: Sequence[Context]) -> Simulation:
        asked.extend(contexts[1:])
        return await plain(label, contexts)

    doubtful.simulate = noting  # type: ignore[method-assign]
    found = asyncio.run(scorer.score(LABEL, shown))
    assert found.details["missing_mass"] == pytest.approx(np.mean([mass_of(c) for c in asked]))
    asked.clear()
    (found,) = asyncio.run(Looks(doubtful, [scorer], 0.5, 0).score(LABEL, shown))
    assert found.details["missing_mass"] == pytest.approx(np.mean([mass_of(c) for c in asked]))
    assert score(shown, noisy(3)).details["missing_mass"] is None


def test_deciles_are_scipys() -> None:
    """Every decile's r is scipy's over its own excerpts and all quiet ones; there are no others."""
    shown, predict = evidence(per_decile=3), noisy(4)
    details = score(shown, predict).details
    for decile in range(1, 11):
        own = [e for e in shown.activating if e.stratum == f"decile {decile}"]
        expected = r_over([*own, *shown.quiet], predict)
        assert details[f"r_decile_{decile}"] == pytest.approx(expected, abs=1e-9)
    without = score(evidence(top=12, per_decile=0), predict).details
    assert not any(name.startswith("r_decile") for name in without)


def test_absolute_deviation_is_in_the_details() -> None:
    """The share of absolute deviation explained is that of scipy's straight line through the same words."""
    shown, predict = evidence(), noisy(3)
    simulated = np.concatenate([np.asarray(predict(e), dtype=np.float64) for e in shown.excerpts])
    true = np.concatenate([e.activations for e in shown.excerpts]).astype(np.float64)
    line = stats.linregress(simulated, true)
    explained = 1 - np.abs(true - line.intercept - line.slope * simulated).mean() / np.abs(true).mean()
    assert score(shown, predict).details["abs_dev"] == pytest.approx(explained, abs=1e-6)


def test_unknown_weights() -> None:
    """Where nobody knows how excerpts were drawn nothing is said about the corpus, and all else stands."""
    shown, predict = evidence(), noisy(3)
    unknown = replace(shown, quiet=tuple(replace(e, weight=np.nan) for e in shown.quiet))
    found, known = score(unknown, predict), score(shown, predict)
    assert found.details["r_weighted"] is None
    assert (found.value, found.low, found.high) == (known.value, known.low, known.high)


@pytest.mark.parametrize("seed", range(6))
def test_confidence_and_interval_are_of_one_set(seed: int) -> None:
    """With the threshold at the low end 97.5% of the draws clear it, with it at the high end 2.5%."""
    shown, predict = evidence(seed), noisy(seed, finds=0.7)
    found = score(shown, predict, n_boot=2000)
    assert found.low is not None
    assert found.high is not None
    for threshold, share in ((found.low, 0.975), (found.high, 0.025)):
        simulator = FakeSimulator(shown, predict)
        scorer = SimulationScorer(simulator, "report", threshold, 0, n_boot=2000, n_perm=0)
        again = asyncio.run(scorer.score(LABEL, shown))
        assert again.details["share_above_threshold"] == pytest.approx(share, abs=0.001)


def test_levels() -> None:
    """An interval of a higher level holds that of a lower one; nothing else changes with the level."""
    shown, predict = evidence(), noisy(3)
    found = [
        asyncio.run(
            SimulationScorer(FakeSimulator(shown, predict), "report", 0.5, 0, level=level).score(LABEL, shown)
        )
        for level in (0.8, 0.95, 0.999)
    ]
    ends = [found[2].low, found[1].low, found[0].low, found[0].high, found[1].high, found[2].high]
    assert ends == sorted(ends, key=lambda end: end or 0.0)
    assert len(set(ends)) == 6
    assert replace(found[0], low=None, high=None) == replace(found[2], low=None, high=None)


def test_weighted_value_stands_for_the_corpus() -> None:
    """With weight k an excerpt counts as k copies; hard quiet ones, which are no sample, as none."""
    shown, predict = evidence(), noisy(3)
    copies = [e for e in shown.excerpts for _ in range(int(e.weight))]
    assert not any(e.stratum == "hard quiet" for e in copies)
    assert score(shown, predict).details["r_weighted"] == pytest.approx(r_over(copies, predict), abs=1e-9)


def test_all_that_is_said_about_a_good_label() -> None:
    """Its interval holds the value, chance is about 0, p as small as can be; the name has the simulator's."""
    found = score(evidence(), noisy(3, finds=0.9, alarms=0.05))
    assert found.scorer == "simulation@2(fake@1)"
    assert found.split == "report"
    assert (found.n_asked, found.n_read, found.why_none) == (42, 42, None)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.chance is not None
    assert 0.5 < found.low < found.value < found.high < 1
    assert abs(found.chance) < 0.05 < (found.details["chance_p95"] or 0) < found.low
    assert found.p_value == pytest.approx(1 / 200)
    assert found.details["share_above_threshold"] == 1.0


def test_scores_repeat() -> None:
    """The same seed gives the same score to the last bit; another one the same value, and other draws."""
    shown, predict = evidence(), noisy(1)
    first, again, other = score(shown, predict), score(shown, predict), score(shown, predict, seed=1)
    assert first == again
    assert other.value == pytest.approx(first.value, abs=1e-12)
    assert (other.low, other.chance) != (first.low, first.chance)


def test_missing_is_not_zero() -> None:
    """A score with excerpts missing is the score of the others alone."""
    shown, predict = evidence(), noisy(2)
    lost = {e.context.id for e in (*shown.activating[3:6], *shown.quiet[:2])}

    def forgetful(excerpt: Excerpt) -> Floats | None:
        return None if excerpt.context.id in lost else np.asarray(predict(excerpt))

    kept = replace(
        shown,
        activating=tuple(e for e in shown.activating if e.context.id not in lost),
        quiet=tuple(e for e in shown.quiet if e.context.id not in lost),
    )
    found, alone = score(shown, forgetful), score(kept, predict)
    assert (found.n_asked, found.n_read, alone.n_asked) == (42, 37, 37)
    filled = {"if_missing_wrong", "if_missing_right"}
    assert {k: v for k, v in found.details.items() if k not in filled} == pytest.approx(
        {k: v for k, v in alone.details.items() if k not in filled}, abs=1e-9
    )
    assert found.value == pytest.approx(alone.value, abs=1e-9)
    as_zeros = score(shown, lambda e: nothing(e) if e.context.id in lost else predict(e))
    assert found.value != pytest.approx(as_zeros.value, abs=0.01)


def test_what_is_missing_can_matter_so_much() -> None:
    """The bounds are r with what is missing overlooked or falsely alarmed, or in proportion and silent."""
    shown, predict = evidence(), noisy(2)
    lost = {e.context.id for e in (*shown.activating[3:6], *shown.quiet[:2])}
    found = score(shown, lambda e: None if e.context.id in lost else predict(e))
    read = [e for e in shown.excerpts if e.context.id not in lost]
    said = [np.asarray(predict(e), dtype=np.float64) for e in read]
    loud = [levels for levels in said if levels.any()]
    power = np.mean([np.sum(levels**2) for levels in loud]) / np.mean(
        [np.sum(e.activations.astype(np.float64) ** 2) for e in read if e.peak]
    )
    right = [predict(e) if e in read else np.sqrt(power) * e.activations for e in shown.excerpts]
    true = np.concatenate([e.activations for e in shown.excerpts])
    assert found.details["if_missing_right"] == pytest.approx(
        stats.pearsonr(np.concatenate(right), true).statistic, abs=1e-6
    )
    words = [(levels, e.activations, 1.0) for levels, e in zip(said, read, strict=True)]
    words += [(0 * e.activations, e.activations, 1.0) for e in shown.activating[3:6]]
    words += [(levels, 0 * levels, 2 / len(loud)) for levels in loud]  # two of a usual strength
    weights = np.concatenate([np.full(len(y), w) for _, y, w in words])
    both = np.cov(
        np.concatenate([x for x, _, _ in words]), np.concatenate([y for _, y, _ in words]), aweights=weights
    )
    expected = both[0, 1] / np.sqrt(both[0, 0] * both[1, 1])
    assert found.details["if_missing_wrong"] == pytest.approx(expected, abs=1e-6)
    assert found.value is not None
    assert found.details["if_missing_wrong"] < found.value < found.details["if_missing_right"]


def test_nothing_missing_nothing_to_bound() -> None:
    """Where all was read, both bounds are the value."""
    found = score(evidence(), noisy(2))
    assert found.details["if_missing_wrong"] == pytest.approx(found.value)
    assert found.details["if_missing_right"] == pytest.approx(found.value)


@pytest.mark.parametrize(("predict", "level"), [(nothing, "0"), (lambda e: nothing(e) + 3, "3")])
def test_a_constant_simulation_has_failed(predict: Predict, level: str) -> None:
    """It has no value, but it was tested: p is 1 and nothing clears the threshold."""
    found = score(evidence(), predict)
    assert (found.value, found.low, found.high, found.chance) == (None, None, None, None)
    assert found.why_none is not None
    assert found.why_none.startswith(f"constant simulation: {level} on all ")
    assert (found.p_value, found.details["share_above_threshold"]) == (1.0, 0.0)


def test_what_could_not_be_tested_has_no_p_value() -> None:
    """Constant activations and unreadable replies leave value, p-value and share undefined."""
    shown = evidence()
    silent = replace(
        shown, activating=tuple(replace(e, activations=0 * e.activations) for e in shown.activating)
    )
    for found, reason in (
        (score(silent, noisy(0)), "constant activations: 0 on all"),
        (score(shown, lambda e: None), "0 of 42 excerpts could be read (0%)"),
        (score(evidence(top=2, per_decile=0), faithful), "2 activating and 16 quiet"),
    ):
        assert found.why_none is not None
        assert found.why_none.startswith(reason)
        assert (found.value, found.p_value) == (None, None)
        assert "share_above_threshold" not in found.details


def test_without_resampling() -> None:
    """With no replicates and no permutations the value stands alone, and is the same."""
    shown, predict = evidence(), noisy(3)
    found = score(shown, predict, n_boot=0, n_perm=0)
    assert found.value == score(shown, predict).value
    assert (found.low, found.high, found.chance, found.p_value) == (None, None, None, None)
    assert found.details["share_above_threshold"] is None


def test_parts_that_are_not_there() -> None:
    """A part whose own kind of excerpt is missing is None, not the r of the rest under its name."""
    found = score(evidence(top=0, hard=0), noisy(3))
    assert found.details["r_top"] is None
    assert found.details["r_hard_quiet"] is None
    assert found.details["r_sampled"] == pytest.approx(found.value)


@pytest.mark.parametrize("split", ["explain", "refine"])
def test_other_splits_are_refused(split: str) -> None:
    """Evidence of another split is refused before anything is simulated."""
    shown = replace(evidence(), split=split)
    simulator = FakeSimulator(shown, faithful)
    with pytest.raises(LeakageError, match=f"takes evidence of the report split and was handed the {split}"):
        asyncio.run(SimulationScorer(simulator, "report", 0.5, 0).score(LABEL, shown))
    assert simulator.asked == []


def half_the_hits(predict: Predict) -> Predict:
    """The same, but silent on every other excerpt the feature fires in."""
    return lambda e: nothing(e) if e.peak > 0 and e.context.id % 2 else predict(e)


def twice_the_predictions(predict: Predict) -> Predict:
    """The same, and as many words again predicted at random places, in excerpts of all kinds."""

    def over(excerpt: Excerpt) -> Floats:
        rng = np.random.default_rng([7, excerpt.context.id])
        levels = np.array(predict(excerpt))
        free = np.flatnonzero(levels == 0)
        levels[rng.choice(free, 1 + np.count_nonzero(levels), replace=False)] = 6
        return levels

    return over


@pytest.mark.parametrize("worse", [half_the_hits, twice_the_predictions])
@pytest.mark.parametrize("seed", range(8))
def test_worse_labels_score_lower(worse: type, seed: int) -> None:
    """Dropping half of the true positives, or doubling the predictions, lowers the value [2506.05774]."""
    shown, predict = evidence(seed), noisy(seed)
    before, after = score(shown, predict, n_boot=0), score(shown, worse(predict), n_boot=0)
    assert before.value is not None
    assert after.value is not None
    assert after.value < before.value - 0.05
