"""Evidence as explainers and scorers get it, against the stream it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from exegete.datastore.database import connect
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import SPLITS, Evidence, Excerpt, FeatureId, Plan, Split
from exegete.datastore.words import unit_starts
from exegete.errors import SubjectError
from tests.datastore.corpus import SIZES
from tests.datastore.streams import Activations, Seen, Sizes, build, context, literally

PLANS = [
    Plan(),
    Plan(top=5, per_decile=2, quiet=8, hard=6, window=16),
    Plan(top=12, per_decile=1, quiet=5, hard=0, window=8, unit="token"),
    Plan(top=0, per_decile=50, quiet=100, hard=10, window=None),
    Plan(top=3, per_decile=0, quiet=0, hard=3, window=1, unit="token"),
    Plan(top=2, per_decile=1, quiet=1000, window=None),
    Plan(top=4, per_decile=1, quiet=7, window=500),
]


def read(file: EvidenceFile, feature: FeatureId, split: Split, plan: Plan) -> Evidence:
    readers: dict[Split, Callable[[FeatureId, Plan], Evidence]] = {
        "explain": AgentEvidence(file).explain,
        "refine": AgentEvidence(file).refine,
        "report": ReportEvidence(file).report,
    }
    return readers[split](feature, plan)


def plain(evidence: Evidence) -> tuple[Any, ...]:
    """Evidence as values that can be compared."""
    return (
        evidence.feature,
        evidence.split,
        evidence.unit,
        evidence.maximum,
        [(e.context, e.activations.tolist(), e.stratum, e.weight) for e in evidence.activating],
        [(e.context, e.activations.tolist(), e.stratum, e.weight) for e in evidence.quiet],
    )


def literal_window(excerpt: Excerpt, seen: Seen, plan: Plan, slot: int) -> tuple[list[str], list[float]]:
    """The units of an excerpt and their activations, worked out from the whole context, token by token."""
    full, fired = seen
    tokens, acts = full.tokens, fired.get(slot, {})
    starts = [*unit_starts(tokens, plan.unit).tolist(), len(tokens)]
    units, values = list[str](), list[float]()
    for a, b in pairwise(starts):
        if a >= excerpt.context.start and len(units) < len(excerpt.context.tokens):
            units.append("".join(tokens[a:b]))
            values.append(max(acts.get(i, 0.0) for i in range(a, b)))
    return units, values


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("split", SPLITS)
def test_excerpts_are_windows_of_contexts(
    evidence: EvidenceFile, seen: list[Seen], plan: Plan, split: Split
) -> None:
    """Words and activations of every excerpt are those of its context, pooled by a literal loop."""
    of = {c.id: (c, fired) for c, fired in seen}
    for slot, feature in enumerate(evidence.features):
        for excerpt in read(evidence, feature, split, plan).excerpts:
            full = of[excerpt.context.id]
            units, values = literal_window(excerpt, full, plan, slot)
            assert list(excerpt.context.tokens) == units
            assert excerpt.activations.tolist() == values
            assert excerpt.context.document == full[0].document
            assert full[0].split == SPLITS.index(split)


@pytest.mark.parametrize("plan", PLANS)
def test_windows_are_as_long_as_asked(evidence: EvidenceFile, seen: list[Seen], plan: Plan) -> None:
    """A window covers plan.window tokens (or the context), and no whole word more than that takes."""
    of = {c.id: c for c, _ in seen}
    for feature in evidence.features:
        for excerpt in read(evidence, feature, "explain", plan).excerpts:
            tokens = of[excerpt.context.id].tokens
            starts = [*unit_starts(tokens, plan.unit).tolist(), len(tokens)]
            at = starts.index(excerpt.context.start)
            lengths = np.diff(starts[at : at + len(excerpt.context.tokens) + 1]).tolist()
            wanted = len(tokens) if plan.window is None else min(plan.window, len(tokens))
            assert wanted <= sum(lengths) <= wanted + (lengths[0] - 1) + (lengths[-1] - 1)
            assert plan.unit == "word" or sum(lengths) == wanted


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("split", SPLITS)
def test_activating(evidence: EvidenceFile, seen: list[Seen], plan: Plan, split: Split) -> None:
    """Activating excerpts are the strongest contexts, then drawn ones by decile; each shows its peak."""
    of = {c.id: fired for c, fired in seen}
    expected = literally(seen, SIZES)
    for slot, feature in enumerate(evidence.features):
        excerpts = read(evidence, feature, split, plan).activating
        group = (slot, SPLITS.index(split))
        ranking = [i for i, _, _ in expected.pairs[group]]
        top = [e.context.id for e in excerpts if e.stratum == "top"]
        assert top == ranking[: plan.top]
        for excerpt in excerpts:
            assert excerpt.peak == max(of[excerpt.context.id][slot].values())
        peaks = [e.peak for e in excerpts]
        assert peaks == sorted(peaks, reverse=True)
        rest = [e for e in excerpts if e.stratum != "top"]
        assert {e.context.id for e in rest} <= expected.sampled[group] - set(top)
        deciles = [int(e.stratum.removeprefix("decile ")) for e in rest]
        assert deciles == sorted(deciles, reverse=True)
        assert all(deciles.count(d) <= plan.per_decile for d in set(deciles))


@pytest.mark.parametrize("split", SPLITS)
def test_weights_of_activating_excerpts(evidence: EvidenceFile, seen: list[Seen], split: Split) -> None:
    """Weights add up to the contexts in which the feature fires; the strongest weigh 1."""
    at = SPLITS.index(split)
    for plan in (Plan(top=5, per_decile=1, quiet=0), Plan(top=0, per_decile=9, quiet=0)):
        for slot, feature in enumerate(evidence.features):
            excerpts = read(evidence, feature, split, plan).activating
            fired = sum(slot in fired for c, fired in seen if c.split == at)
            if slot in (2, 3):  # enough of a sample for ten deciles
                assert sum(e.weight for e in excerpts) == pytest.approx(fired)
            assert all(e.weight == 1.0 for e in excerpts if e.stratum == "top")
            assert all(e.weight >= 1.0 for e in excerpts)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("split", SPLITS)
def test_quiet_is_silent(evidence: EvidenceFile, seen: list[Seen], plan: Plan, split: Split) -> None:
    """A feature is silent in all of a quiet excerpt's context, not only in what is shown of it."""
    of = {c.id: fired for c, fired in seen}
    pool = {i for s, i in literally(seen, SIZES).quiet if SPLITS[s] == split}
    for slot, feature in enumerate(evidence.features):
        quiet = read(evidence, feature, split, plan).quiet
        silent = {i for i in pool if slot not in of[i]}
        uniform = [e.context.id for e in quiet if e.stratum == "quiet"]
        hard = [e.context.id for e in quiet if e.stratum == "hard quiet"]
        assert len(uniform) == len(set(uniform)) == min(plan.quiet, len(silent))
        assert set(uniform) | set(hard) <= silent
        assert not set(uniform) & set(hard)
        assert len(hard) == len(set(hard)) <= plan.hard
        assert all(not e.activations.any() for e in quiet)
        assert all(e.weight == 0.0 for e in quiet if e.stratum == "hard quiet")


@pytest.mark.parametrize("window", [16, None])
def test_quiet_weights(evidence: EvidenceFile, seen: list[Seen], window: int | None) -> None:
    """Uniform quiet excerpts stand for all silent contexts of the split, however many are read."""
    for split, at in zip(SPLITS, range(3), strict=True):
        for slot in (0, 1, 5):
            silent = sum(slot not in fired for c, fired in seen if c.split == at)
            for n in (4, 10, 1000):
                plan = Plan(top=1, per_decile=0, quiet=n, window=window)
                quiet = read(evidence, evidence.feature(slot), split, plan).quiet
                # All of the pool: the weight is the pool's, which estimates the number of the silent.
                tolerance = 0.25 if window is None and n == 1000 else 1e-6
                assert sum(e.weight for e in quiet) == pytest.approx(silent, rel=tolerance)


def test_hard_quiet_is_similar(evidence: EvidenceFile) -> None:
    """Hard quiet windows hold a word of the activating ones; of banks by rivers, other banks."""
    for feature in evidence.features[:2]:
        for split in SPLITS:
            found = read(evidence, feature, split, Plan(quiet=3, hard=8, window=12))
            words = {w.strip().lower() for e in found.activating for w in e.context.tokens}
            hard = [e for e in found.quiet if e.stratum == "hard quiet"]
            assert hard
            for excerpt in hard:
                assert words & {w.strip().lower() for w in excerpt.context.tokens}
    banks = read(evidence, evidence.feature(0), "explain", Plan(quiet=0, hard=5, window=12)).quiet
    assert [" bank" in e.context.tokens for e in banks] == [True] * 5


def test_maximum_is_of_explain(evidence: EvidenceFile, seen: list[Seen]) -> None:
    """Level 10 is the largest activation of the explain split, whichever split is read."""
    for slot, feature in enumerate(evidence.features):
        peaks = [max(f[slot].values()) for c, f in seen if c.split == 0 and slot in f]
        for split in SPLITS:
            assert read(evidence, feature, split, Plan()).maximum == max(peaks, default=0.0)


def test_the_same_on_every_read(evidence: EvidenceFile) -> None:
    """Evidence does not depend on what was read before, or prefetched, or through which handle."""
    cases = [(f, s, p) for f in evidence.features for s in SPLITS for p in PLANS]
    first = [plain(read(evidence, *case)) for case in cases]
    other = EvidenceFile(evidence.path)
    other.prefetch(other.features[2:4])
    other.prefetch(other.features[::-2])
    order = np.random.default_rng(0).permutation(len(cases)).tolist()
    again = {i: plain(read(other, *cases[i])) for i in order}
    other.close()
    assert [again[i] for i in range(len(cases))] == first


def test_forgetting(evidence: EvidenceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small caches change nothing but time."""
    monkeypatch.setattr("exegete.datastore.evidence_file._FEATURES_REMEMBERED", 2)
    monkeypatch.setattr("exegete.datastore.evidence_contexts.REMEMBERED", 5)
    small = EvidenceFile(evidence.path)
    small.prefetch(small.features)
    for feature in [*evidence.features, *evidence.features]:
        expected = plain(read(evidence, feature, "refine", PLANS[1]))
        assert plain(read(small, feature, "refine", PLANS[1])) == expected
    small.close()


def test_the_agent_can_not_reach_the_report_split(evidence: EvidenceFile, seen: list[Seen]) -> None:
    """The agent's reader has two methods that give evidence, and no text of a report document is in it."""

    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(AgentEvidence) == {"summary", "explain", "refine"}
    assert public(ReportEvidence) == {"summary", "report"}
    split_of = {c.document: c.split for c, _ in seen}
    reader = AgentEvidence(evidence)
    for feature in evidence.features:
        for plan in PLANS:
            for found in (reader.explain(feature, plan), reader.refine(feature, plan)):
                assert {SPLITS[split_of[e.context.document]] for e in found.excerpts} <= {found.split}


def test_unknown_features(evidence: EvidenceFile) -> None:
    """A feature that is not there is named, with those that are."""
    with pytest.raises(
        SubjectError, match=r"feature 9 is not in harvest harvest.*6 features between 0 and 5"
    ):
        evidence.feature(9)
    with pytest.raises(SubjectError, match="feature 3- is not"):
        evidence.feature(3, "-")


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvidenceFile]:
    """300 contexts of 160 tokens with one firing, far from both ends; every fourth is silent."""
    rng = np.random.default_rng(0)
    stream: list[Seen] = []
    for i in range(400):
        fired: Activations = {} if i % 4 == 0 else {0: {int(rng.integers(40, 120)): 1.0 + float(i)}}
        stream.append((context(i + 1, 0, f"d{i}", [f" t{i}.{j}" for j in range(160)]), fired))
    sizes = Sizes(1, top=300, sample=(9, 9, 9), quiet=(400, 9, 9))
    file = build(tmp_path_factory.mktemp("peaks"), stream, sizes)
    yield file
    file.close()


def test_the_peak_is_anywhere(peaks: EvidenceFile) -> None:
    """Where a window's peak stands is uniform over the window, so that its place gives nothing away."""
    plan = Plan(top=300, per_decile=0, quiet=0, window=32, unit="token")
    excerpts = AgentEvidence(peaks).explain(peaks.feature(0), plan).activating
    places = np.asarray([int(np.argmax(e.activations)) for e in excerpts])
    assert len(places) == 300
    assert stats.kstest((places + 0.5) / 32, "uniform").pvalue > 0.01
    strongest_first = np.argsort([-e.peak for e in excerpts])
    assert abs(np.corrcoef(strongest_first, places)[0, 1]) < 0.15


def test_quiet_windows_lie_where_activating_ones_do(tmp_path: Path) -> None:
    """Where firing is as likely at any token, windows of both kinds start alike, at the ends too."""
    rng = np.random.default_rng(1)
    stream: list[Seen] = []
    for i in range(800):
        fired: Activations = {0: {int(rng.integers(96)): 1.0 + i}} if i % 2 else {}
        stream.append((context(i + 1, 0, f"d{i}", [f" t{i}.{j}" for j in range(96)]), fired))
    file = build(tmp_path, stream, Sizes(1, top=400, sample=(9, 9, 9), quiet=(800, 9, 9)))
    found = AgentEvidence(file).explain(file.feature(0), Plan(400, 0, 400, window=32, unit="token"))
    file.close()
    activating, quiet = ([e.context.start for e in kind] for kind in (found.activating, found.quiet))
    assert len(activating) == len(quiet) == 400
    for place in (0, 64):  # either end of a context of 96 tokens
        ends = [sum(start == place for start in starts) for starts in (activating, quiet)]
        assert min(ends) > 40  # of windows drawn evenly from all that there are, six would
        assert stats.binomtest(ends[0], sum(ends)).pvalue > 0.01
    assert stats.ks_2samp(activating, quiet).pvalue > 0.01


def test_no_top_beyond_what_was_kept(tmp_path: Path) -> None:
    """A plan that asks for more top excerpts than were kept by strength gets those, and weighted others."""
    stream: list[Seen] = [(context(i, 0, f"d{i}"), {0: {0: float(i)}}) for i in range(1, 101)]
    file = build(tmp_path, stream, Sizes(1, top=3, sample=(20, 1, 1), quiet=(1, 1, 1)))
    excerpts = AgentEvidence(file).explain(file.feature(0), Plan(top=10, per_decile=9, quiet=0)).activating
    assert [e.context.id for e in excerpts if e.stratum == "top"] == [100, 99, 98]
    assert sum(e.weight for e in excerpts) == pytest.approx(100)
    file.close()


def test_no_duplicate_is_both_loud_and_quiet(tmp_path: Path) -> None:
    """A text that fired in one of its copies is no quiet example, though the pool's copy was silent."""
    silent: Seen = (context(7, 0, "a"), {})
    loud: Seen = (context(7, 0, "b"), {0: {0: 1.0}})
    file = build(tmp_path, [silent, loud], Sizes(1, 2, (2, 2, 2), (2, 2, 2)), batch=1)
    found = AgentEvidence(file).explain(file.feature(0), Plan())
    assert [e.context.id for e in found.activating] == [7]
    assert found.quiet == ()
    file.close()


def test_weighted_means_are_unbiased(tmp_path: Path) -> None:
    """Over many draws, the weighted mean of the excerpts shown is the mean over all contexts that fire.

    Every feature has the same activations and its own draw, so 300 features are 300 seeds. The unweighted
    mean, of top-heavy excerpts, is far off.
    """
    rng = np.random.default_rng(1)
    values = rng.exponential(size=120).astype(np.float32).tolist()
    n = 300
    stream: list[Seen] = [
        (context(i + 1, 0, f"d{i}"), {slot: {0: value} for slot in range(n)})
        for i, value in enumerate(values)
    ]
    file = build(tmp_path, stream, Sizes(n, top=10, sample=(40, 1, 1), quiet=(1, 1, 1)))
    file.prefetch(file.features)
    weighted, bare = [], []
    for feature in file.features:
        excerpts = AgentEvidence(file).explain(feature, Plan(top=5, per_decile=1, quiet=0)).activating
        weighted.append(np.average([e.peak for e in excerpts], weights=[e.weight for e in excerpts]))
        bare.append(np.mean([e.peak for e in excerpts]))
    file.close()
    error = np.std(weighted) / np.sqrt(n)
    assert abs(np.mean(weighted) - np.mean(values)) < 4 * error
    assert error < 0.02
    assert abs(np.mean(bare) - np.mean(values)) > 0.2


def test_stored_weights_are_unbiased(tmp_path: Path) -> None:
    """So are the weights that stand in the file itself, over all that is kept."""
    values = np.random.default_rng(2).exponential(size=100).astype(np.float32)
    n = 200
    stream: list[Seen] = [
        (context(i + 1, 0, f"d{i}"), {slot: {0: v} for slot in range(n)})
        for i, v in enumerate(values.tolist())
    ]
    build(tmp_path, stream, Sizes(n, top=8, sample=(15, 1, 1), quiet=(1, 1, 1))).close()
    with connect(tmp_path / "harvest.duckdb", read_only=True) as con:
        sql = "SELECT sum(weight * peak) / sum(weight) FROM examples GROUP BY feature_index"
        means = [row[0] for row in con.execute(sql).fetchall()]
    assert len(means) == n
    assert abs(np.mean(means) - values.mean()) < 4 * np.std(means) / np.sqrt(n)
