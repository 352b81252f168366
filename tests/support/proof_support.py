"""Child zones as their servers show them, signed by whomever a test likes. No tests of its own, no network."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from agent_support import CHILD, PARENT
from zonecut.agent.evidence.desired import wanted
from zonecut.agent.evidence.ds_statement import CDNSKEY_DELETE, CDS_DELETE, Origin
from zonecut.agent.evidence.witnesses import Look
from zonecut.agent.evidence.zone_view import ChildServer, Standing
from zonecut.agent.parent.parent_view import ParentView, ServerView
from zonecut.agent.settings import ChildSettings, DsSettings, LookSettings
from zonecut.agent.transitions import Now
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Verdict
from zonecut.resolve.reply import RRset

NOW = 1_800_000_000.0
TTL = 300
NEGATIVE = 120
APEX = dns.name.from_wire(CHILD, 0)[0]
NS_A, NS_B = names.from_text("ns.a.example."), names.from_text("ns.b.example.")
PARENT_NS = names.from_text("ns.parent.example.")
DELETE = "delete"


def private_key(label: str) -> Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
    """The same key for the same label; those whose label begins with `e` are of ECDSA P-256, the others of Ed25519."""
    if label.startswith("e"):
        return ec.derive_private_key(int.from_bytes(label.encode()), ec.SECP256R1())
    return Ed25519PrivateKey.from_private_bytes(label.encode().ljust(32, b"\0"))


@cache
def dnskey(label: str) -> DNSKEY:
    return dns.dnssec.make_dnskey(private_key(label).public_key(), 13 if label.startswith("e") else 15, 257)


@cache
def ds(label: str) -> bytes:
    return dns.dnssec.make_ds(APEX, dnskey(label), "SHA256").to_wire() or b""


@cache
def signed(rtype: RRType, rdatas: frozenset[bytes], signers: frozenset[str], ttl: int = TTL) -> RRset:
    """An RRset at the apex, and a signature by each of these keys."""
    parsed = [
        dns.rdata.from_wire(dns.rdataclass.IN, RdataType.make(rtype), each, 0, len(each)) for each in sorted(rdatas)
    ]
    made = dns.rrset.from_rdata_list(APEX, ttl, parsed)
    signatures = [
        dns.dnssec.sign(
            made, private_key(label), APEX, dnskey(label), inception=int(NOW) - 86400, expiration=int(NOW) + 10 * 86400
        )
        for label in sorted(signers)
    ]
    return RRset(CHILD, rtype, ttl, tuple(parsed), tuple(signatures))


@dataclass(frozen=True)
class Shown:
    """What a server shows at the apex, by the labels of keys: `cds` of which, and who signed what."""

    keys: frozenset[str] = frozenset()
    by: frozenset[str] = frozenset()
    """Who signed the DNSKEY RRset."""
    cds: frozenset[str] = frozenset()
    cds_by: frozenset[str] = frozenset()
    data_by: frozenset[str] = frozenset()
    """Who signed SOA and NS."""
    cdnskey: frozenset[str] = frozenset()
    ns: frozenset[bytes] = frozenset((NS_A, NS_B))
    serial: int = 1

    @property
    def content(self) -> ZoneContent:
        return _content(self)


def zone(*labels: str, cds: Collection[str] = (), unsigned_data: bool = False, **changes: object) -> Shown:
    """A zone that is signed with these keys by all rules, and has CDS of some."""
    by = frozenset(labels)
    made = Shown(by, by, frozenset(cds), by if cds else frozenset(), frozenset() if unsigned_data else by)
    return Shown(**{**made.__dict__, **changes})


UNSIGNED = Shown()


@cache
def _content(shown: Shown) -> ZoneContent:
    keys = frozenset(dnskey(label).to_wire() or b"" for label in shown.keys)
    cds = frozenset(CDS_DELETE if label == DELETE else ds(label) for label in shown.cds)
    cdnskey = frozenset(
        CDNSKEY_DELETE if label == DELETE else dnskey(label).to_wire() or b"" for label in shown.cdnskey
    )
    soa = names.from_text("ns.example.") * 2 + b"".join(n.to_bytes(4) for n in (1, 3600, 900, 604800, NEGATIVE))
    rrsets = [
        signed(RRType.SOA, frozenset([soa]), shown.data_by),
        signed(RRType.NS, shown.ns, shown.data_by),
        *([signed(RRType.DNSKEY, keys, shown.by)] if keys else []),
        *([signed(RRType.CDS, cds, shown.cds_by)] if cds else []),
        *([signed(RRType.CDNSKEY, cdnskey, shown.cds_by)] if cdnskey else []),
    ]
    return ZoneContent(
        CHILD,
        shown.serial,
        tuple(sorted(shown.ns)),
        cds=tuple(sorted(cds)),
        dnskey=tuple(sorted(keys)),
        cdnskey=tuple(sorted(cdnskey)),
        rrsets=tuple(rrsets),
    )


def server(
    name: bytes, shown: Shown | None, address: str = "192.0.2.1", standing: Standing = Standing.SILENT
) -> ChildServer:
    if shown is None:
        return ChildServer(name, address, standing, "does not answer")
    return ChildServer(name, address, Standing.ANSWERS, content=shown.content)


def parent_server(
    *labels: str, verdict: Verdict = Verdict.SECURE, ns: Collection[bytes] = (NS_A, NS_B), address: str = "192.0.2.9"
) -> ServerView:
    """A server of the parent's, which shows DS of these keys."""
    found = tuple(sorted(map(ds, labels)))
    held = Delegation.of(
        CHILD, [*(RR(CHILD, RRType.NS, each) for each in ns), *(RR(CHILD, RRType.DS, each) for each in found)]
    )
    return ServerView(PARENT_NS, address, held, ds=held.ds, verdict=verdict, verdict_reason="because")


def settings(**changes: object) -> ChildSettings:
    return ChildSettings(
        ds=DsSettings.model_validate(changes), looks=LookSettings(again=60, signed_for=0, silent_for=600)
    )


def now(time: float = NOW, **changes: object) -> Now:
    return Now(time, 0.5, settings(**changes))


def look(
    read: Shown,
    servers: Collection[ChildServer],
    parents: Collection[ServerView],
    at: Now | None = None,
    spoke: Origin | None = None,
) -> Look:
    moment = at or now()
    aim = wanted(read.content, moment.settings, moment.time, spoke)
    return Look(read.content, aim, ParentView(PARENT, CHILD, tuple(parents)), tuple(servers))
