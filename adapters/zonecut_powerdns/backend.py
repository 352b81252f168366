"""The Backend for PowerDNS: reads by API and DNS, compares, and writes one PATCH at a time."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from zonecut.files.privatefile import PrivateFileError, read_word
from zonecut.net.endpoint import Endpoint
from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendContext,
    BackendError,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Reading,
    Unreadable,
)
from zonecut.plugin.branches import below, hidden
from zonecut.plugin.naming import Naming
from zonecut.plugin.wholezone import MADE_BY_SIGNER
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import RRset
from zonecut_powerdns import bodies, settings
from zonecut_powerdns.options import PowerDnsOptions
from zonecut_powerdns.queries import Queries
from zonecut_powerdns.reading import Reader, conditions, results
from zonecut_powerdns.repeating import repeated
from zonecut_powerdns.senseless import Senseless
from zonecut_powerdns.serial import SerialWatch

if TYPE_CHECKING:
    from zonecut_powerdns.api import Api

_LOG = logging.getLogger("zonecut.powerdns")

_FRESH = 1.0
"""Seconds after a write in which what the server has cached since will do to read it back: it held that."""

_COMPARED = 20
"""So many delegations are compared at the start with what DNS shows."""

_ADDRESSES = (RRType.A, RRType.AAAA)

_turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
"""Whose turn it is to write on a server: two PATCHes at a time fail, also if they are of different zones."""


class PowerDnsBackend(Backend):
    """One parent zone on one PowerDNS server."""

    def __init__(self, context: BackendContext, options: PowerDnsOptions) -> None:
        self._zone = context.zone
        self._ttls = context.ttls
        self._options = options
        self._opened: tuple[Api, Reader] | None = None
        self._serial: SerialWatch | None = None
        self._turn = _turns.setdefault((options.url, options.server_id), asyncio.Lock())
        self._rescanning: asyncio.Task[None] | None = None
        self._hidden: frozenset[bytes] = frozenset()
        self._naming = Naming(self._zone, self._apex, self._scan, self._cut, self.read)
        self._may_be_off: set[bytes] = set()
        """Names at which records may be switched off."""
        self._some: list[Delegation] = []
        """Delegations of the last look at the whole zone."""
        self._signed = False
        self._rectify_owed = False
        """A PATCH of ours failed, and may have been committed without being followed by the rectifying."""
        self._written_at = float("-inf")
        """When a PATCH of ours succeeded that has not been read back: it left nothing in the server's caches."""
        self._rectify_unknown = True
        """So may one of a process before us, which was killed and the server with it."""

    async def open(self) -> None:
        await self.close()
        try:
            # not at the top: an adapter that nobody uses must not need the library
            from zonecut_powerdns.api import Api
        except ImportError as error:
            raise BackendMisconfigured("the adapter powerdns needs h11: pip install 'zonecut[powerdns]'") from error
        try:
            api = Api(self._zone, self._options, read_word(self._options.api_key, "API key"))
        except PrivateFileError as error:
            raise BackendMisconfigured(str(error)) from error
        address = self._options.dns
        queries = Queries(self._zone, Endpoint.parse(address), self._options.timeout) if address else None
        self._opened = api, Reader(self._zone, api, queries)
        self._serial = SerialWatch(self._zone, api, self._turn, self._settle)
        try:
            await self._settle()
            found = await self._opened[1].at((self._zone,))
            settings.check_made(self._zone, {rtype for _, rtype in found.rrsets}, signed=self._signed)
            await self._scan()
            if queries is not None:
                await queries.check()
                await self._opened[1].compare(self._some)
        except BaseException:
            await self.close()
            raise
        self._rectify_unknown = True
        self._rescanning = asyncio.create_task(self._rescan())

    async def close(self) -> None:
        task, self._rescanning = self._rescanning, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._opened = None

    def remarks(self) -> Sequence[str]:
        troubles = (None if self._opened is None else self._opened[1].trouble, self._serial and self._serial.trouble)
        return [trouble for trouble in troubles if trouble]

    async def read(self, child: bytes) -> Reading:
        """What the server holds for `child` now, from its database.

        A request for the child, and one for each of its name servers inside: a change that comes between them gives a
        reading that never was, on which no write can succeed.
        """
        if not names.is_below(child, self._zone):
            raise BackendRejected(f"{names.to_text(child)} is not below {names.to_text(self._zone)}")
        _, reader = self._open()
        above = names.between(child, self._zone)
        found = await repeated(lambda: reader.at((child, *above)))
        ns = found.rdatas(child, RRType.NS)
        inside = [target for target in ns if names.is_at_or_below(target, child)]
        found.update(await repeated(lambda: reader.at([target for target in inside if target != child])))
        keys = [(child, RRType.NS), (child, RRType.DS), *((owner, rtype) for owner in inside for rtype in _ADDRESSES)]
        # a DS without NS is no delegation, but it is there, and goes when one comes
        held = {(owner, int(rtype)): rrset for owner, rtype in keys if (rrset := found.rrsets.get((owner, rtype)))}
        records = [RR(*key, rdata) for key, rrset in held.items() for rdata in rrset.rdatas]
        enclosing = next((name for name in above if found.rdatas(name, RRType.NS)), None)
        if ns:
            nested = below(child, self._hidden)
        else:
            # a delegation here would hide those below: only the whole zone tells
            nested = await repeated(lambda: reader.cuts_below(child))
        return Reading(
            Delegation.of(child, records), enclosing, nested, {key: rrset.ttl for key, rrset in held.items()}
        )

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        return await repeated(lambda: self._open()[1].unchanged(readings, self._hidden))

    def batch(self, changes: Sequence[Change]) -> int:
        return bodies.fitting(changes, self._options.batch_octets)

    async def write(self, changes: Sequence[Change]) -> None:
        changes = [change for change in changes if change.before != change.after]
        if not changes:
            return
        _, reader = self._open()

        async def items(by_api: bool) -> list[dict[str, Any]]:
            await reader.prime([change.child for change in changes])
            differing = await reader.differing([conditions(change) for change in changes], by_api=by_api)
            if differing:
                # somebody was there since we looked for records that are switched off
                self._may_be_off |= {o for c in changes if c.child in differing for o, _ in bodies.changed_keys(c)}
                raise BackendConflict(
                    f"PowerDNS holds something else than was expected at {', '.join(map(names.to_text, differing))}",
                    differing,
                )
            off = await self._switched_off({owner for c in changes for owner, _ in bodies.changed_keys(c)})
            return [item for c in changes for item in bodies.replacements(c, self._ttls, off)]

        try:
            await self._commit(items)
        except BaseException:
            self._naming.doubt()
            raise
        await self._naming.wrote(changes)

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        _, reader = self._open()
        if self._rectify_owed or self._rectify_unknown:
            await self._rectify()
        flush, self._written_at = time.monotonic() - self._written_at > _FRESH, float("-inf")
        differing, _ = await asyncio.gather(
            repeated(lambda: reader.differing([results(change) for change in changes], flush=flush)),
            self._check_serial(),
        )
        await reader.prove([change.after for change in changes if change.child not in differing])
        return differing

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        return await self._naming.hosts(hosts, not_before=not_before, shared=shared)

    async def children(self) -> AsyncGenerator[Reading | Unreadable, None]:
        """Every delegation of the zone, hidden ones and orphan glue included, by one export.

        PowerDNS exports in an order of its own: the records are sorted in a temporary file before the first comes.
        """
        senseless = Senseless(self._zone)
        async with aclosing(self._open()[1].branches(senseless)) as branches:
            async for branch in branches:
                for reading in branch.readings():
                    yield senseless.in_stead_of(reading)
        for unreadable in senseless.rest():
            yield unreadable

    async def serial(self) -> int:
        return await self._open()[0].serial()

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        if self._rectify_owed:
            await self._rectify()
        found: list[RRset] = []
        for name in names:
            found += await self._rrsets_at(name)
        return tuple(found)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        expected = {rrset.key: () for rrset in after} | {rrset.key: rrset.rdatas for rrset in before}

        async def items(_: bool) -> list[dict[str, Any]]:
            found = await self._open()[1].at({owner for owner, _ in expected})
            if differing := [key for key, rdatas in expected.items() if found.rdatas(*key) != rdatas]:
                owners = dict.fromkeys(names.to_text(owner) for owner, _ in differing)
                raise BackendConflict(f"PowerDNS holds other records than were expected at {', '.join(owners)}")
            off = await self._switched_off({owner for owner, _ in expected})
            return bodies.rrset_replacements(before, after, found, off)

        self._naming.doubt()
        await self._commit(items)
        await self._check_serial()

    def _open(self) -> "tuple[Api, Reader]":
        if self._opened is None:
            raise BackendUnavailable("the API of PowerDNS is not open")
        return self._opened

    # Writing

    async def _commit(self, items: Callable[[bool], Awaitable[Iterable[dict[str, Any]]]]) -> None:
        """Compare and write as one turn; both again when the database was locked, since somebody else wrote then.

        `items` compares, by the API alone where it is told so, and makes what is to be written.
        """
        api, _ = self._open()
        watch = self._serial
        assert watch is not None

        async def compare_and_write() -> None:
            async with self._turn:
                serial, wanted = await asyncio.gather(api.serial(), items(False))
                if not watch.is_known(serial):
                    # somebody else was here: records may be switched off of which we know nothing, and DNS be late
                    await self._look_for_switched_off()
                    wanted = await items(True)
                    watch.note(serial)
                changed = list(wanted)
                if not changed:
                    return
                watch.wrote(serial)
                try:
                    await api.patch(bodies.patch(changed))
                except BaseException as error:
                    self._rectify_owed = self._rectify_owed or not isinstance(error, BackendRejected)
                    raise
                self._rectify_owed = self._rectify_unknown = False
                self._written_at = time.monotonic()

        try:
            await repeated(compare_and_write)
        except BackendConflict:
            # the difference may be what a PATCH of ours did before its answer was lost
            if self._rectify_owed:
                await self._rectify()
            raise

    async def _switched_off(self, owners: Collection[bytes]) -> bodies.SwitchedOff:
        """What is switched off at these names now, and has to be written with the rest of its RRset."""
        api, _ = self._open()
        found: dict[bodies.Key, tuple[str, ...]] = {}
        concerned = self._may_be_off.intersection(owners)
        if concerned:
            async with aclosing(api.disabled()) as parts:
                async for off in parts:
                    found.update({key: contents for key, contents in off.items() if key[0] in concerned})
                    await asyncio.sleep(0)
        return found

    async def _look_for_switched_off(self) -> None:
        """See at which names records are switched off."""
        if not self._options.keep_disabled:
            return
        api, _ = self._open()
        owners: set[bytes] = set()
        async with aclosing(api.disabled()) as parts:
            async for off in parts:
                owners.update(owner for owner, _ in off)
                await asyncio.sleep(0)
        self._may_be_off = owners

    async def _check_serial(self) -> None:
        watch = self._serial
        assert watch is not None
        await repeated(watch.check)

    async def _rectify(self) -> None:
        """Have done what PowerDNS does to a signed zone after the commit of a PATCH."""
        api, _ = self._open()

        async def rectify() -> None:
            async with self._turn:
                await api.rectify()
                # unlike a PATCH, it leaves in the caches what it has put right
                await api.flush()

        if self._signed:
            await repeated(rectify)
        self._rectify_owed = self._rectify_unknown = False

    # The zone as a whole

    async def _settle(self) -> None:
        """See that the zone's settings are such that we can write, and set what is missing."""
        api, _ = self._open()
        found = await api.settings()
        wanted = settings.missing(found, self._zone, int(time.time()))
        if wanted:
            was = settings.words({name: found.get(name, "") for name in wanted})
            _LOG.warning("setting %s of %s, instead of %s", settings.words(wanted), names.to_text(self._zone), was)
            await repeated(lambda: api.set(wanted))
            found = await api.settings()
            if still := settings.missing(found, self._zone, int(time.time())):
                raise BackendMisconfigured(
                    f"{names.to_text(self._zone)} on PowerDNS needs {settings.words(still)}, and it does not take it"
                )
        self._signed = settings.is_signed(found)

    async def _rrsets_at(self, name: bytes) -> list[RRset]:
        """Raises BackendRejected for a name outside the zone, or at or below a delegation."""
        _, reader = self._open()
        if not names.is_at_or_below(name, self._zone):
            raise BackendRejected(f"{names.to_text(name)} is not in {names.to_text(self._zone)}")
        places = (*names.between(name, self._zone), name) if name != self._zone else (name,)
        found = await repeated(lambda: reader.at(places))
        for place in places:
            if place != self._zone and found.rdatas(place, RRType.NS):
                raise BackendRejected(f"{names.to_text(name)} lies in the delegation of {names.to_text(place)}")
        return [
            RRset(owner, rtype, held.ttl, held.rdatas)
            for (owner, rtype), held in found.rrsets.items()
            if owner == name and rtype not in MADE_BY_SIGNER
        ]

    async def _scan(self) -> None:
        """Find all delegations below others, and where records are switched off; normally there are none of either."""
        api, reader = self._open()
        found: set[bytes] = set()
        some: list[Delegation] = []
        serial = await api.serial()
        listed = self._naming.begin()
        # a record that cannot be read hides no delegation, and names no host
        async with aclosing(reader.branches(Senseless(self._zone))) as branches:
            async for branch in branches:
                found.update(hidden(branch))
                listed.take(branch)
                some += [each.delegation for each in branch.readings() if len(some) < _COMPARED]
        self._hidden, self._some = frozenset(found), some
        self._naming.adopt(listed, None)
        await self._look_for_switched_off()
        if self._serial is not None:
            self._serial.note(serial)

    async def _apex(self) -> tuple[None, frozenset[bytes]]:
        """The name servers of the apex. The serial tells nothing: pdnsutil and SQL change the zone without it."""
        found = await repeated(lambda: self._open()[1].at((self._zone,)))
        return None, frozenset(found.rdatas(self._zone, RRType.NS))

    async def _cut(self, places: Sequence[bytes]) -> bytes | None:
        """The first of these names that is delegated."""
        found = await repeated(lambda: self._open()[1].at(places))
        return next((place for place in places if found.rdatas(place, RRType.NS)), None)

    async def _rescan(self) -> None:
        while True:
            await asyncio.sleep(self._options.rescan)
            try:
                await self._settle()
                await self._scan()
            except BackendError as error:
                _LOG.warning("looking at %s again: %s", names.to_text(self._zone), error.reason)
            except Exception:
                # a defect is no reason not to look again
                _LOG.exception("looking at %s again", names.to_text(self._zone))
