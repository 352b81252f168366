"""A real named on loopback, primary for parent zones that one TSIG key may update and transfer."""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import dns.tsig

from lab.daemons.server import Add, Edit, Server
from lab.nsupdate import Outcome, nsupdate
from lab.ports import LOOPBACK, free_port
from lab.process import LabError, find_command, run, until
from lab.tsig import UPDATE_KEY, generate_key
from lab.zones import ParentZone, Signing

_RNDC_NAME = "rndc.lab"
# BIND's own record of how far it is with signing a zone (option sig-signing-type); the last octet of five says: done.
_SIGNING_STATE = "TYPE65534"
_SIGNING_DONE = re.compile(r"\\# 5 [0-9a-f]{8}\s*01$", re.IGNORECASE)

# Key rolls of seconds instead of days.
_QUICK_POLICY = """\
dnssec-policy "quick" {
  keys { csk lifetime unlimited algorithm ecdsap256sha256; };
  dnskey-ttl PT1S; max-zone-ttl PT1S; parent-ds-ttl PT1S;
  publish-safety PT0S; retire-safety PT0S; zone-propagation-delay PT0S; parent-propagation-delay PT0S;
};
"""
_ZONE_OPTIONS = {
    Signing.NONE: "",
    Signing.IN_PLACE: "dnssec-policy {policy}; inline-signing no;",
    Signing.INLINE: "dnssec-policy {policy}; inline-signing yes;",
}


class Named(Server):
    """named. `options` is added to the options block. Ready means also: zones are signed all over if they should be.

    `notified` is a port of loopback where somebody is told of each change. With `rolls`, keys can be rolled in seconds.
    """

    def __init__(
        self,
        directory: Path,
        *zones: ParentZone,
        port: int | None = None,
        options: str = "",
        notified: int | None = None,
        rolls: bool = False,
        start_timeout: float = 60.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        configuration = directory / "named.conf"
        super().__init__(
            directory,
            zones,
            "-g",
            "-c",
            configuration,
            program="named",
            port=port,
            start_timeout=start_timeout,
            cpus=cpus,
        )
        self.configuration = configuration
        self.tsig_file = directory / "tsig.key"
        self._rndc_file = directory / "rndc.key"
        self._rndc_port = free_port()
        self._notify = "no" if notified is None else f"explicit; also-notify {{ {LOOPBACK} port {notified}; }}"
        self._policy = "quick" if rolls else "default"
        self._was_ready = False
        (directory / "keys").mkdir(exist_ok=True)
        self.tsig_key = generate_key(self.tsig_file)
        generate_key(self._rndc_file, _RNDC_NAME)
        self.write_zone_files()
        configuration.write_text(self._configuration(directory, options))

    def backend(self) -> dict[str, Any]:
        return {"adapter": "bind", "server": self.server, "tsig": str(self.tsig_file)}

    def edit(self, *edits: Edit, zone: str | None = None) -> None:
        self.nsupdate("\n".join(map(_command, edits)), zone)

    def nsupdate(self, commands: str, zone: str | None = None) -> Outcome:
        """Somebody edits a zone by hand (default: the first), with the TSIG key. LabError when named refuses."""
        outcome = nsupdate(commands, port=self.port, zone=self.name_of(zone), key_file=self.tsig_file)
        if outcome.rcode != "NOERROR":
            raise LabError(f"named refused an update by hand: {outcome.rcode}\n{outcome.stderr}")
        return outcome

    def rndc(self, *arguments: str) -> str:
        return run(self.rndc_argv(*arguments))

    def rndc_argv(self, *arguments: str) -> list[str]:
        """The command line by which rndc tells this named something."""
        address = ["-s", LOOPBACK, "-p", str(self._rndc_port), "-k", str(self._rndc_file)]
        return [find_command("rndc"), *address, *arguments]

    def reconfigure(self, old: str, new: str) -> None:
        """Write something else in its configuration, and have it take that."""
        text = self.configuration.read_text()
        if old not in text:
            raise LabError(f"{self.configuration} has no {old}")
        self.configuration.write_text(text.replace(old, new))
        self.rndc("reconfig")

    def roll_ksk(self, zone: str | None = None) -> None:
        """A roll begins when BIND knows that the parent has the DS of the key, which somebody has to tell it."""
        name = self.name_of(zone)

        def status() -> str:
            return self.rndc("dnssec", "-status", name)

        until(lambda: "zone rrsig:     omnipresent" in status(), timeout=20, what=f"{name} is signed for long enough")
        found = re.search(r"^key: (\d+) ", status(), re.MULTILINE)
        if found is None:
            raise LabError(f"rndc dnssec -status knows no key of {name}")
        self.rndc("dnssec", "-checkds", "-key", found[1], "published", name)
        until(lambda: "ds:             omnipresent" in status(), timeout=20, what=f"the DS of {name} is known")
        self.rndc("dnssec", "-rollover", "-key", found[1], name)

    def freeze(self, zone: str | None = None) -> Path:
        """Refuse updates until `thaw` and return the zone's file, with the journal written into it, for editing."""
        name = self.name_of(zone)
        file = self.zone_file(name)
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
        self.rndc("thaw", self.name_of(zone))

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
                f"  notify {self._notify};",
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
                _QUICK_POLICY if self._policy == "quick" else "",
                *(_zone_clause(self.zone_file(zone.name), zone, self._policy) for zone in self.zones),
                "",
            ]
        )

    @property
    def _transfer_key(self) -> dns.tsig.Key:
        return self.tsig_key

    def _answers(self) -> bool:
        ready = super()._answers()
        self._was_ready |= ready
        return ready

    def _serves(self, zone: ParentZone) -> bool:
        if not super()._serves(zone):
            return False
        if zone.signing is Signing.NONE:
            return True
        states = self.query(zone.name, _SIGNING_STATE, tcp=True).answer
        # Restarted, an inline-signed zone may have no such record any more.
        return (bool(states) or self._was_ready) and all(
            _SIGNING_DONE.match(str(state)) for rrset in states for state in rrset
        )


def forbid_updates(directory: Path) -> None:
    """Of a named that was not started yet. It refuses to load a zone again that it may change itself."""
    configuration = directory / "named.conf"
    configuration.write_text(re.sub(r"allow-update \{[^}]*\};", "", configuration.read_text()))


StartNamed = Callable[..., Named]


def _command(edit: Edit) -> str:
    """An edit as nsupdate takes it."""
    if isinstance(edit, Add):
        return f"update add {edit.owner} {edit.ttl} {edit.rtype} {edit.data}"
    return " ".join(["update delete", *(word for word in (edit.owner, edit.rtype, edit.data) if word)])


def _zone_clause(file: Path, zone: ParentZone, policy: str) -> str:
    return (
        f'zone "{zone.name}" {{ type primary; file "{file}"; {_ZONE_OPTIONS[zone.signing].format(policy=policy)} '
        f'allow-update {{ key "{UPDATE_KEY}"; }}; allow-transfer {{ key "{UPDATE_KEY}"; }}; }};'
    )
