"""From a label to the activations it predicts.

A method is found by name among ours and those of installed packages (entry points of the group
`exegete.simulators`); ours can't be replaced from outside. A class whose constructor takes `llm` and
`model_name` asks a language model; one that takes nothing needs none. One that works with some models only
names, as its `ONE_OF`, the abilities of which a model has to have any.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, cast

from exegete.datastore.installed import entry_points
from exegete.errors import UsageError

if TYPE_CHECKING:
    from exegete.llm.abilities import AbilityName
    from exegete.llm.llm import LLM
    from exegete.simulators.simulator import Simulator

__all__ = ["GROUP", "SIMULATORS", "asks_model", "build", "names", "one_of"]

GROUP = "exegete.simulators"

SIMULATORS = {
    "lexical": "exegete.simulators.lexical:LexicalSimulator",
    "logprob": "exegete.simulators.logprob:LogprobSimulator",
    "sparse": "exegete.simulators.sparse:SparseSimulator",
}
"""Our own methods, by name, each imported when it is asked for."""


def names() -> tuple[str, ...]:
    """List the methods there are: ours, then those of other packages."""
    return tuple(_found())


def build(name: str, llm: LLM | None = None, model_name: str | None = None) -> Simulator:
    """Make a simulator by its method's name, with its default options.

    Args:
        name: one of `names()`.
        llm: the model it may ask; not needed by a method that asks none.
        model_name: that model as named on the command line.

    Raises:
        UsageError: there is no such method, or it asks a model and none was given.
    """
    found = _found()
    if name not in found:
        raise UsageError(f"there is no simulator named {name!r}: choose one of {', '.join(found)}")
    method = found[name].load()
    if "llm" not in inspect.signature(method).parameters:
        return cast("Simulator", method())
    if llm is None or model_name is None:
        raise UsageError(f"simulator {name!r} asks a language model: name one, or choose 'lexical'")
    return cast("Simulator", method(llm=llm, model_name=model_name))


def asks_model(name: str) -> bool:
    """Does this method ask a language model, so that every simulation costs something?"""
    return "llm" in inspect.signature(_found()[name].load()).parameters


def one_of(name: str) -> tuple[AbilityName, ...]:
    """Abilities of which a method's model has to have one; none for a method that works with any."""
    found: tuple[AbilityName, ...] = getattr(_found()[name].load(), "ONE_OF", ())
    return found


def _found() -> dict[str, EntryPoint]:
    """Every method by name."""
    ours = {name: EntryPoint(name, value, GROUP) for name, value in SIMULATORS.items()}
    theirs = {point.name: point for point in entry_points(group=GROUP) if point.name not in ours}
    return ours | theirs
