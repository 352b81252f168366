"""A child and its parent whose name servers listen at one port of different addresses, as the world's do at port 53.

Scripted, so that each of them can be broken. `operator.test.` is the zone of a name server
operator, below which KEY records of the child can be published.
"""

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lab.commands import run_command
from lab.ports import LOOPBACK, free_port
from lab.scripted.hostile import HostileReceiver
from lab.scripted.scripted_parent import CHILD, PARENT, UPDATER, PlayedParent
from lab.zonecut import COMMAND
from zonecut.agent.doctor import Report, Severity, diagnose
from zonecut.agent.doctor.observation import PLAIN, Kept, examine
from zonecut.agent.learned import Learned
from zonecut.agent.settings import ParentSettings
from zonecut.demo.loopback import LoopbackAuthority, LoopbackResolver, LoopbackZone
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import generic_text
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.keys import Key

OPERATOR = "operator.test."
PARENTS, ONE, OTHER = "127.53.0.231", "127.53.0.232", "127.53.0.233"
NOBODY = "127.53.0.234"
"""Where nobody listens."""

__all__ = [
    "CHILD",
    "NOBODY",
    "ONE",
    "OPERATOR",
    "OTHER",
    "PARENT",
    "PARENTS",
    "UPDATER",
    "DoctorWorld",
    "attention",
    "facts",
    "rr",
]


class DoctorWorld(PlayedParent):
    """Used as a context manager. `primary` serves the child zone at ONE, `secondary` at OTHER."""

    def __init__(self, receiver: HostileReceiver, **options: Any) -> None:
        super().__init__(receiver, **options)
        self.port = free_port(PARENTS)
        self.operator = LoopbackZone(OPERATOR, f"@ NS ns\nns A {PARENTS}\nns1 A {ONE}\nns2 A {OTHER}\n")
        self.root.put(f"ns.{OPERATOR}", "A", PARENTS)
        self.root.delegate(self.operator)
        for zone in (self.root, self.parent):
            zone.put("ns", "A", PARENTS)
        self.child.put("ns1", "A", ONE)
        self.child.put("ns2", "A", OTHER)
        self.delegate(Delegation.of(names.from_text(CHILD), [*self.own_records(), *self.ds()]))
        self.parents = LoopbackAuthority([self.root, self.parent, self.operator], (PARENTS,), self.port)
        self.primary = LoopbackAuthority([self.child], (ONE,), self.port)
        self.secondary = LoopbackAuthority([self.child], (OTHER,), self.port)
        self.resolver = LoopbackResolver([self.parents, self.primary])

    def own_records(self) -> list[RR]:
        """NS and glue of a child with two name servers of its own."""
        servers = {"ns1": ONE, "ns2": OTHER}
        records = [rr(CHILD, RRType.NS, f"{name}.{CHILD}") for name in servers]
        return records + [rr(f"{name}.{CHILD}", RRType.A, address) for name, address in servers.items()]

    def ds(self) -> list[RR]:
        child = names.from_text(CHILD)
        return [RR(child, RRType.DS, each.to_digestable()) for each in self.child.ds]

    def hosted_elsewhere(self) -> None:
        """Have the child on the operator's name servers, in zone and parent."""
        servers = [f"ns1.{OPERATOR}", f"ns2.{OPERATOR}"]
        self.child.put("@", "NS", *servers)
        records = [rr(CHILD, RRType.NS, server) for server in servers]
        self.delegate(Delegation.of(names.from_text(CHILD), [*records, *self.ds()]))

    def signal(self, server: str, *keys: Key) -> None:
        """Publish these keys of the child below `_signal` of an operator's name server."""
        owner = f"_sig0key.{CHILD}_signal.{server}.{OPERATOR}"
        self.operator.put(owner, "KEY", *(generic_text(key.rdata) for key in keys))

    def __enter__(self) -> "DoctorWorld":
        super().__enter__()
        self._running.enter_context(self.secondary)
        return self

    def run(self, directory: Path, *words: str) -> tuple[int, str, str]:
        """The command as anybody types it: exit code, standard output and standard error."""
        anchors = directory / "anchors.zone"
        anchors.write_text(self.root.trust_anchor)
        lab = ["--resolver", f"{LOOPBACK}:{self.resolver.port}", "--trust-anchors", str(anchors), "--any-address"]
        argv = [str(COMMAND), "doctor", CHILD, *lab, "--port", str(self.port), *words]
        done = run_command(argv, cwd=directory, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def look(self, *remembered: Key) -> Report:
        """What the doctor says, without the command around it; `remembered` are keys of receivers that it has seen."""
        settings = PLAIN.model_copy(update={"parent": ParentSettings(addresses="any")})
        child = names.from_text(CHILD)
        kept = Kept(Learned(remembered), is_known=True)
        looks = examine(self.lookups, child, settings, port=self.port, parent_port=self.port, kept=kept)
        return diagnose(asyncio.run(looks))


def attention(report: Report) -> dict[str, str]:
    """The rules of all findings that need it, and what each says."""
    needy = (Severity.UNKNOWN, Severity.WARNING, Severity.PROBLEM)
    findings = [finding for section in report.sections for finding in section.findings]
    return {finding.tag: finding.seen for finding in findings if finding.severity in needy}


def facts(report: Report, title: str) -> dict[str, str]:
    section = next(section for section in report.sections if section.title == title)
    return dict(section.facts)


def rr(owner: str, rtype: RRType, data: str) -> RR:
    """A record of a delegation."""
    rdata = names.from_text(data) if rtype == RRType.NS else ip_address(data).packed
    return RR(names.from_text(owner), rtype, rdata)
