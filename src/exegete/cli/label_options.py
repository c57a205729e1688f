"""Options of `exegete label`: what is labelled, how labels are written and judged, and how the job runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JobFile = Annotated[
    Path | None, typer.Option("--job", help="TOML file with these options by the same names.")
]
Name = Annotated[str | None, typer.Option("--name", help="What the run is called.")]
Features = Annotated[str | None, typer.Option("--features", help="Indices such as 0-511; default: all.")]

ExplainerName = Annotated[
    str | None,
    typer.Option(
        "--explainer",
        help="lexical (no LLM; default), clustered, highlight, token-activation, imported.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--llm", help="openai:NAME, openai:NAME@URL, anthropic:NAME, hf:FOLDER, scripted:FILE."),
]
ExplainerModel = Annotated[
    str | None, typer.Option("--explainer-llm", help="Another model for the explainer.")
]
Candidates = Annotated[int | None, typer.Option("--candidates", help="Labels a proposal. Default 3.")]
Rounds = Annotated[int | None, typer.Option("--rounds", help="Revisions at most. Default 2.")]
Falsify = Annotated[
    bool | None,
    typer.Option(
        "--falsify/--no-falsify",
        help="Before a revision, run texts on the subject that are to break the label.",
        show_default=False,
    ),
]
Tests = Annotated[int | None, typer.Option("--tests", help="Such texts a round. Default 8.")]
CaseBudget = Annotated[
    str | None,
    typer.Option("--case-budget", help="Tokens a feature may take up to its label, such as 20k."),
]

SimulatorName = Annotated[str | None, typer.Option("--simulator", help="lexical (no LLM), sparse, logprob.")]
SimulatorModel = Annotated[
    str | None, typer.Option("--simulator-llm", help="Another model for the simulator.")
]
Scorers = Annotated[
    str | None,
    typer.Option(
        "--scorers",
        help="Comma-separated; the first decides: simulation,detection (default), fuzzing, "
        "discrimination; beside one of them: generation, embedding, intruder.",
    ),
]
Threshold = Annotated[float | None, typer.Option("--threshold", help="Score to be accepted. Default 0.5.")]
StopEarly = Annotated[
    bool | None,
    typer.Option(
        "--stop-early/--no-stop-early",
        help="End scoring once it is clear of the threshold. Default: if it costs.",
    ),
]
Nulls = Annotated[
    int | None,
    typer.Option("--nulls", help="Features also scored with labels not theirs: chance. Default 100."),
]
WithControls = Annotated[
    int | None,
    typer.Option("--with-controls", help="Planted features mixed in, and reported apart. Default 0."),
]
SentenceModel = Annotated[
    str | None,
    typer.Option("--sentence-model", help="sentence-transformers model of the scorer embedding."),
]
Effects = Annotated[
    bool | None,
    typer.Option(
        "--effects/--no-effects",
        help="Also find out what features do: tokens they write, ablation, steering.",
        show_default=False,
    ),
]
Subject = Annotated[
    str | None,
    typer.Option("--subject", help="Where the subject is now; default: where the harvest found it."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where it runs: cpu, cuda, mps; default: a GPU if any."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Seeds resampling and the order of excerpts. Default 0.")
]

Limit = Annotated[int | None, typer.Option("--limit", help="Stop after so many features; resumable.")]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", help="Features in flight at once. Default 16.")
]
Processes = Annotated[
    int | None,
    typer.Option("--processes", help="Processes that share the work, this one among them. Default 1."),
]
Budget = Annotated[
    float | None,
    typer.Option("--budget", help="Dollars the run may cost, all its sittings together."),
]
BudgetTokens = Annotated[str | None, typer.Option("--budget-tokens", help="Likewise in tokens, such as 5M.")]
Prices = Annotated[
    Path | None, typer.Option("--prices", help="File of prices that goes before the built-in table.")
]
Batch = Annotated[
    bool, typer.Option("--batch", help="Ask by the provider's batch API: cheaper, within a day.")
]
Until = Annotated[
    str | None,
    typer.Option("--until", help="Local time, such as 07:00, to start no further feature at."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would take; send and spend nothing.")]
