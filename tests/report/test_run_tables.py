"""The figures of a run's report against a literal count of the rows that the public views give."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.report import RUN
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.run.facts import Facts, collect
from exegete.report.run.questions import QUESTIONS

Rows = list[dict[str, Any]]
PRIMARY = "simulation@2(sparse@3)"


@pytest.fixture(scope="module")
def night(filled: Path) -> Workspace:
    """A workspace with a finished run in which everything happened."""
    return Workspace.open(filled)


@pytest.fixture(scope="module")
def facts(night: Workspace) -> Facts:
    """What its report says."""
    return collect(night, None)


@pytest.fixture(scope="module")
def views(night: Workspace) -> dict[str, Rows]:
    """All rows of the run in each public view."""
    store = Store(night.labels)
    names = ("outcomes", "scores", "nulls", "controls", "calls", "experiments", "decisions", "labels")
    found = {name: store.read(f"SELECT * FROM {name} WHERE run = ?", [RUN]) for name in names}
    return found | {"reviews": store.read("SELECT * FROM reviews")}


def values(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray[Any, Any]:
    """The values of a column that are there."""
    return np.array([row[name] for row in rows if row[name] is not None], dtype=float)


def middle(rows: Sequence[dict[str, Any]], name: str) -> Any:
    """The median of the values that are there."""
    return pytest.approx(np.median(values(rows, name))) if len(values(rows, name)) else None


def mean(rows: Sequence[dict[str, Any]], name: str) -> Any:
    """The mean of the values that are there."""
    return pytest.approx(values(rows, name).mean()) if len(values(rows, name)) else None


def by(rows: Rows, *names: str) -> dict[Any, Rows]:
    """Rows by the values of some columns."""
    found: dict[Any, Rows] = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in names) if len(names) > 1 else row[names[0]]].append(row)
    return found


def test_every_table_has_rows(facts: Facts) -> None:
    """In the filled workspace each question has an answer, so that no test below is empty."""
    assert {name for name, rows in facts.tables.items() if not rows} == set()
    assert facts.tables.keys() == QUESTIONS.keys()


def test_verdicts(facts: Facts, views: dict[str, Rows]) -> None:
    """Features are counted by verdict, with those that have a label and a score."""
    own = by(views["outcomes"], "status")
    assert {r["status"]: r["features"] for r in facts.tables["statuses"]} == {
        s: len(v) for s, v in own.items()
    }
    for row in facts.tables["statuses"]:
        assert row["labelled"] == sum(r["label"] is not None for r in own[row["status"]])
        assert row["scored"] == sum(r["score"] is not None for r in own[row["status"]])
    assert sum(r["features"] for r in facts.tables["statuses"]) == facts.attempted == 120
    now = Counter(r["status"] for r in views["labels"])
    assert {r["status"]: r["features"] for r in facts.tables["now"]} == now
    decided = by(views["reviews"], "decision")
    assert {r["decision"]: r["events"] for r in facts.tables["people"]} == {
        d: len(v) for d, v in decided.items()
    }
    for row in facts.tables["people"]:
        assert row["events"] == len(decided[row["decision"]])
        assert row["of_the_audit"] == sum(bool(r["audit"]) for r in decided[row["decision"]])
        assert row["standing"] == sum(r["stands"] for r in decided[row["decision"]])


def test_scores(facts: Facts, views: dict[str, Rows]) -> None:
    """Scores by scorer, with what chance reaches, and how many are better by q."""
    own = by([r for r in views["scores"] if r["split"] == "report"], "scorer")
    assert len(facts.tables["scorers"]) == len(own) == 2
    for row in facts.tables["scorers"]:
        mine = own[row["scorer"]]
        assert row["labels"] == len(mine)
        assert row["median"] == middle(mine, "value")
        assert (row["chance"], row["lift"]) == (mean(mine, "chance"), mean(mine, "lift"))
        assert row["p05"] == pytest.approx(np.quantile(values(mine, "value"), 0.05))
        assert row["p95"] == pytest.approx(np.quantile(values(mine, "value"), 0.95))
        assert row["better_than_chance"] == (values(mine, "q_value") <= 0.05).sum()


def test_other_labels(facts: Facts, views: dict[str, Rows]) -> None:
    """Other labels by scorer and kind; one without a value is none that reached nothing."""
    own = by(views["nulls"], "scorer", "kind")
    assert len(facts.tables["nulls"]) == len(own) == 6
    for row in facts.tables["nulls"]:
        mine = own[row["scorer"], row["kind"]]
        assert (row["asked"], row["scored"]) == (len(mine), len(values(mine, "value")))
        assert (row["mean"], row["lift"]) == (mean(mine, "value"), mean(mine, "lift"))
        assert row["own_better"] == (values(mine, "lift") > 0).sum()
        assert row["accepted"] == sum(r["status"] == "accepted" for r in mine)
    assert next(r for r in facts.tables["nulls"] if r["kind"] == "empty")["mean"] is None


@pytest.mark.parametrize(
    ("table", "view", "value", "width"),
    [
        ("width_bins", "outcomes", lambda r: None if r["low"] is None else r["high"] - r["low"], 0.05),
        ("q_bins", "outcomes", lambda r: r["q_value"], 0.05),
    ],
)
def test_histograms(
    facts: Facts, views: dict[str, Rows], table: str, view: str, value: Any, width: float
) -> None:
    """Bins count what numpy's histogram counts."""
    drawn = np.array([value(r) for r in views[view] if value(r) is not None], dtype=float)
    n, _ = np.histogram(drawn, bins=np.arange(0, 1 + width / 2, width))
    assert {r["bin"]: r["n"] for r in facts.tables[table]} == {i: int(k) for i, k in enumerate(n) if k}


def test_score_histogram(facts: Facts, views: dict[str, Rows]) -> None:
    """Bins of scores, below zero too, hold every score once."""
    for scorer, mine in by([r for r in views["scores"] if r["split"] == "report"], "scorer").items():
        counted = Counter(int(np.floor(v / 0.05 + 1e-9)) for v in values(mine, "value"))
        rows = [r for r in facts.tables["score_bins"] if r["scorer"] == scorer and r["kind"] == "own label"]
        assert {r["bin"]: r["n"] for r in rows} == counted


def test_density_widths_and_q(facts: Facts, views: dict[str, Rows]) -> None:
    """Medians by density and by verdict, and counts of q-values, are those of a loop."""
    fires = [r for r in views["outcomes"] if r["density"] > 0]
    quarters: dict[int, Rows] = defaultdict(list)
    for r in fires:
        quarters[int(np.floor(np.log10(r["density"]) * 4 + 1e-9))].append(r)
    assert [r["quarter"] for r in facts.tables["densities"]] == sorted(quarters)
    for row in facts.tables["densities"]:
        mine = quarters[row["quarter"]]
        assert (row["features"], row["median"]) == (len(mine), middle(mine, "score"))
        assert row["accepted"] == sum(r["status"] == "accepted" for r in mine)
    assert len(facts.tables["points"]) == sum(r["score"] is not None for r in fires)
    for row in facts.tables["widths"]:
        mine = [r for r in views["outcomes"] if r["status"] == row["status"] and r["score"] is not None]
        wide = np.array([r["high"] - r["low"] for r in mine])
        assert row["median"] == pytest.approx(np.median(wide))
        assert row["p90"] == pytest.approx(np.quantile(wide, 0.9))
    q = values(views["outcomes"], "q_value")
    row = facts.one("qs")
    assert (row["with_q"], row["to_01"], row["to_05"]) == (len(q), (q <= 0.01).sum(), (q <= 0.05).sum())
    assert row["without"] == len(views["outcomes"]) - len(q)


def test_controls(facts: Facts, views: dict[str, Rows], night: Workspace) -> None:
    """Planted features by kind: accepted, and accepted with a right label."""
    checked = Store(night.labels).read("SELECT * FROM store.checked")
    right = {r["feature_index"] for r in checked if r["is_right"]}
    for row in facts.tables["controls"]:
        mine = [r for r in views["controls"] if r["kind"] == row["kind"]]
        accepted = {r["feature_index"] for r in mine if r["status"] == "accepted"}
        assert (row["planted"], row["accepted"]) == (len(mine), len(accepted))
        assert row["recovered"] == len(accepted & right)
    assert sum(r["planted"] for r in facts.tables["controls"]) == 64


def test_rounds(facts: Facts, views: dict[str, Rows]) -> None:
    """The gain of a round is that of the best label so far, over the features that reached it."""
    tried: dict[int, dict[int, float]] = defaultdict(dict)
    for r in views["scores"]:
        if r["split"] == "refine":
            tried[r["feature_index"]][r["round"]] = r["value"]
    for row in facts.tables["rounds"]:
        reached = [own for own in tried.values() if row["round"] in own]
        best = [max(v for k, v in own.items() if k <= row["round"]) for own in reached]
        gains = [b - own[0] for b, own in zip(best, reached, strict=True)]
        assert (row["features"], row["improved"]) == (len(reached), sum(g > 0 for g in gains))
        assert row["best_so_far"] == pytest.approx(np.mean(best))
        assert row["gain"] == pytest.approx(np.mean(gains))
        chosen = [
            r
            for r in views["scores"]
            if r["split"] == "report" and r["scorer"] == PRIMARY and r["round"] == row["round"]
        ]
        assert (row["chosen"], row["report"]) == (len(chosen), mean(chosen, "value"))


def test_experiments_and_interventions(facts: Facts, views: dict[str, Rows]) -> None:
    """Tests by kind and verdict; interventions by the run's verdict, with those told from controls."""
    for row in facts.tables["experiments"]:
        mine = Counter(r["verdict"] for r in views["experiments"] if r["kind"] == row["kind"])
        assert (row["held"], row["failed"], row["not_run"]) == (mine["held"], mine["failed"], mine["not run"])
        assert row["written"] == mine.total()
    for row in facts.tables["interventions"]:
        mine = [r for r in views["outcomes"] if r["status"] == row["status"]]
        assert (row["generated"], row["generation"]) == (
            len(values(mine, "generation")),
            middle(mine, "generation"),
        )
        assert (row["ablated"], row["ablation"]) == (len(values(mine, "ablation")), middle(mine, "ablation"))
        assert row["ablation_told"] == (values(mine, "ablation_p") <= 0.05).sum()
        assert row["steering_told"] == (values(mine, "steering_p") <= 0.05).sum()


def test_decisions_and_reasons(facts: Facts, views: dict[str, Rows]) -> None:
    """Decisions by step and action, and every reason of every label that waits for a person."""
    for row in facts.tables["decisions"]:
        mine = [r for r in views["decisions"] if (r["step"], r["action"]) == (row["step"], row["action"])]
        assert (row["decisions"], row["median"]) == (len(mine), middle(mine, "value"))
    waiting = Counter(n for r in views["outcomes"] if r["status"] == "review" for n in r["reasons"])
    assert {r["reason"]: r["features"] for r in facts.tables["reasons"]} == waiting
    counted = Counter(r["status"] for r in views["outcomes"])
    told: Counter[str] = Counter()
    for row in facts.tables["whys"]:
        told[row["status"]] += row["features"]
        assert not any(ch.isdigit() for ch in row["kind"])
    assert told == {s: n for s, n in counted.items() if s in ("rejected", "unscorable", "dead", "failed")}


def test_costs(facts: Facts, views: dict[str, Rows]) -> None:
    """Calls, tokens and dollars by stage; they sum to the run's, and a lost call is no call."""
    stages = by(views["calls"], "stage")
    for row in facts.tables["costs"]:
        mine = stages[row["stage"]]
        answered = [r for r in mine if r["finish"] != "ambiguous"]
        assert (row["calls"], row["ambiguous"]) == (len(answered), len(mine) - len(answered))
        assert row["input_tokens"] == values(mine, "input_tokens").sum()
        assert row["usd"] == pytest.approx(values(mine, "usd").sum())
        assert row["unpriced"] == sum(r["usd"] is None for r in answered)
        shares = values(mine, "cached_tokens").sum() / values(mine, "input_tokens").sum()
        assert row["cached_share"] == pytest.approx(shares)
    assert sum(r["calls"] for r in facts.tables["costs"]) == facts.chosen.row["calls"]
    assert sum(r["usd"] for r in facts.tables["costs"]) == pytest.approx(facts.chosen.row["usd"])


def test_times(facts: Facts, views: dict[str, Rows]) -> None:
    """Every feature and every fault is in one part of the run's time."""
    assert sum(r["features"] for r in facts.tables["times"]) == len(views["outcomes"])
    faulty = [r for r in views["calls"] if r["finish"] != "stop" or r["attempts"] > 1]
    assert sum(r["faults"] for r in facts.tables["times"]) == len(faulty) > 0
    ended = Counter(r["finish"] for r in views["calls"] if r["finish"] != "stop")
    assert {r["finish"]: r["calls"] for r in facts.tables["faults"]} == ended
    assert facts.one("retries")["retried"] == sum(r["attempts"] > 1 for r in views["calls"])
    row, made = facts.one("time"), [r["made_at"] for r in views["outcomes"]]
    assert (row["first"], row["last"]) == (min(made), max(made))
    assert row["seconds"] == pytest.approx((max(made) - min(made)).total_seconds())


def test_missing_judgements(facts: Facts, views: dict[str, Rows]) -> None:
    """What could not be read is counted, by scorer and by label."""
    own = by([r for r in views["scores"] if r["split"] == "report"], "scorer")
    for row in facts.tables["missing"]:
        mine = own[row["scorer"]]
        assert row["missing"] == sum(r["n_asked"] - r["n_read"] for r in mine) > 0
        assert row["labels"] == sum(r["n_read"] < r["n_asked"] for r in mine)


def test_labels_to_look_at(facts: Facts, views: dict[str, Rows]) -> None:
    """The best by the lower end, the worst by the upper end, and random ones that are no sorted ones."""
    scored = [r for r in views["outcomes"] if r["score"] is not None]
    best = sorted(scored, key=lambda r: (-r["low"], -r["score"]))[:20]
    worst = sorted(scored, key=lambda r: (r["high"], r["score"]))[:20]
    picked = {which: [one.row["feature_index"] for one in some] for which, some in facts.examples.items()}
    assert picked["best"] == [r["feature_index"] for r in best]
    assert picked["worst"] == [r["feature_index"] for r in worst]
    assert len(set(picked["random"])) == 20
    assert picked["random"] != sorted(picked["random"])


def test_excerpts_have_levels(facts: Facts) -> None:
    """Each word's level is its activation in tenths of the feature's maximum, rounded up; silence is 0."""
    for one in facts.examples["best"]:
        assert len(one.excerpts) == 3
        for rank, excerpt in enumerate(one.excerpts):
            levels = [level for _, level in excerpt]
            assert (len(excerpt), levels[12], levels[13]) == (24, 10 - rank, 3)
            assert sum(level > 0 for level in levels) == 2


def test_what_is_random_is_the_same_each_time(night: Workspace, facts: Facts) -> None:
    """The same run gives the same page: examples, points and intervals are drawn by its digest."""
    again = collect(night, RUN)
    assert again.examples == facts.examples
    assert again.tables["points"] == facts.tables["points"]
    assert again.chosen == facts.chosen
    assert not isinstance(again.coverage, str)
    assert not isinstance(facts.coverage, str)
    one, other = again.coverage.accepted(), facts.coverage.accepted()
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
