"""Is a label judged by somebody else than who wrote it?

A model that simulates from its own label shares its blind spots: what it meant by its words, it also
understands by them, and what it believes about text it believes twice. Scores from one model are then too
good in a way that no held-out split shows. Models of one family (one maker's line, in any size, version or
fine-tuning) share data and habits, and lean the same way.

Families are read from names: of the model, of what it was fine-tuned from where its name says so, and from a
local folder's configuration. Two names that tell nothing are of one family when they are equal but for
numbers; otherwise nothing is known, which is said, and not taken for independence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from exegete.errors import UsageError
from exegete.llm.hf_files import folder_of

Kind = Literal["independent", "same family", "same model", "no model", "unknown"]

_ELEUTHER, _OPENAI = "EleutherAI's", "OpenAI's GPT"

AS_OF = "2026-11"
"""When `FAMILIES` was last gone through: a newer line is unknown until it is added."""

FAMILIES: Mapping[str, str] = {
    _ELEUTHER: r"gpt-?neox?|gpt-?j\b|pythia",
    _OPENAI: r"(chat)?gpt|o[1-9]\b|davinci|babbage|codex",
    "Anthropic's Claude": r"claude",
    "Google's Gemini and Gemma": r"gemini|gemma|medgemma|codegemma",
    "Google's PaLM and T5": r"palm|bison|flan|t5|ul2",
    "Meta's Llama": r"(code)?llama|vicuna|alpaca|guanaco|tulu|orca|wizard(lm|coder|math)",
    "Mistral's": r"(mi|mini|magi|math)stral|(codes|devs|mix|pix|vox)tral|zephyr",
    "Alibaba's Qwen": r"(code)?qwen|qwq|qvq|marco-o1",
    "DeepSeek's": r"deepseek",
    "Microsoft's Phi": r"phi(?![a-z])",
    "xAI's Grok": r"grok",
    "Cohere's Command": r"command|c4ai|aya",
    "Amazon's Nova and Titan": r"nova|titan",
    "NVIDIA's Nemotron": r"nemotron",
    "IBM's Granite": r"granite",
    "Ai2's OLMo": r"olmoe?",
    "Hugging Face's SmolLM": r"smollm|smolvlm",
    "TII's Falcon": r"falcon",
    "01.AI's Yi": r"yi\b",
    "Zhipu's GLM": r"(chat)?glm",
    "Moonshot's Kimi": r"kimi|moonshot|moonlight",
    "MiniMax's": r"minimax|abab",
    "Shanghai AI Lab's InternLM": r"intern(lm|vl)?",
    "Baidu's ERNIE": r"ernie",
    "Tencent's Hunyuan": r"hunyuan",
    "ByteDance's Seed": r"doubao|seed",
    "AI21's Jamba": r"jamba|jurassic",
    "Databricks' DBRX and MPT": r"dbrx|mpt|dolly",
    "Stability's StableLM": r"stablelm|stable-?code",
    "LG's EXAONE": r"exaone",
    "Upstage's Solar": r"solar",
    "BigScience's BLOOM": r"bloomz?",
    "Meta's OPT": r"opt\b|galactica",
    "BigCode's StarCoder": r"starcoder|santacoder",
}
"""Lines of models, by what their names hold: a pattern at the start of a part of the name."""

IMPORTED = "imported"
"""The author of labels that came without one."""

_LINES = {family: re.compile(rf"(?<![a-z])(?:{pattern})") for family, pattern in FAMILIES.items()}
_DIGEST = re.compile(r"#([0-9a-f]{8})$")
_VERSION = re.compile(
    r"[-_.:]?(?:v?[0-9]+(?:[.-][0-9]+)*[bmk]?|latest|preview|instruct|chat|it|base)(?![a-z])"
)
_ANOTHER = "name another one with --simulator-llm"


@dataclass(frozen=True, slots=True)
class Independence:
    """How far the judge of a job's labels is from who wrote them."""

    kind: Kind
    """Stored with every label, in the column `independence`."""
    sentence: str | None
    """What a person should know before the job starts, and what to do; None when all is well."""


def judge(explainer_model: str | None, simulator_model: str | None) -> Independence:
    """Hold the model that writes labels against the one that judges them.

    Args:
        explainer_model: its canonical name ("openai:NAME@URL"); None when labels are written without a model;
            for imported labels their author, or "imported", which is nobody known.
        simulator_model: likewise of the model that predicts activations; None when code does.
    """
    if explainer_model is None and simulator_model is None:
        return Independence(
            "no model",
            "no language model is asked: labels are judged by code that executes what they say, in the "
            "grammar they were written in; whether anybody else would understand them so is not tested",
        )
    if explainer_model is None or simulator_model is None:
        return Independence("independent", None)
    if _same(explainer_model, simulator_model):
        return Independence(
            "same model",
            f"{simulator_model} judges labels that it wrote itself, so scores are too good by what it alone "
            f"understands: {_ANOTHER}, of another family",
        )
    ours, theirs = families(explainer_model), families(simulator_model)
    stem = _stem(explainer_model)
    alike = not ours and not theirs and stem == _stem(simulator_model) != ""
    if alike or ours & theirs:
        name = stem if alike else sorted(ours & theirs)[0]
        return Independence(
            "same family",
            f"{simulator_model} judges labels by {explainer_model}, of the same family ({name}), so scores "
            f"lean towards it: {_ANOTHER}, of another family",
        )
    if ours and theirs:
        return Independence("independent", None)
    nobody = explainer_model if not ours else simulator_model
    known = f"the family of {nobody} is not known"
    known = "nobody knows who wrote the imported labels" if nobody == IMPORTED else known
    return Independence(
        "unknown",
        f"{known}, so labels may be judged by a relative of their writer: if {simulator_model} is one, "
        f"{_ANOTHER}",
    )


def families(model: str) -> frozenset[str]:
    """The lines that a model is of: several for a model of one line that was distilled from another.

    Args:
        model: a canonical name, a model's name alone, or an imported label's author.

    Returns:
        Names in `FAMILIES`; none when nothing tells.
    """
    for text in (_name(model), *_configured(model)):
        plain = text.lower().replace("_", "-")
        found = {family for family, line in _LINES.items() if line.search(plain)}
        if _ELEUTHER in found:  # its names begin with OpenAI's letters
            found.discard(_OPENAI)
        if found:
            return frozenset(found)
    return frozenset()


def _configured(model: str) -> list[str]:
    """What the configuration of a local model says it was made from, then what it is built like."""
    if not model.startswith("hf:"):
        return []
    try:
        folder = folder_of(_DIGEST.sub("", model.removeprefix("hf:")))
        said = json.loads((folder / "config.json").read_bytes())
    except (UsageError, OSError, ValueError):
        return []
    if not isinstance(said, dict):
        return []
    made_from, built = said.get("_name_or_path"), said.get("model_type")
    return [str(text).rstrip("/").rpartition("/")[2] for text in (made_from, built) if text]


def _same(one: str, other: str) -> bool:
    """Whether two names are of one model; two files of one name and different content are not."""
    digests = {found[1] for found in map(_DIGEST.search, (one, other)) if found}
    return _name(one) == _name(other) and len(digests) < 2


def _name(model: str) -> str:
    """A model's own name, the same at any server and in any folder: lower case, without its owner."""
    bare = re.sub(r"@https?://.*", "", _DIGEST.sub("", model.strip()), flags=re.IGNORECASE)
    provider, colon, rest = bare.partition(":")
    name = rest if colon else bare
    if provider == "hf":  # a revision of the hub's
        name = re.sub(r"@[^/@]*$", "", name)
    return name.rstrip("/").rpartition("/")[2].lower()


def _stem(model: str) -> str:
    """A name without sizes, dates, versions and how it was tuned."""
    return _VERSION.sub("", _name(model))
