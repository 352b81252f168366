"""A real knotd on loopback, primary for parent zones that whoever reaches its control socket may edit."""

import re
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import dns.tsig

from lab.daemons.server import Add, Edit, Server
from lab.ports import LOOPBACK
from lab.process import LabError, find_command, run
from lab.tsig import generate_key
from lab.zones import ParentZone, Signing
from zonecut.protocol.announced.dsync import Dsync

_OTHERS_SECONDS = 10.0
_NOTHING_TO_DO = (
    "such record already exists in zone",
    "no such record in zone found",
    "no such node in zone found",
)


# Key rolls of seconds instead of days. CDS are published all the time, so that who watches sees them.
_QUICK_POLICY = """\
policy:
  - id: quick
    cds-cdnskey-publish: always
    dnskey-ttl: 1
    zone-max-ttl: 60
    propagation-delay: 0
    rrsig-refresh: 3600
"""


class Knotd(Server):
    """knotd. `options` is added to what each zone has (lines such as `semantic-checks: on`).

    A zone with any signing is signed in the one way that Knot knows. Ready means also: the control socket is served.
    `notified` is a port of loopback where somebody is told of each change. With `rolls`, keys can be rolled in seconds;
    as a text, it is what follows `remote:`, with a policy named quick. At the addresses `also_at` it listens too, at
    port 53. With `ddns`, whoever has the key in `tsig_file` may update the zones, and nobody else may transfer them.
    """

    def __init__(
        self,
        directory: Path,
        *zones: ParentZone,
        port: int | None = None,
        also_at: Sequence[str] = (),
        options: Sequence[str] = (),
        notified: int | None = None,
        rolls: bool | str = False,
        ddns: bool = False,
        start_timeout: float = 60.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        configuration = directory / "knot.conf"
        super().__init__(
            directory, zones, "-c", configuration, program="knotd", port=port, start_timeout=start_timeout, cpus=cpus
        )
        self.configuration = configuration
        self.socket = directory / "knot.sock"
        if len(str(self.socket)) > 100:
            # sun_path has 108 octets
            raise LabError(f"{self.socket} is too long for the path of a socket")
        self.tsig_file = directory / "tsig.key"
        self.tsig_key = generate_key(self.tsig_file) if ddns else None
        self.write_zone_files()
        self._listen = ", ".join([f"{LOOPBACK}@{self.port}", *(f"{address}@53" for address in also_at)])
        policy, remotes = [], ""
        if notified is not None:
            remotes = f"remote:\n  - id: told\n    address: {LOOPBACK}@{notified}\n"
            policy.append("notify: told")
        if rolls:
            remotes += rolls if isinstance(rolls, str) else _QUICK_POLICY
            policy.append("dnssec-policy: quick")
        configuration.write_text(self._configuration(directory, [*options, *policy], remotes))

    def backend(self) -> dict[str, Any]:
        return {"adapter": "knot", "socket": str(self.socket)}

    def edit(self, *edits: Edit, zone: str | None = None) -> None:
        """By knotc. What is there already, or not there any more, is an error for Knot and no matter."""
        self.transaction(*map(_command, edits), zone=zone, tolerated=_NOTHING_TO_DO)

    def knotc(self, *commands: Sequence[str], tolerated: Collection[str] = ()) -> str:
        """Run these commands, words each, in one knotc; LabError when one of them fails with an error not tolerated."""
        lines = "".join(" ".join(map(_quoted, words)) + "\n" for words in commands)
        argv = [find_command("knotc"), "-x", "-s", str(self.socket), "-t", "10"]
        done = subprocess.run(argv, input=lines, capture_output=True, text=True, timeout=60)
        output = done.stdout + done.stderr
        errors = [
            line for line in output.splitlines() if "error:" in line and not any(map(line.__contains__, tolerated))
        ]
        if errors or (done.returncode != 0 and not tolerated):
            raise LabError(f"knotc: {lines}{output}")
        return output

    def transaction(self, *commands: Sequence[str], zone: str | None = None, tolerated: Collection[str] = ()) -> None:
        """Commands in one transaction (default: of the first zone): `("set", owner, ttl, ...)`, `("unset", ...)`.

        Somebody else's transaction is waited for: without a begin of its own, a command would take part in that.
        """
        name = self.name_of(zone)
        deadline = time.monotonic() + _OTHERS_SECONDS
        while True:
            try:
                self.knotc(("zone-begin", name))
                break
            except LabError as error:
                if "too many transactions" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        try:
            self.knotc(*((f"zone-{command}", name, *words) for command, *words in commands), tolerated=tolerated)
            self.knotc(("zone-commit", name))
        except LabError:
            self.knotc(("zone-abort", name))
            raise

    def reconfigure(self, old: str, new: str) -> None:
        """Write something else in its configuration, and have it take that."""
        text = self.configuration.read_text()
        if old not in text:
            raise LabError(f"{self.configuration} has no {old}")
        self.configuration.write_text(text.replace(old, new))
        self.knotc(("reload",))

    def roll_ksk(self, zone: str | None = None) -> None:
        self.knotc(("zone-key-rollover", self.name_of(zone), "ksk"))

    def _configuration(self, directory: Path, options: Sequence[str], others: str) -> str:
        zone_options = "".join(f"    {line}\n" for line in options)
        return f"""\
server:
  listen: [ {self._listen} ]
  rundir: "{directory}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
control:
  listen: "{self.socket}"
database:
  storage: "{directory}"
{_key(self.tsig_key)}log:
  - target: stderr
    any: info
acl:
  - id: transfer
    address: {LOOPBACK}
    {_action(self.tsig_key)}
{others}template:
  - id: default
    acl: transfer
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: changes
{zone_options}zone:
{"".join(_zone_clause(self.zone_file(zone.name), zone) for zone in self.zones)}"""

    @property
    def _transfer_key(self) -> dns.tsig.Key | None:
        return self.tsig_key

    def _check(self, zone: str, file: Path) -> None:
        # kzonecheck of Knot 3.2 knows DSYNC by its number only
        known = file.with_name(f"{file.name}.known")
        known.write_text(_DSYNC.sub(_in_generic_form, file.read_text().replace(" DSYNC", " TYPE66")))
        run([find_command("kzonecheck"), "-o", zone, known])

    def _answers(self) -> bool:
        # the file of a killed one is still there
        with socket.socket(socket.AF_UNIX) as control:
            return control.connect_ex(str(self.socket)) == 0 and super()._answers()


_DSYNC = re.compile(r"(?<= IN TYPE66 )[^\\\n]+$", re.MULTILINE)


def _in_generic_form(found: re.Match[str]) -> str:
    return Dsync.from_text(found[0]).to_generic_text()


StartKnotd = Callable[..., Knotd]


def _zone_clause(file: Path, zone: ParentZone) -> str:
    signing = "off" if zone.signing is Signing.NONE else "on"
    return f'  - domain: "{zone.name}"\n    file: "{file}"\n    dnssec-signing: {signing}\n'


def _key(key: dns.tsig.Key | None) -> str:
    if key is None:
        return ""
    return f"key:\n  - id: {key.name}\n    algorithm: hmac-sha256\n    secret: {b64encode(key.secret).decode()}\n"


def _action(key: dns.tsig.Key | None) -> str:
    return "action: transfer" if key is None else f"key: {key.name}\n    action: [transfer, update]"


def _command(edit: Edit) -> Sequence[str]:
    """An edit as words for knotc, the first without its `zone-`."""
    if isinstance(edit, Add):
        return ("set", edit.owner, str(edit.ttl), edit.rtype, edit.data)
    return ("unset", *(word for word in (edit.owner, edit.rtype, edit.data) if word))


def _quoted(word: str) -> str:
    """A word as knotc's line reader takes it: between single quotes nothing is special."""
    if "'" in word:
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"'{word}'"
