"""Look-ups with our own DNSSEC validation on top, fail closed (RFC 4033 to 4035, 5155, 6840).

`Resolver` talks to the network through `exchange` and `transport`. A look-up walks from a trust anchor down to the zone
that holds the name (`walk`), and judges what it is told on the way: `delegation` at each cut, `zone` for its keys,
`judgement` for the answer itself, `denial` with `nsec` and `nsec3` for proofs of absence, all on top of `signatures`.
`continuity` asks what a DS RRset that is not published yet would do to a zone. Those know no socket and no clock. What
must be bounded is bounded by `work`.
"""

from zonecut.resolve.anchors import ROOT_ANCHORS, TrustAnchors
from zonecut.resolve.continuity import (
    can_validate,
    check_algorithms,
    check_dnskey_rrset,
    check_dnskeys,
    check_signed_under,
)
from zonecut.resolve.failures import ResolveError
from zonecut.resolve.nameserver import Nameserver, Transport, system_nameservers
from zonecut.resolve.resolver import Resolver
from zonecut.resolve.values import Addresses, Answer, Direct, Status, Verdict
from zonecut.resolve.work import Limits, Work

__all__ = [
    "Addresses",
    "Answer",
    "Direct",
    "Limits",
    "Nameserver",
    "ROOT_ANCHORS",
    "ResolveError",
    "Resolver",
    "Status",
    "Transport",
    "TrustAnchors",
    "Verdict",
    "Work",
    "can_validate",
    "check_algorithms",
    "check_dnskey_rrset",
    "check_dnskeys",
    "check_signed_under",
    "system_nameservers",
]
