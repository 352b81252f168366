"""All that belongs to one parent zone: its delegations, its children's keys, and how it answers."""

from dataclasses import dataclass

from zonecut.receiver.bootstrapper import Bootstrapper
from zonecut.receiver.parent_zone import ParentZone
from zonecut.receiver.responder import Responder
from zonecut.receiver.trust import Trust


@dataclass(frozen=True, slots=True)
class ServedZone:
    """One parent zone's parts."""

    delegations: ParentZone
    trust: Trust
    bootstrapper: Bootstrapper
    responder: Responder
