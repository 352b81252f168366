"""A tree of real zones on loopback, from a signed root down, with what can go wrong in one; and resolvers for it.

Zones are signed by dnssec-signzone and served by knotd at addresses of their own, port 53, so that delegations are
real. No server in it knows of anything outside: the root is ours.
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.process import find_command, run
from resolve_servers import Authority
from zonecut.protocol.announced.dsync import Dsync

ROOT_SERVER = "127.53.0.201"
TEST_SERVER = "127.53.0.202"
CHILD_SERVER = "127.53.0.203"
GRANDCHILD_SERVER = "127.53.0.204"

KEY = "KEY 512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
OTHER_KEY = "KEY 512 3 15 zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs="

# Priority 0 with a parameter, as the drafts have it: AliasMode in RFC 9460, which dnspython refuses to read.
SVCB = b"\0\0\0" + (65282).to_bytes(2) + (13).to_bytes(2) + b"at-apex,at-ns"

# ANY UPDATE 5354 updater.test.
DSYNC = bytes.fromhex("00FF0214EA") + b"\x07updater\x04test\0"

# A zone of the conventional kind: key-signing and zone-signing key.
_ALGORITHMS = {"test.": "RSASHA256", ".": "ECDSAP256SHA256", "p384.test.": "ECDSAP384SHA384", "ed448.test.": "ED448"}
_DEFAULT_ALGORITHM = "ED25519"


@dataclass(frozen=True)
class SignedZone:
    """A zone to be signed. `signing` are options of dnssec-signzone; no list: it stays unsigned."""

    name: str
    server: str
    content: str
    signing: Sequence[str] | None = ()
    ds: str | None = None
    """What the parent has instead of the DS that is right: an empty text for none."""
    iterations: int | None = None
    """Of NSEC3, more than BIND's tools make since 9.20."""


_CHILD = f"@ {KEY}\nwww A 192.0.2.1\n"
_NAMES = f"""\
{_CHILD}
*.wild {KEY}
closer.wild A 192.0.2.2
alias CNAME www
dname DNAME www
deep.ent A 192.0.2.3
_sig0key.child._signal.ns1 {KEY}
ns1 A 192.0.2.4
svcb TYPE64 \\# {len(SVCB)} {SVCB.hex()}
_dsync TYPE66 \\# {len(DSYNC)} {DSYNC.hex()}
"""
# A digest that no key has, and an algorithm that nobody has assigned.
_WRONG_DS = "12345 15 2 " + "5A" * 32
_UNKNOWN_DS = "12345 250 2 " + "5A" * 32

# Parents before children.
ZONES = (
    SignedZone(".", ROOT_SERVER, "nodelegation TXT here\n"),
    SignedZone("test.", TEST_SERVER, "host A 192.0.2.9\n"),
    SignedZone("secure.test.", CHILD_SERVER, _NAMES),
    SignedZone("p384.test.", CHILD_SERVER, _CHILD),
    SignedZone("ed448.test.", CHILD_SERVER, _CHILD),
    SignedZone("insecure.test.", CHILD_SERVER, _NAMES, None),
    SignedZone("expired.test.", CHILD_SERVER, _CHILD, ("-P", "-s", "20200101000000", "-e", "20200201000000")),
    SignedZone("early.test.", CHILD_SERVER, _CHILD, ("-P", "-s", "now+864000", "-e", "now+1728000")),
    SignedZone("wrongds.test.", CHILD_SERVER, _CHILD, ds=_WRONG_DS),
    SignedZone("unknown.test.", CHILD_SERVER, _CHILD, ds=_UNKNOWN_DS),
    SignedZone("stripped.test.", CHILD_SERVER, _CHILD, None, ds=_WRONG_DS),
    SignedZone("broken.test.", CHILD_SERVER, _CHILD),
    SignedZone("nsec3.test.", CHILD_SERVER, _NAMES, ("-3", "aabbccdd", "-H", "5")),
    SignedZone("optout.test.", CHILD_SERVER, _NAMES, ("-3", "-", "-H", "0", "-A")),
    SignedZone("iterated.test.", CHILD_SERVER, _CHILD, iterations=150),
    SignedZone("secure.optout.test.", GRANDCHILD_SERVER, _CHILD),
    SignedZone("insecure.optout.test.", GRANDCHILD_SERVER, _CHILD, None),
    SignedZone("insecure.nsec3.test.", GRANDCHILD_SERVER, _CHILD, None),
    SignedZone("secure.secure.test.", GRANDCHILD_SERVER, _CHILD),
    SignedZone("secure.insecure.test.", GRANDCHILD_SERVER, _CHILD),
)
_SERVERS = (ROOT_SERVER, TEST_SERVER, CHILD_SERVER, GRANDCHILD_SERVER)


class Tree:
    """All zones, signed, and the servers that serve them, used as a context manager.

    `anchors` is the root's trust anchor as a zone file, `bind_anchors` in named's syntax, `hints` where the root is.
    """

    def __init__(self, directory: Path) -> None:
        self._keys = directory / "keys"
        self._keys.mkdir(parents=True)
        self._directory = directory
        self.hints = directory / "root.hints"
        self.hints.write_text(f". 3600 NS ns.\nns. 3600 A {ROOT_SERVER}\n")
        files: dict[str, dict[str, Path]] = {server: {} for server in _SERVERS}
        below: dict[str, list[str]] = {}
        # Children first: a parent is signed with their DS in it.
        for zone in reversed(ZONES):
            file, ds = self._make(zone, "".join(below.get(zone.name, ())))
            files[zone.server][zone.name] = file
            below.setdefault(_parent(zone.name), []).append(_delegation(zone, ds))
            if zone.name == ".":
                root_ds = ds
        self.anchors = directory / "anchors.zone"
        self.anchors.write_text("".join(f". 3600 IN DS {record}\n" for record in root_ds))
        self.bind_anchors = directory / "anchors.conf"
        self.bind_anchors.write_text(bind_anchors(root_ds))
        self._authorities = [Authority(directory / f"authority-{server}", server, files[server]) for server in _SERVERS]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with self._running:
            for authority in self._authorities:
                self._running.enter_context(authority)
            # All are up: only __exit__ ends it now.
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _make(self, zone: SignedZone, delegations: str) -> tuple[Path, list[str]]:
        """The file to serve, and the DS records that the parent should have."""
        file = self._directory / f"{zone.name}zone"
        ns = "ns." if zone.name == "." else f"ns.{zone.name}"
        file.write_text(
            f"$ORIGIN {zone.name}\n$TTL 300\n@ SOA {ns} hostmaster.{ns} 1 3600 900 604800 60\n@ NS {ns}\n"
            f"{ns} A {zone.server}\n{zone.content}{delegations}"
        )
        if zone.signing is None:
            return file, []
        algorithm = _ALGORITHMS.get(zone.name, _DEFAULT_ALGORITHM)
        make_zone_keys(self._keys, zone.name, algorithm)
        signed = self._directory / f"{zone.name}signed"
        ds = sign_zone(self._keys, zone.name, file, signed, zone.signing)
        if zone.iterations is not None:
            iterate(self._keys, zone.name, file, signed, zone.iterations)
        if zone.name == "broken.test.":
            break_signature(signed, "KEY")
        return signed, ds


def make_zone_keys(keys: Path, name: str, algorithm: str = _DEFAULT_ALGORITHM) -> None:
    """A key-signing and a zone-signing key for a zone, in the directory `keys`."""
    for flags in (["-f", "KSK"], []):
        run([find_command("dnssec-keygen"), "-q", "-K", keys, "-a", algorithm, *flags, name])


def sign_zone(keys: Path, name: str, file: Path, signed: Path, options: Sequence[str] = ()) -> list[str]:
    """Sign a zone's file with its keys into `signed`; the DS records that its parent should have."""
    signer = [find_command("dnssec-signzone"), "-q", "-S", "-K", str(keys), "-o", name, "-f", str(signed)]
    run([*signer, *options, str(file)], cwd=file.parent)
    _spell_dsync(signed)
    dsset = (file.parent / f"dsset-{name}").read_text()
    fields = [line.split()[3:] for line in dsset.splitlines()]
    return [" ".join((*each[:3], "".join(each[3:]).lower())) for each in fields]


def iterate(keys: Path, name: str, file: Path, signed: Path, iterations: int) -> None:
    """Sign a zone's file with its keys into `signed`, by Knot's tools, with so many iterations of NSEC3."""
    directory = signed.with_name(f"{signed.name}.kasp")
    directory.mkdir()
    configuration = directory / "knot.conf"
    configuration.write_text(
        f'database:\n  storage: "{directory}"\n'
        f"policy:\n  - id: iterated\n    manual: on\n    nsec3: on\n    nsec3-iterations: {iterations}\n"
        f'    nsec3-salt-length: 0\nzone:\n  - domain: "{name}"\n    file: "{file}"\n    dnssec-signing: on\n'
        f"    dnssec-policy: iterated\n"
    )
    for key in keys.glob(f"K{name}+*.key"):
        run([find_command("keymgr"), "-c", configuration, name, "import-bind", key])
    run([find_command("kzonesign"), "-c", configuration, "-o", directory / "signed", name])
    (directory / "signed" / file.name).replace(signed)


def _spell_dsync(signed: Path) -> None:
    """Write DSYNC in the generic form (RFC 3597): dnssec-signzone knows the type, and Debian's knotd does not."""

    def generic(found: re.Match[str]) -> str:
        return f"TYPE66 {Dsync.from_text(found[1]).to_generic_text()}"

    text = re.sub(r"\bDSYNC\s+(\S+ \d+ \d+ \S+\.)(?=\n)", generic, signed.read_text())
    signed.write_text(re.sub(r"\bDSYNC\b", "TYPE66", text))


def _delegation(zone: SignedZone, ds: Sequence[str]) -> str:
    if zone.name == ".":
        return ""
    records = [f"{zone.name} NS ns.{zone.name}", f"ns.{zone.name} A {zone.server}"]
    if zone.ds is None:
        # Debian's dnssec-signzone writes SHA-256 digests only.
        records += [f"{zone.name} DS {record}" for record in ds]
    elif zone.ds:
        records.append(f"{zone.name} DS {zone.ds}")
    return "".join(f"{record}\n" for record in records)


def _parent(name: str) -> str:
    return name.split(".", 1)[1] or "."


def bind_anchors(records: Sequence[str]) -> str:
    lines = []
    for record in records:
        tag, algorithm, digest_type, digest = record.split(None, 3)
        lines.append(f'  . static-ds {tag} {algorithm} {digest_type} "{digest}";\n')
    return f"trust-anchors {{\n{''.join(lines)}}};\n"


def break_signature(signed: Path, rtype: str) -> None:
    """Change one character of each signature over RRsets of a type."""

    def broken(found: re.Match[str]) -> str:
        text, at = found[0], found.start(1) - found.start() + 10
        return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]

    # The last words of a record of dnssec-signzone stand in parentheses over several lines.
    pattern = rf"RRSIG\s+{rtype}\s+[^)]*?\n\s+([A-Za-z0-9+/]{{20,}})"
    text, count = re.subn(pattern, broken, signed.read_text())
    assert count
    signed.write_text(text)
