"""The live subject of a harvest: what it measures, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.manifest import manifest_path
from exegete.datastore.records import FeatureId, Plan, Unit
from exegete.datastore.shards import find_shards, merge, open_shards
from exegete.errors import SubjectError
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest, harvest_shard
from exegete.subjects.huggingface import open_subject
from exegete.subjects.laboratory import Laboratory, Measured, NotRun
from exegete.subjects.spec import HarvestSpec, Shard
from tests.subjects.dictionary_files import arrays, saelens_6, save_saelens
from tests.subjects.tiny import WIDTH, WORDS, save

SPEC = HarvestSpec(
    site="blocks.1.hook_mlp_out",
    features=(0, 3, 11, 15),
    polarity="both",
    context=14,
    batch=5,
    top=4,
    sample=20,
    quiet=24,
    firing_quantile=0.95,
    calibration=12,
)
N_LATENTS = 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 documents that are one context each, so that each can be run again as it stands."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "c.jsonl"
    texts = [" ".join([*rng.choice(WORDS, 6), str(100 + i)]) for i in range(60)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def harvested(subject: Path, corpus: Path, folder: Path, spec: HarvestSpec = SPEC) -> EvidenceFile:
    """A small harvest's evidence."""
    manifest, _ = harvest(open_subject(str(subject), "cpu"), open_corpus(str(corpus)), spec, folder)
    return EvidenceFile(folder / f"{manifest.name}.duckdb")


def autoencoder(folder: Path) -> Path:
    """A sparse autoencoder of the tiny models' stream, which reads contexts that begin with a BOS token."""
    shapes = {
        "W_enc": (WIDTH, N_LATENTS),
        "b_enc": (N_LATENTS,),
        "W_dec": (N_LATENTS, WIDTH),
        "b_dec": (WIDTH,),
    }
    config = saelens_6("standard", d_in=WIDTH, d_sae=N_LATENTS)
    return save_saelens(folder, config, {k: v * 0.3 for k, v in arrays(shapes).items()})


@pytest.fixture(scope="module", params=["bert", "gpt2", "llama", "autoencoder"])
def file(
    request: pytest.FixtureRequest,
    folders: dict[str, Path],
    corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[EvidenceFile]:
    """Evidence of an encoder, of two decoders (one begins every text with a token), and of latents."""
    folder = tmp_path_factory.mktemp("evidence")
    if request.param == "autoencoder":
        spec = replace(
            SPEC,
            site="blocks.1.hook_resid_post",
            dictionary=str(autoencoder(folder / "sae")),
            polarity="+",
            features=None,
        )
        subject = open_subject(str(folders["gpt2"]), "cpu", prepend_bos=True)
        assert subject.name.endswith("+bos")
        manifest, _ = harvest(subject, open_corpus(str(corpus)), spec, folder)
        found = EvidenceFile(folder / f"{manifest.name}.duckdb")
    else:
        found = harvested(folders[request.param], corpus, folder)
    yield found
    found.close()


def measured(
    lab: Laboratory, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
) -> list[Measured | NotRun]:
    return asyncio.run(lab.measure(feature, texts, unit))


@pytest.mark.parametrize("unit", ["word", "token"])
def test_as_harvested(file: EvidenceFile, unit: Unit) -> None:
    """A text that was harvested gives the words, the firings and the silence that the harvest kept of it."""
    plan = Plan(top=50, per_decile=50, quiet=50, window=None, unit=unit)
    lab = Laboratory.open(file, device="cpu")
    seen = fired = 0
    for feature in file.features:
        agent, report = AgentEvidence(file), ReportEvidence(file)
        found = [agent.explain(feature, plan), agent.refine(feature, plan), report.report(feature, plan)]
        excerpts = [e for one in found for e in one.excerpts]
        again = measured(lab, feature, [e.context.text for e in excerpts], unit)
        for kept, now in zip(excerpts, again, strict=True):
            assert isinstance(now, Measured)
            assert now.words == kept.context.tokens
            # In another batch the last bits are others: what is just at the threshold may fall either way.
            differ = (now.activations > 0) != (kept.activations > 0)
            at_bar = np.maximum(now.activations, kept.activations) <= lab.threshold(feature) + 1e-5
            assert not (differ & ~at_bar).any()
            np.testing.assert_allclose(
                now.activations[~differ], kept.activations[~differ], rtol=1e-4, atol=1e-5
            )
        seen += len(excerpts)
        fired += sum(e.peak > 0 for e in excerpts)
        assert lab.threshold(feature) == file.summary(feature).threshold
    lab.close()
    assert min(fired, seen - fired) > 15


@pytest.fixture
def gpt2(folders: dict[str, Path], corpus: Path, tmp_path: Path) -> Iterator[EvidenceFile]:
    """Evidence of a model that may be moved and spoilt."""
    shutil.copytree(folders["gpt2-lm"], tmp_path / "model")
    found = harvested(tmp_path / "model", corpus, tmp_path / "evidence")
    yield found
    found.close()


def reopened(file: EvidenceFile) -> EvidenceFile:
    file.close()
    return EvidenceFile(file.path)


def test_texts_that_cannot_be_run(gpt2: EvidenceFile) -> None:
    """Each is said why, and the texts beside it are run; what looks like a special token is text."""
    lab = Laboratory.open(gpt2, device="cpu")
    feature = gpt2.features[0]
    texts = ["", "the dog", "a" * 15, "a" * 14, "half \ud83d", "the dog", "<s> the <pad>"]
    found = measured(lab, feature, texts)
    assert found[0] == NotRun("it has no tokens")
    assert found[2] == NotRun("it has 15 tokens and a context has at most 14")
    assert found[4] == NotRun("it holds half of a character, which no tokenizer takes")
    run = [found[i] for i in (1, 3, 5, 6)]
    assert ["".join(one.words) for one in run if isinstance(one, Measured)] == [
        "the dog", "a" * 14, "the dog", "<s> the <pad>"
    ]  # fmt: skip
    assert found[1] is found[5]
    assert measured(lab, feature, []) == []
    with pytest.raises(SubjectError, match="feature 7 is not in harvest"):
        measured(lab, replace(feature, index=7), ["the dog"])
    lab.close()


def test_activations_that_overflow(gpt2: EvidenceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not finite is no silence: that text is not run, and the one beside it is."""
    lab = Laboratory.open(gpt2, device="cpu")
    plain = lab.reader.activations

    def overflows(site: str, batch: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        acts = plain(site, batch).clone()
        acts[[len(ids) for ids in batch].index(max(map(len, batch))), 0] = torch.nan
        return acts

    monkeypatch.setattr(lab.reader, "activations", overflows)
    short, long = measured(lab, gpt2.features[0], ["the", "the lazy dog"])
    assert isinstance(short, Measured)
    assert long == NotRun("its activations are not finite")
    lab.close()


def test_cases_at_once(gpt2: EvidenceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked at the same time, one pass runs at a time, and each gets what it gets alone."""
    lab = Laboratory.open(gpt2, device="cpu")
    asked = [
        (f, [f"the {word} {n}" for n in range(i + 1)]) for i, word in enumerate(WORDS) for f in gpt2.features
    ]
    alone = [measured(lab, feature, texts) for feature, texts in asked]
    running, most, plain = 0, 0, lab.reader.activations
    threads = set()

    def counted(site: str, batch: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.add(threading.current_thread())
        acts = plain(site, batch)
        running -= 1
        return acts

    monkeypatch.setattr(lab.reader, "activations", counted)

    async def at_once() -> list[list[Measured | NotRun]]:
        return await asyncio.gather(*(lab.measure(feature, texts) for feature, texts in asked))

    together = asyncio.run(at_once())
    assert most == 1
    assert threading.main_thread() not in threads
    for one, other in zip(alone, together, strict=True):
        assert [bits(m) for m in one] == [bits(m) for m in other]
    lab.close()


def bits(found: Measured | NotRun) -> object:
    """A measurement in a form that is equal to the bit."""
    return found if isinstance(found, NotRun) else (found.words, found.activations.tobytes())


def test_a_causal_subject(gpt2: EvidenceFile) -> None:
    """Its head is loaded when it is wanted, and changes nothing that was measured."""
    lab = Laboratory.open(gpt2, device="cpu")
    feature = gpt2.feature(3, "-")
    before = measured(lab, feature, ["the lazy dog", "quick"])
    assert lab.is_causal
    assert lab.causal() is lab.causal()
    assert lab.causal().name == lab.name == gpt2.parameters["subject"]
    after = measured(lab, feature, ["the lazy dog", "quick"])
    for one, other in zip(before, after, strict=True):
        assert isinstance(one, Measured)
        assert isinstance(other, Measured)
        np.testing.assert_allclose(one.activations, other.activations, rtol=1e-5)
    edited = lab.feature(feature)
    assert (edited.index, edited.sign, edited.site) == (3, -1, SPEC.site)
    assert edited.threshold == gpt2.summary(feature).threshold
    lab.close()


def test_an_encoder_has_no_output_side(folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    """It is said in a sentence, and texts can be run on it all the same."""
    file = harvested(folders["bert"], corpus, tmp_path)
    lab = Laboratory.open(file, device="cpu")
    assert not lab.is_causal
    with pytest.raises(SubjectError, match="is an encoder"):
        lab.causal()
    assert isinstance(measured(lab, file.features[0], ["the dog"])[0], Measured)
    lab.close()
    file.close()


def test_where_it_was_loaded_from(gpt2: EvidenceFile, corpus: Path, tmp_path: Path) -> None:
    """The manifest says it, as a path that holds anywhere; it is no part of the harvest's name or bytes."""
    model = tmp_path / "model"
    assert gpt2.manifest.source == {"subject": str(model.resolve()), "dictionary": "neurons"}
    assert "source" not in gpt2.parameters
    shutil.move(model, tmp_path / "moved")
    (tmp_path / "model2").mkdir()
    with pytest.raises(SubjectError, match=r"can't be loaded again.*pass --subject \(it was at .*model\)"):
        Laboratory.open(gpt2, device="cpu")
    with pytest.raises(SubjectError, match="can't be loaded again"):
        Laboratory.open(gpt2, str(tmp_path / "model2"), "cpu")
    renamed = Laboratory.open(gpt2, str(tmp_path / "moved"), "cpu")
    assert renamed.name == renamed.causal().name.replace("moved", "model") == gpt2.parameters["subject"]
    renamed.close()
    shutil.move(tmp_path / "moved", tmp_path / "deep" / "model")
    # The same harvest again, from where the model is now, makes a note of it and nothing else.
    again = harvested(tmp_path / "deep" / "model", corpus, tmp_path / "evidence")
    assert again.manifest.sha256 == gpt2.manifest.sha256
    Laboratory.open(again, device="cpu").close()
    again.close()


def test_shards_keep_it(folders: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    """Merged shards know where the subject and the dictionary are, as a harvest in one go does."""
    subject, text = open_subject(str(folders["gpt2"]), "cpu"), open_corpus(str(corpus))
    for i in range(2):
        harvest_shard(subject, text, [SPEC], tmp_path, Shard(i, 2))
    (states,) = open_shards(find_shards([tmp_path])).values()
    manifest, _ = merge(states, tmp_path)
    assert manifest.source == {"subject": str(folders["gpt2"].resolve()), "dictionary": "neurons"}


def test_old_manifests(gpt2: EvidenceFile, tmp_path: Path) -> None:
    """Evidence from before sources were kept can be read, and run once somebody says where the subject is."""
    path = manifest_path(gpt2.path)
    record = json.loads(path.read_text())
    del record["source"]
    path.write_text(json.dumps(record))
    file = reopened(gpt2)
    assert file.manifest.source is None
    with pytest.raises(
        SubjectError, match=r"nothing says where the subject of harvest .*: pass it as --subject"
    ):
        Laboratory.open(file, device="cpu")
    Laboratory.open(file, str(tmp_path / "model"), "cpu").close()
    file.close()


def test_another_model(gpt2: EvidenceFile, folders: dict[str, Path], tmp_path: Path) -> None:
    """Other weights in the same place, and another model, are refused by name."""
    model = tmp_path / "model"
    torch.manual_seed(5)
    shutil.rmtree(model)
    save("llama", model)
    for where in (None, str(folders["llama"])):
        with pytest.raises(
            SubjectError, match=r"is of model@.*: pass that model as --subject, or harvest this"
        ):
            Laboratory.open(gpt2, where, "cpu")


def changed(file: EvidenceFile, **parameters: Any) -> EvidenceFile:
    """The evidence with other parameters in its manifest."""
    path = manifest_path(file.path)
    record = json.loads(path.read_text())
    record["parameters"] |= parameters
    path.write_text(json.dumps(record))
    return reopened(file)


def test_sites_and_dictionaries_that_are_gone(gpt2: EvidenceFile, tmp_path: Path) -> None:
    """A site that moved, a dictionary that is gone, another one in its place: each in a sentence."""
    file = changed(gpt2, site="blocks.7.hook_mlp_out")
    with pytest.raises(SubjectError, match=r"the site or dictionary of harvest .* can't be read again: "):
        Laboratory.open(file, device="cpu")
    file = changed(file, site="blocks.1.hook_resid_post", dictionary="sae@0123456789ab")
    record = json.loads(manifest_path(file.path).read_text())
    record["source"]["dictionary"] = str(tmp_path / "sae")
    manifest_path(file.path).write_text(json.dumps(record))
    file = reopened(file)
    with pytest.raises(SubjectError, match="there is no dictionary"):
        Laboratory.open(file, device="cpu")
    autoencoder(tmp_path / "sae")
    with pytest.raises(SubjectError, match=r"is sae@\w+ now and was sae@0123456789ab: put that one back"):
        Laboratory.open(file, device="cpu")
    file.close()


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"kind": "import"}, "was imported, and its model was never here"),
        ({"kind": "controls"}, "is of planted features"),
        ({"shuffle": True}, "holds activations dealt to other contexts"),
    ],
)
def test_evidence_of_no_subject(gpt2: EvidenceFile, parameters: dict[str, Any], why: str) -> None:
    """Imports, planted features and dealt activations are of nothing that could be run."""
    file = changed(gpt2, **parameters)
    with pytest.raises(SubjectError, match=f"nothing can be run for .*: it {why}"):
        Laboratory.open(file, device="cpu")
    file.close()
