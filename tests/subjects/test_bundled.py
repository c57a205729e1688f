"""The trained subject that comes with exegete: it is what its card says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from exegete.subjects import bundled
from exegete.subjects.causal import open_causal
from exegete.subjects.dictionaries import dictionary_origin, open_dictionary
from exegete.subjects.huggingface import open_subject

TEXT = (
    "Return a new set with elements in the set that are not in the others. If the set is empty, raise a "
    "KeyError. The default value of the argument is None, and the method returns a list of strings."
)


@pytest.fixture(scope="module")
def card() -> dict[str, float]:
    """What was measured when it was trained."""
    found: dict[str, float] = json.loads((bundled.model_folder() / "card.json").read_text())
    return found


def test_it_is_trained(card: dict[str, float]) -> None:
    """It predicts plain text of its kind far better than knowing how frequent tokens are."""
    subject = open_causal(bundled.NAME)
    ids = subject.reader.tokenise(TEXT).ids
    (loss,) = subject.losses([ids])
    assert card["held_out_loss_nats"] < card["unigram_entropy_nats"] - 2
    assert loss.mean() < card["unigram_entropy_nats"] - 2


def test_the_autoencoder_is_of_that_model(card: dict[str, float]) -> None:
    """It rebuilds the stream it was trained on, with as many latents a token as its card says."""
    subject = open_subject(bundled.NAME)
    site = dictionary_origin(bundled.DICTIONARY).site
    assert site is not None
    sae = open_dictionary(bundled.DICTIONARY, subject.width(site))
    ids = subject.tokenise(TEXT).ids
    acts_TD = subject.activations(site, [ids])[0].float()
    fired = sae.fire(acts_TD)
    assert len(fired.token) / len(ids) == pytest.approx(card["sae_l0"], abs=1)
    rows_FD = sae.decode_rows(fired.feature)
    assert rows_FD is not None
    rebuilt = acts_TD.new_zeros(acts_TD.shape).index_add(0, fired.token, fired.value[:, None] * rows_FD)
    residue = (acts_TD - rebuilt).numpy()
    # Up to the autoencoder's bias, which is one vector for all tokens.
    left = np.var(residue, axis=0).sum() / np.var(acts_TD.numpy(), axis=0).sum()
    assert left < 2 * card["sae_fraction_of_variance_unexplained"]


def test_weights_travel_with_the_package() -> None:
    """Everything that transformers and we need is in the package's folder, as safetensors, and small."""
    files = {p.name: p.stat().st_size for p in bundled.model_folder().rglob("*") if p.is_file()}
    assert {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "cfg.json",
        "sae_weights.safetensors",
    } <= set(files)
    assert not [name for name in files if name.endswith((".pt", ".bin", ".pkl"))]
    assert sum(files.values()) < 6_000_000
