"""First labels that are too broad and too narrow, and look right: what repairs them, through the whole job.

The model is a guesser (benchmarks/guesser.py): it says what its prompts leave open, by a habit, and is moved
by nothing but what it is shown. The strongest excerpts hold one word, so that whatever it is a case of fits.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.guesser import Guesser, Habit
from benchmarks.guessing import Knowledge, predicted
from exegete.agent.spec import JobSpec
from exegete.agent.subject import Subject
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace
from tests.agent.harness import Runner, purpose, rows
from tests.agent.harness import first as first_turn
from tests.agent.planted import VOCABULARY
from tests.explainers.bench_fakes import Rule, RuleBench

DOCS = Path(__file__).parents[2] / "docs" / "experiments.md"

STRONGEST = "dorban"
ALIKE = [
    f"dorb{end}" for end in ("el", "in", "os", "it", "ur", "as", "em", "il", "or", "us", "et", "al", "is")
]
"""Words that begin as it does."""
RHYMING = [f"{start}rban" for start in ("te", "gu", "ki", "la", "mo", "ne", "pu", "vi")]
"""Words that end as it does."""

ONE, MANY = 0, 1
"""Features: one that fires on a single word, and one that fires on all words with its beginning."""
RULES: dict[int, Rule] = {
    ONE: lambda words, i: float(words[i] == STRONGEST),
    MANY: lambda words, i: 1.15 * (words[i] == STRONGEST) + 1.0 * (words[i] in ALIKE),
}
HABIT: dict[int, Habit] = {ONE: "broad", MANY: "narrow"}


def texts() -> list[list[str]]:
    """Documents of forty words: in a fifth the word, in most one that begins so, in half one that ends so."""
    rng = np.random.default_rng(3)
    plain = [word for word in VOCABULARY if word[0] != "d" and word[-1] != "n"][:100]
    found = [[str(word) for word in rng.choice(plain, 40)] for _ in range(400)]
    for words in found:
        one, other = rng.permutation(40)[:2].tolist()
        words[one] = str(rng.choice([STRONGEST, rng.choice(ALIKE), words[one]], p=[0.2, 0.6, 0.2]))
        words[other] = str(rng.choice([rng.choice(RHYMING), words[other]]))
    return found


KNOWLEDGE = Knowledge(tuple(f" {word}" for text in texts()[300:] for word in text))
"""What the model knows of the language: the last documents, which are not harvested."""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with evidence of both features; not to be written to."""
    root = tmp_path_factory.mktemp("repair")
    noise = np.random.default_rng(4).uniform(0.95, 1.05, (300, 40))
    harvested = texts()[:300]
    fired = [
        (feature, document, place, level * float(noise[document, place]))
        for feature, rule in RULES.items()
        for document, words in enumerate(harvested)
        for place in range(len(words))
        if (level := rule(words, place)) > 0
    ]
    names = ("feature", "context_id", "position", "activation")
    kinds = (pa.int32(), pa.int64(), pa.int32(), pa.float32())
    columns = zip(names, kinds, zip(*fired, strict=True), strict=True)
    folder = root / "families"
    folder.mkdir()
    pq.write_table(pa.table({n: pa.array(c, k) for n, k, c in columns}), folder / "activations.parquet")
    contexts = {
        "context_id": pa.array(range(len(harvested)), pa.int64()),
        "document": pa.array([f"doc{number}" for number in range(len(harvested))]),
        "tokens": pa.array(harvested, pa.list_(pa.string())),
    }
    pq.write_table(pa.table(contexts), folder / "contexts.parquet")
    pq.write_table(pa.table({"feature": pa.array(list(RULES), pa.int32())}), folder / "features.parquet")
    workspace = Workspace.open_or_create(root / "workspace")
    import_parquet(folder, ImportSpec(quiet=300), workspace.evidence)
    return workspace.root


@pytest.fixture
def workspace(evidence: Path, tmp_path: Path) -> Workspace:
    """A workspace of the test's own."""
    return Workspace.open(shutil.copytree(evidence, tmp_path / "workspace"))


def label(run: Runner, patch: pytest.MonkeyPatch, feature: int, **given: Any) -> dict[str, Any]:
    """Run a job over one feature, with its habitual model and its rule as subject; its outcome."""

    @contextmanager
    def subject(workspace: Workspace, spec: JobSpec, evidence: EvidenceFile) -> Iterator[Subject]:
        yield Subject(RuleBench(RULES[feature]))

    patch.setattr("exegete.agent.job.opened_subject", subject)
    run(Guesser(HABIT[feature], KNOWLEDGE).answer, features=str(feature), **given)
    return run.outcome(feature)


def says(text: str, feature: int) -> bool:
    """Does a label fire at exactly the words at which the feature does, of all that there are?"""
    words = sorted({word for words in texts() for word in words})
    true = [RULES[feature](words, i) > 0 for i in range(len(words))]
    return bool(predicted(text, tuple(words)).tolist() == true)


@pytest.mark.parametrize(
    ("feature", "failure", "errors_are_enough"),
    [(ONE, ("fires", "silent"), True), (MANY, ("silent", "fires"), False)],
    ids=["too broad", "too narrow"],
)
def test_tests_repair_what_asking_again_does_not(
    run: Runner,
    monkeypatch: pytest.MonkeyPatch,
    feature: int,
    failure: tuple[str, str],
    errors_are_enough: bool,
) -> None:
    """The best of six labels is wrong too, and costs more than testing the first one, which repairs it.

    Errors on the refine split alone repair the label that is too broad, in as many rounds; of what the too
    narrow one leaves out they show a few words, and a list of these is what becomes of it.
    """
    job = {"candidates": 1, "rounds": 1, "quiet": 20, "hard": 10}
    again = label(run, monkeypatch, feature, **job | {"candidates": 6, "rounds": 0}, name="again")
    revised = label(run, monkeypatch, feature, **job, name="revised")
    tested = label(run, monkeypatch, feature, **job, falsify=True, name="tested")

    found = rows(run.workspace, "SELECT DISTINCT label FROM experiments")
    (first,) = (row["label"] for row in found)
    assert not says(first, feature)
    assert not says(again["label"], feature)
    assert says(tested["label"], feature)
    assert says(revised["label"], feature) is errors_are_enough
    assert tested["score"] > again["score"] + 0.1
    assert tested["tokens_spent"] < again["tokens_spent"]

    text = DOCS.read_text(encoding="utf-8")
    (query,) = re.findall(r"(?m)^    (SELECT .*\n    FROM experiments WHERE purpose = 'falsify' .*)$", text)
    failed = rows(run.workspace, query)
    assert len(failed) > 4
    assert {(row["predicted"], "fires" if row["measured"] > 0 else "silent") for row in failed} == {failure}
    shown = next(first_turn(r) for r in run.llm.asked if purpose(r) == "revise")
    assert any(row["text"] in shown for row in failed)
