"""The zone of the lab's provisioning system, in SQLite: what it holds, what it decides, and what it did.

Every record of the zone is a row. What a test wants decided otherwise than by a yes stands in the table `verdict`; what
was carried out stands in `journal`, a row a change.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.name
import dns.rdatatype

CNAME, NS, DS, A, AAAA = (
    dns.rdatatype.CNAME,
    dns.rdatatype.NS,
    dns.rdatatype.DS,
    dns.rdatatype.A,
    dns.rdatatype.AAAA,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    place BLOB, owner TEXT, type INTEGER, ttl INTEGER, rdata BLOB, PRIMARY KEY (place, type, rdata)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_type ON record (type, place);
CREATE TABLE IF NOT EXISTS verdict (child TEXT PRIMARY KEY, verdict TEXT, reason TEXT, again_in INTEGER, delay REAL);
CREATE TABLE IF NOT EXISTS journal (number INTEGER PRIMARY KEY, id TEXT UNIQUE, child TEXT, before TEXT, after TEXT);
CREATE TABLE IF NOT EXISTS waiting (id TEXT PRIMARY KEY, change TEXT, ttls TEXT);
CREATE TABLE IF NOT EXISTS withdrawn (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS asked (number INTEGER PRIMARY KEY, key TEXT, id TEXT, child TEXT, status INTEGER);
"""


@dataclass(frozen=True)
class Answer:
    """The status and the document of an answer, and after how many seconds to ask again."""

    status: int
    document: dict[str, Any]
    again_in: int | None = None


@dataclass(frozen=True)
class Held:
    """NS and glue as text, DS as wire form; addresses by the name of the server."""

    ns: frozenset[str]
    ds: frozenset[bytes]
    glue: dict[str, frozenset[str]]

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Held":
        """The value of a delegation as the API writes it."""
        glue = {normal(host): frozenset(map(plain, addresses)) for host, addresses in document["glue"].items()}
        return cls(frozenset(map(normal, document["ns"])), frozenset(map(ds_wire, document["ds"])), glue)

    def hosts(self, child: str) -> set[str]:
        """The names at which it has addresses, or should: those of others are nothing of its business."""
        return {*self.glue.keys() & self.ns, *(host for host in self.ns if f".{host}".endswith(f".{child}"))}

    def agrees_with(self, other: "Held", child: str) -> bool:
        """Whether NS, DS and the addresses of the servers within the child are the same: what an answer shows."""
        inside = [host for host in self.ns if f".{host}".endswith(f".{child}")]
        addresses = all(self.glue.get(host) == other.glue.get(host) for host in inside)
        return (self.ns, self.ds) == (other.ns, other.ds) and addresses


class Zone:
    """One zone in one file. Each use opens it anew: processes and threads share it."""

    def __init__(self, file: Path, name: str) -> None:
        self.name = name
        self._file = file
        self._lost = file.with_suffix(".lost")
        with self.database(write=True) as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)

    @contextmanager
    def database(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end of the block, undone by an exception."""
        database = sqlite3.connect(self._file, timeout=30, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield database
            database.execute("COMMIT")
        finally:
            database.close()

    # What the API does

    def look_up(self, children: Iterable[str]) -> list[dict[str, Any]]:
        with self.database() as database:
            return [self._described(database, child) for child in children]

    def page(self, cursor: str | None, limit: int) -> dict[str, Any]:
        """Some delegations and the cursor of the next ones."""
        after = bytes.fromhex(cursor) if cursor else place(self.name)
        query = "SELECT DISTINCT owner, place FROM record WHERE type = ? AND place > ? ORDER BY place LIMIT ?"
        with self.database() as database:
            found = database.execute(query, (NS, after, limit)).fetchall()
            delegations = [self._described(database, owner) for owner, _ in found]
        return {"delegations": delegations, "next": found[-1][1].hex() if len(found) == limit else None}

    def change(self, key: str, ttls: dict[str, int], changes: list[dict[str, Any]]) -> Answer:
        """All of these changes or none of them."""
        with self.database(write=True) as database:
            answer = self._decide(database, ttls, changes)
            rows = [(key, change["id"], normal(change["child"]), answer.status) for change in changes]
            database.executemany("INSERT INTO asked (key, id, child, status) VALUES (?, ?, ?, ?)", rows)
        return answer

    def withdraw(self, changes: list[dict[str, Any]]) -> Answer:
        """Carry none of these changes out, now or later."""
        identities = [(change["id"],) for change in changes]
        with self.database(write=True) as database:
            for identity in identities:
                if database.execute("SELECT 1 FROM journal WHERE id = ?", identity).fetchone():
                    return Answer(409, {"reason": "it was carried out before"})
            database.executemany("DELETE FROM waiting WHERE id = ?", identities)
            database.executemany("INSERT OR IGNORE INTO withdrawn VALUES (?)", identities)
        return Answer(200, {})

    def rrsets(self, owners: Iterable[str]) -> list[dict[str, Any]]:
        found: dict[tuple[str, int], dict[str, Any]] = {}
        query = "SELECT owner, type, ttl, rdata FROM record WHERE place = ? ORDER BY type, rdata"
        with self.database() as database:
            rows = [row for owner in owners for row in database.execute(query, (place(owner),))]
        for owner, rtype, ttl, rdata in rows:
            text = dns.rdatatype.to_text(rtype)
            rrset = found.setdefault((owner, rtype), {"name": owner, "type": text, "ttl": ttl, "records": []})
            rrset["records"].append({"rdata": rdata.hex()})
        return list(found.values())

    def replace_rrsets(self, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Answer:
        """All of `before` replaced by `after`, or nothing."""
        expected: dict[tuple[str, int], set[bytes]] = {_key(rrset): set() for rrset in after}
        expected |= {_key(rrset): _rdatas(rrset) for rrset in before}
        with self.database(write=True) as database:
            for (owner, rtype), rdatas in expected.items():
                rows = database.execute("SELECT rdata FROM record WHERE place = ? AND type = ?", (place(owner), rtype))
                if {rdata for (rdata,) in rows} != rdatas:
                    return Answer(409, {"reason": f"{owner} holds other records of type {rtype} here"})
            for owner, rtype in expected:
                database.execute("DELETE FROM record WHERE place = ? AND type = ?", (place(owner), rtype))
            for rrset in after:
                owner, rtype = _key(rrset)
                self._put(database, [(owner, rtype, rrset["ttl"], rdata) for rdata in _rdatas(rrset)])
        return Answer(200, {})

    # What a test does

    def load(self, records: Iterable[tuple[str, int, int, bytes]]) -> None:
        with self.database(write=True) as database:
            self._put(database, records)

    def remove(self, rrsets: Iterable[tuple[str, int]]) -> None:
        with self.database(write=True) as database:
            for owner, rtype in rrsets:
                database.execute("DELETE FROM record WHERE place = ? AND type = ?", (place(owner), rtype))

    def lose(self) -> None:
        """Know nothing of the zone any more, until it is found."""
        self._lost.touch()

    def find(self) -> None:
        self._lost.unlink()

    @property
    def is_lost(self) -> bool:
        return self._lost.exists()

    def decide(self, child: str, verdict: str, reason: str = "", *, again_in: int = 1, delay: float = 0.0) -> None:
        """What is to become of a child's changes from now on: `accept`, `reject`, `later`; after `delay` seconds."""
        row = (normal(child), verdict, reason, again_in, delay)
        with self.database(write=True) as database:
            database.execute("INSERT OR REPLACE INTO verdict VALUES (?, ?, ?, ?, ?)", row)

    def confirm(self, child: str) -> int:
        """Carry out what waits for a decision about a child, without being asked again; how many changes that is."""
        self.decide(child, "accept")
        with self.database(write=True) as database:
            rows = database.execute("SELECT change, ttls FROM waiting").fetchall()
            found = [(json.loads(change), json.loads(ttls)) for change, ttls in rows]
            chosen = [(change, ttls) for change, ttls in found if normal(change["child"]) == normal(child)]
            for change, ttls in chosen:
                self._decide(database, ttls, [change])
        return len(chosen)

    def withdrawn(self) -> set[str]:
        """The ids of what was withdrawn."""
        with self.database() as database:
            return {identity for (identity,) in database.execute("SELECT id FROM withdrawn")}

    def journal(self) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        """What was carried out, in order: id, child, before and after."""
        with self.database() as database:
            rows = database.execute("SELECT id, child, before, after FROM journal ORDER BY number").fetchall()
        return [(identity, child, json.loads(before), json.loads(after)) for identity, child, before, after in rows]

    def asked(self) -> list[tuple[str, str, str, int]]:
        """What was asked for, in order: idempotency key, id, child, and the status of the answer."""
        with self.database() as database:
            return database.execute("SELECT key, id, child, status FROM asked ORDER BY number").fetchall()

    def delay_of(self, children: Iterable[str]) -> float:
        """For how many seconds an answer about these is to be kept back."""
        with self.database() as database:
            found = [database.execute("SELECT delay FROM verdict WHERE child = ?", (child,)) for child in children]
            return max([row[0] for rows in found for row in rows], default=0.0)

    # Within a transaction

    def _decide(self, database: sqlite3.Connection, ttls: dict[str, int], changes: list[dict[str, Any]]) -> Answer:
        conflicts, rejected, waiting, todo = [], {}, {}, []
        again_in = 1
        for change in changes:
            child, after = normal(change["child"]), Held.of(change["after"])
            held = self._held(database, child)
            known = database.execute("SELECT 1 FROM journal WHERE id = ?", (change["id"],)).fetchone()
            if known or (after.agrees_with(held, child) and held.glue == after.glue):
                continue  # it is so, or was done once and is not done again
            if not Held.of(change["before"]).agrees_with(held, child):
                conflicts.append(child)
                continue
            query = "SELECT verdict, reason, again_in FROM verdict WHERE child = ?"
            verdict, reason, seconds = database.execute(query, (child,)).fetchone() or ("accept", "", 0)
            if database.execute("SELECT 1 FROM record WHERE place = ? AND type = ?", (place(child), CNAME)).fetchone():
                rejected[child] = f"{child} is an alias"
            elif database.execute("SELECT 1 FROM withdrawn WHERE id = ?", (change["id"],)).fetchone():
                rejected[child] = "it was withdrawn"
            elif verdict == "reject":
                rejected[child] = reason
            elif verdict == "later":
                waiting[child], again_in = reason, max(again_in, seconds)
            todo.append(
                (
                    change,
                    child,
                    {*Held.of(change["before"]).glue, *after.glue, *after.hosts(child), *held.hosts(child)},
                    after,
                )
            )
        if conflicts:
            return Answer(409, {"reason": "the delegation is another one here", "children": conflicts})
        if rejected:
            return Answer(422, {"reason": "; ".join(rejected.values()), "children": list(rejected)})
        if waiting:
            rows = [
                (change["id"], json.dumps(change), json.dumps(ttls)) for change, child, *_ in todo if child in waiting
            ]
            database.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", rows)
            return Answer(202, {"reason": "; ".join(waiting.values()), "children": list(waiting)}, again_in)
        for change, child, hosts, after in todo:
            self._carry_out(database, ttls, child, hosts, after)
            database.execute("DELETE FROM waiting WHERE id = ?", (change["id"],))
            row = (change["id"], child, json.dumps(change["before"]), json.dumps(change["after"]))
            database.execute("INSERT INTO journal (id, child, before, after) VALUES (?, ?, ?, ?)", row)
        return Answer(200, {})

    def _carry_out(
        self, database: sqlite3.Connection, ttls: dict[str, int], child: str, hosts: set[str], after: Held
    ) -> None:
        kept = self._rrsets(database, child, hosts)
        for rtype in (NS, DS):
            database.execute("DELETE FROM record WHERE place = ? AND type = ?", (place(child), rtype))
        for host in hosts:
            database.execute("DELETE FROM record WHERE place = ? AND type IN (?, ?)", (place(host), A, AAAA))
        records = [(child, NS, ttls["ns"], wire(target)) for target in after.ns]
        records += [(child, DS, ttls["ds"], rdata) for rdata in after.ds]
        for host, addresses in after.glue.items():
            for address in map(ip_address, addresses):
                records.append((host, A if address.version == 4 else AAAA, ttls["glue"], address.packed))
        # an RRset that stays as it is keeps its TTL
        wanted: dict[tuple[str, int], set[bytes]] = {}
        for owner, rtype, _, rdata in records:
            wanted.setdefault((owner, rtype), set()).add(rdata)
        same = {key: ttl for key, (ttl, rdatas) in kept.items() if wanted.get(key) == rdatas}
        self._put(database, [(*each[:2], same.get(each[:2], each[2]), each[3]) for each in records])

    def _rrsets(
        self, database: sqlite3.Connection, child: str, hosts: set[str]
    ) -> dict[tuple[str, int], tuple[int, set[bytes]]]:
        """What stands at a child and at some hosts: TTL and RDATA by owner and type."""
        found: dict[tuple[str, int], tuple[int, set[bytes]]] = {}
        query = "SELECT type, ttl, rdata FROM record WHERE place = ? AND type IN (?, ?, ?, ?)"
        for owner in {child, *hosts}:
            for rtype, ttl, rdata in database.execute(query, (place(owner), NS, DS, A, AAAA)):
                found.setdefault((owner, rtype), (ttl, set()))[1].add(rdata)
        return found

    def _described(self, database: sqlite3.Connection, child: str) -> dict[str, Any]:
        """A delegation as the API writes it."""
        child = normal(child)
        held = self._held(database, child)
        above = [name for name in self._above(child) if self._is_cut(database, name)]
        below = self._cuts(database, child)
        return {
            "child": child,
            "ns": sorted(held.ns),
            "ds": sorted(map(ds_text, held.ds)),
            "glue": {host: sorted(addresses) for host, addresses in held.glue.items()},
            "ttls": {owner: self._ttls(database, owner) for owner in {child, *held.glue}},
            "enclosing": above[-1] if above else None,
            "nested": [name for name in below if name != child],
        }

    def _held(self, database: sqlite3.Connection, child: str) -> Held:
        """NS, DS, the addresses that NS name, and those that no delegation below accounts for (orphan glue)."""
        ns = self._ns(database, child)
        query = "SELECT rdata FROM record WHERE place = ? AND type = ?"
        ds = frozenset(rdata for (rdata,) in database.execute(query, (place(child), DS)))
        if not ns:
            return Held(ns, ds, {})
        servers = {cut: self._ns(database, cut) for cut in self._cuts(database, child)}
        glue: dict[str, set[str]] = {}
        query = "SELECT owner, rdata FROM record WHERE type IN (?, ?) AND place >= ? AND place < ?"
        for owner, rdata in database.execute(query, (A, AAAA, *_branch(child))).fetchall():
            cuts = [cut for cut in servers if f".{owner}".endswith(f".{cut}")]
            if owner in ns or (not any(owner in servers[cut] for cut in cuts) and max(cuts, key=len) == child):
                glue.setdefault(owner, set()).add(str(ip_address(rdata)))
        return Held(ns, ds, {host: frozenset(addresses) for host, addresses in glue.items()})

    def _ns(self, database: sqlite3.Connection, owner: str) -> frozenset[str]:
        query = "SELECT rdata FROM record WHERE place = ? AND type = ?"
        rows = database.execute(query, (place(owner), NS))
        return frozenset(dns.name.from_wire(rdata, 0)[0].canonicalize().to_text() for (rdata,) in rows)

    def _ttls(self, database: sqlite3.Connection, owner: str) -> dict[str, int]:
        query = "SELECT DISTINCT type, ttl FROM record WHERE place = ? AND type IN (?, ?, ?, ?)"
        rows = database.execute(query, (place(owner), NS, DS, A, AAAA))
        return {dns.rdatatype.to_text(rtype): ttl for rtype, ttl in rows}

    def _is_cut(self, database: sqlite3.Connection, owner: str) -> bool:
        query = "SELECT 1 FROM record WHERE place = ? AND type = ?"
        return database.execute(query, (place(owner), NS)).fetchone() is not None

    def _cuts(self, database: sqlite3.Connection, name: str) -> list[str]:
        """The delegations at and below a name."""
        query = "SELECT DISTINCT owner FROM record WHERE type = ? AND place >= ? AND place < ?"
        return [owner for (owner,) in database.execute(query, (NS, *_branch(name)))]

    def _above(self, child: str) -> Iterator[str]:
        """The names between a child and the zone's apex, the nearest first."""
        apex = dns.name.from_text(self.name)
        name = dns.name.from_text(child).parent()
        while name != apex:
            yield name.to_text()
            name = name.parent()

    def _put(self, database: sqlite3.Connection, records: Iterable[tuple[str, int, int, bytes]]) -> None:
        rows = [(place(owner), normal(owner), rtype, ttl, rdata) for owner, rtype, ttl, rdata in records]
        database.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?)", rows)


@lru_cache(maxsize=4096)
def normal(name: str) -> str:
    """A name in the one way to write it: lower-case, with its final dot."""
    return dns.name.from_text(name).canonicalize().to_text()


def wire(name: str) -> bytes:
    found = dns.name.from_text(name).to_wire()
    assert found is not None
    return found


def ds_text(rdata: bytes) -> str:
    return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {rdata[4:].hex().upper()}"


def plain(address: str) -> str:
    return str(ip_address(address))


def ds_wire(text: str) -> bytes:
    tag, algorithm, digest_type, digest = text.split(maxsplit=3)
    return int(tag).to_bytes(2) + bytes((int(algorithm), int(digest_type))) + bytes.fromhex(digest)


@lru_cache(maxsize=4096)
def place(name: str) -> bytes:
    """Octets that sort as names do in canonical order, and begin alike for all names in one branch."""
    labels: Sequence[bytes] = dns.name.from_text(name).canonicalize().labels[-2::-1]
    return b"".join(label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") + b"\0" for label in labels)


def _branch(name: str) -> tuple[bytes, bytes]:
    """From where to where the names at and below a name are sorted."""
    first = place(name)
    return first, first[:-1] + b"\1"


def _key(rrset: dict[str, Any]) -> tuple[str, int]:
    return normal(rrset["name"]), int(dns.rdatatype.from_text(rrset["type"]))


def _rdatas(rrset: dict[str, Any]) -> set[bytes]:
    return {bytes.fromhex(record["rdata"]) for record in rrset["records"]}
