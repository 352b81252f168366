"""Kinds of servers that take UPDATEs (RFC 2136): what they are called, and where an operator puts things right."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Operation(StrEnum):
    """What was asked of the server."""

    UPDATE = "update"
    QUERY = "query"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The words about one kind of server. `{key}` stands for the name of the TSIG key."""

    name: str
    """What the server is called in a sentence."""
    refused: Mapping[Operation, str]
    """What lets an operation in to which the answer was REFUSED."""
    elsewhere: str
    """What is wrong where the server does not take itself for the zone's primary."""
    unknown_key: str
    """What may be wrong where the server says BADKEY."""
    silence: str
    """When an UPDATE gets no answer although the server runs: what follows "did not answer"."""
    shut: str
    """Why the server takes no UPDATE at all from a key; of one that it never took any from."""
    shut_since: str
    """The same, of one that it has taken some from."""
    grant: str
    """What gives a key the types that it lacks."""
    unfit: str
    """Which records it refuses although the key may write them; before those records."""


_BIND_GRANTS = "its update-policy or allow-update grants the key {key} nothing"

BIND = Dialect(
    name="named",
    refused={
        Operation.UPDATE: "its update-policy or allow-update must grant the key NS, DS, A and AAAA below the zone's "
        "apex, KEY, SVCB and DSYNC for what zonecut publishes, and the zone must not be frozen",
        Operation.QUERY: "its allow-query and the view's match-clients must let the key in",
        Operation.TRANSFER: 'the zone needs allow-transfer {{ key "{key}"; }};',
    },
    elsewhere="it is not primary for the zone (in the view that the key reaches): look at `server` and at the zone's "
    "name",
    unknown_key="it has no key of that name and algorithm",
    # what exceeds its quota named drops without an answer
    silence=", as where more UPDATEs come at once than its `update-quota`",
    shut=f"the zone is frozen, which `rndc thaw` ends, or {_BIND_GRANTS}: it must grant NS, DS, A and AAAA below the "
    "zone's apex, and KEY, SVCB and DSYNC for what zonecut publishes",
    shut_since=f"the zone is frozen, or {_BIND_GRANTS} any more; `rndc thaw` ends a freeze",
    grant="grant it in the zone's update-policy",
    unfit="by default its `check-names` takes no name that is not a host's",
)

_GRANTS = (
    "nothing lets the key {key} update it (Knot: an acl with the key and `action: update`; PowerDNS: dnsupdate=yes, "
    "allow-dnsupdate-from, and the zone's metadata TSIG-ALLOW-DNSUPDATE)"
)

_LETS = (
    "does not let it do that (Knot: an acl with the key and `action: [update, transfer]`; PowerDNS: the zone's "
    "metadata TSIG-ALLOW-DNSUPDATE and TSIG-ALLOW-AXFR)"
)

ANY_SERVER = Dialect(
    name="the server",
    refused={
        Operation.UPDATE: _GRANTS,
        Operation.QUERY: "it must answer queries with the key {key} (PowerDNS: `pdnsutil import-tsig-key`)",
        Operation.TRANSFER: "it must let the key {key} transfer the zone (Knot: an acl with the key and `action: "
        "transfer`; PowerDNS: disable-axfr=no, allow-axfr-ips, and the zone's metadata TSIG-ALLOW-AXFR)",
    },
    # Knot 3.4 says so where an acl lacks the action
    elsewhere=f"it is not primary for the zone (look at `server` and at the zone's name), or {_LETS}",
    unknown_key=f"it has no key of that name and algorithm, or {_LETS}",
    silence=", as Knot while somebody has a transaction open or the zone is frozen (`knotc zone-status`)",
    shut=f"the zone is frozen, or {_GRANTS}",
    shut_since=f"the zone is frozen (Knot: `knotc zone-thaw`), or {_GRANTS}",
    grant="let it write them (Knot: the acl's update-type and update-owner)",
    unfit="it may not take what these say",
)

PRIMARY = replace(
    ANY_SERVER,
    name="the zone's server",
    refused={
        Operation.UPDATE: "nothing is written here",
        Operation.QUERY: "it must answer queries from here, with the key {key}",
        Operation.TRANSFER: "it must let whoever comes from here, with the key {key}, transfer the zone",
    },
    elsewhere="it does not serve the zone, or not to the key {key}: look at `server`, at the zone's name and at `tsig`",
    unknown_key="it has no key of that name and algorithm, or none that may transfer the zone",
)
"""Of one that is only read from."""
