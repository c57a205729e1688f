"""Arrays that are added to at their ends."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Growing(Generic[Scalar]):
    """An array with room to spare: adding to it a thousand times copies each of its values once or twice."""

    def __init__(self, values: NDArray[Scalar]) -> None:
        """Begin with some values, which are copied."""
        self._room, self._n = values.copy(), len(values)

    @property
    def values(self) -> NDArray[Scalar]:
        """All there are; a view, into which may be written until something is added."""
        return self._room[: self._n]

    def add(self, values: NDArray[Scalar]) -> None:
        """Put values of the same type, or of one that fits into it, at the end."""
        n = self._n + len(values)
        if n > len(self._room):
            room = np.empty(max(n, 2 * len(self._room)), self._room.dtype)
            room[: self._n] = self.values
            self._room = room
        self._room[self._n : n] = values
        self._n = n
