"""A label and evidence in, a score with its interval and chance level out; one method a file.

A scorer is found by name among ours and those of installed packages (entry points of the group
`exegete.scorers`); ours can't be replaced from outside. Its constructor is given what it asks for, by the
names of its parameters: `simulator`, `split`, `threshold`, `seed`, `n_boot` and `n_perm`; `llm` and
`model_name` if it asks a language model itself; `sentences` if it compares texts by their embeddings; `bench`
if it runs texts on the subject.

A class may say `BAR`, the value to clear where it stands beside another scorer, in its own units; and
`WHY_NOT_FIRST`, if its score must not decide on a label.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, cast

from exegete.datastore.installed import entry_points
from exegete.errors import UsageError

if TYPE_CHECKING:
    from exegete.datastore.records import Split
    from exegete.llm.llm import LLM
    from exegete.scorers.scorer import Scorer
    from exegete.simulators.simulator import Simulator
    from exegete.subjects.bench import Bench

__all__ = ["GROUP", "SCORERS", "bar", "build", "names", "wants_bench"]

GROUP = "exegete.scorers"

SCORERS = {
    "simulation": "exegete.scorers.simulation:SimulationScorer",
    "detection": "exegete.scorers.detection:DetectionScorer",
    "fuzzing": "exegete.scorers.fuzzing:FuzzingScorer",
    "discrimination": "exegete.scorers.discrimination:DiscriminationScorer",
    "embedding": "exegete.scorers.embedding:EmbeddingScorer",
    "intruder": "exegete.scorers.intruder:IntruderScorer",
    "generation": "exegete.scorers.generation:GenerationScorer",
}
"""Our own scorers, by name, each imported when it is asked for."""


def names() -> tuple[str, ...]:
    """List the scorers there are: ours, then those of other packages."""
    return tuple(_found())


def bar(name: str) -> float | None:
    """The value a scorer's score is to clear where it stands beside another; None when it states none.

    Raises:
        UsageError: there is no such scorer.
    """
    return getattr(_load(name), "BAR", None)


def wants_bench(name: str) -> bool:
    """Whether a scorer runs texts on the subject.

    Raises:
        UsageError: there is no such scorer.
    """
    return "bench" in inspect.signature(_load(name)).parameters


def build(
    name: str,
    simulator: Simulator,
    split: Split,
    *,
    threshold: float,
    seed: int,
    n_boot: int = 2000,
    n_perm: int = 1999,
    llm: LLM | None = None,
    model_name: str | None = None,
    sentence_model: str | None = None,
    bench: Bench | None = None,
    first: bool = False,
) -> Scorer:
    """Make a scorer by its name.

    Args:
        name: one of `names()`.
        simulator: predicts levels from a label; scorers that share one share its simulations (together.py).
        split: the only split whose evidence it is to take.
        threshold: value a label is to clear, in the scorer's units.
        seed: chooses the order of contexts and all resampling.
        n_boot: draws for an interval; 0 leaves the interval out.
        n_perm: permutations; 0 leaves chance and the p-value out.
        llm: the model it may ask; not needed by a scorer that asks none.
        model_name: that model as named on the command line.
        sentence_model: name or folder of a sentence model (see `exegete.subjects.sentences`).
        bench: what texts are run on; not needed by a scorer that runs none.
        first: whether its score decides on labels.

    Raises:
        UsageError: there is no such scorer; it asks a model and none was given, compares texts and the
            sentence model is not there, or runs texts and there is no subject; or it must not come first.
    """
    make = _load(name)
    if first and (why := getattr(make, "WHY_NOT_FIRST", None)):
        raise UsageError(f"scorer {name!r} can't be the first one, which decides on labels: {why}")
    given: dict[str, Any] = {
        "simulator": simulator,
        "split": split,
        "threshold": threshold,
        "seed": seed,
        "n_boot": n_boot,
        "n_perm": n_perm,
    }
    wanted = inspect.signature(make).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted.values()):
        given = {key: value for key, value in given.items() if key in wanted}
    if "llm" in wanted:
        if llm is None or model_name is None:
            raise UsageError(f"scorer {name!r} asks a language model: name one with --llm, or leave it out")
        given |= {"llm": llm, "model_name": model_name}
    if "sentences" in wanted:
        from exegete.subjects.sentences import Sentences

        given["sentences"] = Sentences.open(sentence_model)
    if "bench" in wanted:
        if bench is None:
            raise UsageError(
                f"scorer {name!r} runs texts on the subject, and there is none here: leave it out, or use "
                "evidence that `exegete harvest` made"
            )
        given["bench"] = bench
    return cast("Scorer", make(**given))


def _load(name: str) -> Any:
    """A scorer's class."""
    if name in SCORERS:  # nobody else's comes before ours, and looking for theirs takes milliseconds
        return EntryPoint(name, SCORERS[name], GROUP).load()
    found = _found()
    if name not in found:
        raise UsageError(f"there is no scorer named {name!r}: choose one of {', '.join(found)}")
    return found[name].load()


def _found() -> dict[str, EntryPoint]:
    """Every scorer by name."""
    ours = {name: EntryPoint(name, value, GROUP) for name, value in SCORERS.items()}
    theirs = {point.name: point for point in entry_points(group=GROUP) if point.name not in ours}
    return ours | theirs
