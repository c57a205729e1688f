"""Evidence in, candidate labels out; one method a file.

A method is found by name among ours and those of installed packages (entry points of the group
`exegete.explainers`); ours can't be replaced from outside. A class whose constructor takes `llm` and
`model_name` asks a language model, or can do without where they have defaults; one that takes `labels` reads
those that came with the evidence; one that takes `sentence_model` embeds text; one that takes nothing needs
nothing.
"""

from __future__ import annotations

import inspect
from functools import partial
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, cast

from exegete.datastore.installed import entry_points
from exegete.errors import UsageError

if TYPE_CHECKING:
    from exegete.explainers.explainer import Explainer
    from exegete.explainers.imported import LabelsOf
    from exegete.llm.llm import LLM

__all__ = ["EXPLAINERS", "GROUP", "build", "names"]

GROUP = "exegete.explainers"

EXPLAINERS = {
    "lexical": "exegete.explainers.lexical:LexicalExplainer",
    "token-activation": "exegete.explainers.token_activation:TokenActivation",
    "highlight": "exegete.explainers.highlight:Highlight",
    "clustered": "exegete.explainers.clustered:clustered",
    "imported": "exegete.explainers.imported:ImportedLabels",
}
"""Our own methods, by name, each imported when it is asked for."""


def names() -> tuple[str, ...]:
    """List the methods there are: ours, then those of other packages."""
    return tuple(_found())


def build(
    name: str,
    llm: LLM | None = None,
    model_name: str | None = None,
    labels: LabelsOf | None = None,
    sentence_model: str | None = None,
) -> Explainer:
    """Make an explainer by its method's name.

    Args:
        name: one of `names()`.
        llm: the model it may ask; not needed by a method that asks none.
        model_name: that model as named on the command line.
        labels: gives the labels that came with a feature; not needed by a method that writes its own.
        sentence_model: what a method that embeds text does it with; None leaves it to the method.

    Raises:
        UsageError: there is no such method, it asks a model and none was given, or the sentence model is not
            there.
    """
    found = _found()
    if name not in found:
        raise UsageError(f"there is no explainer named {name!r}: choose one of {', '.join(found)}")
    method = found[name].load()
    wanted = inspect.signature(method).parameters
    if "sentence_model" in wanted:
        method = partial(method, sentence_model=sentence_model)
    if "labels" in wanted:
        return cast("Explainer", method(labels=labels or (lambda _: ())))
    if "llm" not in wanted:
        return cast("Explainer", method())
    if wanted["llm"].default is None:
        return cast("Explainer", method(llm=llm, model_name=model_name))
    if llm is None or model_name is None:
        raise UsageError(
            f"explainer {name!r} asks a language model: name one with --llm, or choose 'lexical'"
        )
    return cast("Explainer", method(llm=llm, model_name=model_name))


def _found() -> dict[str, EntryPoint]:
    """Every method by name."""
    ours = {name: EntryPoint(name, value, GROUP) for name, value in EXPLAINERS.items()}
    theirs = {point.name: point for point in entry_points(group=GROUP) if point.name not in ours}
    return ours | theirs
