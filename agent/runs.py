"""Runs: a job's parameters, written down before any result is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import duckdb

from exegete import __version__, simulators
from exegete.agent.events import note_rows
from exegete.agent.parts import Parts
from exegete.agent.rows import feature_rows, now
from exegete.agent.spec import JobSpec, digest_of
from exegete.datastore.store import Store, insert_rows
from exegete.errors import JobError


def frozen_spec(parameters: Mapping[str, Any]) -> JobSpec:
    """A run's parameters as it was given them, from those it was registered with.

    Raises:
        JobError: this version of exegete can't use them.
    """
    method = str(parameters.get("simulator", "")).partition("@")[0]
    given = {name: value for name, value in parameters.items() if name in JobSpec.model_fields}
    given["simulator"] = method if method in simulators.names() else None
    try:
        return JobSpec(**given)
    except ValueError as error:
        raise JobError(f"its parameters can't be used any more: {str(error).splitlines()[0]}") from error


def run_name(parts: Parts, kind: str, name: str | None) -> str:
    """What a run is called: as it was named, or after its explainer and the digest of its parameters."""
    return name or f"{parts.spec.explainer if kind == 'job' else kind}-{digest_of(parts.frozen())[:8]}"


def as_begun(store: Store | None, parts: Parts) -> Parts:
    """A job's parts, with early stopping as its run was begun where the job leaves that open.

    What is taken then depends on whether models are asked in batches, and a run that was begun one way can be
    gone on with the other.

    Args:
        store: the labels file; None when there is none yet.
        parts: of the job.
    """
    spec = parts.spec
    if store is None or spec.stop_early is not None or _begun(store, parts):
        return parts
    other = replace(parts, spec=spec.model_copy(update={"stop_early": not parts.stops_early}))
    # A run without early stopping can have been asked for by name too: then this is another one.
    return other if _begun(store, other, in_batches=not spec.batch) else parts


def _begun(store: Store, parts: Parts, *, in_batches: bool = False) -> bool:
    """Is there a run of just these parameters, and, where that is asked, one that had replies in batches?"""
    run = run_name(parts, "job", parts.spec.name)
    known = store.read("SELECT digest FROM store.runs WHERE run = ?", [run])
    if not known or known[0]["digest"] != digest_of(parts.frozen()):
        return False
    batched = "SELECT 1 FROM store.calls WHERE run = ? AND batch IS NOT NULL LIMIT 1"
    return not in_batches or bool(store.read(batched, [run]))


def register_run(store: Store, parts: Parts, kind: str, name: str | None) -> str:
    """Write down a run's parameters before any result is seen, or find it already there.

    Returns:
        The run's name.

    Raises:
        JobError: a run of this name was started with other parameters.
    """
    parameters = parts.frozen()
    run = run_name(parts, kind, name)
    begun = "SELECT digest, parameters FROM store.runs WHERE run = ?"
    if known := store.read(begun, [run]):  # nothing is to be written, and others may be reading the file
        _refuse_others(run, known[0]["digest"], known[0]["parameters"], parameters)
        return run
    harvest = parts.evidence.name
    own = {
        "run": run,
        "kind": kind,
        "harvest": harvest,
        "digest": digest_of(parameters),
        "parameters": parameters,
        "version": __version__,
        "made_at": now(),
    }

    def work(con: duckdb.DuckDBPyConnection) -> None:
        # Asked again inside the transaction: a job and a person may start at the same moment.
        for before, began_with in con.execute(begun, [run]).fetchall():
            _refuse_others(run, before, began_with, parameters)
            return
        if not con.execute("SELECT 1 FROM store.harvests WHERE harvest = ?", [harvest]).fetchall():
            for table, rows in feature_rows(parts.evidence).items():
                insert_rows(con, table, rows)
        insert_rows(con, "runs", [own])
        note_rows(store, {"runs": [own]})

    store.write(work)
    return run


def _refuse_others(run: str, digest: str, began_with: str, parameters: dict[str, Any]) -> None:
    """Raise JobError if a run of this name was begun with other parameters than these."""
    if digest != digest_of(parameters):
        before = json.loads(began_with)
        changed = [k for k in sorted({*before, *parameters}) if before.get(k) != parameters.get(k)]
        raise JobError(
            f"the run {run!r} was started with other parameters ({', '.join(changed)} changed): go on with "
            "the old ones, or give the new run another --name"
        )
