"""Before a job: what its models can't do, and what will be done instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from exegete.errors import UsageError
from exegete.llm import ModelName, parse
from exegete.llm.abilities import USES, Abilities, AbilityName, shortfalls
from exegete.llm.abilities_file import remember, remembered
from exegete.llm.downgrade import expect_refusals
from exegete.llm.meter import Spent
from exegete.llm.probe import probe
from exegete.llm.trials import known, trials_for


async def prepare(names: Iterable[str], folder: Path, needs: Collection[AbilityName]) -> list[str]:
    """Find out what models can do, as far as it is needed and not known, and act on it.

    From here on, what a model was found not to do is not asked of it in this process.

    Args:
        names: of models; one named twice is looked at once.
        folder: where findings are remembered, a workspace's root.
        needs: what the job's methods use.

    Returns:
        Lines for a person: what was asked and used up, what models lack, and what is done instead.

    Raises:
        UsageError: a name is none, or its model can't be opened.
        LLMUnavailable, LLMStop: a server that had to be asked does not answer.
        WorkspaceError: the findings can't be stored.
    """
    lines: list[str] = []
    for spec in dict.fromkeys(names):
        name = parse(spec)
        abilities, said = await _found_out(name, folder, needs)
        expect_refusals(str(name), abilities.refused)
        lines += said + shortfalls(abilities, needs)
    return lines


async def refuse_without(
    spec: str, folder: Path, one_of: Sequence[AbilityName], what: str, instead: str
) -> list[str]:
    """Find out whether a model has any of some abilities, one after the other, as far as it is not known.

    Args:
        spec: the model's name.
        folder: where findings are remembered, a workspace's root.
        one_of: any of them will do; the first is asked about first.
        what: needs them, for a person: "simulator logprob".
        instead: what to use, for a person.

    Returns:
        A line for each time the server was asked.

    Raises:
        UsageError: it has none of them, or can't be opened.
        LLMUnavailable, LLMStop: a server that had to be asked does not answer.
        WorkspaceError: the findings can't be stored.
    """
    name = parse(spec)
    lines: list[str] = []
    lacks = []
    for ability in one_of:
        abilities, said = await _found_out(name, folder, (ability,))
        lines += said
        found = abilities.of(ability)
        if found.has or (found.has is None and not trials_for(name, (ability,))):  # nobody can be asked
            return lines
        lacks.append(f"{USES[ability].title}: {found.seen}")
    raise UsageError(f"{name} has nothing that {what} could read ({'; '.join(lacks)}): {instead}")


async def _found_out(
    name: ModelName, folder: Path, needs: Collection[AbilityName]
) -> tuple[Abilities, list[str]]:
    """What is remembered of a model, with what had to be asked; and a line if anything was asked."""
    abilities = remembered(folder, str(name)).updated(known(name, needs))
    wanted = abilities.unsettled(trials_for(name, needs))
    if not wanted:
        return abilities, []
    findings = await probe(name, wanted)
    remember(folder, findings.abilities)
    found = abilities.updated({ability: findings.abilities.of(ability) for ability in wanted})
    return found, [f"{name}: asked what it can do: {used_up(findings.spent)}"]


def used_up(spent: Spent) -> str:
    """What asking has used, in words: "4 calls, 71 tokens, $0.0001"."""
    tokens = spent.input_tokens + spent.output_tokens
    words = f"{spent.calls} call{'' if spent.calls == 1 else 's'}, {tokens:,} tokens"
    if spent.unreported:
        words += f" and those of {spent.unreported} that said nothing of tokens"
    return words + (", cost unknown" if spent.unpriced else f", ${spent.usd:.4f}" if spent.usd else "")
