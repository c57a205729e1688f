"""Scorers by name."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from exegete import scorers
from exegete.errors import UsageError
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.discrimination import DiscriminationScorer
from exegete.scorers.embedding import EmbeddingScorer
from exegete.scorers.fuzzing import FuzzingScorer
from exegete.scorers.generation import GenerationScorer
from exegete.scorers.intruder import IntruderScorer
from exegete.scorers.simulation import SimulationScorer
from exegete.subjects import sentences
from exegete.subjects.measurements import RememberedOnly
from tests.llm.fakes import FakeLLM, reply
from tests.scorers.scorer_fakes import FakeSimulator, evidence, faithful

SIMULATOR = FakeSimulator(evidence(), faithful)
OURS = ("simulation", "detection", "fuzzing", "discrimination", "embedding", "intruder", "generation")


class FromElsewhere:
    """A scorer of another package."""

    def __init__(self, simulator: object, split: str, **options: object) -> None:
        self.given = (simulator, split, options)


class Exact:
    """A scorer of another package that names all of its parameters."""

    def __init__(
        self, simulator: object, split: str, threshold: float, seed: int, n_boot: int, n_perm: int
    ) -> None:
        self.given = (simulator, split, threshold, seed, n_boot, n_perm)


def test_ours() -> None:
    """Our scorers are found by name and given everything they are made of."""
    made = scorers.build("simulation", SIMULATOR, "refine", threshold=0.4, seed=7, n_boot=0, n_perm=5)
    assert made == SimulationScorer(SIMULATOR, "refine", threshold=0.4, seed=7, n_boot=0, n_perm=5)
    for name, kind in (
        ("detection", DetectionScorer),
        ("fuzzing", FuzzingScorer),
        ("discrimination", DiscriminationScorer),
    ):
        default = scorers.build(name, SIMULATOR, "report", threshold=0.8, seed=1)
        assert default == kind(SIMULATOR, "report", 0.8, 1, n_boot=2000, n_perm=1999)
    with pytest.raises(UsageError, match="no scorer named 'fame': choose one of simulation, detection"):
        scorers.build("fame", SIMULATOR, "report", threshold=0.5, seed=0)
    with pytest.raises(UsageError, match="no scorer named 'fame'"):
        scorers.bar("fame")


def test_one_that_asks_a_model() -> None:
    """The intruder scorer is given the model and its name, and refused in one sentence without."""
    llm = FakeLLM([reply()])
    made = scorers.build("intruder", SIMULATOR, "report", threshold=0.5, seed=3, llm=llm, model_name="m")
    assert made == IntruderScorer(llm, "m", "report", 0.5, 3)
    with pytest.raises(UsageError, match="scorer 'intruder' asks a language model: name one with --llm"):
        scorers.build("intruder", SIMULATOR, "report", threshold=0.5, seed=0)


def test_one_that_runs_texts() -> None:
    """The generation scorer is given the subject beside the model, and refused in one sentence without."""
    llm, bench = FakeLLM([reply()]), RememberedOnly.__new__(RememberedOnly)
    asked = {"threshold": 0.5, "seed": 3, "llm": llm, "model_name": "m"}
    made = scorers.build("generation", SIMULATOR, "report", bench=bench, n_boot=7, **asked)
    assert made == GenerationScorer(llm, "m", bench, "report", 0.5, 3, n_boot=7)
    with pytest.raises(UsageError, match="'generation' runs texts on the subject, and there is none here"):
        scorers.build("generation", SIMULATOR, "report", **asked)
    with pytest.raises(UsageError, match=r"can't be the first one.*: it runs a few texts"):
        scorers.build("generation", SIMULATOR, "report", bench=bench, first=True, **asked)


def test_one_that_compares_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedding scorer is given the sentence model by the name that was asked for."""
    opened: list[str | None] = []

    def open_(name: str | None) -> sentences.Sentences:
        opened.append(name)
        return sentences.Sentences("fake@1", None)

    monkeypatch.setattr(sentences.Sentences, "open", open_)
    made = scorers.build("embedding", SIMULATOR, "report", threshold=0.5, seed=3, sentence_model="a-folder")
    assert isinstance(made, EmbeddingScorer)
    assert (made.name, made.seed, opened) == ("embedding@1(fake@1)", 3, ["a-folder"])


@pytest.mark.parametrize("name", ["embedding", "intruder"])
def test_triage_never_decides(name: str) -> None:
    """What is no score of a label is refused as the first scorer, with why."""
    with pytest.raises(UsageError, match=rf"scorer '{name}' can't be the first one, which decides on labels"):
        scorers.build(name, SIMULATOR, "report", threshold=0.5, seed=0, first=True)
    assert scorers.build("fuzzing", SIMULATOR, "report", threshold=0.5, seed=0, first=True)


def test_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of ours states its bar, above its chance level; another package's need not."""
    points = [EntryPoint("mine", f"{__name__}:FromElsewhere", scorers.GROUP)]
    monkeypatch.setattr(scorers, "entry_points", lambda group: points)
    assert [scorers.bar(name) for name in OURS] == [0.5, 0.75, 0.75, 0.75, 0.75, 0.5, 0.5]
    assert scorers.bar("mine") is None


def test_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package adds scorers by entry points, and can't put its own in the place of ours."""
    points = [EntryPoint(name, f"{__name__}:FromElsewhere", scorers.GROUP) for name in ("mine", "simulation")]
    points.append(EntryPoint("exact", f"{__name__}:Exact", scorers.GROUP))
    monkeypatch.setattr(scorers, "entry_points", lambda group: points if group == scorers.GROUP else [])
    assert scorers.names() == (*OURS, "mine", "exact")
    made = scorers.build("mine", SIMULATOR, "report", threshold=0.5, seed=0)
    options = {"threshold": 0.5, "seed": 0, "n_boot": 2000, "n_perm": 1999}
    assert type(made).__name__ == "FromElsewhere"
    assert vars(made)["given"] == (SIMULATOR, "report", options)
    exact = scorers.build("exact", SIMULATOR, "report", threshold=0.5, seed=0)
    assert vars(exact)["given"] == (SIMULATOR, "report", *options.values())
    ours = scorers.build("simulation", SIMULATOR, "report", threshold=0.5, seed=0)
    assert isinstance(ours, SimulationScorer)


def test_scorers_are_imported_when_asked_for() -> None:
    """Listing names imports no scorer, and scoring imports neither scipy's statistics nor a text model."""
    modules = ", ".join(f"exegete.scorers.{name}" for name in (*OURS, "multiplicity"))
    code = (
        "import sys, exegete.scorers as s; s.names(); print('exegete.scorers.simulation' in sys.modules);"
        f"import {modules};"
        "print([m for m in ('scipy.stats', 'scipy.optimize', 'torch', 'sentence_transformers') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "[]"]
