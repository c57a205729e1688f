"""Seeded, order-independent pseudo-random numbers: the same inputs give the same number on every machine.

Sampling by hash instead of by a running generator is what makes evidence independent of the order in which
text arrives, and lets shards merge exactly (bottom-k sampling; Cohen & Kaplan 2007).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UInts = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_SHIFT_TO_DOUBLE = np.uint64(11)
_MASK = 0xFFFFFFFFFFFFFFFF


def digest64(*parts: str | bytes | int) -> int:
    """A 63-bit digest of some values (63 bits, so that it fits a signed BIGINT)."""
    text = b""
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        text += len(raw).to_bytes(8, "little") + raw
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def mix(values: UInts) -> UInts:
    """The splitmix64 finaliser, elementwise: a bijection of uint64 that scatters its input [Steele 2014].

    Args:
        values: of at least one dimension: numpy warns of single numbers that overflow.
    """
    z = values + _GOLDEN
    z ^= z >> _SHIFT_1
    z *= _MIX_1
    z ^= z >> _SHIFT_2
    z *= _MIX_2
    z ^= z >> _SHIFT_3
    return z


def _mixed(value: int) -> int:
    """`mix` of one number."""
    z = (value + int(_GOLDEN)) & _MASK
    z = ((z ^ (z >> 30)) * int(_MIX_1)) & _MASK
    z = ((z ^ (z >> 27)) * int(_MIX_2)) & _MASK
    return z ^ (z >> 31)


def uniform(seed: int, *keys: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Pseudo-random numbers in [0, 1), one for each broadcast row of keys.

    Args:
        seed: chooses the sequence.
        keys: integers or integer arrays that broadcast together.

    Returns:
        float64 array of their broadcast shape (at least 1-d).
    """
    single, n_single = _mixed(seed & _MASK), 0
    for key in keys:  # numpy takes ten times as long over one number as Python
        if not isinstance(key, int):
            break
        single, n_single = _mixed(single ^ _mixed(key & _MASK)), n_single + 1
    state = np.atleast_1d(np.uint64(single))
    for key in keys[n_single:]:
        bits = np.atleast_1d(np.asarray(key)).astype(np.int64).view(np.uint64)
        state = mix(state ^ mix(bits))
    return _fractions(state)


def scattered(ids: NDArray[np.int64]) -> UInts:
    """Ids as `uniforms` takes them: what does not depend on the seed, worked out once."""
    return mix(ids.view(np.uint64))


def uniforms(seed: int, keys: Sequence[int], ids: UInts) -> NDArray[np.float64]:
    """`uniform(seed, key, ids)` of several keys at once, of ids that are `scattered`: (n_keys, n_ids)."""
    single = _mixed(seed & _MASK)
    states = np.asarray([[_mixed(single ^ _mixed(key & _MASK))] for key in keys], dtype=np.uint64)
    return _fractions(mix(states ^ ids))


def _fractions(state: UInts) -> NDArray[np.float64]:
    """The upper 53 bits as numbers in [0, 1)."""
    return (state >> _SHIFT_TO_DOUBLE).astype(np.float64) * (2.0**-53)
