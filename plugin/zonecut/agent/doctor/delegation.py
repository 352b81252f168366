"""What the parent hands out, and how the child's name servers do."""

from collections.abc import Container, Iterator, Sequence

from zonecut.agent.doctor.findings import Finding, Section, Severity, listed, not_all
from zonecut.agent.doctor.observation import Examination
from zonecut.agent.doctor.tags import Tag
from zonecut.agent.evidence.zone_view import ChildServer, Standing, comparable
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation, rdata_text


def judge_parent(seen: Examination) -> Section:
    """What is delegated: the parent zone's servers, and what they hand out."""
    facts: list[tuple[str, str]] = []
    if seen.parent is not None:
        facts.append(("parent zone", names.to_text(seen.parent.parent)))
        hidden = Delegation(seen.child, ds=seen.ds or ()) if seen.parent.is_hidden else None
        facts += _delegation_facts(seen.parent.held or hidden)
    return Section("delegation", tuple(facts), tuple(_parent_findings(seen)))


def _delegation_facts(held: Delegation | None) -> list[tuple[str, str]]:
    if held is None:
        return []
    glue: dict[bytes, list[str]] = {}
    for record in held.glue:
        glue.setdefault(record.owner, []).append(rdata_text(record.rtype, record.rdata))
    facts = [("NS", f"{names.to_text(server)} {' '.join(glue.get(server, ()))}".rstrip()) for server in held.ns]
    return facts + [("DS", rdata_text(RRType.DS, ds)) for ds in held.ds]


def _parent_findings(seen: Examination) -> Iterator[Finding]:
    child, view = names.to_text(seen.child), seen.parent
    if view is None:
        reason = seen.discovery.reason
        yield Finding(
            Tag.PARENT_UNKNOWN,
            Severity.UNKNOWN,
            f"the parent zone of {child} could not be found out: {reason}",
            advice="see that the resolver answers (--resolver), and that the trust anchors are right (--trust-anchors)",
        )
        return
    yield from _silent_parents(view, seen.unrouted)
    yield from not_all(f"servers of {names.to_text(view.parent)}", view.left_out)
    if view.reason or not view.answered:
        yield _nothing_told(view)
        yield from _ds_differ(view)
        return
    parent, held = names.to_text(view.parent), view.held
    assert held is not None
    if view.agreed is None:
        others = [str(server) for server in view.missing(held)]
        yield Finding(
            Tag.PARENT_SERVERS_DIFFER,
            Severity.WARNING,
            f"the servers of {parent} do not hand out the same: {view.answered[0]} against {listed(others)}",
            "a change may be on its way to all of them; if it lasts, one of them is stuck",
            "look again in some minutes; then it is for the parent's operator",
        )
    else:
        yield from _ds_differ(view)
    if not held.is_delegated:
        yield Finding(
            Tag.NOT_DELEGATED,
            Severity.PROBLEM,
            f"{parent} does not delegate {child}",
            "to the world the zone is not there",
            "the parent has to delegate it first: a name server, and with it all else",
        )
        return
    if view.agreed is not None and len(view.ds_sets) < 2:
        count = len(view.answered)
        where = f"all {count} server addresses" if count > 1 else "the one server address"
        yield Finding(Tag.DELEGATED, Severity.OK, f"{parent} delegates it, the same at {where}")


def _ds_differ(view: ParentView) -> Iterator[Finding]:
    """Servers that serve the child as well show no NS, and their DS all the same."""
    if len(view.ds_sets) < 2:
        return
    told = [
        f"{server}: {', '.join(rdata_text(RRType.DS, each) for each in ds) or 'none'}"
        for server in view.servers
        if (ds := server.shown_ds) is not None
    ]
    yield Finding(
        Tag.PARENT_SERVERS_DIFFER,
        Severity.WARNING,
        f"the servers of {names.to_text(view.parent)} do not hand out the same DS: {listed(told)}",
        "a change may be on its way to all of them; if it lasts, the zone is another one depending on whom one asks",
        "look again in some minutes; then it is for the parent's operator",
    )


def _nothing_told(view: ParentView) -> Finding:
    if view.is_hidden:
        return Finding(
            Tag.PARENT_HIDDEN,
            Severity.NOTE,
            "the parent's servers serve the child zone as well, which hides the NS and glue that the parent holds",
            "what the parent holds cannot be compared",
        )
    told = view.describe() or "it has no name servers"
    return Finding(
        Tag.PARENT_UNTOLD,
        Severity.UNKNOWN,
        f"no server of {names.to_text(view.parent)} says what it holds: {told}",
        advice="see that this machine reaches them over TCP; in a lab, --any-address and --port say where they are",
    )


def _silent_parents(view: ParentView, no_way: Container[str]) -> Iterator[Finding]:
    silent = [server for server in view.servers if server.delegation is None and not server.hides]
    unrouted = [server for server in silent if server.address in no_way]
    rest = [server for server in silent if server not in unrouted]
    if unrouted:
        yield _no_way("parent", [str(server) for server in unrouted])
    if rest and view.answered:
        yield Finding(
            Tag.PARENT_SERVER_SILENT,
            Severity.WARNING,
            listed([f"{server} {server.reason}" for server in rest], 3, "; "),
            "some of the world asks that server",
            "it is for the parent's operator",
        )


def _no_way(whose: str, addresses: Sequence[str]) -> Finding:
    return Finding(
        Tag.NO_WAY,
        Severity.NOTE,
        f"not asked, as this machine has no way there: {listed(addresses)}",
        f"nothing is known about these addresses of the {whose}",
        "run this on a machine that has IPv6 (or IPv4), too",
    )


def judge_servers(seen: Examination) -> Section:
    """How the child's name servers do."""
    facts = [("server", _server_fact(server)) for server in seen.zone.servers]
    return Section("name servers", tuple(facts), tuple(_server_findings(seen)))


def _server_fact(server: ChildServer) -> str:
    if server.standing is not Standing.ANSWERS:
        return f"{server}  {server.standing}"
    serial = "zone not read" if server.content is None else f"serial {server.content.serial}"
    return f"{server}  {serial}"


def _server_findings(seen: Examination) -> Iterator[Finding]:
    servers, child = seen.zone.servers, names.to_text(seen.child)
    if not servers:
        yield Finding(Tag.SERVERS_UNKNOWN, Severity.UNKNOWN, seen.zone.reason or f"{child} has no name servers to ask")
        return
    by: dict[Standing, list[ChildServer]] = {standing: [] for standing in Standing}
    for server in servers:
        by[server.standing].append(server)
    yield from not_all("name servers or addresses", seen.zone.left_out)
    good = by[Standing.ANSWERS]
    for server in by[Standing.LAME]:
        yield Finding(
            Tag.SERVER_LAME,
            Severity.PROBLEM,
            f"{server} does not serve the zone: {server.reason}",
            "resolvers that ask it get nothing, and must try another (a lame delegation)",
            "have the zone served there, or take the server out of NS in zone and parent",
        )
    for server in by[Standing.SILENT]:
        yield Finding(
            Tag.SERVER_SILENT,
            Severity.PROBLEM,
            f"{server} does not answer: {server.reason}",
            "resolvers wait for it in vain before they try another",
            "see that the server runs and that no firewall is in the way, or take it out of NS in zone and parent",
        )
    for server in by[Standing.UNASKED]:
        yield Finding(
            Tag.SERVER_WITHOUT_ADDRESS,
            Severity.PROBLEM,
            f"{server} {server.reason}",
            "nobody can ask this server",
            "give it an address that the world can reach; in a lab, --any-address asks it all the same",
        )
    for server in by[Standing.UNKNOWN]:
        yield Finding(
            Tag.SERVER_ADDRESS_UNKNOWN,
            Severity.UNKNOWN,
            f"the addresses of {server} could not be found out: {server.reason}",
            "nobody who validates finds this server, if that is so everywhere",
            "see what is said of DNSSEC, and that the zone of that name answers",
        )
    if by[Standing.UNREACHABLE]:
        yield _no_way("child", [str(server) for server in by[Standing.UNREACHABLE]])
    for server in good:
        if server.trouble:
            yield Finding(
                Tag.SERVER_TROUBLE,
                Severity.WARNING,
                f"{server}: {server.trouble}",
                "DNS servers have to answer over UDP and TCP (RFC 7766 section 5)",
                "look for a firewall or a limit in front of that server",
            )
    if good:
        told = f"{len(good)} of {len(servers)} addresses answer with authority"
        if seen.zone.left_out:
            told = f"{told}, of those that were asked"
        yield Finding(Tag.SERVERS_ANSWER, Severity.OK, told)
    elif not any(by[standing] for standing in (Standing.LAME, Standing.SILENT, Standing.UNASKED, Standing.UNKNOWN)):
        yield Finding(
            Tag.SERVERS_UNREACHED, Severity.UNKNOWN, f"no server of {child} could be reached from this machine"
        )
    yield from _disagreements(seen)


def _disagreements(seen: Examination) -> Iterator[Finding]:
    contents = seen.zone.contents
    newest = seen.zone.newest
    if newest is None:
        return
    serials = sorted({content.serial for _, content in contents if content.serial is not None})
    odd = [(server, content) for server, content in contents if comparable(content) != comparable(newest)]
    if odd:
        told = listed([f"{server}: other {_what_differs(content, newest)}" for server, content in odd], 3, "; ")
        yield Finding(
            Tag.SERVERS_DIFFER,
            Severity.WARNING,
            f"the servers do not say the same as the one with serial {newest.serial}: {told}",
            "what the parent should hold depends on whom it asks, and so does what resolvers see",
            "see that zone transfers reach every secondary",
        )
    elif len(serials) > 1:
        yield Finding(
            Tag.SERIALS_DIFFER,
            Severity.NOTE,
            f"the servers have different serials: {listed(serials)}",
            "a transfer may be under way; what the delegation is about is the same everywhere",
        )
    elif len(contents) > 1:
        yield Finding(Tag.SERVERS_AGREE, Severity.OK, f"all say the same, serial {newest.serial}")


def _what_differs(content: ZoneContent, other: ZoneContent) -> str:
    pairs = {
        "NS": (content.ns, other.ns),
        "addresses": (content.addresses, other.addresses),
        "CDS": (content.cds, other.cds),
        "DNSKEY": (content.dnskey, other.dnskey),
        "KEY": (content.key, other.key),
    }
    return " and ".join(name for name, (one, two) in pairs.items() if one != two) or "content"
