"""`exegete doctor`: is everything as it should be?"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from exegete import __version__
from exegete.agent.checkup import Finding, check_workspace
from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import out, safe, to_json

PACKAGES = ("torch", "transformers", "duckdb", "langgraph", "openai", "anthropic", "numpy", "pyarrow")
KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def doctor(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make labels.duckdb anew from evidence, journal and decisions.")
    ] = False,
    llm: Annotated[
        str | None, typer.Option("--llm", help="Ask this model what it can do; a few paid calls.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Show versions, check the workspace, and say which providers have keys (never the keys)."""
    if rebuild:
        from exegete.cli.rebuild import rebuild as make_anew

        raise typer.Exit(make_anew(workspace, json))
    if llm is not None:
        from exegete.cli.doctor_llm import diagnose

        raise typer.Exit(diagnose(llm, workspace, json=json))
    findings = [*_versions(), *_keys(), *_disk(workspace)]
    if workspace.exists():
        findings += check_workspace(workspace)
    else:
        findings.append(Finding("workspace", True, f"{workspace} does not exist yet"))
    if json:
        out.print(to_json([asdict(f) for f in findings]), soft_wrap=True)
    else:
        for finding in findings:
            out.print("ok " if finding.ok else "BAD", style="green" if finding.ok else "bold red", end=" ")
            out.print(f"{finding.what:14} {safe(finding.found)}", soft_wrap=True)
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


def _versions() -> list[Finding]:
    findings = [Finding("exegete", True, f"{__version__}, Python {platform.python_version()}")]
    for package in PACKAGES:
        try:
            findings.append(Finding(package, True, version(package)))
        except PackageNotFoundError:
            findings.append(Finding(package, False, "not installed: pip install exegete again"))
    return findings


def _keys() -> list[Finding]:
    return [
        Finding(provider, True, f"{name} is {'set' if os.environ.get(name) else 'not set'}")
        for provider, name in KEYS.items()
    ]


def _disk(workspace: Path) -> list[Finding]:
    place = next(p for p in (workspace.resolve(), *workspace.resolve().parents) if p.exists())
    free = shutil.disk_usage(place).free
    return [Finding("disk", free > 1 << 30, f"{free / (1 << 30):.1f} GiB free at {place}")]
