"""The Backend for a provisioning system: asks it for delegations, and for changes in one request at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from zonecut.files.privatefile import PrivateFileError
from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendContext,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Reading,
    Unreadable,
    Withdrawal,
)
from zonecut.plugin.branches import visible
from zonecut.plugin.naming import Naming
from zonecut.plugin.wholezone import MADE_BY_SIGNER
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.rrset import RRset
from zonecut_webhook import documents
from zonecut_webhook.api import Api
from zonecut_webhook.options import WebhookOptions
from zonecut_webhook.signing import load_key

_LONGEST_CURSOR = 1024


class WebhookBackend(Backend):
    """One parent zone in one provisioning system."""

    def __init__(self, context: BackendContext, options: WebhookOptions) -> None:
        self._zone = context.zone
        self._zone_text = names.to_text(context.zone)
        self._ttls = context.ttls
        self._options = options
        self._opened: Api | None = None
        self._naming = Naming(self._zone, self._apex, self._scan, self._cut, self.read)

    async def open(self) -> None:
        await self.close()
        try:
            self._opened = Api(self._options, load_key(self._options.key))
        except PrivateFileError as error:
            raise BackendMisconfigured(str(error)) from error
        try:
            document = await self._open().get("")
            with self._understanding(""):
                zone = names.from_text(document["zone"])
            if zone != self._zone:
                raise BackendMisconfigured(
                    f"{self._options.url} serves {names.to_text(zone)} and not {self._zone_text}: look at `url`"
                )
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    async def read(self, child: bytes) -> Reading:
        if not names.is_below(child, self._zone):
            raise BackendRejected(f"{names.to_text(child)} is not below {self._zone_text}")
        return _as_seen((await self._look_up([child]))[child])

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        found = await self._look_up([each.delegation.child for each in readings])
        same = (each for each in readings if _as_seen(found[each.delegation.child]) == each)
        return frozenset(each.delegation.child for each in same)

    def batch(self, changes: Sequence[Change]) -> int:
        return documents.fitting(changes, self._options.batch, self._options.batch_octets)

    async def write(self, changes: Sequence[Change]) -> None:
        changes = [change for change in changes if change.before != change.after]
        if not changes:
            return
        ids = [documents.change_id(self._zone, change) for change in changes]
        await self._open().change(
            "/changes",
            documents.changes_json(self._zone, changes, ids, self._ttls),
            [change.child for change in changes],
            documents.idempotency_key(ids),
        )
        await self._naming.wrote(changes)

    async def withdraw(self, change: Change) -> Withdrawal:
        identity = documents.change_id(self._zone, change)
        document = documents.withdrawal_json(self._zone, change, identity)
        return await self._open().withdraw(document, documents.idempotency_key(("withdraw", identity)))

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        found = await self._look_up([change.child for change in changes])
        return tuple(change.child for change in changes if not _is_so(change, found[change.child].delegation))

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        return await self._naming.hosts(hosts, not_before=not_before, shared=shared)

    async def children(self) -> AsyncIterator[Reading | Unreadable]:
        """Every delegation of the zone, page by page; what is none stands there as unreadable."""
        api, cursor = self._open(), None
        while True:
            query: dict[str, str | int] = {"limit": self._options.page}
            if cursor is not None:
                query["cursor"] = cursor
            document = await api.get("/delegations", query)
            with self._understanding("/delegations"):
                found = [documents.entry_of(each) for each in document["delegations"]]
            for reading in found:
                yield reading
            following = document.get("next")
            if following is None:
                return
            if not isinstance(following, str) or not 0 < len(following) <= _LONGEST_CURSOR or following == cursor:
                raise BackendMisconfigured(f"{self._options.url}/delegations: `next` is a new cursor, or null")
            cursor = following

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        if not names:
            return ()
        await self._check_own(names)
        document = await self._open().look_up("/rrsets/lookup", self._asking("names", names))
        with self._understanding("/rrsets/lookup"):
            found = [documents.rrset_of(each) for each in document["rrsets"]]
        return tuple(rrset for rrset in found if rrset.owner in names and rrset.rtype not in MADE_BY_SIGNER)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        document = {
            "zone": self._zone_text,
            "before": list(map(documents.rrset_json, before)),
            "after": list(map(documents.rrset_json, after)),
        }
        try:
            await self._open().change("/rrsets", document)
        except BackendConflict as conflict:
            raise BackendConflict(conflict.reason) from None

    # Who names a host

    async def _apex(self) -> tuple[None, frozenset[bytes]]:
        """The name servers of the apex; what the system has is known by no serial."""
        found = await self.read_rrsets([self._zone])
        return None, frozenset(target for rrset in found if rrset.rtype == RRType.NS for target in rrset.rdatas)

    async def _scan(self) -> None:
        listed = self._naming.begin()
        async for reading in self.children():
            if isinstance(reading, Reading):
                listed.take_reading(reading)
        self._naming.adopt(listed, None)

    async def _cut(self, places: Sequence[bytes]) -> bytes | None:
        """The first of these names that is delegated."""
        found = await self._look_up(places)
        return next((place for place in places if found[place].delegation.is_delegated), None)

    def _open(self) -> Api:
        if self._opened is None:
            raise BackendUnavailable("the provisioning system is not open")
        return self._opened

    async def _look_up(self, children: Sequence[bytes]) -> dict[bytes, Reading]:
        """What the system holds for these names: all of them are in it."""
        size = self._options.batch
        parts = [children[start : start + size] for start in range(0, len(children), size)]
        found: dict[bytes, Reading] = {}
        for part in await asyncio.gather(*map(self._look_up_some, parts)):
            found.update(part)
        if missing := [names.to_text(child) for child in children if child not in found]:
            raise BackendMisconfigured(
                f"{self._options.url}/delegations/lookup says nothing of {', '.join(missing)}: a name that is not"
                " delegated is to be answered with empty lists"
            )
        return found

    async def _look_up_some(self, children: Sequence[bytes]) -> dict[bytes, Reading]:
        path = "/delegations/lookup"
        document = await self._open().look_up(path, self._asking("children", children))
        with self._understanding(path):
            found = [documents.reading_of(each) for each in document["delegations"]]
        return {reading.delegation.child: reading for reading in found}

    async def _check_own(self, owners: Sequence[bytes]) -> None:
        """Raise BackendRejected for names outside the zone, and at or below a delegation."""
        for name in owners:
            if not names.is_at_or_below(name, self._zone):
                raise BackendRejected(f"{names.to_text(name)} is not in {self._zone_text}")
        found = await self._look_up([name for name in owners if name != self._zone])
        for name, reading in found.items():
            cut = name if reading.delegation.is_delegated else reading.enclosing
            if cut is not None:
                raise BackendRejected(f"{names.to_text(name)} lies in the delegation of {names.to_text(cut)}")

    def _asking(self, key: str, owners: Iterable[bytes]) -> dict[str, Any]:
        return {"zone": self._zone_text, key: [names.to_text(owner) for owner in owners]}

    @contextmanager
    def _understanding(self, path: str) -> Iterator[None]:
        """Raise BackendMisconfigured for a document that is not made as it should be."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise BackendMisconfigured(
                f"{self._options.url}{path} sent something that cannot be understood: {reason}"
            ) from None


def _as_seen(reading: Reading) -> Reading:
    """Without glue that no NS names."""
    return replace(reading, delegation=visible(reading.delegation))


def _is_so(change: Change, held: Delegation) -> bool:
    """True if `after` is held; where neither delegation of the change has glue, there may be any (orphan glue)."""
    owners = {record.owner for each in (change.before, change.after) for record in each.glue}
    owners |= set(change.after.in_domain_ns())
    glue = tuple(record for record in held.glue if record.owner in owners)
    return Delegation(held.child, held.ns, held.ds, glue) == change.after
