"""From the tokens of imported files, as their tokenizer writes them, to tokens as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb


def how_shown(con: duckdb.DuckDBPyConnection) -> Callable[[Sequence[str]], list[str]]:
    """How the tokens of these files say where words begin: the way of most of those that say anything.

    A single context can't tell (one without a "##" may still be of word pieces), nor can a single token
    ("####" is a heading where spaces are marked).

    Args:
        con: a connection whose table or view `c` has a column `tokens`.
    """
    counted = con.execute(
        "SELECT count(*) FILTER (t LIKE ' %' OR t LIKE 'Ġ%' OR t LIKE '▁%'), count(*) FILTER (t LIKE '##_%') "
        "FROM (SELECT unnest(tokens) AS t FROM c)"
    ).fetchone()
    marked, pieces = counted or (0, 0)
    if pieces > marked:
        return _as_pieces
    return _as_marked if marked else _as_words


def _as_marked(tokens: Sequence[str]) -> list[str]:
    """Tokens of which those that begin words begin with a space, or a mark that stands for one."""
    return [" " + token[1:] if token[:1] in ("Ġ", "▁") else token for token in tokens]


def _as_pieces(tokens: Sequence[str]) -> list[str]:
    """Tokens of which those that go on words begin with "##"."""
    return [token[2:] if token.startswith("##") and len(token) > 2 else " " + token for token in tokens]


def _as_words(tokens: Sequence[str]) -> list[str]:
    """Tokens that say nothing about spaces are words."""
    return [" " + token for token in tokens]
