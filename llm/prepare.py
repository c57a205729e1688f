"""Before a job: what its models can't do, and what will be done instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from exegete.llm import parse
from exegete.llm.abilities import AbilityName, shortfalls
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
        abilities = remembered(folder, str(name)).updated(known(name, needs))
        wanted = abilities.unsettled(trials_for(name, needs))
        if wanted:
            findings = await probe(name, wanted)
            remember(folder, findings.abilities)
            lines.append(f"{name}: asked what it can do: {used_up(findings.spent)}")
            abilities = abilities.updated({ability: findings.abilities.of(ability) for ability in wanted})
        expect_refusals(str(name), abilities.refused)
        lines += shortfalls(abilities, needs)
    return lines


def used_up(spent: Spent) -> str:
    """What asking has used, in words: "4 calls, 71 tokens, $0.0001"."""
    tokens = spent.input_tokens + spent.output_tokens
    words = f"{spent.calls} call{'' if spent.calls == 1 else 's'}, {tokens:,} tokens"
    if spent.unreported:
        words += f" and those of {spent.unreported} that said nothing of tokens"
    return words + (", cost unknown" if spent.unpriced else f", ${spent.usd:.4f}" if spent.usd else "")
