"""The delegations that stand deeper than right below the apex, by the names above them: normally there are none."""

from collections.abc import Iterable

from zonecut.protocol import names


class DeepCuts:
    """Only such delegations can lie below another name that somebody asks for. The others are not kept."""

    def __init__(self, zone: bytes, cuts: Iterable[bytes] = ()) -> None:
        self._zone = zone
        self._below: dict[bytes, set[bytes]] = {}
        for cut in cuts:
            self.add(cut)

    def add(self, cut: bytes) -> None:
        for above in self._above(cut):
            self._below.setdefault(above, set()).add(cut)

    def discard(self, cut: bytes) -> None:
        for above in self._above(cut):
            cuts = self._below.get(above, set())
            cuts.discard(cut)
            if not cuts:
                self._below.pop(above, None)

    def below(self, name: bytes) -> tuple[bytes, ...]:
        """The delegations strictly below a name, sorted."""
        return tuple(sorted(self._below.get(name, ())))

    def _above(self, cut: bytes) -> Iterable[bytes]:
        name = names.parent(cut)
        while name != self._zone:
            yield name
            name = names.parent(name)
