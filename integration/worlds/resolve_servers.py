"""The servers of the tree that is looked up: knotd as authority, unbound and named as validating resolvers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import dns.exception
import dns.message
import dns.query
import dns.rcode
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lab.ports import LOOPBACK, free_port
from lab.process import Process, unconfined


class Root(Protocol):
    """Where a resolver begins: hints and trust anchors of a root, the latter also in named's syntax."""

    hints: Path
    anchors: Path
    bind_anchors: Path


class Authority(Process):
    """A knotd that serves zones from files at one address, port 53.

    Not a named: that one listens only at addresses that an interface has, which the loopback interface can do without.
    """

    def __init__(self, directory: Path, address: str, zones: Mapping[str, Path]) -> None:
        directory.mkdir()
        self.address = address
        self._zones = tuple(zones)
        clauses = "".join(f'  - domain: "{name}"\n    file: "{file}"\n' for name, file in zones.items())
        configuration = directory / "knot.conf"
        configuration.write_text(f"""\
server:
  listen: {address}@53
  rundir: "{directory}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{directory}"
log:
  - target: stderr
    any: info
template:
  - id: default
    semantic-checks: off
    zonefile-sync: -1
    journal-content: none
zone:
{clauses}""")
        super().__init__(
            [unconfined("knotd", directory), "-c", configuration],
            name="knotd",
            directory=directory,
            ready=lambda: all(is_answered(address, 53, name) for name in self._zones),
        )


class Unbound(Process):
    """A validating unbound on a free port of 127.0.0.1 that knows our root only.

    With a certificate, DoT at another port. `stubs` says at which `ADDRESS@PORT` a zone is served that is not at port
    53; `options` is added to the server's.
    """

    def __init__(
        self,
        directory: Path,
        root: Root,
        certificate: Path | None = None,
        key: Path | None = None,
        *,
        stubs: Mapping[str, str] | None = None,
        options: str = "",
    ) -> None:
        directory.mkdir()
        self.port = free_port()
        self.tls_port = free_port()
        tls = ""
        if certificate is not None:
            tls = f"""\
  interface: {LOOPBACK}@{self.tls_port}
  tls-port: {self.tls_port}
  tls-service-pem: "{certificate}"
  tls-service-key: "{key}"
"""
        clauses = "".join(
            f'stub-zone:\n  name: "{name}"\n  stub-addr: {address}\n' for name, address in (stubs or {}).items()
        )
        configuration = directory / "unbound.conf"
        configuration.write_text(f"""\
server:
  interface: {LOOPBACK}@{self.port}
{tls}  port: {self.port}
  outgoing-interface: {LOOPBACK}
  access-control: 127.0.0.0/8 allow
  do-ip6: no
  do-daemonize: no
  do-not-query-localhost: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  logfile: ""
  use-syslog: no
  verbosity: 1
  val-log-level: 2
  num-threads: 1
  module-config: "validator iterator"
  root-hints: "{root.hints}"
  trust-anchor-file: "{root.anchors}"
  trust-anchor-signaling: no
  root-key-sentinel: no
  local-zone: "test." nodefault
  target-fetch-policy: "0 0 0 0 0"
  infra-cache-max-rtt: 2000
{options}
remote-control:
  control-enable: no
{clauses}""")
        super().__init__(
            [unconfined("unbound", directory), "-d", "-c", configuration],
            name="unbound",
            directory=directory,
            ready=lambda: is_answered(LOOPBACK, self.port, "."),
        )


class RecursiveNamed(Process):
    """A validating named on a free port of 127.0.0.1 that knows our root only."""

    def __init__(self, directory: Path, root: Root) -> None:
        directory.mkdir()
        self.port = free_port()
        configuration = directory / "named.conf"
        configuration.write_text(f"""\
options {{
  directory "{directory}"; managed-keys-directory "{directory}"; pid-file none; session-keyfile none;
  listen-on port {self.port} {{ {LOOPBACK}; }}; listen-on-v6 {{ none; }}; query-source address {LOOPBACK};
  recursion yes; allow-recursion {{ 127.0.0.0/8; }}; dnssec-validation yes; empty-zones-enable no; notify no;
  trust-anchor-telemetry no; automatic-interface-scan no; interface-interval 0;
}};
controls {{ }};
include "{root.bind_anchors}";
zone "." {{ type hint; file "{root.hints}"; }};
""")
        super().__init__(
            # Without IPv6 there is nothing that it could try in vain.
            [unconfined("named", directory), "-4", "-g", "-n", "1", "-c", configuration],
            name="named",
            directory=directory,
            ready=lambda: is_answered(LOOPBACK, self.port, "."),
        )


def is_answered(address: str, port: int, name: str) -> bool:
    """True if a server there has the SOA of this zone."""
    try:
        # Over TCP: a port where nobody listens yet refuses at once.
        answer = dns.query.tcp(dns.message.make_query(name, "SOA"), address, port=port, timeout=2)
    except (dns.exception.DNSException, OSError, EOFError):
        return False
    return answer.rcode() == dns.rcode.NOERROR and bool(answer.answer)


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """The files of a certificate for this host name, signed by its own key, and of that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = directory / "tls.pem", directory / "tls.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
