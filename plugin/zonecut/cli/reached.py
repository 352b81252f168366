"""How far an applied change has come where the server's tables are not the zone yet: by what their consumers say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zonecut.store import ChangeState, StoredChange, ZoneConsumer


@dataclass(frozen=True, slots=True)
class Reached:
    """A change, and the consumers of its zone; none for a server whose content is the zone."""

    change: StoredChange
    consumers: Sequence[ZoneConsumer]

    @classmethod
    def among(cls, change: StoredChange, consumers: Mapping[bytes, Sequence[ZoneConsumer]]) -> "Reached":
        """`consumers`: of all zones."""
        return cls(change, consumers.get(change.zone, ()))

    @property
    def in_zone(self) -> bool | None:
        """Whether it is in every consumer's zone; None where nobody says, or it is not applied."""
        number = self.change.history_number
        if self.change.state is not ChangeState.APPLIED or number is None or not self.consumers:
            return None
        return all(each.has(number) for each in self.consumers)

    def to_json(self) -> dict[str, Any]:
        """`reached`, and those in whose zone it is, and those in whose it is not."""
        number, in_zone = self.change.history_number, self.in_zone
        if number is None or in_zone is None:
            return {"reached": None, "in_zone_of": [], "not_in_zone_of": []}
        return {
            "reached": "zone" if in_zone else "tables",
            "in_zone_of": [each.name for each in self.consumers if each.has(number)],
            "not_in_zone_of": [each.name for each in self.consumers if not each.has(number)],
        }

    def to_text(self) -> str:
        """The change's state, and how far it has come."""
        state, number, in_zone = self.change.state.value, self.change.history_number, self.in_zone
        if number is None or in_zone is None:
            return state
        there, behind = (
            ", ".join(_at(each) for each in self.consumers if each.has(number) is wanted) for wanted in (True, False)
        )
        if in_zone:
            return f"{state}, in the zone ({there})"
        return f"{state}, in the tables at {number} ({behind})" + (f"; in the zone of {there}" if there else "")


def _at(consumer: "ZoneConsumer") -> str:
    if consumer.failed:
        return f"{consumer.name} failed at {consumer.number}"
    above = ", above what is in the tables" if consumer.number > consumer.history_number else ""
    return f"{consumer.name} at {consumer.number}{above}"
