"""Giving freed memory back to the system.

Harvests and jobs make and free arrays of ever other sizes for hours. glibc keeps what is freed between what
is still used, and its heap grows though nothing more is held: by some 10 MB a million tokens in a harvest of
the smallest model (benchmarks/harvest_memory.py). Asked to, it gives whole pages back, in some milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Give freed memory back, where the C library can; elsewhere nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
