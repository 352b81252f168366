"""`zonecut doctor`: a child zone and its parent, seen from outside, on one page."""

import shutil
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from zonecut.agent import damage
from zonecut.agent.doctor import Finding, Report, Section, Severity, diagnose
from zonecut.agent.doctor.observation import NOTHING_KEPT, PLAIN, Examination, Kept, examine
from zonecut.agent.settings import ChildSettings
from zonecut.cli import owner, session
from zonecut.cli.failures import Exit, UsageFailure
from zonecut.cli.options import ChildArgument, JsonOption
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.protocol import names
from zonecut.protocol.addresses import is_global_unicast
from zonecut.protocol.codepoints import DEFAULT, CodePoints
from zonecut.protocol.foreigntext import printable
from zonecut.resolve import ROOT_ANCHORS, Nameserver, ResolveError, Resolver, TrustAnchors
from zonecut.serve.resolvers import make_resolver
from zonecut.store import StoreError

_MAX_FACTS = 40
"""Of one section, that the page shows."""
_WIDTH = 110
"""The longest line, unless the terminal is narrower."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Use `resolver` and the child's entry of this configuration."),
]
ResolverOption = Annotated[
    list[str] | None,
    typer.Option("--resolver", metavar="ADDR[:PORT]", help="Ask this resolver; repeatable. Default: the system's."),
]
AnchorsOption = Annotated[
    Path | None,
    typer.Option("--trust-anchors", metavar="FILE", help="DS or DNSKEY records to start from. Default: the root's."),
]
AnyAddressOption = Annotated[
    bool, typer.Option("--any-address", help="Talk to special-purpose addresses, too, as in a lab.")
]
PortOption = Annotated[
    int | None, typer.Option("--port", metavar="N", min=1, max=65535, help="Where name servers are asked (53).")
]


def command(
    child: ChildArgument,
    resolver: ResolverOption = None,
    trust_anchors: AnchorsOption = None,
    any_address: AnyAddressOption = False,
    port: PortOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a child zone and its parent from outside, and say what is well and what is not.

    It needs no configuration and changes nothing: no UPDATE and no NOTIFY is sent. All name servers of both are asked
    and compared, DNSSEC is validated here, and an announced receiver is asked over UDP and TCP without a signature.
    With --config, what is announced is held against what the child's agent remembers.

    Exit code 0: all is well. 3: something differs or needs attention. 1: it could not be found out.

    Example: zonecut doctor child.parent.example.
    """
    if child == names.ROOT:
        raise UsageFailure("CHILD: the root has no parent")
    loaded = _load(config)
    settings = _settings(loaded, child, any_address)
    ports = _ports(loaded, child, port or 53)
    codepoints = _codepoints(loaded)
    made = _resolver(loaded, resolver, trust_anchors, settings)
    kept = session.run(_kept(loaded, child, codepoints))
    seen = session.run(_examine(made, child, settings, ports, kept, codepoints))
    seen = replace(seen, by_backend=_reads_by_backend(loaded, child))
    report = _diagnose(seen)
    if as_json:
        output.say_json({"child": names.to_text(child), **report.to_json(), "seen": seen.to_json()})
    else:
        _say(seen, report)
    raise typer.Exit(code_of(report))


async def _examine(
    resolver: Resolver,
    child: bytes,
    settings: ChildSettings,
    ports: tuple[int, int],
    kept: Kept,
    codepoints: CodePoints,
) -> Examination:
    port, parent_port = ports
    return await examine(
        resolver, child, settings, port=port, parent_port=parent_port, kept=kept, codepoints=codepoints
    )


async def _kept(loaded: Loaded | None, child: bytes, codepoints: CodePoints) -> Kept:
    """What the child's agent of this configuration keeps, read and left as it is."""
    if loaded is None or all(section.apex != child for section in loaded.configuration.children):
        return NOTHING_KEPT
    if not session.has_store(loaded):
        return Kept(is_known=True)
    try:
        async with session.open_store(loaded) as store:
            stored = await store.agents.get(child)
        return Kept.of(None if stored is None else damage.read(stored.document), codepoints)
    except StoreError as error:
        return Kept(reason=error.reason)


def _diagnose(seen: Examination) -> Report:
    return diagnose(seen)


def code_of(report: Report) -> Exit:
    if report.severity in (Severity.PROBLEM, Severity.WARNING):
        return Exit.DIFFERENT
    return Exit.FAILED if report.severity is Severity.UNKNOWN else Exit.DONE


def _load(config: Path | None) -> Loaded | None:
    return None if config is None else session.load(config)


def _codepoints(loaded: Loaded | None) -> CodePoints:
    return DEFAULT if loaded is None else loaded.configuration.codepoints.to_codepoints()


def _ports(loaded: Loaded | None, child: bytes, port: int) -> tuple[int, int]:
    """Those of the child's name servers and of its parent's, for which an entry of the configuration counts."""
    sections = () if loaded is None else loaded.configuration.children
    return port, next((section.parent.port for section in sections if section.apex == child), port)


def _settings(loaded: Loaded | None, child: bytes, any_address: bool) -> ChildSettings:
    """Those of the child's entry, if there is one, without a receiver that is not announced."""
    sections = () if loaded is None else loaded.configuration.children
    settings = next((section.settings() for section in sections if section.apex == child), PLAIN)
    changes: dict[str, object] = {"receiver": None}
    if any_address:
        changes["addresses"] = "any"
    return settings.model_copy(update={"parent": settings.parent.model_copy(update=changes)})


def _reads_by_backend(loaded: Loaded | None, child: bytes) -> bool:
    """Whether an agent of this configuration reads the zone through its backend."""
    sections = () if loaded is None else loaded.configuration.children
    return any(section.apex == child and section.primary is None for section in sections)


def _resolver(
    loaded: Loaded | None, texts: list[str] | None, anchors: Path | None, settings: ChildSettings
) -> Resolver:
    """As the options say, else the configuration, else this machine. Raises UsageFailure."""
    reach = settings.parent.addresses
    if loaded is not None and not texts and anchors is None:
        return make_resolver(loaded, time.time, reach)
    if loaded is not None:
        configured = loaded.configuration.resolver
        texts = texts or (None if configured.nameservers is None else list(configured.nameservers))
        anchors = anchors or configured.trust_anchors
    try:
        with owner.as_caller():
            start = TrustAnchors.from_file(anchors) if anchors is not None else ROOT_ANCHORS
        return Resolver(
            [Nameserver.from_text(text) for text in texts] if texts else None,
            start,
            allowed=is_global_unicast if reach == "global" else _any,
        )
    except ResolveError as error:
        advice = () if texts else ("name one: --resolver ADDR:PORT",)
        raise UsageFailure(str(error), *advice) from None


def _any(address: str) -> bool:
    return True


def _say(seen: Examination, report: Report) -> None:
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    lines = [f"{names.to_text(seen.child)}  {report.verdict}"]
    for section in report.sections:
        lines += ["", *_section_lines(section, width)]
    output.say_lines(lines)


def _section_lines(section: Section, width: int) -> list[str]:
    lines = [f"{section.title.upper()} {section.subject}".rstrip()]
    for finding in section.by_severity:
        lines += _finding_lines(finding, width)
    room = max((len(name) for name, _ in section.facts), default=0)
    for name, value in section.facts[:_MAX_FACTS]:
        lines += _wrapped(f"    {name.ljust(room)}  ", value, width)
    if len(section.facts) > _MAX_FACTS:
        lines.append(f"    and {len(section.facts) - _MAX_FACTS} more (--json shows all)")
    return lines


def _finding_lines(finding: Finding, width: int) -> list[str]:
    seen, *changes = finding.seen.splitlines()
    lines = _wrapped(f"  {finding.severity.value.ljust(9)}", f"{seen}  [{finding.tag.value}]", width)
    lines += [f"             {change}" for change in changes]
    if finding.why:
        lines += _wrapped("           why: ", finding.why, width)
    if finding.advice:
        lines += _wrapped("           do:  ", finding.advice, width)
    return lines


def _wrapped(head: str, text: str, width: int) -> list[str]:
    """Text behind a head, its further lines below its first; what strangers wrote cannot make lines of its own."""
    plain = printable(" ".join(text.split("\n")))
    room = max(width, len(head) + 20)
    return textwrap.wrap(
        plain,
        room,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]
