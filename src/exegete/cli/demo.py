"""`exegete demo`: the main job on a real model and real text, with no key and no hub."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from exegete.agent.spec import JobSpec
from exegete.cli.harvest import place, run_harvest
from exegete.cli.label import run_label
from exegete.cli.options import WorkspaceOption
from exegete.cli.show import out
from exegete.datastore.workspace import Workspace
from exegete.subjects.spec import HarvestSpec

SITE = "encoder.layer.3.intermediate"


def demo(
    workspace: WorkspaceOption = Path("demo"),
    features: Annotated[int, typer.Option(help="Neurons of layer 3 to label.", min=1, max=1536)] = 128,
) -> None:
    """Label 128 neurons of a real model on real text, in about a minute."""
    began = time.monotonic()
    space = Workspace.open_or_create(workspace)
    out.print("subject all-MiniLM-L6-v2, layer 3 MLP neurons; corpus stdlib-docs; no LLM", style="dim")
    spec = HarvestSpec(SITE, tuple(range(features)))
    manifest, made = run_harvest(space, "all-MiniLM-L6-v2", "stdlib-docs", spec)
    out.print(f"{'harvested' if made else 'found'} {manifest.name}", soft_wrap=True, style="dim")
    code = run_label(space, JobSpec(name="demo", harvest=manifest.name), shown=20)
    here = place(space.root.resolve())
    out.print(f"\neverything is in {here}/ ({time.monotonic() - began:.0f} s). Next:", soft_wrap=True)
    first = "SELECT feature_index, label, score FROM labels WHERE status = 'accepted' ORDER BY score DESC"
    program = "exegete" if shutil.which("exegete") else place(Path(sys.argv[0]).resolve())
    for what, command in (
        ("ask", f'{program} sql -w {here} "{first}"'),
        ("review", f"{program} review -w {here}"),
        ("LLM", f"{program} label -w {here} --explainer highlight --llm openai:NAME --limit 8"),
    ):
        out.print(f"  {what:7}{command}", soft_wrap=True)
    sys.exit(code)
