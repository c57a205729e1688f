"""`exegete demo`: the main job on a real model and real text, with no key and no hub."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from exegete.agent.spec import JobSpec
from exegete.cli.harvest import place, run_harvest
from exegete.cli.label import run_label
from exegete.cli.new_workspace import opened_or_made
from exegete.cli.show import out
from exegete.subjects import bundled
from exegete.subjects.spec import HarvestSpec


@dataclass(frozen=True, slots=True)
class Shown:
    """What a demonstration labels, and how."""

    name: str
    """Of the run, and of the workspace."""
    subject: str
    corpus: str
    harvest: HarvestSpec
    features: int
    """How many, unless asked otherwise."""
    said: str
    """In words."""
    effects: bool = False
    """Whether what features do is measured as well."""


NEURONS = Shown(
    name="demo",
    subject="all-MiniLM-L6-v2",
    corpus="stdlib-docs",
    harvest=HarvestSpec("encoder.layer.3.intermediate"),
    features=128,
    said="subject all-MiniLM-L6-v2, layer 3 MLP neurons; corpus stdlib-docs; no LLM",
)
LATENTS = Shown(
    name="demo-sae",
    subject=bundled.NAME,
    corpus="stdlib-source",
    harvest=HarvestSpec("blocks.2.hook_resid_post", dictionary=bundled.DICTIONARY, tokens=400_000),
    features=32,
    said="subject stdlib-lm, latents of its autoencoder at block 2; corpus stdlib-source; no LLM",
    effects=True,
)


def demo(
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            envvar="EXEGETE_WORKSPACE",
            help="Folder to work in; default: demo, or demo-sae with --sae.",
        ),
    ] = None,
    features: Annotated[
        int | None, typer.Option(help="Features to label; default: 128, or 32 with --sae.", min=1, max=1024)
    ] = None,
    sae: Annotated[
        bool, typer.Option("--sae", help="A causal model's autoencoder instead, with what its latents do.")
    ] = False,
) -> None:
    """Label features of a real model on real text, in a minute or three."""
    began = time.monotonic()
    shown = LATENTS if sae else NEURONS
    out.print(shown.said, soft_wrap=True, style="dim")
    spec = replace(shown.harvest, features=tuple(range(features or shown.features)))
    with opened_or_made(workspace or Path(shown.name)) as space:
        manifest, made = run_harvest(space, shown.subject, shown.corpus, spec)
    out.print(f"{'harvested' if made else 'found'} {manifest.name}", soft_wrap=True, style="dim")
    code = run_label(space, JobSpec(name=shown.name, harvest=manifest.name, effects=shown.effects), shown=20)
    here = place(space.root.resolve())
    out.print(f"\neverything is in {here}/ ({time.monotonic() - began:.0f} s). Next:", soft_wrap=True)
    _next_steps(here, sae)
    sys.exit(code)


def _next_steps(here: str, sae: bool) -> None:
    """Commands to go on with."""
    accepted = "SELECT feature_index, label, score FROM labels WHERE status = 'accepted' ORDER BY score DESC"
    effects = "SELECT feature_index, label, output_label, ablation_p FROM labels ORDER BY ablation DESC"
    program = "exegete" if shutil.which("exegete") else place(Path(sys.argv[0]).resolve())
    for what, command in (
        ("ask", f'{program} sql -w {here} "{effects if sae else accepted}"'),
        ("review", f"{program} review -w {here}"),
        ("report", f"{program} report -w {here} --out report.html"),
        ("LLM", f"{program} label -w {here} --explainer highlight --llm openai:NAME --limit 8"),
    ):
        out.print(f"  {what:7}{command}", soft_wrap=True)
