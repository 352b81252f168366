"""Whenever DS remain, the child stays secure at every one of its servers (RFC 7344 section 4.1, RFC 10026).

A server that contradicts is one that keeps resolvers from the zone as it would become. One that does not answer for the
child at all does so now, whatever the DS are: beside one that proves it is noted.
"""

from collections.abc import Callable
from dataclasses import replace

from dns.rdatatype import RdataType

from zonecut.protocol.delegation import Delegation
from zonecut.receiver.checks.lookups import ServerAddress
from zonecut.receiver.checks.survey import PASSED, Conclusion, Finding, Looks, answer_of, failed, survey
from zonecut.resolve import Direct, check_dnskeys


async def look(looks: Looks, after: Delegation, clock: Callable[[], float], time_limit: float) -> Finding:
    """Does the DNSKEY RRset that each server hands out validate under the resulting DS RRset?

    Asked of the servers themselves, so that no cache's old answer counts. `clock` is in seconds since the epoch.
    """

    async def judge(server: ServerAddress) -> Finding:
        answer = await answer_of(looks, server, after.child, RdataType.DNSKEY)
        if not isinstance(answer, Direct):
            return replace(answer, conclusion=Conclusion.UNDECIDED)
        reason = check_dnskeys(answer, after.ds, clock())
        return PASSED if reason is None else failed(server, f"breaks the chain of trust: {reason}")

    return await survey(looks, after, judge, time_limit, one_proves=True)
