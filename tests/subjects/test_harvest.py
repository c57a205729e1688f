"""A whole harvest of small models, against brute force over all activations."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.datastore.database import connect
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_writer import Manifest, sha256_of
from exegete.datastore.hashing import digest64
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of
from exegete.datastore.words import unit_starts
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.reading import windows
from exegete.subjects.spec import HarvestSpec, Progress
from tests.subjects.harvests import SPEC, Subjects, distinct_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 documents of which no two contexts are alike."""
    return distinct_corpus(tmp_path_factory.mktemp("corpus"))


def run(
    subject: HuggingFaceSubject, corpus: Path | str, spec: HarvestSpec, folder: Path
) -> tuple[Manifest, bool, list[Progress]]:
    said: list[Progress] = []
    manifest, made = harvest(subject, open_corpus(str(corpus)), spec, folder, said.append)
    return manifest, made, said


@dataclass
class Window:
    """A context by brute force."""

    split: str
    document: str
    start: int
    ids: list[int]
    acts: np.ndarray[Any, Any]
    """(n_tokens, n_slots)"""


def cut_literally(display: tuple[str, ...], length: int) -> list[tuple[int, int]]:
    """Windows filled word by word; a word that is longer than a window is cut where the window is full."""
    starts = unit_starts(display, "word").tolist()
    words = list(pairwise([*starts, len(display)]))
    found, first, last = list[tuple[int, int]](), 0, 0
    while words:
        a, b = words.pop(0)
        if b - first <= length:
            last = b
            continue
        if last > first:
            found.append((first, last))
            first, words = last, [(a, b), *words]
        else:
            found.append((first, first + length))
            first, words = first + length, [(first + length, b), *words]
        last = first
    return [*found, (first, last)] if last > first else found


@settings(max_examples=200)
@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 8))
def test_windows(words: list[int], length: int) -> None:
    """Windows are filled word by word, lie end to end, and are as many as it takes."""
    display = tuple(piece for n in words for piece in (" a", *["b"] * (n - 1)))
    starts = unit_starts(display, "word").tolist()
    found = list(windows(starts, len(display), length))
    assert found == cut_literally(display, length)
    assert [i for a, b in found for i in range(a, b)] == list(range(len(display)))
    assert all(b - a <= length for a, b in found)


def brute(subject: HuggingFaceSubject, corpus: Path, spec: HarvestSpec) -> list[Window]:
    """Every context with all activations, each run alone, read with an ordinary hook on the whole model."""
    model, tokenizer = subject._model, subject._tokenizer
    module = {"bert": "encoder.layer.1.output.dense", "gpt2": "h.1.mlp"}[model.config.model_type]
    seen: list[torch.Tensor] = []

    def note(_module: Any, _args: Any, out: torch.Tensor) -> None:
        seen.append(out)

    handle = model.get_submodule(module).register_forward_hook(note)
    special = tokenizer("a")["input_ids"]
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    before, after = (special[:1], special[-1:]) if len(special) > len(bare) else ([], [])
    length = spec.context - len(before) - len(after)
    found = []
    for number, line in enumerate(corpus.read_text(encoding="utf-8").splitlines(), start=1):
        document = f"{corpus.name}#{number}"
        text = json.loads(line)["text"]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        for start, end in cut_literally(subject.tokenise(text).display, length):
            some = ids[start:end]
            if len(some) < length / 4:
                continue
            with torch.inference_mode():
                model(torch.tensor([[*before, *some, *after]]))
            acts = seen.pop()[0, len(before) : len(before) + len(some)].numpy()
            assert spec.features is not None
            acts = acts[:, list(spec.features)]
            if spec.polarity == "both":
                acts = np.concatenate([acts, -acts], 1)
            found.append(Window(split_of(document, spec.seed), document, start, some, acts))
    handle.remove()
    return found


EPSILON = 1e-5
"""Activations of a context in a batch differ from those alone by rounding."""


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_as_brute_force(kind: str, subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """Thresholds, counts, maxima and the strongest contexts are those of a loop over every activation."""
    subject = subjects[kind]
    manifest, made, said = run(subject, corpus, SPEC, tmp_path)
    windows = brute(subject, corpus, SPEC)
    assert made
    assert len({tuple(w.ids) for w in windows}) == len(windows)
    file = EvidenceFile(tmp_path / f"{manifest.name}.duckdb")
    assert file.tokens == sum(len(w.ids) for w in windows) == said[-1].tokens
    assert file.contexts_by_split == {s: sum(w.split == s for w in windows) for s in SPLITS}
    assert [f.index for f in file.features] == [i for i in SPEC.features or () for _ in "+-"]

    sample = np.concatenate([w.acts for w in windows[: SPEC.calibration]])
    for slot, (side, index) in enumerate((s, i) for s in "+-" for i in SPEC.features or ()):
        feature = file.feature(index, side)  # type: ignore[arg-type]
        summary = file.summary(feature)
        expected = max(0.0, float(np.sort(sample[:, slot])[::-1][int(len(sample) * 0.05)]))
        assert summary.threshold == pytest.approx(expected, abs=EPSILON)

        # The threshold is one token's activation, which does not exceed itself.
        firing = [w.acts[:, slot] > expected + EPSILON for w in windows]
        n = sum(int(f.sum()) for f in firing)
        assert summary.fired == n > 0
        assert summary.density == pytest.approx(n / file.tokens)
        for split in SPLITS:
            own = {
                digest64(np.asarray(w.ids, dtype=np.int32).tobytes()): (w.acts[:, slot], fired)
                for w, fired in zip(windows, firing, strict=True)
                if w.split == split and fired.any()
            }
            assert summary.fired_contexts[split] == len(own)
            peaks = sorted((float(acts.max()) for acts, _ in own.values()), reverse=True)
            examples = list(file.rows(feature).examples.get(split, ()))
            top = examples[: SPEC.top]
            np.testing.assert_allclose([e.values.max() for e in top], peaks[: SPEC.top], atol=EPSILON)
            for example in examples:
                acts, fired = own[example.context_id]
                assert example.positions.tolist() == np.flatnonzero(fired).tolist()
                np.testing.assert_allclose(example.values, acts[fired], atol=EPSILON)
            if split == "explain":
                assert summary.maximum_explain == pytest.approx(peaks[0], abs=EPSILON)
    file.close()


def test_contexts(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """Contexts are windows of documents: ids, text, places and splits; short tails are left out."""
    subject = subjects["gpt2"]
    everything = replace(SPEC, quiet=10_000)
    manifest, _, _ = run(subject, corpus, everything, tmp_path)
    with connect(tmp_path / f"{manifest.name}.duckdb", read_only=True) as con:
        rows = con.execute("SELECT document, start, split, token_ids, tokens FROM contexts").fetchall()
    windows = brute(subject, corpus, SPEC)
    unique = {tuple(w.ids) for w in windows}
    assert {tuple(row[3]) for row in rows} == unique
    assert len(rows) == len(unique)
    by_place = {(w.document, w.start): w for w in windows}
    texts = [json.loads(line)["text"] for line in corpus.read_text(encoding="utf-8").splitlines()]
    for document, start, split, ids, tokens in rows:
        window = by_place[document, start]
        assert (window.ids, window.split) == (ids, split)
        text = texts[int(document.split("#")[1]) - 1]
        assert "".join(tokens) in re.sub(r"\s+", " ", text)
        assert len(tokens) == len(ids)
    lengths = [len(w.ids) for w in windows]
    assert max(lengths) == 14
    assert 4 <= min(lengths) < 14


def test_again(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """The same harvest again does nothing; any other parameter, text or model makes another file."""
    subject = subjects["gpt2"]
    manifest, made, said = run(subject, corpus, SPEC, tmp_path)
    path = tmp_path / f"{manifest.name}.duckdb"
    assert (made, manifest.sha256) == (True, sha256_of(path))
    before = {p.name: (p.stat().st_mtime_ns, sha256_of(p)) for p in tmp_path.iterdir()}
    again, made, said = run(subject, corpus, SPEC, tmp_path)
    assert (again, made, said) == (manifest, False, [])
    assert {p.name: (p.stat().st_mtime_ns, sha256_of(p)) for p in tmp_path.iterdir()} == before

    names = {manifest.name}
    others: list[dict[str, Any]] = [
        {"seed": 1}, {"top": 5}, {"sample": 21}, {"quiet": 25}, {"context": 15}, {"polarity": "+"},
        {"features": (0, 3)}, {"tokens": 700}, {"firing_quantile": 0.9}, {"calibration": 13},
        {"shuffle": True}, {"site": "blocks.1.hook_attn_out"},
    ]  # fmt: skip
    for other in others:
        found, made, _ = run(subject, corpus, replace(SPEC, **other), tmp_path)
        assert made
        names.add(found.name)
    text = tmp_path / "text" / corpus.name
    text.parent.mkdir()
    text.write_text(corpus.read_text(encoding="utf-8").replace("quick", "dog"), encoding="utf-8")
    names.add(run(subject, text, SPEC, tmp_path)[0].name)
    names.add(run(subjects["bert"], corpus, SPEC, tmp_path)[0].name)
    assert len(names) == len(others) + 3
    assert all(re.fullmatch(r"[a-z0-9._-]+-[0-9a-f]{8}", name) for name in names)


def test_the_same_bytes(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """Made twice, a harvest has the same rows; batches of another size change rounding only."""
    rows = []
    for folder, spec in (("a", SPEC), ("b", SPEC), ("c", replace(SPEC, batch=64))):
        manifest, _, _ = run(subjects["bert"], corpus, spec, tmp_path / folder)
        with connect(tmp_path / folder / f"{manifest.name}.duckdb", read_only=True) as con:
            rows.append(
                [
                    con.execute(f"SELECT * FROM {table}").fetchall()
                    for table in ("features", "contexts", "examples", "quiet_activations")
                ]
            )
    assert rows[0] == rows[1]
    assert rows[0][1] == rows[2][1]
    keys = [[(r[0], r[1], r[2], r[6]) for r in found[2]] for found in rows]
    assert len(set(keys[0]) ^ set(keys[2])) <= 0.02 * len(keys[0])


@pytest.mark.parametrize("tokens", [700, 900, 1101])
def test_budget(tokens: int, subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """A harvest stops with the context in which the budget runs out."""
    manifest, _, said = run(subjects["gpt2"], corpus, replace(SPEC, tokens=tokens), tmp_path)
    file = EvidenceFile(tmp_path / f"{manifest.name}.duckdb")
    windows = brute(subjects["gpt2"], corpus, SPEC)
    total = np.cumsum([len(w.ids) for w in windows])
    assert file.tokens == total[int(np.searchsorted(total, tokens))]
    assert tokens <= file.tokens < tokens + SPEC.context
    assert said[-1] == Progress("writing", file.tokens)
    assert [p.stage for p in said] == sorted(p.stage for p in said)
    file.close()


def test_one_side_is_half_of_both(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """A side harvested alone has the same evidence as beside the other, and so has a feature among fewer."""
    file_of = {}
    for name, spec in (
        ("both", SPEC),
        ("-", replace(SPEC, polarity="-")),
        ("one", replace(SPEC, features=(11,))),
    ):
        manifest, _, _ = run(subjects["gpt2"], corpus, spec, tmp_path)
        file_of[name] = EvidenceFile(tmp_path / f"{manifest.name}.duckdb")
    for other, side in (("-", "-"), ("one", "+"), ("one", "-")):
        mine, theirs = (file_of[n].feature(11, side) for n in (other, "both"))  # type: ignore[arg-type]
        assert file_of[other].summary(mine) == file_of["both"].summary(theirs)
        a, b = file_of[other].rows(mine).examples, file_of["both"].rows(theirs).examples
        for split in a:
            # A duplicate's split depends on all that is kept; there are none in this corpus.
            assert [(e.context_id, e.sampled, e.values.tolist()) for e in a[split]] == [
                (e.context_id, e.sampled, e.values.tolist()) for e in b[split]
            ]
    for file in file_of.values():
        file.close()


def test_shuffled(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """Shuffled, a feature's values are much the same, and each stands at other tokens than its own."""
    spec = replace(
        SPEC, site="embeddings.word_embeddings", features=tuple(range(16)), quiet=10_000, polarity="+"
    )
    tokens_of: dict[bool, dict[tuple[int, float], set[int]]] = {}
    for shuffle in (False, True):
        manifest, _, _ = run(subjects["bert"], corpus, replace(spec, shuffle=shuffle), tmp_path)
        with connect(tmp_path / f"{manifest.name}.duckdb", read_only=True) as con:
            rows = con.execute(
                "SELECT feature_index, token_ids, positions, activations "
                "FROM quiet_activations JOIN contexts USING (context_id)"
            ).fetchall()
        tokens_of[shuffle] = defaultdict(set)
        for index, ids, positions, activations in rows:
            for position, value in zip(positions, activations, strict=True):
                tokens_of[shuffle][index, value].add(ids[position])
    before, after = tokens_of[False], tokens_of[True]
    assert all(len(own) == 1 for own in before.values())  # an embedding is a function of its token
    assert np.mean([len(own) for own in after.values()]) > 5
    assert set(after) == set(before)


def test_parameters_are_recorded(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """Everything that decided the harvest stands in its manifest."""
    manifest, _, _ = run(subjects["gpt2"], corpus, SPEC, tmp_path)
    p = manifest.parameters
    assert p["subject"] == subjects["gpt2"].name
    assert (p["layer"], p["site"], p["dictionary"]) == (1, SPEC.site, "neurons")
    assert p["corpus_fingerprint"] == open_corpus(str(corpus)).fingerprint()
    for name in HarvestSpec.__dataclass_fields__:
        assert p[name] == (list(SPEC.features or ()) if name == "features" else getattr(SPEC, name))
    digest = hashlib.sha256(json.dumps(p, sort_keys=True).encode()).hexdigest()
    assert manifest.name.endswith(digest[:8])
