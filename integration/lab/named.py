"""A real named on loopback, primary for parent zones that one TSIG key may update and transfer."""

import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone

from lab.nsupdate import Outcome, nsupdate
from lab.ports import LOOPBACK, free_port
from lab.process import LabError, Process, find_command, run, until
from lab.zones import ParentZone, Signing

_TSIG_NAME = "update.lab."
_RNDC_NAME = "rndc.lab"
_TRANSFER_SECONDS = 120.0
# BIND's own record of how far it is with signing a zone (option sig-signing-type); the last octet of five says: done.
_SIGNING_STATE = "TYPE65534"
_SIGNING_DONE = re.compile(r"\\# 5 [0-9a-f]{8}\s*01$", re.IGNORECASE)

_ZONE_OPTIONS = {
    Signing.NONE: "",
    Signing.IN_PLACE: "dnssec-policy default; inline-signing no;",
    Signing.INLINE: "dnssec-policy default; inline-signing yes;",
}


class Named(Process):
    """named in the foreground, with everything that it keeps in `directory`.

    It looks nothing up and tells nobody anything. Killed and started again, it comes back on the same port with the
    same zones and journals. `options` is added to the options block. Ready means: every zone answers, and is signed all
    over if it should be.
    """

    def __init__(
        self,
        directory: Path,
        *zones: ParentZone,
        port: int | None = None,
        options: str = "",
        start_timeout: float = 60.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        if not zones:
            raise ValueError("named needs a zone")
        self.zones = zones
        self.port = free_port() if port is None else port
        self.tsig_file = directory / "tsig.key"
        self._rndc_file = directory / "rndc.key"
        self._rndc_port = free_port()
        self._was_ready = False
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "keys").mkdir(exist_ok=True)
        self.tsig_key = _generate_key(self.tsig_file, _TSIG_NAME)
        _generate_key(self._rndc_file, _RNDC_NAME)
        for zone in zones:
            _zone_file(directory, zone.name).write_text(zone.master_file)
        configuration = directory / "named.conf"
        configuration.write_text(self._configuration(directory, options))
        super().__init__(
            [_unconfined(directory), "-g", "-c", configuration],
            name="named",
            directory=directory,
            ready=self._answers,
            start_timeout=start_timeout,
            cpus=cpus,
        )

    @property
    def server(self) -> str:
        """Address and port as zonecut's configuration wants it."""
        return f"{LOOPBACK}:{self.port}"

    def query(
        self, name: str, rdtype: str, *, dnssec: bool = False, tcp: bool = False, timeout: float = 5.0
    ) -> dns.message.Message:
        """The answer to a non-recursive query. With `dnssec`, RRSIGs come along."""
        question = dns.message.make_query(name, rdtype, want_dnssec=dnssec)
        question.flags &= ~dns.flags.RD
        if tcp:
            return dns.query.tcp(question, LOOPBACK, port=self.port, timeout=timeout)
        answer, _ = dns.query.udp_with_fallback(question, LOOPBACK, port=self.port, timeout=timeout)
        return answer

    def axfr(self, zone: str | None = None) -> dns.zone.Zone:
        """The whole zone (default: the first), with absolute names."""
        content = dns.zone.Zone(zone or self.zones[0].name, relativize=False)
        question, _ = dns.xfr.make_query(content, keyring=self.tsig_key)
        dns.query.inbound_xfr(LOOPBACK, content, question, port=self.port, lifetime=_TRANSFER_SECONDS)
        return content

    def nsupdate(self, commands: str, zone: str | None = None) -> Outcome:
        """Somebody edits a zone by hand (default: the first), with the TSIG key. LabError when named refuses."""
        outcome = nsupdate(commands, port=self.port, zone=zone or self.zones[0].name, key_file=self.tsig_file)
        if outcome.rcode != "NOERROR":
            raise LabError(f"named refused an update by hand: {outcome.rcode}\n{outcome.stderr}")
        return outcome

    def rndc(self, *arguments: str) -> str:
        return run(self.rndc_argv(*arguments))

    def rndc_argv(self, *arguments: str) -> list[str]:
        """The command line by which rndc tells this named something."""
        address = ["-s", LOOPBACK, "-p", str(self._rndc_port), "-k", str(self._rndc_file)]
        return [find_command("rndc"), *address, *arguments]

    def freeze(self, zone: str | None = None) -> Path:
        """Refuse updates until `thaw` and return the zone's file, with the journal written into it, for editing."""
        name = zone or self.zones[0].name
        file = _zone_file(self.directory, name)
        self.rndc("freeze", name)
        serial = re.search(r"^serial: (\d+)$", self.rndc("zonestatus", name), re.MULTILINE)
        if serial is None:
            raise LabError(f"rndc zonestatus knows no serial of {name}")

        def written() -> bool:
            return f"loaded serial {serial[1]}\n" in run([find_command("named-checkzone"), name, file])

        # rndc does not wait for the file, and a late writer would undo what is edited.
        until(written, timeout=30, what=f"{file} written")
        return file

    def thaw(self, zone: str | None = None) -> None:
        self.rndc("thaw", zone or self.zones[0].name)

    def _configuration(self, directory: Path, options: str) -> str:
        return "\n".join(
            [
                f'include "{self.tsig_file}";',
                f'include "{self._rndc_file}";',
                "options {",
                f'  directory "{directory}";',
                f'  managed-keys-directory "{directory}";',
                f'  session-keyfile "{directory}/session.key";',
                f'  key-directory "{directory}/keys";',
                f'  pid-file "{directory}/named.pid";',
                f"  listen-on port {self.port} {{ {LOOPBACK}; }};",
                "  listen-on-v6 { none; };",
                "  recursion no;",
                "  dnssec-validation no;",
                "  empty-zones-enable no;",
                "  notify no;",
                "  automatic-interface-scan no;",
                "  interface-interval 0;",
                # How much of a zone is signed in one go; by default 1,000 delegations take three seconds.
                "  sig-signing-nodes 2000;",
                "  sig-signing-signatures 2000;",
                f"  {options}",
                "};",
                "controls {",
                f'  inet {LOOPBACK} port {self._rndc_port} allow {{ {LOOPBACK}; }} keys {{ "{_RNDC_NAME}"; }};',
                "};",
                *(_zone_clause(directory, zone) for zone in self.zones),
                "",
            ]
        )

    def _answers(self) -> bool:
        ready = all(self._serves(zone) for zone in self.zones)
        self._was_ready |= ready
        return ready

    def _serves(self, zone: ParentZone) -> bool:
        try:
            # Over TCP: a port where nobody listens yet refuses at once, while a datagram to it waits for its timeout.
            answer = self.query(zone.name, "SOA", dnssec=True, tcp=True)
            if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
                return False
            if zone.signing is Signing.NONE:
                return True
            signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer.answer)
            states = self.query(zone.name, _SIGNING_STATE, tcp=True).answer
        except (dns.exception.DNSException, OSError):
            return False
        # Restarted, an inline-signed zone may have no such record any more.
        return (
            signed
            and (bool(states) or self._was_ready)
            and all(_SIGNING_DONE.match(str(state)) for rrset in states for state in rrset)
        )


StartNamed = Callable[..., Named]


def verify_zone(content: dns.zone.Zone, directory: Path) -> str:
    """What dnssec-verify says about a transferred zone; LabError when it is not signed all over."""
    file = directory / "to-verify.zone"
    content.to_file(str(file), relativize=False)
    # -z: BIND's default policy has one key for everything, with the SEP flag.
    return run([find_command("dnssec-verify"), "-z", "-o", str(content.origin), str(file)])


def _generate_key(file: Path, name: str) -> dns.tsig.Key:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(run([find_command("tsig-keygen"), "-a", "hmac-sha256", name]))
    secret = re.search(r'secret "([^"]+)"', file.read_text())
    if secret is None:
        raise LabError(f"{file} holds no key")
    return dns.tsig.Key(name, secret[1], dns.tsig.HMAC_SHA256)


def _zone_file(directory: Path, zone: str) -> Path:
    return directory / f"{zone}zone"


def _zone_clause(directory: Path, zone: ParentZone) -> str:
    return (
        f'zone "{zone.name}" {{ type primary; file "{_zone_file(directory, zone.name)}"; {_ZONE_OPTIONS[zone.signing]} '
        f'allow-update {{ key "{_TSIG_NAME}"; }}; allow-transfer {{ key "{_TSIG_NAME}"; }}; }};'
    )


def _unconfined(directory: Path) -> Path:
    """The named to run.

    Debian's AppArmor profile goes by the program's path and allows no directory but the service's own; a copy is free.
    """
    installed = Path(find_command("named"))
    switch = Path("/sys/module/apparmor/parameters/enabled")
    if not (switch.exists() and switch.read_text().startswith("Y")):
        return installed
    copy = directory / "named"
    if not copy.exists():
        shutil.copy(installed, copy)
    return copy
