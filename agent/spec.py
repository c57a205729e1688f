"""What a job was asked to do, frozen before any result is seen."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from datetime import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from exegete.datastore.records import Plan, Unit
from exegete.errors import JobError

NEIGHBOURS = 10
"""Excerpts of nearest neighbours, where a scorer wants them: with as many own ones they make one call."""


class JobSpec(BaseModel):
    """Parameters of a labelling job, by the names they have on the command line and in a job file.

    Whatever is here decides results and is hashed into the run's digest, except what says only how the run is
    called, how much of it is done now, and what that may cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,80}$")
    """What the run is called; by default it is named after its explainer and digest."""
    harvest: str | None = None
    """The harvest to label; a part of its name is enough."""
    explainer: str = "lexical"
    simulator: str | None = None
    """None: `lexical` for the lexical explainer, and `clustered` without a model; `sparse` for any other."""
    llm: str | None = None
    """Model for whatever needs one, for example "openai:NAME"."""
    explainer_llm: str | None = None
    simulator_llm: str | None = None
    scorers: tuple[str, ...] = ("simulation", "detection")
    """The first is the primary score: it selects, and the verdict is read from it."""
    features: str | None = None
    """Indices such as "0-511"; None takes all of the harvest."""
    candidates: int = Field(3, ge=1, le=20)
    """Labels proposed, and again in each revision."""
    rounds: int = Field(2, ge=0, le=20)
    """Revisions at most."""
    threshold: float = Field(0.5, gt=-1.0, lt=1.0)
    """The primary score a label has to reach to be accepted."""
    seed: int = 0
    unit: Unit = "word"
    top: int = Field(10, ge=0, le=1000)
    """Strongest excerpts in the report set."""
    per_decile: int = Field(3, ge=0, le=1000)
    """Excerpts from each decile of the rest."""
    quiet: int = Field(20, ge=0, le=1000)
    hard: int = Field(10, ge=0, le=1000)
    """Quiet excerpts that are most similar to the activating ones."""
    window: int = Field(32, ge=4, le=4096)
    """Tokens an excerpt."""
    nulls: int = Field(100, ge=0, le=100_000)
    """Features that are also scored with labels that are not theirs: the run's own chance level."""
    stop_early: bool | None = None
    """Stop scoring on the report split once it is clear of the threshold; None: where calls cost."""
    with_controls: int = Field(0, ge=0, le=10_000)
    """Planted features of known truth mixed in, and reported apart."""
    sentence_model: str | None = None
    """Name or folder of a sentence-transformers model; None: the one that needs no hub."""
    falsify: bool = False
    """Have labels tested on the subject before each revision."""
    tests: int = Field(8, ge=2, le=50)
    """Tests a round of falsification writes."""
    effects: bool = False
    """Measure what features do as well: the tokens they write, ablation, steering, and a label of that."""
    case_budget: int | None = Field(None, ge=1)
    """Input and output tokens a feature may take before its label is frozen."""
    subject: str | None = None
    """Where the subject is loaded from now; None: where the harvest found it."""
    device: str | None = None
    """Where the subject runs; None: the GPU if there is one."""
    hint: str | None = None
    """What a person thinks makes the feature fire: tried beside the explainer's candidates."""
    limit: int | None = Field(None, ge=1)
    """Stop after this many features; the run can be gone on with."""
    concurrency: int = Field(16, ge=1, le=1024)
    """Features, and calls, in flight at once."""
    processes: int = Field(1, ge=1, le=256)
    """Processes that share the work, the job's own among them."""
    budget: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Dollars the run may cost, all its sittings together."""
    budget_tokens: int | None = Field(None, ge=1)
    """Input and output tokens the run may take, all its sittings together."""
    prices: Path | None = None
    """A file of prices that goes before the built-in table."""
    batch: bool = False
    """Ask models by their providers' batch APIs: cheaper, and within a day instead of at once."""
    until: time | None = None
    """Local time of day, such as "07:00", at which no further feature is started."""

    @field_validator("until", mode="before")
    @classmethod
    def _time_of_day(cls, value: object) -> object:
        """Hours and minutes, and nothing else that could be taken for a time."""
        if isinstance(value, str) and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", value):
            raise ValueError("write a time of day such as 07:00")
        return value

    @property
    def simulator_name(self) -> str:
        """The simulator, its default resolved."""
        models = (self.llm, self.explainer_llm, self.simulator_llm)
        without = self.explainer == "lexical" or (self.explainer == "clustered" and not any(models))
        return self.simulator or ("lexical" if without else "sparse")

    @property
    def report_plan(self) -> Plan:
        """Excerpts that frozen labels are scored on."""
        near = NEIGHBOURS if "discrimination" in self.scorers else 0
        return Plan(self.top, self.per_decile, self.quiet, self.hard, self.window, self.unit, near)

    @property
    def refine_plan(self) -> Plan:
        """Excerpts that candidates are tried on: about half as many, as every candidate pays for them."""
        return Plan(
            (self.top + 1) // 2,
            (self.per_decile * 2 + 2) // 3,
            (self.quiet + 1) // 2,
            (self.hard + 1) // 2,
            self.window,
            self.unit,
            NEIGHBOURS if self.scorers[:1] == ("discrimination",) else 0,
        )

    def frozen(self, **resolved: Any) -> dict[str, Any]:
        """Everything that decides results, with what was resolved (versions, digests), as JSON values."""
        return self.model_dump(mode="json", exclude=_OPERATIONAL) | resolved


_OPERATIONAL = {
    "name",
    "limit",
    "concurrency",
    "processes",
    "budget",
    "budget_tokens",
    "prices",
    "batch",
    "until",
    "subject",
    "device",
}
"""What says only how a run is called, how much of it is done now, and what that may cost."""


def digest_of(parameters: dict[str, Any]) -> str:
    """sha256 of a run's parameters."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


def read_spec(file: Path | None, given: dict[str, Any]) -> JobSpec:
    """A job's parameters from a file, with those given on the command line over them.

    Args:
        file: a TOML file with the names of JobSpec's fields, or None.
        given: parameters by name; None values are left out.

    Raises:
        JobError: the file can't be read, or a parameter is unknown or out of range.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise JobError(f"the job file {file} can't be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise JobError(f"the job file {file} is not TOML: {error}") from error
    known = ", ".join(JobSpec.model_fields)
    unknown = sorted(set(values) - set(JobSpec.model_fields))
    if unknown:
        raise JobError(f"the job file {file} has an unknown key {unknown[0]!r}: the keys are {known}")
    values |= {key: value for key, value in given.items() if value is not None}
    try:
        return JobSpec(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        raise JobError(f"job parameter {where} = {first['input']!r} can't be used: {why}") from None
