"""The proofs of absence in one reply: its NSEC and NSEC3 records, each verified before it counts."""

from collections.abc import Iterable
from dataclasses import dataclass

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from zonecut.protocol import names
from zonecut.protocol.codepoints import type_text
from zonecut.resolve import nsec, nsec3
from zonecut.resolve.failures import Undecided
from zonecut.resolve.nsec import Nsec, Proof
from zonecut.resolve.nsec3 import Nsec3
from zonecut.resolve.reply import RRset, wire_name
from zonecut.resolve.signatures import Verified, verify
from zonecut.resolve.work import Work
from zonecut.resolve.zone import Zone

_DENIALS = (RdataType.NSEC, RdataType.NSEC3)


@dataclass(frozen=True, slots=True)
class Denial:
    """What may be used from a reply's authority section to deny something in `zone`; `ttl` in seconds."""

    zone: Zone
    nsec: tuple[Nsec, ...]
    nsec3: tuple[Nsec3, ...]
    ttl: int

    @classmethod
    def read(cls, authority: Iterable[RRset], zone: Zone, now: float, work: Work) -> "Denial":
        """The NSEC and NSEC3 records that the zone signed. Those of other zones are none of its business.

        Raises Bogus for one of the zone's own with a bad signature, Undecided for too many iterations or too much work.
        """
        plain: list[Nsec] = []
        hashed: list[Nsec3] = []
        ttl = work.limits.cache_seconds
        found = [rrset for rrset in authority if rrset.rtype in _DENIALS and _is_of(rrset, zone)]
        for rrset in found[: work.limits.denials]:
            verified = verify(rrset, zone.apex, zone.keys, now, work)
            # An NSEC that a wildcard made would deny names at a place where it does not stand.
            if verified.expanded or len(rrset.rdatas) != 1:
                continue
            ttl = min(ttl, verified.ttl)
            rdata = rrset.rdatas[0]
            if isinstance(rdata, NSEC):
                plain.append(Nsec(rrset.name, wire_name(rdata.next), _types(rdata)))
            elif isinstance(rdata, NSEC3):
                record = nsec3.read(rrset.name, rdata, _types(rdata), zone.apex)
                if record is not None:
                    hashed.append(record)
        for other in hashed:
            if other.iterations > work.limits.iterations:
                raise Undecided(
                    f"the NSEC3 records of {names.to_text(zone.apex)} have {other.iterations} iterations;"
                    f" no proof is accepted above {work.limits.iterations}"
                )
        # RFC 5155 section 8.2: all with the same parameters.
        same = (record for record in hashed if _parameters(record) == _parameters(hashed[0]))
        return cls(zone, tuple(plain), tuple(same), int(ttl))

    def prove(self, name: bytes, rtype: int, work: Work) -> Proof:
        """What is proven about this name and type. Raises Undecided when nothing is."""
        if names.is_at_or_below(name, self.zone.apex):
            proof = nsec.prove(self.nsec, self.zone.apex, name, rtype)
            proof = proof or nsec3.prove(self.nsec3, self.zone.apex, name, rtype, work)
            if proof is not None:
                return proof
        raise Undecided(
            f"nothing proves that {names.to_text(name)} has no {type_text(rtype)}: {self._describe()}"
            f" signed by {names.to_text(self.zone.apex)} came along"
        )

    def check_expansion(self, name: bytes, verified: Verified, work: Work) -> None:
        """Raises Undecided unless it is proven that a wildcard had to answer for this name."""
        encloser = name
        while len(names.labels(encloser)) > verified.labels:
            encloser = names.parent(encloser)
        apex = self.zone.apex
        if not nsec.proves_expansion(self.nsec, apex, name, encloser) and not nsec3.proves_expansion(
            self.nsec3, apex, name, encloser, work
        ):
            raise Undecided(
                f"made from the wildcard *.{names.to_text(encloser).removeprefix('.')}, and nothing proves that"
                f" {names.to_text(name)} does not exist"
            )

    def _describe(self) -> str:
        count = len(self.nsec) + len(self.nsec3)
        return f"{count} NSEC or NSEC3 record{'' if count == 1 else 's'} that" if count else "no NSEC or NSEC3 that is"


def _is_of(rrset: RRset, zone: Zone) -> bool:
    """True if a signature by this zone stands beside it."""
    return any(wire_name(signature.signer) == zone.apex for signature in rrset.signatures)


def _types(rdata: NSEC | NSEC3) -> frozenset[int]:
    return frozenset(
        window * 256 + octet * 8 + bit
        for window, bitmap in rdata.windows
        for octet, value in enumerate(bitmap)
        for bit in range(8)
        if value & 0x80 >> bit
    )


def _parameters(record: Nsec3) -> tuple[bytes, int]:
    return record.salt, record.iterations
