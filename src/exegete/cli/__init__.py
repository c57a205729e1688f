"""The command line: parse, build objects, call one function, print.

Exit codes: 0 done, 1 ran and failed, 2 wrong use, 130 interrupted and resumable.
"""

from __future__ import annotations

import sys

import typer

from exegete.cli import (
    controls,
    demo,
    doctor,
    export,
    find,
    harvest,
    importing,
    label,
    logs,
    merge,
    report,
    review,
    score,
    snapshot,
    sql,
    status,
    trace,
)
from exegete.cli.show import complain
from exegete.errors import ExegeteError

INTERRUPTED = 130
"""What a shell says of a process that Ctrl-C ended."""

app = typer.Typer(
    name="exegete",
    help="Label the features of neural networks, and say how far each label can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("harvest")(harvest.harvest)
app.command("merge")(merge.merge_command)
app.add_typer(importing.app, name="import")
app.command("label")(label.label)
app.command("score")(score.score)
app.command("controls")(controls.controls)
app.command("trace")(trace.trace)
app.command("sql")(sql.sql)
app.command("find")(find.find)
app.command("export")(export.export)
app.command("snapshot")(snapshot.snapshot)
app.command("status")(status.status)
app.command("report")(report.report)
app.add_typer(review.app, name="review")
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line; a person's mistake ends in one sentence and never in a traceback."""
    logs.say_warnings()
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # how typer tells of Ctrl-C; a command that has said so exits by itself
            raise KeyboardInterrupt
    except ExegeteError as error:
        logs.LOGGER.info("the command ended with %s", type(error).__name__)
        complain(str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted: run the same command to go on")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        # typer's own errors know how to show themselves; anything else is a bug and keeps its traceback.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            sys.exit(error.exit_code)
        raise
    finally:
        logs.close_log()
    sys.exit(code if isinstance(code, int) else 0)
