"""What the commands about an announcement have in common: its server, its keys, and how a difference is shown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zonecut.cli import actor, session
from zonecut.cli.failures import Failure
from zonecut.cli.terminal import output
from zonecut.config import Loaded, ParentSection
from zonecut.protocol import names
from zonecut.protocol.keys import Key
from zonecut.protocol.rrset import RRsetDifference
from zonecut.receiver.announce.announcer import Announcer
from zonecut.receiver.announce.key_directory import Identities, LostKey
from zonecut.receiver.announce.publication import Announcement
from zonecut.serve import daemon
from zonecut.store import AuditEntry, Store


class Parent:
    """One parent zone of a configuration, for a command."""

    def __init__(self, loaded: Loaded, zone: bytes) -> None:
        """Raises UsageFailure for a zone that is not configured."""
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
    async def announcer(self) -> AsyncIterator[Announcer]:
        """The zone's server, opened. Raises BackendError."""
        async with session.open_backend(self.loaded, self.section) as backend:
            yield Announcer(backend, self.announcement, self.identities.directory)

    async def ensure_key(self, *, replaces: bool = False) -> None:
        """Have the receiver's key ready, made if there never was one; with `replaces`, even if there was.

        Raises StoreError, LostKey; Failure for one that would be replaced and is there.
        """
        target = self.announcement.target
        async with session.open_store(self.loaded) as store:
            had = await self._key_before(store)
            if had is None or not replaces:
                self.identities.ensure({target}, {} if had is None else {target: had})
            else:
                await self._replace(store, had)
            await store.receiver_keys.note([self.identities.of(target).current.key])

    async def check_key(self) -> None:
        """Raise LostKey where `ensure_key` would; nothing is made, the store neither."""
        if session.has_store(self.loaded):
            async with session.open_store(self.loaded) as store:
                had = await self._key_before(store)
            if had is not None:
                self.identities.directory.check(had)

    async def _key_before(self, store: Store) -> Key | None:
        return (await store.receiver_keys.all()).get(self.announcement.target)

    async def _replace(self, store: Store, had: Key) -> None:
        try:
            self.identities.directory.check(had)
        except LostKey:
            self.identities.ensure({self.announcement.target})
        else:
            raise Failure(
                f"{self.identities.directory.path} has the key of {self.target}: leave out --new-key; "
                f"`zonecut parent roll {self.zone}` gives it a new one"
            )
        new = self.identities.of(self.announcement.target).current.key
        entry = AuditEntry(
            "parent.key_replaced",
            actor.operator(),
            zone=self.announcement.zone,
            key_tag=new.tag,
            detail={"target": self.target, "lost": had.tag},
        )
        await store.audit.record(entry)

    def say_difference(self, difference: RRsetDifference) -> None:
        """The difference for people: a line a record, and before it what else they should know."""
        text = difference.to_text(self.announcement.codepoints)
        if self.announcement.holds_target and not self.announcement.addresses:
            output.say(f"; no `addresses` are configured: those of {self.target} stay as they are")
        if not self.announcement.holds_target:
            output.say(f"; {self.target} lies outside the zone: only the DSYNC records are ours")
        output.say_block(text.rstrip("\n") if text else f"; {self.zone}: nothing to change")

    async def record(self, event: str, difference: RRsetDifference) -> None:
        """Note in the audit trail what an operator had written, if anything."""
        if not difference:
            return
        detail = difference.to_json(self.announcement.codepoints)
        async with session.open_store(self.loaded) as store:
            await store.audit.record(
                AuditEntry(
                    event, actor.operator(), zone=self.announcement.zone, detail={"target": self.target, **detail}
                )
            )
