"""Hosts in a child that other delegations name: their addresses stay as long as one does (PROTOCOL section 8).

A child may give such a host other addresses, and take it out of its own NS, but not leave the others without. What a
change of one child means for the hosts of another is looked at again once it is written (`aftercare`): two may come at
once, and an operator with them.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from zonecut.plugin import Backend, Change, Host, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange
from zonecut.receiver.change.judgement import ABOUT_HOSTS, judge
from zonecut.receiver.change.policy import Rules

Naming = Callable[[Collection[bytes]], Mapping[bytes, Sequence[bytes]]]
"""The children that come to name each of these hosts by changes which are accepted and not yet written."""

_ADDRESSES = (RRType.A, RRType.AAAA)
_TOLD = 3
"""So many of those who name a host are told."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a request makes of a delegation, and, in words, which addresses stay although it would have them go.

    `noted`: what the rules have against what comes of it, none of which it makes worse.
    """

    change: Change
    kept: str = ""
    noted: tuple[str, ...] = ()

    def with_kept(self, reason: str) -> str:
        """A reason why it waits, with what stays whatever an operator decides."""
        return f"{reason}; {self.kept}" if self.kept else reason


async def weigh(
    backend: Backend,
    rules: Rules,
    request: DelegationChange,
    reading: Reading,
    monotonic: Callable[[], float] = time.monotonic,
    coming: Naming = lambda _: {},
) -> Weighed:
    """The change that a request makes of a reading. Raises Refusal, BackendError.

    The server is asked who names a host only where a change takes one out of the child's name servers, makes one of
    them, or gives addresses to one that is none of them. A refusal is final, so it is not given on what was known of
    that before: `monotonic` is the backend's clock. `coming` is asked, too.
    """
    try:
        return await _weigh(backend, rules, request, reading, None, coming)
    except Refusal:
        return await _weigh(backend, rules, request, reading, monotonic(), coming)


async def _weigh(
    backend: Backend,
    rules: Rules,
    request: DelegationChange,
    reading: Reading,
    not_before: float | None,
    coming: Naming,
) -> Weighed:
    before = reading.delegation
    asked = _addressed(request) | {each.owner for each in request.prerequisites if each.owner != request.child}
    try:
        after, noted = judge(rules, request, reading)
        change = Change(before, after)
        hosts = _dropped(before, change.after) | (asked | set(change.after.in_domain_ns())).difference(before.ns)
    except Refusal as refusal:
        if refusal.rule not in ABOUT_HOSTS and not asked.difference(before.ns):
            raise
        hosts = asked | set(before.in_domain_ns()) | set(request.apply(before).in_domain_ns())
        shared = await _shared(backend, request.child, hosts, not_before, coming)
        if not shared:
            raise
    else:
        shared = await _shared(backend, request.child, hosts, not_before, coming)
        if not shared:
            return Weighed(change, "", noted)
    # what stands there is part of what the child changes; a host of its own it has as it was read
    addresses = {host: known.addresses for host, known in shared.items()}
    held = Delegation.of(before.child, {*before.records, *(rr for rrs in addresses.values() for rr in rrs)})
    after, noted = judge(replace(rules, shared=frozenset(shared)), request, replace(reading, delegation=held))
    _check_nested(reading, after, shared)
    return Weighed(Change(held, after), _words(request, before, after, shared), noted)


def _check_nested(reading: Reading, after: Delegation, shared: Mapping[bytes, Host]) -> None:
    """Raise Refusal where the addresses of a host in a delegation below the child, which names it, are changed."""
    for host, known in shared.items():
        inner = [each for each in known.named_by if each in reading.nested and names.is_at_or_below(host, each)]
        there = {record for record in after.glue if record.owner == host}
        if inner and host not in reading.delegation.ns and there != set(known.addresses):
            found = f"{names.to_text(host)} lies in the delegation of {names.to_text(inner[0])}, which names it"
            raise Refusal(
                "glue-of-nested-delegation",
                f"{found}: its addresses are not changed by the child above it; leave them out of the update",
                ede=EdeCode.PROHIBITED,
            )


def _dropped(before: Delegation, after: Delegation) -> set[bytes]:
    """The hosts that were the child's name servers, or had addresses, and are no servers of it any more."""
    return {*before.in_domain_ns(), *(record.owner for record in before.glue)}.difference(after.ns)


def _addressed(request: DelegationChange) -> set[bytes]:
    """The hosts of whose addresses a request says something."""
    return {
        each.owner
        for each in request.operations
        if each.rtype in _ADDRESSES or (each.rtype == RRType.ANY and each.owner != request.child)
    }


async def _shared(
    backend: Backend, child: bytes, hosts: set[bytes], not_before: float | None, coming: Naming
) -> Mapping[bytes, Host]:
    """Those of these hosts that others than the child name, or come to name; as it was at `not_before` or later."""
    if not hosts:
        return {}
    named = coming(hosts)
    # a server may leave out a host that nobody else names yet
    known = dict(await backend.hosts(sorted(hosts.difference(named)), not_before=not_before, shared=True))
    if named:
        there = await backend.hosts(sorted(named), not_before=not_before)
        for host, children in named.items():
            found = there.get(host, Host())
            known[host] = replace(found, named_by=tuple(dict.fromkeys((*found.named_by, *children))))
    return {host: each for host, each in known.items() if any(owner != child for owner in each.named_by)}


def _words(request: DelegationChange, before: Delegation, after: Delegation, shared: Mapping[bytes, Host]) -> str:
    kept = []
    for host, known in shared.items():
        there = {record for record in after.glue if record.owner == host}
        if host not in after.ns and there and there <= set(known.addresses):
            others = [names.to_text(owner) for owner in known.named_by if owner != request.child]
            more = ", ..." if len(others) > _TOLD else ""
            kept.append(f"{names.to_text(host)} keeps its addresses: {', '.join(others[:_TOLD])}{more} NS names it")
    return "; ".join(kept)
