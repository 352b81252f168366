"""What the commands about an announcement have in common: its server, its keys, and how a difference is shown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from zonecut.cli import actor, output, session
from zonecut.protocol import names

if TYPE_CHECKING:
    from zonecut.config import Loaded, ParentSection
    from zonecut.protocol.rrset import RRsetDifference
    from zonecut.receiver.announcer import Announcer
    from zonecut.receiver.keydirectory import Identities
    from zonecut.receiver.publication import Announcement


class Parent:
    """One parent zone of a configuration, for a command."""

    def __init__(self, loaded: "Loaded", zone: bytes) -> None:
        """Raises UsageFailure for a zone that is not configured."""
        from zonecut.serve import daemon

        self.loaded = loaded
        self.section: ParentSection = session.parent_at(loaded, zone)
        self.announcement: Announcement = loaded.configuration.announcement(self.section)
        self.identities: Identities = daemon.open_identities(loaded)

    @property
    def zone(self) -> str:
        return names.to_text(self.announcement.zone)

    @property
    def target(self) -> str:
        return names.to_text(self.announcement.target)

    @asynccontextmanager
    async def announcer(self) -> "AsyncIterator[Announcer]":
        """The zone's server, opened. Raises BackendError."""
        from zonecut.receiver.announcer import Announcer

        async with session.open_backend(self.loaded, self.section) as backend:
            yield Announcer(backend, self.announcement, self.identities.directory)

    def say_difference(self, difference: "RRsetDifference") -> None:
        """The difference for people: a line a record, and before it what else they should know."""
        text = difference.to_text(self.announcement.codepoints)
        if self.announcement.holds_target and not self.announcement.addresses:
            output.say(f"; no `addresses` are configured: those of {self.target} stay as they are")
        if not self.announcement.holds_target:
            output.say(f"; {self.target} lies outside the zone: only the DSYNC records are ours")
        output.say_block(text.rstrip("\n") if text else f"; {self.zone}: nothing to change")

    async def record(self, event: str, difference: "RRsetDifference") -> None:
        """Note in the audit trail what an operator had written, if anything."""
        from zonecut.store import AuditEntry

        if not difference:
            return
        detail = difference.to_json(self.announcement.codepoints)
        async with session.open_store(self.loaded) as store:
            await store.audit.record(
                AuditEntry(
                    event, actor.operator(), zone=self.announcement.zone, detail={"target": self.target, **detail}
                )
            )
