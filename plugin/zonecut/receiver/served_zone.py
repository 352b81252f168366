"""All that belongs to one parent zone: its delegations, its children's keys, and how it answers."""

from dataclasses import dataclass

from zonecut.receiver.change.policy import Rules
from zonecut.receiver.consumers import Consumers
from zonecut.receiver.keys.bootstrapper import Bootstrapper
from zonecut.receiver.keys.on_demand import OnDemand
from zonecut.receiver.keys.sweep import Sweep
from zonecut.receiver.keys.trust import Trust
from zonecut.receiver.keys.watching import Watching
from zonecut.receiver.message.responder import Responder
from zonecut.receiver.zone.parent_zone import ParentZone
from zonecut.receiver.zone_settings import ZoneSettings


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
