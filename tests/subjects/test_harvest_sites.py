"""Several sites harvested in one pass, each equal to a plain harvest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exegete.errors import JobError, UsageError
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest, harvest_all
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.reading import Place, batches
from exegete.subjects.spec import Progress
from tests.subjects.harvests import SPEC, Stopped, Subjects, impatient, stop_after, tables, uneven_corpus


@pytest.fixture(autouse=True, scope="module")
def _impatient() -> Iterator[None]:
    """Blocks, partitions and compaction of a few pieces."""
    with impatient():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 documents, every tenth the one before it again."""
    return uneven_corpus(tmp_path_factory.mktemp("corpus"))


def test_several_sites(
    subjects: Subjects, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sites read in one pass give the harvests that they give alone, and the model is run once a batch."""
    text, subject = open_corpus(str(corpus)), subjects["bert"]
    specs = [
        SPEC,
        replace(SPEC, site="blocks.0.mlp.hook_post", features=None),
        replace(SPEC, site="encoder.layer.2", features=(1, 2)),
    ]
    alone = [harvest(subject, text, spec, tmp_path / "alone")[0].name for spec in specs]
    runs: list[int] = []
    plain = HuggingFaceSubject.activations_at

    def counted(self: HuggingFaceSubject, sites: Any, batch: Any) -> Any:
        runs.append(len(sites))
        return plain(self, sites, batch)

    monkeypatch.setattr(HuggingFaceSubject, "activations_at", counted)
    together = [m.name for m, _ in harvest_all(subject, text, specs, tmp_path / "together")]
    assert together == alone
    for name in alone:
        assert tables(tmp_path / "alone", name) == tables(tmp_path / "together", name)
    n_batches = sum(not isinstance(b, Place) for b in batches(subject, text, SPEC))
    # A batch that is cut by the end of the sample is run again.
    assert n_batches <= runs.count(3) <= n_batches + 1
    (tmp_path / "together" / f"{alone[1]}.json").unlink()
    again = harvest_all(subject, text, specs, tmp_path / "together")
    assert [(m.name, made) for m, made in again] == [(alone[0], False), (alone[1], True), (alone[2], False)]


def test_several_sites_go_on(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """A pass over several sites is resumed as one."""
    text, subject = open_corpus(str(corpus)), subjects["gpt2"]
    specs = [SPEC, replace(SPEC, site="h.0")]
    names = [m.name for m, _ in harvest_all(subject, text, specs, tmp_path / "plain")]
    with pytest.raises(Stopped):
        harvest_all(subject, text, specs, tmp_path / "e", stop_after(20), checkpoint_every=0)
    said: list[Progress] = []
    harvest_all(subject, text, specs, tmp_path / "e", said.append, checkpoint_every=0)
    assert said[0].stage == "harvesting"
    for name in names:
        assert tables(tmp_path / "e", name) == tables(tmp_path / "plain", name)


def test_passes_that_can_not_be_shared(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """Sites with other sizes, and a site named twice, are refused before anything is run."""
    text, subject = open_corpus(str(corpus)), subjects["gpt2"]
    with pytest.raises(JobError, match="differ in site, features and dictionary only"):
        harvest_all(subject, text, [SPEC, replace(SPEC, site="h.0", top=9)], tmp_path)
    with pytest.raises(UsageError, match="asked for twice"):
        harvest_all(subject, text, [SPEC, SPEC], tmp_path)
    assert list(tmp_path.iterdir()) == []
