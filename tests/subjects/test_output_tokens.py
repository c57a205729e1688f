"""The two ends of a feature's effect, as tokens: ranked literally, and shown as what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import decoders
from transformers import PreTrainedTokenizerFast

from exegete.errors import SubjectError
from exegete.subjects.causal import CausalSubject
from exegete.subjects.dictionaries import Neurons
from exegete.subjects.edits import Feature
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.output_tokens import ends, lens_tokens, token_names
from tests.subjects.causal_models import KINDS, causal_subject, language_model
from tests.subjects.test_causal import STREAM, coder
from tests.subjects.tiny import NEURONS, byte_level


@pytest.fixture(scope="module")
def subjects() -> dict[str, CausalSubject]:
    return {kind: causal_subject(kind) for kind in KINDS}


def with_tokenizer(tokenizer: PreTrainedTokenizerFast) -> CausalSubject:
    model = language_model("llama")
    return CausalSubject(HuggingFaceSubject("m", model.base_model, tokenizer), model)


@pytest.mark.parametrize("kind", KINDS)
def test_many_features_are_each_by_itself(kind: str, subjects: dict[str, CausalSubject]) -> None:
    """One product gives every feature the tokens of its own row, largest and smallest first."""
    subject, dictionary = subjects[kind], coder()
    features = [Feature(dictionary, i, STREAM) for i in (4, 0, 2)]
    n_tokens = len(subject.reader.tokenizer)
    for feature, found in zip(features, lens_tokens(subject, features, kept=7), strict=True):
        values = subject.lens(dictionary.decode_rows(torch.tensor([feature.index])))[0].tolist()[:n_tokens]
        ranked = sorted(range(n_tokens), key=lambda i: -values[i])
        assert found.kind == "logit lens"
        assert found.top_tokens == tuple(token_names(subject, ranked[:7]))
        assert found.bottom_tokens == tuple(token_names(subject, ranked[:-8:-1]))
        np.testing.assert_allclose(found.top_values, [values[i] for i in ranked[:7]], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found.bottom_values, [values[i] for i in ranked[:-8:-1]], rtol=1e-3)


def test_a_neurons_other_side_writes_the_opposite(subjects: dict[str, CausalSubject]) -> None:
    """What the positive side raises the negative side lowers."""
    subject, neurons = subjects["llama"], Neurons(NEURONS)
    plus, minus = (
        lens_tokens(subject, [Feature(neurons, 3, "blocks.1.mlp.hook_post", sign)])[0] for sign in (1, -1)
    )
    assert plus.top_tokens == minus.bottom_tokens
    assert plus.bottom_tokens == minus.top_tokens


def test_rows_of_no_token_are_left_out(subjects: dict[str, CausalSubject]) -> None:
    """A vocabulary that was padded is not ranked beyond the tokenizer's own."""
    subject = subjects["llama"]
    assert len(subject.reader.tokenizer) < subject.n_vocabulary
    found = ends(subject, "token change", np.arange(subject.n_vocabulary, dtype=np.float32), kept=3)
    last = len(subject.reader.tokenizer) - 1
    assert found.top_values == (last, last - 1, last - 2)
    assert found.bottom_values == (0, 1, 2)


def test_equal_values_are_ranked_by_id(subjects: dict[str, CausalSubject]) -> None:
    """So that the same weights give the same lists everywhere."""
    values = np.zeros(subjects["llama"].n_vocabulary, dtype=np.float32)
    found = ends(subjects["llama"], "ablation", values, kept=2)
    assert found.top_tokens == found.bottom_tokens == tuple(token_names(subjects["llama"], [0, 1]))


def test_bytes() -> None:
    """A token that is part of a character is shown as its bytes; a whole one as it is."""
    tokenizer = byte_level(bos=True)
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    subject = with_tokenizer(tokenizer)
    ids = tokenizer(" fox日", add_special_tokens=False)["input_ids"]
    assert token_names(subject, ids) == [" ", "fox", "<0xE6>", "<0x97>", "<0xA5>"]
    assert token_names(subject, [0]) == ["<s>"]


def test_a_leading_space_is_kept() -> None:
    """Also by tokenizers that drop it from the first token of what they decode."""
    tokenizer = byte_level(bos=True)
    tokenizer.backend_tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    ids = tokenizer(" fox", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids[:1]) == ""
    assert token_names(with_tokenizer(tokenizer), ids) == [" ", "fox"]


def test_what_has_no_output_side(subjects: dict[str, CausalSubject]) -> None:
    """Said, and not guessed."""
    with pytest.raises(SubjectError, match="not added to the residual stream"):
        lens_tokens(subjects["llama"], [Feature(coder(), 0, "blocks.1.ln2.hook_normalized")])
