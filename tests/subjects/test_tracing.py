"""All features on one text, against every feature measured by itself, and contexts run one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exegete.datastore.evidence_file import EvidenceFile
from exegete.errors import UsageError
from exegete.subjects import tracing
from exegete.subjects.laboratory import Laboratory, Measured
from exegete.subjects.tracing import trace
from tests.subjects.test_laboratory import SPEC, autoencoder, corpus, harvested
from tests.subjects.tiny import WORDS

__all__ = ["corpus"]


@pytest.fixture(scope="module", params=["neurons", "latents"])
def opened(
    request: pytest.FixtureRequest,
    folders: dict[str, Path],
    corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Laboratory, EvidenceFile]]:
    """A subject with four neurons of two sides, and one with an autoencoder's latents."""
    folder = tmp_path_factory.mktemp("evidence")
    spec = replace(SPEC, batch=2)
    if request.param == "latents":
        latents = str(autoencoder(folder / "sae"))
        spec = replace(
            spec, site="blocks.1.hook_resid_post", dictionary=latents, polarity="+", features=(1, 2, 9, 17)
        )
    file = harvested(folders["bert"], corpus, folder, spec)
    lab = Laboratory.open(file, device="cpu")
    yield lab, file
    lab.close()
    file.close()


def test_as_measured(opened: tuple[Laboratory, EvidenceFile]) -> None:
    """On a text that fits into a context a trace is what each feature's measurement says."""
    lab, file = opened
    fired = 0
    for text in ("the lazy dog", "quick fox unlocking", "twice said"):
        found = trace(lab, file, text)
        by_feature = {firing.feature: firing for firing in found.firings}
        assert list(by_feature) == [f for f in sorted(file.features, key=order) if f in by_feature]
        for feature in file.features:
            (alone,) = asyncio.run(lab.measure(feature, [text]))
            assert isinstance(alone, Measured)
            assert found.words == alone.words
            dense = np.zeros(len(found.words), np.float32)
            if feature in by_feature:
                dense[by_feature[feature].words] = by_feature[feature].values
                assert by_feature[feature].peak == dense.max()
            np.testing.assert_allclose(dense, alone.activations, rtol=1e-4, atol=1e-5)
            fired += int((dense > 0).sum())
    assert fired > 5


def order(feature: object) -> tuple[bool, int]:
    """Features as a harvest has them in its slots: one side after the other."""
    return feature.polarity == "-", feature.index


def test_longer_than_a_context(opened: tuple[Laboratory, EvidenceFile]) -> None:
    """A long text is cut where words end, and its words and firings are those of its contexts, end to end."""
    lab, file = opened
    words = np.random.default_rng(3).choice(WORDS, 70)
    text = " ".join(words)
    found = trace(lab, file, text)
    assert "".join(found.words) == text
    assert len(found.words) == 70
    for firing in found.firings:
        assert (np.diff(firing.words) > 0).all()
        assert (firing.values > file.summary(firing.feature).threshold).all()
    # Its first context by itself: as many whole words as fit.
    n = 0
    while len(lab.reader.tokenise(" ".join(words[: n + 1])).ids) <= SPEC.context - lab.reader.n_special:
        n += 1
    first = trace(lab, file, " ".join(words[:n]))
    assert 0 < n < 70
    for firing in first.firings:
        (same,) = [other for other in found.firings if other.feature == firing.feature]
        np.testing.assert_array_equal(same.words[same.words < n], firing.words)
        np.testing.assert_allclose(same.values[same.words < n], firing.values, rtol=1e-4)


def test_texts_that_are_none(
    opened: tuple[Laboratory, EvidenceFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tokens, too many, and halves of characters are refused in a sentence."""
    lab, file = opened
    with pytest.raises(UsageError, match="has 0 tokens: give one of 1 to 100,000"):
        trace(lab, file, " ")
    with pytest.raises(UsageError, match="half of a character"):
        trace(lab, file, "a \udcff")
    monkeypatch.setattr(tracing, "MOST", 5)
    with pytest.raises(UsageError, match="give one of 1 to 5"):
        trace(lab, file, "the lazy dog said twice the quick fox")
