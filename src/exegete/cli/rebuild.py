"""`exegete doctor --rebuild`: the labels file made anew, and what came of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.text import Text

from exegete.cli.logs import open_log
from exegete.cli.show import err, out, plain_table, safe, to_json
from exegete.datastore.workspace import Workspace


def rebuild(root: Path, json: bool) -> int:
    """Rebuild a workspace's labels file and say what was restored, and what was not; the exit code."""
    from exegete.agent.rebuild import Rebuild  # langgraph takes a second to import

    workspace = Workspace.open(root)
    open_log(root)
    with err.status("reading the journal") as status:
        rebuilt = asyncio.run(Rebuild(workspace, lambda said: status.update(Text(safe(said)))).run())
    if json:
        facts = {
            "rows": rebuilt.rows,
            "missing": rebuilt.missing,
            "before": None if rebuilt.before is None else str(rebuilt.before),
        }
        out.print(to_json(facts), soft_wrap=True)
        return 0
    out.print(plain_table(("table", "rows"), [(table, f"{n:,}") for table, n in rebuilt.rows.items()]))
    for sentence in rebuilt.missing:
        out.print(f"not restored: {safe(sentence)}", soft_wrap=True)
    kept = "" if rebuilt.before is None else f"; the file it replaces is {rebuilt.before}"
    out.print(f"{workspace.labels} is made anew{safe(kept)}", soft_wrap=True)
    return 0
