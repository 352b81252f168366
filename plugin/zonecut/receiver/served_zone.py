"""All that belongs to one parent zone: its delegations, its children's keys, and how it answers."""

from dataclasses import dataclass

from zonecut.receiver.bootstrapper import Bootstrapper
from zonecut.receiver.consumers import Consumers
from zonecut.receiver.ondemand import OnDemand
from zonecut.receiver.parent_zone import ParentZone
from zonecut.receiver.policy import Rules
from zonecut.receiver.responder import Responder
from zonecut.receiver.sweep import Sweep
from zonecut.receiver.trust import Trust
from zonecut.receiver.watching import Watching
from zonecut.receiver.zonesettings import ZoneSettings


@dataclass(frozen=True, slots=True)
class ServedZone:
    """One parent zone's parts."""

    delegations: ParentZone
    trust: Trust
    bootstrapper: Bootstrapper
    responder: Responder
    sweep: Sweep
    watching: Watching
    consumers: Consumers
    on_demand: OnDemand | None = None
    """Looks up keys that nobody uploaded; None where that is off."""

    def reconfigure(self, rules: Rules, settings: ZoneSettings) -> None:
        """Go on with other rules and settings: they count for what is judged from now on."""
        self.delegations.reconfigure(rules, settings)
        self.trust.rollover = rules.policy.rollover
        self.consumers.patience = settings.consumers_within
