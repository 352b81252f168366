"""One parent zone's rows: operations on a connection. They block, and let the database's errors through."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NoReturn, TypeVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    delete,
    insert,
    literal_column,
    select,
    union_all,
    update,
)

from zonecut.plugin import (
    MAX_NAMED_BY,
    BackendConflict,
    BackendMisconfigured,
    BackendRejected,
    Change,
    Host,
    Progress,
    Reading,
    Unreadable,
)
from zonecut.plugin.wholezone import MADE_BY_SIGNER, MADE_OF_ZONE, MNEMONICS, made_elsewhere
from zonecut.protocol import names
from zonecut.protocol.delegation import RR, Ttls
from zonecut.protocol.foreigntext import quoted
from zonecut.protocol.rrset import RRset
from zonecut_database import consumers
from zonecut_database.held import Edit, Held, Row, Senseless, Stored, edit, owners
from zonecut_database.tables import IS_DEEP, RECORDS, ZONES, by_index
from zonecut_database.text import owner_of, record_of

_LOG = logging.getLogger("zonecut.database")
_CHUNK = 500
"""Names, ids or rows in one statement."""
_PAGE = 2000
"""Rows by whose number the children in one step of a listing are bounded."""
_INSERTED = ("zone", "child", "owner", "type", "ttl", "rdata")
_COLUMNS = (RECORDS.c.id, RECORDS.c.child, RECORDS.c.owner, RECORDS.c.type, RECORDS.c.ttl, RECORDS.c.rdata)
_DEEP = 5000
"""Rows that are looked at in one statement for delegations below others."""
_SERVERS = RECORDS.alias("servers")
_IMPATIENCE = 100
"""Milliseconds to wait for a row, once the zone's lock is ours: shorter than PostgreSQL takes to look for deadlocks."""
_IS_NS = RECORDS.c.type == literal_column("'NS'")
"""Written out, so that the index of such rows is used."""
_SENSELESS = 100
"""Rows that make no sense: so many are looked past for one host, and told of in the log."""
_ADDING = "INSERT INTO zonecut_zones (zone) VALUES ('{}')"

_T = TypeVar("_T")


class ZoneTables:
    """The rows of one parent zone."""

    def __init__(self, zone: bytes, ttls: Ttls) -> None:
        self._zone = zone
        self._text = names.to_text(zone)
        self._ttls = ttls
        self._in_zone = RECORDS.c.zone == self._text
        self._skipped: set[str] = set()

    def check(self, connection: Connection) -> None:
        """Raises BackendMisconfigured unless the database has the zone: what is missing says nothing without it."""
        self.serial(connection)

    def serial(self, connection: Connection) -> int:
        """The number of the last change of a row, as an SOA may have it.

        Raises BackendMisconfigured where there is no such zone.
        """
        return self.number(connection) % 2**32

    def number(self, connection: Connection) -> int:
        """The number of the last change of a row. Raises BackendMisconfigured where there is no such zone."""
        row = connection.execute(select(ZONES.c.serial).where(ZONES.c.zone == self._text)).first()
        if row is None:
            self._refuse()
        return int(row.serial)

    def progress(self, connection: Connection) -> Progress:
        """The same, and how far those are who follow. Raises BackendMisconfigured."""
        return consumers.progress(connection, self._text)

    def check_made(self, connection: Connection) -> None:
        """Raises BackendMisconfigured for rows that somebody made of the whole zone: a table makes nothing anew."""
        written = {text: rtype for rtype in MADE_OF_ZONE for text in (MNEMONICS[rtype], f"TYPE{rtype}")}
        row = connection.execute(
            select(RECORDS.c.owner, RECORDS.c.type).where(self._in_zone, RECORDS.c.type.in_(written)).limit(1)
        ).first()
        if row is not None:
            raise made_elsewhere(self._zone, written[row.type], f"the database, at {row.owner},")

    def lock(self, connection: Connection) -> None:
        """Keep all others from changing the zone until the transaction ends. Raises BackendMisconfigured."""
        serial = select(ZONES.c.serial).where(ZONES.c.zone == self._text).with_for_update(key_share=True)
        if connection.execute(serial).first() is None:
            self._refuse()
        if connection.dialect.name == "postgresql":
            # Somebody who changed a row and waits for our lock now would never get it: give up, and try again.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_IMPATIENCE}")
        elif connection.dialect.name == "mariadb":
            # The same; here a deadlock is seen at once, and it might be the other one's transaction that is ended.
            connection.exec_driver_sql("SET innodb_lock_wait_timeout = 0")

    def reading(self, connection: Connection, child: bytes) -> Reading:
        """What the database has for a name below the apex."""
        if not names.is_below(child, self._zone):
            raise BackendRejected(f"{names.to_text(child)} is not below {self._text}")
        held = Held()
        held.take(map(Row._make, connection.execute(self._around(child)).all()))
        found = self._reading_of(held, child, held.cuts_below(child), orphans=False)
        if not found.delegation.is_delegated:
            self.check(connection)
        return found

    def unchanged(self, connection: Connection, readings: Sequence[Reading]) -> frozenset[bytes]:
        """Those of these children of whom the database has what was read."""
        children = {each.delegation.child: each for each in readings}
        return frozenset(child for child, was in children.items() if self.reading(connection, child) == was)

    def page(self, connection: Connection, after: str) -> tuple[list[Reading | Unreadable], str | None]:
        """The delegations of some children that follow a name in the order of the database, and the last of those.

        None for the name: there are no more. Those of which rows make no sense stand there as unreadable.
        """
        child = RECORDS.c.child
        following = select(child).where(self._in_zone, child > after, child != self._text).order_by(child).limit(_PAGE)
        texts = list(dict.fromkeys(connection.execute(by_index(following, "of_child")).scalars()))
        if not texts:
            self.check(connection)
            return [], None
        found: list[Reading | Unreadable] = []
        children = []
        for text in texts:
            try:
                children.append(self._child_of(text))
            except BackendMisconfigured as error:
                found.append(Unreadable(None, text, error.reason))
        held = self._held(connection, children, {name for child in children for name in self._between(child)})
        nested = self._nested(connection, children)
        for each in children:
            try:
                reading = self._reading_of(held, each, nested.get(each, ()), orphans=True)
            except BackendMisconfigured as error:
                found.append(Unreadable(each, names.to_text(each), error.reason))
                continue
            if reading.delegation.is_delegated:
                found.append(reading)
        return found, texts[-1]

    def missing(self, connection: Connection, changes: Sequence[Change]) -> tuple[bytes, ...]:
        """The children of those changes whose `after` the database does not have."""
        held = self._held(connection, [change.child for change in changes], _owners(changes))
        self.check(connection)
        return tuple(change.child for change in changes if not held.holds(change))

    def hosts(self, connection: Connection, hosts: Sequence[bytes]) -> dict[bytes, Host]:
        """Who names these hosts, and their addresses."""
        naming: dict[bytes, list[bytes]] = {host: [] for host in hosts}
        for host in hosts:
            naming[host].extend(self._naming(connection, names.to_text(host)))
        addresses: dict[bytes, list[RR]] = {host: [] for host in hosts}
        for row in self._rows(connection, RECORDS.c.owner, hosts):
            if row.type in ("A", "AAAA"):
                with suppress(ValueError):
                    record = record_of(row.owner, row.type, row.rdata)
                    addresses[record.owner].append(record)
        return {host: Host(tuple(sorted(naming[host])), tuple(sorted(addresses[host]))) for host in hosts}

    def _naming(self, connection: Connection, host: str) -> list[bytes]:
        """Those whose NS name a host, some of them. An owner that makes no sense is none, and is told in the log.

        Raises BackendMisconfigured for so many of those that the others are not found among them.
        """
        named = select(RECORDS.c.owner).distinct().where(self._in_zone, _IS_NS, RECORDS.c.rdata == host)
        senseless: list[str] = []
        while len(senseless) <= _SENSELESS:
            rest = named.where(RECORDS.c.owner.not_in(senseless)).limit(MAX_NAMED_BY)
            owners = connection.execute(by_index(rest, "servers")).scalars().all()
            found = []
            for owner in owners:
                try:
                    found.append(owner_of(owner))
                except ValueError as error:
                    senseless.append(owner)
                    self._skip(f"{owner} NS {host}", error)
            if len(found) == len(owners) or len(owners) < MAX_NAMED_BY:
                return found
        raise BackendMisconfigured(
            f"{self._text} in the database: more than {_SENSELESS} rows that name {host} make no sense, such as that of"
            f" {quoted(senseless[0])}: delete them"
        )

    def _skip(self, row: str, error: ValueError) -> None:
        if row not in self._skipped and len(self._skipped) < _SENSELESS:
            self._skipped.add(row)
            _LOG.warning(
                "%s in the database: the row %s makes no sense, and counts for nothing (%s): mend or delete it",
                self._text,
                quoted(row),
                error,
            )

    def commit(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Write all of these changes, in a transaction that is not over yet."""
        self.lock(connection)
        held = self._held(connection, [change.child for change in changes], _owners(changes))
        self._carry_out(connection, edit(held, changes, self._zone, self._ttls))

    def rrsets(self, connection: Connection, places: Sequence[bytes]) -> tuple[RRset, ...]:
        """All RRsets at these names."""
        for name in places:
            self._check_own(connection, name)
        self.check(connection)
        return tuple(
            RRset(owner, rtype, min(each.ttl for each in rows), tuple(each.rr.rdata for each in rows))
            for (owner, rtype), rows in self._own(connection, places).items()
            if rtype not in MADE_BY_SIGNER
        )

    def replace_rrsets(self, connection: Connection, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        """Replace RRsets, in a transaction that is not over yet."""
        self.lock(connection)
        for rrset in after:
            self._check_own(connection, rrset.owner)
        expected = {rrset.key: () for rrset in after} | {rrset.key: rrset.rdatas for rrset in before}
        rows = self._own(connection, {owner for owner, _ in expected})
        differing = [
            key[0] for key, rdatas in expected.items() if set(rdatas) != {each.rr.rdata for each in rows.get(key, ())}
        ]
        if differing:
            places = ", ".join(dict.fromkeys(map(names.to_text, differing)))
            raise BackendConflict(f"the database has other records than expected at {places}")
        wanted = {rrset.key: rrset for rrset in after}
        found = Edit()
        for key in expected:
            there = rows.get(key, ())
            if key in wanted:
                rrs = [RR(*key, rdata) for rdata in wanted[key].rdatas]
                found.add(self._text, there, rrs, wanted[key].ttl, every_ttl=True)
            else:
                found.deleted.extend(each.id for each in there)
        self._carry_out(connection, found)

    # Reading

    def _reading_of(self, held: Held, child: bytes, nested: Collection[bytes], *, orphans: bool) -> Reading:
        enclosing = next((name for name in self._between(child) if held.is_cut(name)), None)
        try:
            return held.reading(child, orphans=orphans, enclosing=enclosing, nested=nested)
        except Senseless as error:
            raise BackendMisconfigured(f"{self._text} in the database: {error}") from error

    def _around(self, child: bytes) -> CompoundSelect[Any]:
        """What is filed under a child, at its name and those above, at those of its servers, and delegations below."""
        text, above = names.to_text(child), [names.to_text(name) for name in self._between(child)]
        there = select(*_COLUMNS).where(self._in_zone)
        servers = select(_SERVERS.c.rdata).where(
            _SERVERS.c.zone == self._text, _SERVERS.c.child == text, _SERVERS.c.type == "NS"
        )
        addresses = there.where(
            RECORDS.c.owner.in_(by_index(servers, "of_child", _SERVERS)), RECORDS.c.type.in_(("A", "AAAA"))
        )
        return union_all(
            by_index(there.where(RECORDS.c.child == text), "of_child"),
            by_index(there.where(RECORDS.c.owner.in_([text, *above])), "once"),
            by_index(addresses, "once"),
            by_index(there.where(IS_DEEP, RECORDS.c.child.endswith(f".{text}", autoescape=True)), "deep"),
        )

    def _held(self, connection: Connection, children: Sequence[bytes], others: Iterable[bytes]) -> Held:
        """What is filed under these children, and what is at their names, at those of their servers, and at others."""
        held = Held()
        held.take(self._rows(connection, RECORDS.c.child, children))
        # named one by one: for a subquery, PostgreSQL would read the whole table
        servers = {target for child in children for target in held.in_domain_ns(child)}
        held.take(self._rows(connection, RECORDS.c.owner, servers.union(children, others)))
        return held

    def _rows(self, connection: Connection, column: ColumnElement[str], wanted: Iterable[bytes]) -> Iterator[Row]:
        index = "of_child" if column is RECORDS.c.child else "once"
        for chunk in _chunks(map(names.to_text, wanted)):
            rows = select(*_COLUMNS).where(self._in_zone, column.in_(chunk))
            yield from map(Row._make, connection.execute(by_index(rows, index)).all())

    def _nested(self, connection: Connection, children: Sequence[bytes]) -> dict[bytes, set[bytes]]:
        """The delegations below these names, by name. Only those that are deep enough are looked at."""
        wanted = set(children)
        found: dict[bytes, set[bytes]] = {}
        child = RECORDS.c.child
        after: str | None = ""
        while after is not None:
            deep = select(child).where(self._in_zone, IS_DEEP, child > after).order_by(child).limit(_DEEP)
            texts = connection.execute(by_index(deep, "deep")).scalars().all()
            for cut in self._sensible(dict.fromkeys(texts)):
                for name in wanted.intersection(self._between(cut)):
                    found.setdefault(name, set()).add(cut)
            after = texts[-1] if texts else None
        return found

    def _between(self, name: bytes) -> list[bytes]:
        """The names above one that still lie below the apex, the highest first."""
        found = []
        while len(name := names.parent(name)) > len(self._zone):
            found.append(name)
        return found[::-1]

    def _sensible(self, texts: Iterable[str]) -> Iterator[bytes]:
        """Those of these children whose names are some; the others are told of where they are listed."""
        for text in texts:
            with suppress(BackendMisconfigured):
                yield self._child_of(text)

    def _child_of(self, text: str) -> bytes:
        try:
            child = owner_of(text)
            if not names.is_below(child, self._zone):
                raise ValueError(f"{text!r} is not below the apex")
        except ValueError as error:
            raise BackendMisconfigured(f"{self._text} in the database: a child makes no sense: {error}") from error
        return child

    # The zone's own records

    def _check_own(self, connection: Connection, name: bytes) -> None:
        """Raises BackendRejected for a name outside the zone, or at or below a delegation."""
        if not names.is_at_or_below(name, self._zone):
            raise BackendRejected(f"{names.to_text(name)} is not in {self._text}")
        places = [names.to_text(place) for place in (*self._between(name), name)] if name != self._zone else []
        cut = select(RECORDS.c.owner).where(self._in_zone, RECORDS.c.owner.in_(places), RECORDS.c.type == "NS")
        if (found := connection.execute(cut).scalar()) is not None:
            raise BackendRejected(f"{names.to_text(name)} lies in the delegation of {found}")

    def _own(self, connection: Connection, places: Iterable[bytes]) -> dict[tuple[bytes, int], list[Stored]]:
        """The rows at these names by owner and type. Raises BackendMisconfigured for one that makes no sense."""
        found: dict[tuple[bytes, int], list[Stored]] = {}
        for row in self._rows(connection, RECORDS.c.owner, dict.fromkeys(places)):
            try:
                rr = record_of(row.owner, row.type, row.rdata)
            except ValueError as error:
                raise BackendMisconfigured(f"{self._text} in the database: {row} makes no sense: {error}") from error
            found.setdefault((rr.owner, rr.rtype), []).append(Stored(row.id, row.ttl, rr))
        return found

    # Writing

    def _carry_out(self, connection: Connection, found: Edit) -> None:
        for ids in _chunks(found.deleted):
            connection.execute(delete(RECORDS).where(RECORDS.c.id.in_(ids)))
        for ttl, retimed in found.retimed.items():
            for ids in _chunks(retimed):
                connection.execute(update(RECORDS).where(RECORDS.c.id.in_(ids)).values(ttl=ttl))
        if found.inserted:
            values = [dict(zip(_INSERTED, (self._text, *row), strict=True)) for row in found.inserted]
            if connection.dialect.name == "mariadb":
                # PyMySQL makes few statements of many rows each, none longer than a server takes
                connection.execute(insert(RECORDS), values)
            else:
                # RETURNING makes it a few statements of many rows each: history is noted once for each of them
                connection.execute(insert(RECORDS).returning(RECORDS.c.id), values)

    def _refuse(self) -> NoReturn:
        quoted = self._text.replace("'", "''")
        raise BackendMisconfigured(f"the database has no zone {self._text}; if it should: {_ADDING.format(quoted)}")


def _owners(changes: Iterable[Change]) -> set[bytes]:
    return {owner for change in changes for owner in owners(change)}


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(items)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk
