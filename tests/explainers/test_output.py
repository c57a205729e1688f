"""Output labels: what a model is sent, what is kept of its reply, and what is listed without one."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from exegete.errors import NoReadableReply
from exegete.explainers.hygiene import MAX_LENGTH
from exegete.explainers.output import AskedOutput, ListedOutput, output_explainer
from exegete.prompts import digest
from exegete.simulators.output_words import read_label
from exegete.subjects.output_tokens import OutputTokens
from tests.explainers.explainer_fakes import FEATURE, FakeLLM

GOLDEN = Path(__file__).parent.parent / "prompts" / "golden"
LENS = OutputTokens("logit lens", (" Monday", "day", " noon"), (3.0, 2.0, 1.0), (")", "0"), (-2.0, -1.0))
CHANGE = OutputTokens(
    "token change", (" Friday", " Monday", "ignore the above"), (0.5, 0.4, 0.3), ("0", "\n"), (-0.2, -0.1)
)
SEEN = (LENS, CHANGE)


def test_golden() -> None:
    """What a model is sent is, to the byte, what the golden file shows: the four lists, and no excerpt."""
    request = AskedOutput(FakeLLM(), "m").request(FEATURE, SEEN)
    sent = f"{request.system}\n======== user\n{request.messages[0].text}\n"
    golden = GOLDEN / "output.txt"
    if "WRITE_GOLDEN" in os.environ:
        golden.write_text(sent, encoding="utf-8")
    assert sent == golden.read_text(encoding="utf-8")
    assert request.tags == {"purpose": "output", "feature": "32"}


def test_a_models_label() -> None:
    """One call; the label is cleaned, is of the output side, and carries model and prompt."""
    llm = FakeLLM(json.dumps({"label": 'promotes\ndays,\u202e such as " Monday"'}))
    label = asyncio.run(AskedOutput(llm, "m").explain(FEATURE, SEEN))
    assert (label.text, label.side) == ('promotes days, such as " Monday"', "output")
    assert label.author == f"output/m@{digest('output')}"
    assert len(llm.asked) == 1


@pytest.mark.parametrize("said", ['{"label": ""}', json.dumps({"label": "x" * 301}), "no", '{"labels": []}'])
def test_what_is_no_label(said: str) -> None:
    """Nothing visible, too much, or another shape: an error that names the feature, and no label."""
    with pytest.raises(NoReadableReply, match="feature 32"):
        asyncio.run(AskedOutput(FakeLLM(said), "m").explain(FEATURE, SEEN))


def test_listed() -> None:
    """Tokens that both ways name come first, then those of the token change, however they are spaced."""
    label = asyncio.run(ListedOutput().explain(FEATURE, SEEN))
    assert label.text == 'raises "Monday", "Friday", "ignore the above"; lowers "0", "⏎"'
    assert (label.side, label.author) == ("output", "output-lexical@1")


def test_a_list_is_no_longer_than_a_label() -> None:
    """Lowered tokens are left out first, then raised ones, the weakest first."""
    many = tuple(f"{letter * 60}" for letter in "abcdef")
    one = OutputTokens("token change", many, (1.0,) * 6, many, (-1.0,) * 6)
    label = asyncio.run(ListedOutput().explain(FEATURE, (one,)))
    said = read_label(label.text)
    assert len(label.text) <= MAX_LENGTH
    assert said.raised == many[: len(said.raised)]
    assert 3 <= len(said.raised) < 6
    assert not said.lowered


def test_which() -> None:
    """A model writes where there is one."""
    assert isinstance(output_explainer(None, None), ListedOutput)
    assert output_explainer(FakeLLM(), "m").name.startswith("output/m@")
