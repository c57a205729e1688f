"""Who judges labels that who wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exegete.agent.independence import FAMILIES, Independence, families, judge

SERVER = "@http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("openai:gpt-4o-mini-2024-07-18", "OpenAI's GPT"),
        ("openai:o3-mini", "OpenAI's GPT"),
        ("openai:ft:gpt-4.1-nano-2025-04-14:org::abc123", "OpenAI's GPT"),
        (f"openai:openai/gpt-oss-120b{SERVER}", "OpenAI's GPT"),
        ("hf:openai-community/gpt2@" + "a" * 40, "OpenAI's GPT"),
        ("hf:EleutherAI/gpt-neox-20b", "EleutherAI's"),
        ("hf:EleutherAI/gpt-j-6b", "EleutherAI's"),
        ("hf:EleutherAI/pythia-1.4b-deduped", "EleutherAI's"),
        ("anthropic:claude-sonnet-4-20250514", "Anthropic's Claude"),
        ("anthropic:claude-3-5-haiku-latest", "Anthropic's Claude"),
        (f"openai:anthropic.claude-3-5-sonnet-20240620-v1:0{SERVER}", "Anthropic's Claude"),
        (f"openai:models/gemini-2.5-flash{SERVER}", "Google's Gemini and Gemma"),
        (f"openai:google/gemma-3-27b-it{SERVER}", "Google's Gemini and Gemma"),
        (f"openai:meta-llama/Meta-Llama-3.1-70B-Instruct{SERVER}", "Meta's Llama"),
        (f"openai:llama3:8b{SERVER}", "Meta's Llama"),
        (f"openai:TheBloke/CodeLlama-13B-GGUF{SERVER}", "Meta's Llama"),
        (f"openai:Mistral-Nemo-Instruct-2407{SERVER}", "Mistral's"),
        (f"openai:ministral-8b-latest{SERVER}", "Mistral's"),
        (f"openai:codestral-2501{SERVER}", "Mistral's"),
        (f"openai:mistralai/Mixtral-8x7B-Instruct-v0.1{SERVER}", "Mistral's"),
        (f"openai:Qwen/QwQ-32B{SERVER}", "Alibaba's Qwen"),
        ("hf:Qwen/Qwen2.5-0.5B-Instruct", "Alibaba's Qwen"),
        (f"openai:deepseek-chat{SERVER}", "DeepSeek's"),
        (f"openai:microsoft/Phi-4-mini-instruct{SERVER}", "Microsoft's Phi"),
        (f"openai:phi3:mini{SERVER}", "Microsoft's Phi"),
        (f"openai:grok-4{SERVER}", "xAI's Grok"),
        (f"openai:command-r-plus{SERVER}", "Cohere's Command"),
        (f"openai:amazon.nova-pro-v1:0{SERVER}", "Amazon's Nova and Titan"),
        (f"openai:granite-3.3-8b-instruct{SERVER}", "IBM's Granite"),
        (f"openai:allenai/OLMo-2-1124-13B{SERVER}", "Ai2's OLMo"),
        (f"openai:zai-org/GLM-4.5{SERVER}", "Zhipu's GLM"),
        (f"openai:moonshotai/Kimi-K2-Instruct{SERVER}", "Moonshot's Kimi"),
        (f"openai:01-ai/Yi-34B-Chat{SERVER}", "01.AI's Yi"),
        ("neuronpedia:oai_token-act-pair/gpt-4o-mini", "OpenAI's GPT"),
    ],
)
def test_lines_are_known_by_their_names(model: str, family: str) -> None:
    """Sizes, dates, owners, servers, tags and fine-tuning don't hide a line."""
    assert families(model) == {family}


@pytest.mark.parametrize(
    "model",
    [f"openai:my-model{SERVER}", "scripted:script.jsonl#0123abcd", "openai:dolphin-2.9", "imported", ""],
)
def test_other_names_tell_nothing(model: str) -> None:
    """Letters of a line within another word are not the line."""
    assert families(model) == frozenset()


def test_a_distilled_model_is_of_both_lines() -> None:
    """Teacher and student are relatives of it alike."""
    model = f"openai:deepseek-ai/DeepSeek-R1-Distill-Llama-70B{SERVER}"
    assert families(model) == {"DeepSeek's", "Meta's Llama"}
    assert judge(model, f"openai:llama-3.3-70b-versatile{SERVER}").kind == "same family"


def test_patterns_are_written_as_names_are_read() -> None:
    """Names are matched in lower case and with hyphens, so a pattern with anything else would never match."""
    for family, pattern in FAMILIES.items():
        assert pattern == pattern.lower(), family
        assert "_" not in pattern, family


@pytest.mark.parametrize(
    ("explainer", "simulator", "kind"),
    [
        (None, None, "no model"),
        (None, "openai:gpt-4o", "independent"),
        ("openai:gpt-4o", None, "independent"),
        ("imported", None, "independent"),
        ("openai:gpt-4o", "openai:gpt-4o", "same model"),
        (f"openai:Qwen/Qwen2.5-7B-Instruct{SERVER}", "hf:Qwen/Qwen2.5-7B-Instruct@" + "b" * 40, "same model"),
        ("openai:gpt-4o", "openai:gpt-4o-2024-08-06", "same family"),
        ("openai:gpt-4o", "openai:o3-mini", "same family"),
        ("anthropic:claude-opus-4-1", f"openai:claude-3-haiku{SERVER}", "same family"),
        ("openai:gpt-4o", "anthropic:claude-opus-4-1", "independent"),
        ("hf:EleutherAI/gpt-neo-1.3B", "openai:gpt-4o", "independent"),
        (f"openai:house-7b-instruct{SERVER}", f"openai:house-70b-v2{SERVER}", "same family"),
        (f"openai:house-7b{SERVER}", f"openai:street-7b{SERVER}", "unknown"),
        (f"openai:7b{SERVER}", f"openai:70b{SERVER}", "unknown"),
        (f"openai:house-7b{SERVER}", "openai:gpt-4o", "unknown"),
        ("openai:gpt-4o", f"openai:house-7b{SERVER}", "unknown"),
        ("imported", "openai:gpt-4o", "unknown"),
        ("neuronpedia:oai_token-act-pair/gpt-4o-mini", "openai:gpt-4o", "same family"),
        ("scripted:a/script.jsonl#00000001", "scripted:b/script.jsonl#00000002", "same family"),
        ("scripted:script.jsonl#00000001", "scripted:script.jsonl#00000001", "same model"),
    ],
)
def test_how_independent(explainer: str | None, simulator: str | None, kind: str) -> None:
    """By model, then by family; what nobody knows is not called independent."""
    judged = judge(explainer, simulator)
    assert judged.kind == kind
    assert (judged.sentence is None) == (kind == "independent")


def test_a_sentence_says_what_to_do() -> None:
    """It names the models, what is wrong, and the option that mends it, where one does."""
    same = judge("openai:gpt-4o", "openai:gpt-4o").sentence or ""
    assert "openai:gpt-4o judges labels that it wrote itself" in same
    assert "--simulator-llm" in same
    family = judge("openai:gpt-4o", "openai:o3").sentence or ""
    assert "openai:o3 judges labels by openai:gpt-4o, of the same family (OpenAI's GPT)" in family
    assert "nobody knows who wrote the imported labels" in (judge("imported", "openai:o3").sentence or "")
    assert "the family of openai:x is not known" in (judge("openai:x", "openai:o3").sentence or "")
    assert "--simulator-llm" not in (judge(None, None).sentence or "")


@pytest.mark.parametrize(
    ("configuration", "found"),
    [
        ({"_name_or_path": "/data/Mistral-7B-v0.3/", "model_type": "llama"}, {"Mistral's"}),
        ({"_name_or_path": "ours", "model_type": "gpt_neox"}, {"EleutherAI's"}),
        ({"model_type": "qwen2"}, {"Alibaba's Qwen"}),
        ({"model_type": "bert"}, set()),
        ([], set()),
        (None, set()),
    ],
)
def test_a_folder_says_what_it_was_made_from(tmp_path: Path, configuration: object, found: set[str]) -> None:
    """Where a folder's name tells nothing its configuration does: its origin first, then its architecture."""
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    text = "{broken" if configuration is None else json.dumps(configuration)
    (folder / "config.json").write_text(text, encoding="utf-8")
    assert families(f"hf:{folder}#0123abcd") == found
    assert families(f"openai:{folder}{SERVER}") == set()


def test_the_same_whatever_the_order() -> None:
    """Relatives are relatives whoever writes and whoever judges."""
    models = ["openai:gpt-4o", "openai:o3", "anthropic:claude-opus-4-1", f"openai:house-7b{SERVER}"]
    for one in models:
        for other in models:
            assert judge(one, other).kind == judge(other, one).kind
    assert isinstance(judge(models[0], models[1]), Independence)
