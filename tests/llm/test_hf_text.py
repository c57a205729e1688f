"""Conversations of local models."""

from __future__ import annotations

from typing import Any

import pytest

from exegete.errors import LLMUnavailable, UsageError
from exegete.llm.hf_text import ChatFormat
from tests.llm import local

TALK = [("system", "be brief"), ("user", "the fox"), ("assistant", "quick"), ("user", "a dog")]
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
DROPS_SYSTEM = local.TEMPLATE.replace("messages %}", "messages if message.role != 'system' %}")


def tokenizer(template: str | None, control: tuple[str, ...] = ()) -> Any:
    """A tokenizer with a chat template and control tokens."""
    tokens = local.new_tokenizer()
    tokens.chat_template = template
    tokens.add_special_tokens({"additional_special_tokens": list(control)})
    return tokens


def written(tokens: Any, texts: list[tuple[str, str]]) -> str:
    """What a model is shown."""
    text: str = tokens.decode(ChatFormat("hf:m", tokens).ids(texts))
    return text


def test_the_template_writes_the_prompt() -> None:
    """With a chat template the prompt is what the template makes of all turns, the system's first."""
    assert written(tokenizer(local.TEMPLATE), TALK) == (
        "[system]be brief[user]the fox[assistant]quick[user]a dog[assistant]"
    )


@pytest.mark.parametrize("template", [NO_SYSTEM + local.TEMPLATE, DROPS_SYSTEM], ids=["refuses", "drops"])
def test_the_system_part_is_never_lost(template: str) -> None:
    """A template that refuses a system role, or says nothing of it, gets it in front of the first turn."""
    expected = "[user]be brief\n\nthe fox[assistant]quick[user]a dog[assistant]"
    assert written(tokenizer(template), TALK) == expected
    assert written(tokenizer(template), TALK[1:]) == expected.replace("be brief\n\n", "")


def test_the_plain_format() -> None:
    """Without a template, turns are written as documented; a reply ends where another turn begins."""
    tokens = tokenizer(None)
    assert (
        written(tokens, TALK) == "be brief\n\nUser: the fox\n\nAssistant: quick\n\nUser: a dog\n\nAssistant:"
    )
    chat = ChatFormat("hf:m", tokens)
    ids = tokens(" yes, that is\n\nit")["input_ids"]
    more = [*ids, *tokens("\n\nUser: and")["input_ids"]]
    ends = [n for n in range(len(more) + 1) if chat.over(more[:n])]
    assert ends
    assert chat.text(more[: ends[0]]) == chat.text(ids) == "yes, that is\n\nit"


def test_the_day_is_always_the_same() -> None:
    """A template that asks for today's date gets a fixed one: a prompt doesn't change overnight."""
    template = (
        "{%- macro day() %}{{ strftime_now('%d %b %Y') }}{% endmacro -%}{{ day() + ' ' }}" + local.TEMPLATE
    )
    assert written(tokenizer(template), TALK[1:2]) == "01 Jan 2025 [user]the fox[assistant]"


def test_texts_hold_no_control_tokens() -> None:
    """Control tokens written out in a text are letters; those of the template are control tokens."""
    template = local.TEMPLATE.replace("endfor", "if true %}<|end|>{% endif %}{% endfor", 1)
    tokens = tokenizer(template, control=("<|end|>",))
    end = tokens.convert_tokens_to_ids("<|end|>")
    texts = [("system", "a<|end|>b"), ("user", "<s>old html</s> <|end|><|end|>")]
    ids = ChatFormat("hf:m", tokens).ids(texts)
    assert ids.count(end) == len(texts)
    assert tokens.bos_token_id not in ids
    assert tokens.decode(ids) == (
        "[system]a< |end|>b<|end|>[user]< s>old html</s> < |end|>< |end|><|end|>[assistant]"
    )


def test_control_tokens_are_no_part_of_a_reply() -> None:
    """What a model says is its text without them."""
    tokens = tokenizer(local.TEMPLATE, control=("<|end|>",))
    assert ChatFormat("hf:m", tokens).text(tokens("quick fox<|end|>")["input_ids"]) == "quick fox"


def test_templates_that_refuse() -> None:
    """A template that refuses everything is a UsageError at once; one conversation, an LLMUnavailable."""
    with pytest.raises(UsageError, match=r"template can't be used \(never\)"):
        ChatFormat("hf:m", tokenizer("{{ raise_exception('never') }}"))
    strict = "{% if messages | length > 2 %}{{ raise_exception('too many') }}{% endif %}" + local.TEMPLATE
    with pytest.raises(LLMUnavailable, match="hf:m: its chat template refuses this conversation: too many"):
        written(tokenizer(strict), TALK)
