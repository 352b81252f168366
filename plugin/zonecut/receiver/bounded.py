"""A dict of bounded size, for what can be asked for again."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V]):
    """Forgets the half that was learned first when there are too many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self._most and key not in self:
            for old in list(self)[: self._most // 2]:
                del self[old]
        super().__setitem__(key, value)
