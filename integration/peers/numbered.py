"""Changes of a child that can be told apart: each replaces the whole delegation, with its number in all records."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from signer import AAAA, DS, NS, A, Signer, ds, name
from zonecut.protocol import message


@dataclass
class NumberedChanges:
    """A child that sends such changes; `number` is that of the newest. A mixture of two in the zone shows."""

    signer: Signer
    number: int = 0

    def next_message(self) -> bytes:
        """The next change, signed."""
        self.number += 1
        return self.signer.update(*self.delegation(self.number))

    def delegation(self, number: int) -> list[bytes]:
        """Updates that replace the whole delegation, whatever it was."""
        child = self.signer.owner
        hosts = [name(f"{place}-{number}.{self.signer.text}") for place in ("a", "b")]
        digest = number.to_bytes(32)
        address = (IPv4Address("11.0.0.0") + number).packed
        records = [message.add(child, NS, 60, host) for host in hosts]
        records += [message.add(host, A, 60, address) for host in hosts]
        records += [message.add(host, AAAA, 60, b"\x26\x10" + number.to_bytes(14)) for host in hosts]
        records += [message.add(child, DS, 60, ds(number % 65536, digest=digest))]
        return [message.delete_rrset(child, NS), message.delete_rrset(child, DS), *records]

    def expected(self, number: int) -> set[str]:
        """The records of a change as the zone has to hold them."""
        child = self.signer.text
        hosts = [f"{place}-{number}.{child}" for place in ("a", "b")]
        ipv4 = IPv4Address("11.0.0.0") + number
        groups = number.to_bytes(14).hex()
        return {
            *(f"{child} NS {host}" for host in hosts),
            *(f"{host} A {ipv4}" for host in hosts),
            *(f"{host} AAAA 2610{groups}" for host in hosts),
            f"{child} DS {number % 65536} 13 2 {number:064x}",
        }

    def held(self, records: set[str]) -> tuple[int, set[str]]:
        """The number of the change that the zone holds, by its DS, and all that it holds for the child."""
        found = set()
        number = 0
        for record in records:
            owner, _, rtype, data = record.split(" ", 3)
            if not f".{owner}".endswith(f".{self.signer.text}"):
                continue
            if rtype == "DS":
                number = int(data.split(" ")[3], 16)
            found.add(f"{owner} {rtype} {IPv6Address(data).packed.hex() if rtype == 'AAAA' else data}")
        return number, found
