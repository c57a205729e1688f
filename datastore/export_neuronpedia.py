"""Labels in Neuronpedia's bulk layout, to be put up there, or into an instance of one's own.

    OUT/config/explanation_type.jsonl …                 the kinds of explanation and score that the lines name
    OUT/{modelId}/{sourceId}/
        release|model|sourceset|source.jsonl
        features/batch-N.jsonl.gz                       density, maximum, tokens of the logit lens
        activations/batch-N.jsonl.gz                    excerpts: the strongest, and some of each interval
        explanations/batch-N.jsonl.gz                   labels
        explanation_scores/batch-N.jsonl.gz             every score on the report split, with its interval

Columns and types are those of github.com/hijohnnylin/neuronpedia (apps/webapp/prisma/schema.prisma), whose
importer takes the columns of a file from its first line: all lines of a file have the same keys. What is
not known is null, or, where the database allows none, left to its default by leaving the column out. Ids
are digests of what they stand for.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import exegete
from exegete.datastore import export_neuronpedia_lines as lines
from exegete.datastore.export_choice import Choice
from exegete.datastore.export_rows import Source, feature_rows, passages_of, refuse_clashes, sources
from exegete.datastore.frozen import frozen
from exegete.datastore.placed import mark, placed
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace

KINDS = ("features", "activations", "explanations", "explanation_scores")


@dataclass(slots=True)
class Written:
    """What an export holds."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    """Lines by kind."""
    named: lines.Named = field(default_factory=dict)


def export_neuronpedia(
    space: Workspace,
    store: Store,
    choice: Choice,
    out: Path,
    *,
    overwrite: bool,
    on_progress: Callable[[int], None] = lambda _: None,
) -> dict[str, int]:
    """Write an export into a new folder, which appears whole or not at all.

    Args:
        space: the workspace, for its evidence.
        store: its labels file.
        choice: which labels; those without one are features without an explanation.
        out: the folder.
        overwrite: whether an earlier export may be replaced.
        on_progress: told the number of features written so far.

    Returns:
        Lines written, by kind.

    Raises:
        UsageError: two harvests would have one name there.
        WorkspaceError: it can't be written, or the workspace can't be read.
    """
    written = Written()
    with placed(out, overwrite=overwrite) as draft, frozen(store, out.parent) as con:
        found = sources(con, choice)
        refuse_clashes([("/".join(lines.ids(source)), source) for source in found])
        for source in found:
            folder = draft.joinpath(*lines.ids(source))
            folder.mkdir(parents=True)
            for name, line in lines.about(source).items():
                _write(folder / f"{name}.jsonl", [line])
            with passages_of(space, con, source) as passages:
                for number, rows in enumerate(feature_rows(con, choice, source)):
                    shown = passages.of([(row["feature_index"], source.polarity) for row in rows])
                    _write_batch(folder, number, source, rows, shown, written)
                    on_progress(written.counts["features"])
        (draft / "config").mkdir(parents=True, exist_ok=True)
        for name, described in lines.config(written.named).items():
            _write(draft / "config" / f"{name}.jsonl", described)
        mark(draft, {"export": "neuronpedia", "exegete": exegete.__version__, "lines": written.counts})
    return written.counts


def _write_batch(
    folder: Path,
    number: int,
    source: Source,
    rows: Iterable[dict[str, Any]],
    shown: Mapping[Any, Any],
    written: Written,
) -> None:
    """The lines of some features, a file a kind; a kind without lines has no file."""
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for row in rows:
            own = lines.of_feature(source, row, shown[(row["feature_index"], source.polarity)], written.named)
            for kind, some in own.items():
                if some and kind not in files:
                    (folder / kind).mkdir(exist_ok=True)
                    files[kind] = stack.enter_context(_packed(folder / kind / f"batch-{number}.jsonl.gz"))
                for line in some:
                    files[kind].write(_json(line))
                written.counts[kind] += len(some)


@contextmanager
def _packed(path: Path) -> Iterator[gzip.GzipFile]:
    """A gzip file without a name or time in its header: the same lines make the same bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=5, fileobj=raw, mtime=0) as file,
    ):
        yield file


def _write(path: Path, some: Iterable[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(_json(line) for line in some))


def _json(line: dict[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
