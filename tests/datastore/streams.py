"""Streams of contexts with known activations, and what a keeper should make of them, worked out literally."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_writer import Slot, write_evidence
from exegete.datastore.hashing import uniform
from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import HISTOGRAM_EDGES, Firings, Kept, KeptContext

Activations = dict[int, dict[int, float]]
"""Of one context: what fires, by slot and position."""

Seen = tuple[KeptContext, Activations]


@dataclass(frozen=True)
class Sizes:
    """A keeper's sizes."""

    n_slots: int
    top: int
    sample: tuple[int, int, int]
    quiet: tuple[int, int, int]
    seed: int = 0

    @property
    def keys(self) -> np.ndarray[Any, Any]:
        """Slots' keys; scattered, as a feature's key is not its place."""
        return np.arange(self.n_slots, dtype=np.int64) * 7 + 3


def context(
    number: int, split: int, document: str, tokens: Sequence[str] = (" a", " b"), start: int = 0
) -> KeptContext:
    """A context whose id is given."""
    return KeptContext(
        number, split, document, start, np.arange(len(tokens), dtype=np.int32), "\x1f".join(tokens)
    )


def random_stream(
    seed: int, n_contexts: int, n_ids: int, n_slots: int, density: float = 0.5, n_tokens: int = 4
) -> list[Seen]:
    """Contexts with repeated ids, in the same split and across; activations depend on the id alone.

    Values lie on a coarse grid, so that ties happen, and reach beyond both ends of the histogram.
    """
    rng = np.random.default_rng(seed)
    stream: list[Seen] = []
    for place in range(n_contexts):
        number = int(rng.integers(1, n_ids + 1))
        own = np.random.default_rng((seed, number))
        fired: Activations = {}
        for slot in range(n_slots):
            for position in range(n_tokens):
                if own.random() < density / n_tokens * 2:
                    value = float(own.choice([2.0**-12, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0**21]))
                    fired.setdefault(slot, {})[position] = value
        tokens = [f" w{number}.{i}" for i in range(n_tokens)]
        split = int(rng.integers(3))
        stream.append((context(number, split, f"d{rng.integers(10**6)}-{split}", tokens, place), fired))
    return stream


def batch_of(some: Sequence[Seen]) -> tuple[list[KeptContext], Firings]:
    """A batch as a harvest hands it over."""
    rows = [
        (slot, row, position, value)
        for row, (_, fired) in enumerate(some)
        for slot, own in fired.items()
        for position, value in own.items()
    ]
    slot, row, position, value = zip(*rows, strict=True) if rows else ((), (), (), ())
    firings = Firings(
        np.asarray(slot, dtype=np.int64),
        np.asarray(row, dtype=np.int64),
        np.asarray(position, dtype=np.int64),
        np.asarray(value, dtype=np.float32),
    )
    return [c for c, _ in some], firings


def batches(stream: Sequence[Seen], size: int) -> Iterator[tuple[list[KeptContext], Firings]]:
    """The stream in batches."""
    for at in range(0, len(stream), size):
        yield batch_of(stream[at : at + size])


def new_keeper(sizes: Sizes) -> Keeper:
    """An empty keeper."""
    return Keeper(sizes.n_slots, sizes.keys, sizes.top, sizes.sample, sizes.quiet, sizes.seed)


def keep(stream: Sequence[Seen], sizes: Sizes, batch: int = 16) -> Kept:
    """What a keeper keeps of a stream."""
    keeper = new_keeper(sizes)
    for contexts, firings in batches(stream, batch):
        keeper.add(contexts, firings)
    return keeper.finish()


def build(
    folder: Path,
    stream: Sequence[Seen],
    sizes: Sizes,
    *,
    name: str = "harvest",
    slots: Sequence[Slot] | None = None,
    batch: int = 64,
) -> EvidenceFile:
    """An evidence file of a stream, opened."""
    slots = slots or [Slot(i, "+", 0.0) for i in range(sizes.n_slots)]
    parameters = {
        "subject": "tiny@1",
        "site": "layers.0",
        "dictionary": "neurons",
        "seed": sizes.seed,
        "top": sizes.top,
    }
    write_evidence(folder / f"{name}.duckdb", parameters, slots, keep(stream, sizes, batch))
    return EvidenceFile(folder / f"{name}.duckdb")


# What a keeper should keep, with dictionaries and sorting only.


@dataclass
class Plain:
    """What was kept, as plain values that can be compared."""

    pairs: dict[tuple[int, int], list[tuple[int, float, tuple[tuple[int, float], ...]]]]
    """By (slot, split): (context, strength, (position, value)…), strongest first."""
    sampled: dict[tuple[int, int], set[int]]
    contexts: dict[tuple[int, int], tuple[str, int]]
    """By (split, context): its document and start."""
    quiet: dict[tuple[int, int], set[tuple[int, int, float]]]
    """By (split, context): (slot, position, value)."""
    statistics: dict[str, Any] = field(default_factory=dict)


def drawn_by(seed: int, *keys: int) -> float:
    """A sample key, for one row."""
    return float(uniform(seed, *keys)[0])


def literally(stream: Sequence[Seen], sizes: Sizes) -> Plain:
    """What should be kept of a stream."""
    keys = sizes.keys.tolist()
    pairs: dict[tuple[int, int], set[int]] = {}
    sampled: dict[tuple[int, int], set[int]] = {}
    quiet: dict[int, set[int]] = {}
    fired_of = {c.id: fired for c, fired in stream}
    wanted: set[tuple[int, int]] = set()
    for split in range(3):
        ids = sorted({c.id for c, _ in stream if c.split == split})
        quiet[split] = set(sorted(ids, key=lambda i: drawn_by(sizes.seed + 1, i))[: sizes.quiet[split]])
        wanted |= {(split, i) for i in quiet[split]}
        for slot in range(sizes.n_slots):
            firing = [i for i in ids if slot in fired_of[i]]
            strongest = sorted(firing, key=lambda i: (-max(fired_of[i][slot].values()), i))
            drawn = sorted(firing, key=lambda i: drawn_by(sizes.seed, keys[slot], i))
            sampled[slot, split] = set(drawn[: sizes.sample[split]])
            pairs[slot, split] = set(strongest[: sizes.top]) | sampled[slot, split]
            wanted |= {(split, i) for i in pairs[slot, split]}
    home = {i: min(s for s, other in wanted if other == i) for _, i in wanted}
    return Plain(
        pairs={
            (slot, split): sorted(
                (
                    (i, max(fired_of[i][slot].values()), tuple(sorted(fired_of[i][slot].items())))
                    for i in ids
                    if home[i] == split
                ),
                key=lambda pair: (-pair[1], pair[0]),
            )
            for (slot, split), ids in pairs.items()
        },
        sampled={key: {i for i in ids if home[i] == key[1]} for key, ids in sampled.items()},
        contexts={
            (split, i): min((c.document, c.start) for c, _ in stream if (c.split, c.id) == (split, i))
            for split, i in wanted
            if home[i] == split
        },
        quiet={
            (split, i): {(s, p, v) for s, own in fired_of[i].items() for p, v in own.items()}
            for split, ids in quiet.items()
            for i in ids
            if home[i] == split
        },
        statistics=_statistics(stream, sizes.n_slots),
    )


def _statistics(stream: Sequence[Seen], n_slots: int) -> dict[str, Any]:
    edges = HISTOGRAM_EDGES.tolist()
    contexts, fired, fired_contexts = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    maximum, histogram = dict[tuple[int, int], float](), Counter[tuple[int, int]]()
    for c, own in stream:
        contexts[c.split] += 1
        for slot, values in own.items():
            fired_contexts[slot, c.split] += 1
            fired[slot] += len(values)
            maximum[slot, c.split] = max(maximum.get((slot, c.split), 0.0), *values.values())
            histogram.update((slot, bisect_right(edges, value)) for value in values.values())
    slots, bins = range(n_slots), range(len(edges) + 1)
    return {
        "tokens": sum(len(c.token_ids) for c, _ in stream),
        "contexts": [contexts[s] for s in range(3)],
        "fired": [fired[slot] for slot in slots],
        "fired_contexts": [[fired_contexts[slot, s] for s in range(3)] for slot in slots],
        "maximum": [[maximum.get((slot, s), 0.0) for s in range(3)] for slot in slots],
        "histogram": [[histogram[slot, b] for b in bins] for slot in slots],
    }


def plainly(kept: Kept, n_slots: int) -> Plain:
    """What was kept, as plain values."""
    groups = [(slot, split) for slot in range(n_slots) for split in range(3)]
    plain = Plain({g: [] for g in groups}, {g: set() for g in groups}, {}, {})
    p, at = kept.pairs, 0
    for i in range(len(p)):
        group = (int(p.group[i]) // 3, int(p.group[i]) % 3)
        inside = slice(at, at + int(p.length[i]))
        at = inside.stop
        places = tuple(zip(p.position[inside].tolist(), p.value[inside].tolist(), strict=True))
        plain.pairs[group].append((int(p.context[i]), float(p.strength[i]), places))
        if p.order[i] <= kept.order_bar[p.group[i]]:
            plain.sampled[group].add(int(p.context[i]))
    plain.contexts = {key: (c.document, c.start) for key, c in kept.contexts.items()}
    plain.quiet = {
        key: set(zip(q.slot.tolist(), q.position.tolist(), q.value.tolist(), strict=True))
        for key, q in kept.quiet.items()
    }
    s = kept.statistics
    plain.statistics = {
        "tokens": s.tokens,
        **{
            name: getattr(s, name).tolist()
            for name in ("contexts", "fired", "fired_contexts", "maximum", "histogram")
        },
    }
    return plain
