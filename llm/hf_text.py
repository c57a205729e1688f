"""Between a conversation and a local model's tokens.

With a chat template, the conversation is what the template makes of it; where that refuses a system role, or
drops it, the system part goes in front of the first turn. Without one, it is written as

    SYSTEM

    User: TEXT

    Assistant: TEXT

    User: TEXT

    Assistant:

and a reply ends where the model would go on with a turn of the user's.

Two things that could go wrong are prevented. Some templates put today's date into the prompt: here it is
always the same day, so that a request means the same tomorrow. And a text with the model's own control tokens
written out in it (a web page that shows <|im_end|>) would end its turn: it gets a space into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from exegete.errors import LLMUnavailable, UsageError

TODAY = datetime(2025, 1, 1)
"""The day it always is for chat templates that ask."""
_DIRECTIVES = "aAbBdeFHIjmMpSuwyYZ"
_NEXT_TURN = "\nUser:"
_PROBE = "exegete-0b5e"
TAIL = 16
"""Last tokens that show whether another turn of the user's has begun: it does with 6 bytes."""

Texts = Sequence[tuple[str, str]]
"""Turns as (role, text); the first may have the role "system"."""


class ChatFormat:
    """How one tokenizer's model is talked to."""

    def __init__(self, name: str, tokenizer: Any) -> None:
        """Look at the tokenizer's chat template.

        Args:
            name: of the model, for messages.
            tokenizer: a transformers tokenizer.

        Raises:
            UsageError: its template can't be used even for a single turn.
        """
        self._name, self._tokenizer = name, tokenizer
        self._texts: dict[int, str] = {}
        self._ids: dict[str, list[int]] = {}
        self.templated = bool(tokenizer.chat_template)
        """Has it a chat template? Only a reply without one can go on into another turn."""
        template: str = tokenizer.get_chat_template() if self.templated else ""
        self._template = (_same_day() if "strftime_now" in template else "") + template
        added = {t.content: t.special for t in tokenizer.added_tokens_decoder.values()}
        self._control = sorted(
            token for token, special in added.items() if len(token) > 1 and (special or token in template)
        )
        self._system_role = self.templated and self._takes_system()

    def ids(self, texts: Texts, *, unfinished: bool = False) -> list[int]:
        """Tokens of a conversation.

        Args:
            texts: its turns.
            unfinished: the last turn is the model's own, to be gone on with; else they go up to where its
                reply begins.

        Raises:
            LLMUnavailable: the chat template refuses it.
        """
        from jinja2 import TemplateError

        texts = [(role, self._harmless(text)) for role, text in texts]
        if not self.templated:
            return list(self._tokenizer(as_text(texts, unfinished=unfinished), verbose=False)["input_ids"])
        try:
            written = self._rendered(texts if self._system_role else _folded(texts), unfinished)
        except (TemplateError, ValueError) as error:  # the second: an unfinished turn can't be found again
            raise LLMUnavailable(
                f"{self._name}: its chat template refuses this conversation: {error}"
            ) from None
        # The template has written the first token itself.
        return list(self._tokenizer(written, add_special_tokens=False, verbose=False)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        """A reply's text."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text if self.templated else text.partition(_NEXT_TURN)[0].strip()

    def over(self, ids: Sequence[int]) -> bool:
        """Has a reply in the plain format just gone on into another turn of the user's?"""
        return _NEXT_TURN in self._tokenizer.decode(list(ids[-TAIL:]))

    def text_of(self, token: int) -> str:
        """The text of one token; bytes that are no character by themselves are U+FFFD."""
        if token not in self._texts:
            self._texts[token] = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return self._texts[token]

    def ids_of(self, text: str) -> list[int]:
        """Tokens that stand for a short text alone, with and without a blank before it."""
        if text not in self._ids:
            vocabulary: dict[str, int] = self._tokenizer.get_vocab()
            forms = (text, f"Ġ{text}", f"▁{text}")
            found = (vocabulary[form] for form in forms if form in vocabulary)
            self._ids[text] = sorted(token for token in found if self.text_of(token).strip() == text)
        return self._ids[text]

    def _rendered(self, texts: Texts, unfinished: bool = False) -> str:
        """What the chat template makes of a conversation."""
        messages = [{"role": role, "content": text} for role, text in texts]
        written: str = self._tokenizer.apply_chat_template(
            messages,
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=not unfinished,
            continue_final_message=unfinished,
        )
        return written

    def _takes_system(self) -> bool:
        """Does the template write a system part? Some refuse it, and some say nothing of it."""
        from jinja2 import TemplateError

        try:
            return _PROBE in self._rendered([("system", _PROBE), ("user", "hello")])
        except TemplateError:
            pass
        try:
            self._rendered([("user", "hello")])
        except TemplateError as error:
            raise UsageError(f"{self._name}: its chat template can't be used ({error}): correct it") from None
        return False

    def _harmless(self, text: str) -> str:
        """A text without control tokens."""
        for token in self._control:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


def _same_day() -> str:
    """What makes `strftime_now` of a chat template always tell the same day."""
    said = "".join(f".replace('%{d}', '{TODAY.strftime(f'%{d}')}')" for d in _DIRECTIVES)
    return f"{{% macro strftime_now(format) %}}{{{{ format{said} }}}}{{% endmacro %}}"


def _folded(texts: Texts) -> Texts:
    """A conversation whose system part stands in its first turn."""
    if texts[0][0] != "system":
        return texts
    (_, system), (role, first), *others = texts
    return [(role, f"{system}\n\n{first}"), *others]


def as_text(texts: Texts, *, unfinished: bool = False) -> str:
    """A conversation in the format for models without a chat template; arguments as of `ChatFormat.ids`."""
    names = {"user": "User: ", "assistant": "Assistant: ", "system": ""}
    written = "\n\n".join(f"{names[role]}{text}" for role, text in texts)
    return written if unfinished else f"{written}\n\nAssistant:"
