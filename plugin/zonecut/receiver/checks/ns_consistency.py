"""The resulting name servers serve the child, and name themselves, at every address (RFC 7477, RFC 9975).

The parent may have fewer of them: one that is taken out goes at the parent first (RFC 6781 section 4.3.5.1).
"""

from collections.abc import Callable, Iterable

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.checks.lookups import ServerAddress
from zonecut.receiver.checks.survey import PASSED, Conclusion, Finding, Looks, answer_of, failed, survey
from zonecut.resolve import Direct, Status

_ALIAS = "is an alias, which an NS record must not name (RFC 2181 section 10.3)"
_MAX_TOLD = 4


async def look(looks: Looks, after: Delegation, clock: Callable[[], float], time_limit: float) -> Finding:
    """Does each server answer for the child with authority, and with an NS RRset that holds the resulting one?

    "There is no such RRset" is an answer, and another one. `clock` is not needed: nothing here has a time.
    """
    in_domain = set(after.in_domain_ns())

    async def judge(server: ServerAddress) -> Finding:
        answer = await answer_of(looks, server, after.child, RRType.NS)
        if not isinstance(answer, Direct):
            return answer
        if answer.status is not Status.FOUND:
            return failed(server, f"has no NS of {names.to_text(after.child)}: {answer.reason}")
        if not set(answer.rdatas).issuperset(after.ns):
            return failed(server, f"has the NS {_listed(answer.rdatas)}, and the parent would have {_listed(after.ns)}")
        return await _not_alias(looks, server) if server.server in in_domain else PASSED

    return await survey(looks, after, judge, time_limit)


async def _not_alias(looks: Looks, server: ServerAddress) -> Finding:
    """RFC 2181 section 10.3 for a name in the child zone: what the server itself says that its name is.

    For all other names the look-up of their addresses has told.
    """
    answer = await answer_of(looks, server, server.server, RRType.A)
    if not isinstance(answer, Direct):
        # no authority for its own name: that lies in a zone further below, which is for that zone to say
        return answer if answer.conclusion is Conclusion.UNDECIDED else PASSED
    return failed(server, _ALIAS) if answer.status is Status.ALIAS else PASSED


def _listed(targets: Iterable[bytes]) -> str:
    texts = [names.to_text(target) for target in sorted(targets)]
    return ", ".join(texts[:_MAX_TOLD]) + (f" and {len(texts) - _MAX_TOLD} more" if len(texts) > _MAX_TOLD else "")
