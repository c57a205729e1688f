"""What a server can do, what that is good for, and what is used instead.

An ability is had, not had, or unknown, and says what was seen of it. Only what a reply shows counts as had: a
server that takes a parameter it doesn't know, and says nothing, is not able.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

AbilityName = Literal[
    "structured_output",
    "temperature",
    "output_logprobs",
    "prompt_logprobs",
    "token_id_logprobs",
    "caching",
    "batch",
]
ABILITIES: tuple[AbilityName, ...] = get_args(AbilityName)


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing a server can or can't do."""

    has: bool | None
    """None: unknown."""
    seen: str
    """What of it was seen, in a few words."""
    settled: bool = True
    """False when it was not asked, or the server gave no answer: asking again can help."""


NOT_ASKED = Ability(None, "not asked", settled=False)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one model at one server can do; its fields are those of `ABILITIES`, in that order."""

    model: str
    """Canonical name."""
    structured_output: Ability = NOT_ASKED
    """Replies keep to a JSON schema that is sent beside the prompt."""
    temperature: Ability = NOT_ASKED
    """It reads the temperature of a request."""
    output_logprobs: Ability = NOT_ASKED
    """Replies tell the log probability of each of their tokens, and of the likeliest others."""
    prompt_logprobs: Ability = NOT_ASKED
    """Replies tell the log probabilities of the prompt's tokens."""
    token_id_logprobs: Ability = NOT_ASKED
    """Replies tell the log probabilities of tokens that the request names."""
    caching: Ability = NOT_ASKED
    """Replies count the tokens that were read from a cache."""
    batch: Ability = NOT_ASKED
    """The account has a batch API."""

    def of(self, name: AbilityName) -> Ability:
        """The ability of that name."""
        found: Ability = getattr(self, name)
        return found

    def unsettled(self, names: Iterable[AbilityName]) -> list[AbilityName]:
        """Those of the names that asking could still settle."""
        return [name for name in names if not self.of(name).settled]

    def updated(self, found: Mapping[AbilityName, Ability]) -> Abilities:
        """With newer findings in the place of older ones."""
        return Abilities(self.model, *(found.get(name, self.of(name)) for name in ABILITIES))

    @property
    def refused(self) -> frozenset[str]:
        """Parameters of requests to leave out from the start, as `Downgrades` names them."""
        parameters: Mapping[AbilityName, str] = {"structured_output": "schema", "temperature": "temperature"}
        return frozenset(word for name, word in parameters.items() if self.of(name).has is False)


@dataclass(frozen=True, slots=True)
class Use:
    """An ability in words."""

    title: str
    used_for: str
    without: str | None
    """What is done with a server that doesn't have it; None: what would need it can't be used."""


USES: Mapping[AbilityName, Use] = {
    "structured_output": Use(
        "structured output",
        "labels and predictions of a known shape",
        "the schema is written into the prompt and replies are read leniently",
    ),
    "temperature": Use(
        "temperature",
        "requests that set one",
        "it is left out, and the server's own setting holds",
    ),
    "output_logprobs": Use("logprobs of replies", "nothing yet", None),
    "prompt_logprobs": Use("logprobs of prompts", "the logprob simulator", None),
    "token_id_logprobs": Use("logprobs of chosen tokens", "the logprob simulator, without the above", None),
    "caching": Use(
        "counted caching",
        "the price of instructions that repeat",
        "cached input is priced like any other, or its cost is not known",
    ),
    "batch": Use("batch API", "calls at a lower price that can wait", "every call is made at once"),
}


def shortfalls(abilities: Abilities, needs: Collection[AbilityName]) -> list[str]:
    """What a model lacks of what is needed, and what is done instead; one line each.

    Args:
        abilities: of the model.
        needs: what a job's methods use.

    Returns:
        For example "openai:m@http://host/v1: no structured output (refused): the schema is written into the
        prompt and replies are read leniently". Nothing for an ability that is had.
    """
    lines = []
    for name in ABILITIES:
        ability, use = abilities.of(name), USES[name]
        if name not in needs or ability.has:
            continue
        without = use.without or "what needs it can't be used"
        if ability.has is None:
            said = f"{use.title} unknown ({ability.seen}): it is asked for, and if it is refused, {without}"
        else:
            said = f"no {use.title} ({ability.seen}): {without}"
        lines.append(f"{abilities.model}: {said}")
    return lines
