"""Candidate clauses: everything that can be said of a firing word, screened by how much it explains.

Three sorts are looked for: what a word is by itself (with its forms, endings, beginnings, classes), a word
with its neighbour on one side, and a neighbour alone ("any word after").

A candidate's promise is how much of the activations' sum of squares it would explain by itself, its mean
shrunken towards silence, for the characters it costs. Only the most promising go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from exegete.explainers.lexical_layout import Doubles, Words
from exegete.explainers.lexical_vocabulary import Ints, Vocabulary
from exegete.simulators.grammar import Clause, Pattern, Side
from exegete.simulators.word_forms import stem

PRIOR = 1.0
"""Weight of the silence that is added to what is seen of every candidate."""

FEWEST = 3
"""Of how many firing words an affix, a class or a place beside a word must hold; forms of one count once.
It would be an odd name for fewer."""

MOST_ALONE, MOST_BESIDE, MOST_ANY = 120, 60, 12
"""How many candidates of each sort go on."""

_COST = {"word": 4, "forms": 9, "ending": 10, "beginning": 12, "class": 2, "any": 8}
_COST_BESIDE = 10
"""Characters a pattern needs around its text, about: grouping makes them fewer."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Where the candidates of one sort hold."""

    clauses: tuple[Clause, ...]
    """Their levels mean nothing yet."""
    rows: Ints
    """(n_entries,) positions of words."""
    columns: Ints
    """(n_entries,) numbers of clauses."""


def cost(clause: Clause) -> int:
    """Characters a clause adds to a label, about."""
    own = _COST[clause.pattern.kind] + len(clause.pattern.text)
    return own if clause.beside is None else own + _COST_BESIDE + len(clause.beside.text)


def alone(words: Words, vocabulary: Vocabulary) -> Entries:
    """Find clauses about a word by itself: once for each token, then for all its occurrences."""
    known = vocabulary.arrays()
    weight = _summed(words.tokens, words.weights, known.n_tokens)
    mass = _summed(words.tokens, words.weights * words.activations, known.n_tokens)
    present = np.flatnonzero(weight)
    owner, at = _spread(known.starts, present)
    pattern = known.patterns[at]
    size = _summed(pattern, weight[present][owner], len(vocabulary.patterns))
    sums = _summed(pattern, mass[present][owner], len(vocabulary.patterns))
    numbers = _sayable(words, vocabulary)
    clauses = [Clause(vocabulary.patterns[number]) for number in numbers.tolist()]
    kept = _promising(clauses, size[numbers], sums[numbers], MOST_ALONE)
    column = _places(numbers[kept], len(vocabulary.patterns))[pattern]
    owner, column = owner[column >= 0], column[column >= 0]
    named = [
        _named(clauses[number], present[owner[column == place]], vocabulary)
        for place, number in enumerate(kept.tolist())
    ]
    edges = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(present)))])
    token = _places(present, known.n_tokens)[words.tokens]
    rows = np.flatnonzero((token >= 0) & (np.diff(edges)[token] > 0))
    owner, at = _spread(edges, token[rows])
    return Entries(tuple(named), rows[owner], column[at])


def beside(words: Words, vocabulary: Vocabulary, side: Side, *, any_word: bool) -> Entries:
    """Find clauses about a word and its neighbour on one side, or about the neighbour alone (`any_word`)."""
    targets = np.zeros_like(words.words) if any_word else words.words  # 0 is the number of "any word"
    neighbours = words.left if side == "after" else words.right
    n = len(vocabulary.patterns)
    fires = words.fires[neighbours[words.fires] >= 0]
    pairs = np.unique(targets[fires] * n + neighbours[fires])
    if any_word:
        general = _borne_out(
            zip(neighbours[fires].tolist(), words.words[fires].tolist(), strict=True), vocabulary
        )
        pairs = np.asarray([pair for pair in pairs.tolist() if pair in general], dtype=np.int64)
    rows, column = _found(pairs, targets, neighbours, n)
    size = _summed(column, words.weights[rows], len(pairs))
    sums = _summed(column, (words.weights * words.activations)[rows], len(pairs))
    known = vocabulary.patterns
    clauses = [Clause(known[pair // n], side=side, beside=known[pair % n]) for pair in pairs.tolist()]
    kept = _promising(clauses, size, sums, MOST_ANY if any_word else MOST_BESIDE)
    column = _places(kept, len(pairs))[column]
    return Entries(tuple(clauses[i] for i in kept.tolist()), rows[column >= 0], column[column >= 0])


def _found(pairs: Ints, targets: Ints, neighbours: Ints, n: int) -> tuple[Ints, Ints]:
    """Where pairs of a word and its neighbour come, each pair the number target * n + neighbour.

    Returns:
        (n_found,) positions; (n_found,) places in `pairs`, which is sorted.
    """
    # Few words are in any pair: rule out most before searching.
    is_target, is_neighbour = np.zeros(n, dtype=bool), np.zeros(n + 1, dtype=bool)
    is_target[pairs // n] = is_neighbour[pairs % n] = True  # the last, at -1, stays nobody's
    rows = np.flatnonzero(is_target[targets] & is_neighbour[neighbours])
    here = targets[rows] * n + neighbours[rows]
    place = np.minimum(np.searchsorted(pairs, here), max(0, len(pairs) - 1))
    same = pairs[place] == here
    return rows[same], place[same]


def _sayable(words: Words, vocabulary: Vocabulary) -> Ints:
    """Numbers of the patterns of firing words, the general ones only where enough words bear them out."""
    known = vocabulary.arrays()
    tokens = np.unique(words.tokens[words.fires]).tolist()
    of_token = {t: known.patterns[known.starts[t] : known.starts[t + 1]].tolist() for t in tokens}
    word = known.words
    general = _borne_out(((p, int(word[t])) for t in tokens for p in of_token[t]), vocabulary)
    patterns = sorted({p for t in tokens for p in of_token[t]})
    kinds = vocabulary.patterns
    return np.asarray(
        [p for p in patterns if kinds[p].kind in ("word", "forms") or p in general], dtype=np.int64
    )


def _borne_out(pairs: Iterable[tuple[int, int]], vocabulary: Vocabulary) -> set[int]:
    """Find what holds of enough different words.

    Args:
        pairs: what holds, by any number, of which firing word, by the number of its pattern.
    """
    roots: dict[int, set[str]] = {}
    for number, word in pairs:
        roots.setdefault(number, set()).add(stem(vocabulary.patterns[word].text))
    return {number for number, found in roots.items() if len(found) >= FEWEST}


def _named(clause: Clause, tokens: Ints, vocabulary: Vocabulary) -> Clause:
    """A clause about forms of a stem, named by the shortest of the tokens that are such forms."""
    if clause.pattern.kind != "forms":
        return clause
    number = vocabulary.arrays().words
    words = {vocabulary.patterns[number[token]].text for token in tokens.tolist()}
    return replace(clause, pattern=Pattern("forms", min(words, key=lambda word: (len(word), word))))


def _promising(clauses: Sequence[Clause], size: Doubles, sums: Doubles, most: int) -> Ints:
    """Screen candidates.

    Args:
        clauses: the candidates.
        size: (n,) weight of the words at which each holds.
        sums: (n,) weighted sum of their activations.
        most: how many to keep; more where several are as good as the last.

    Returns:
        Numbers of those kept.
    """
    if len(clauses) <= most:
        return np.arange(len(clauses))
    costs = np.asarray([cost(clause) for clause in clauses], dtype=np.float64)
    promise = sums**2 / (size + PRIOR) / costs
    # A tie must be broken neither by a number nor by the last digit of a sum.
    return np.flatnonzero(promise >= np.partition(promise, -most)[-most] * (1 - 1e-9))


def _summed(groups: Ints, values: Doubles, n: int) -> Doubles:
    """(n,) the sum of the values of each group."""
    return np.bincount(groups, values, n).astype(np.float64, copy=False)


def _spread(starts: Ints, ids: Ints) -> tuple[Ints, Ints]:
    """List the entries of some of the rows of a ragged array.

    Args:
        starts: (n + 1,) where rows start.
        ids: (m,) rows.

    Returns:
        For every entry, which of `ids` has it, and where it is.
    """
    counts = starts[ids + 1] - starts[ids]
    owner = np.repeat(np.arange(len(ids)), counts)
    return owner, np.arange(len(owner)) + (starts[ids] - (np.cumsum(counts) - counts))[owner]


def _places(numbers: Ints, n: int) -> Ints:
    """(n,) the place of each number in a list, -1 for those that are not in it."""
    places = np.full(n, -1, dtype=np.int64)
    places[numbers] = np.arange(len(numbers))
    return places
