"""Options that several commands share."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from exegete.errors import UsageError

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", envvar="EXEGETE_WORKSPACE", help="Folder of evidence, labels and journal."
    ),
]
HarvestOption = Annotated[
    str | None,
    typer.Option("--harvest", help="Harvest to use, by name or a part of it; default: the only one."),
]
OfHarvestOption = Annotated[
    str | None,
    typer.Option("--harvest", help="Labels of this harvest only, by its name or a part of it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
VerboseOption = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Say what happens, on stderr; -vv: everything.",
    ),
]
DEFAULT_WORKSPACE = Path("workspace")


def count(text: str | None, option: str = "--tokens") -> int | None:
    """A number such as 250000, 250k or 10M.

    Args:
        text: as given; None stays None.
        option: what it was given for.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    factor = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000}.get(text[-1:].lower())
    digits = text[:-1] if factor else text
    try:
        number = float(digits.replace("_", "")) * (factor or 1)
    except ValueError:
        number = 0.0
    if number < 1:
        raise UsageError(f"{option} {text!r} is no number of tokens: write for example 250000, 250k or 10M")
    return int(number)


def user_name() -> str:
    """Who works here.

    Raises:
        UsageError: nobody knows.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        raise UsageError("your user name is not known: say who decides with --reviewer") from None
