"""A parent zone with its configuration, for the tests of the command line. No tests of its own."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vectors_of import CHILD, DIRECTORY, ZONE, Vector
from zonecut.cli import main
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.sig0 import sign_request
from zonecut.store import ChangeState, NewChange, Store

NOW = 1795498700
"""2026-11-24T05:38:20Z, when the vectors are valid."""
ED25519 = "Kchild.sig0.test.+015+46020.key"
ZONE_FILE = """\
$ORIGIN sig0.test.
$TTL 3600
@ IN SOA ns1 hostmaster 1 3600 600 86400 300
@ IN NS ns1
ns1 IN A 198.51.100.1
child IN NS ns1.other.test.
child IN NS ns2.child
ns2.child IN A 9.9.9.9
second IN NS ns1.other.test.
$INCLUDE {directory}/sig0.test.delegations sig0.test.
"""
CONFIGURATION = """\
version: 1
store: {{url: "sqlite:///{directory}/zonecut.db"}}
parents:
  - zone: sig0.test.
    backend: {{adapter: zonefile, zone_file: {directory}/sig0.test.zone, directory: {directory}}}
    policy: {{glue_addresses: any}}
"""


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


class House:
    """A parent zone `sig0.test.` on the zone-file adapter, with a store, in a directory."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.config = directory / "zonecut.yaml"
        self.zone_file = directory / "sig0.test.zone"
        self._capture = capture
        self.config.write_text(CONFIGURATION.format(directory=directory))
        self.zone_file.write_text(ZONE_FILE.format(directory=directory))

    def zonecut(self, *arguments: object) -> Ended:
        """Run a command with this configuration."""
        return self.bare(*arguments, "--config", self.config)

    def bare(self, *arguments: object) -> Ended:
        """Run a command with exactly these arguments."""
        self._capture.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ended(code, *self._capture.readouterr())

    def imported(self, *arguments: object) -> Ended:
        """Import the keys of the vectors, or what is named."""
        return self.zonecut("key", "import", *(arguments or (DIRECTORY, "--trust")))

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def store(self, **options: Any) -> Store:
        """The store, to be used with `async with`."""
        return Store.open(f"sqlite:///{self.directory}/zonecut.db", **options)

    def change(self, vector: Vector, before: Delegation, after: Delegation, state: ChangeState) -> int:
        """Put a change into the ledger; its number."""

        async def record() -> int:
            async with self.store() as store:
                key = (await store.keys.find(CHILD, vector.signature.key_tag))[0]
                number = await store.changes.append(
                    NewChange(
                        zone=ZONE,
                        before=before,
                        after=after,
                        source="127.0.0.1#5353",
                        actor="child.sig0.test.",
                        message=vector.wire,
                        key_id=key.id,
                        key_tag=key.key.tag,
                        inception=vector.signature.inception,
                    )
                )
                if state is not ChangeState.ACCEPTED:
                    await store.changes.settle(
                        number, state, "the server said no" if state is ChangeState.FAILED else None
                    )
                return number

        return asyncio.run(record())


def now_held() -> Delegation:
    """What the zone file holds for the child of the vectors."""
    return delegation(b"\x03ns1\x05other\x04test\0", b"\x03ns2" + CHILD, glue={b"\x03ns2" + CHILD: b"\x09" * 4})


def delegation(*ns: bytes, glue: dict[bytes, bytes] | None = None) -> Delegation:
    """A delegation of the child of the vectors with these name servers and IPv4 addresses."""
    addresses = [RR(owner, RRType.A, address) for owner, address in (glue or {}).items()]
    return Delegation.of(CHILD, [*(RR(CHILD, RRType.NS, target) for target in ns), *addresses])


def signed(pair: KeyPair, *updates: bytes, edns: bool = True, zone: bytes = ZONE) -> bytes:
    """An UPDATE that a pair signed for `NOW`."""
    wire = message.update(4711, zone, (), updates, (message.opt_record(),) if edns else ())
    return sign_request(wire, pair, NOW - 60, NOW + 300, signature_type=DEFAULT.signature_type)
