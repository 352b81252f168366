"""What a configuration names, opened: the store, the servers of parent zones, the children's sources, and what else a
daemon needs at its start. Nothing is written."""

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from time import monotonic
from typing import Any

from zonecut.agent.evidence.soundness import signed_unseen
from zonecut.agent.settings import ChildSection
from zonecut.agent.zone.source import Source
from zonecut.agent.zone.zone_content import SourceError
from zonecut.cli import session
from zonecut.config import Loaded
from zonecut.configfile import ConfigurationError
from zonecut.net.endpoint import Endpoint
from zonecut.plugin import BackendError
from zonecut.protocol.keys import UnusableKey
from zonecut.receiver.message.counters import Counters
from zonecut.serve.children import make_side
from zonecut.serve.hook import Hook
from zonecut.serve.listening.listeners import CannotListen
from zonecut.serve.lookups import make_world
from zonecut.serve.resolvers import NoResolver, make_resolver
from zonecut.store import StoreError

PATIENCE = 20.0
"""Seconds in which a child zone has to be read."""


async def problems(loaded: Loaded) -> list[str]:
    """What cannot be opened, one line each, with the key of the configuration that names it."""
    found = [*_listening(loaded), *_looking(loaded)]
    async for problem in _opening(loaded):
        found.append(problem)
    return found


def _listening(loaded: Loaded) -> list[str]:
    receiver = loaded.configuration.receiver
    found: list[str] = []
    try:
        Hook(Counters(), monotonic).prepare(receiver.hook, receiver.limits)
    except CannotListen as error:
        found.append(str(error))
    found += [
        f"receiver.listen: {endpoint}: {endpoint.address} is no address of this machine"
        for endpoint in receiver.endpoints
        if _is_foreign(endpoint)
    ]
    return found


def _is_foreign(endpoint: Endpoint) -> bool:
    """Whether nobody could listen there; that somebody does is as it should be beside a daemon."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((endpoint.address, 0))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False


def _looking(loaded: Loaded) -> list[str]:
    """What look-ups need: resolvers, trust anchors. Without any resolver, keys are not looked for, and no more."""
    found: list[str] = []
    for section in loaded.configuration.parents:
        looks_for_keys = bool(loaded.methods[section.apex]) or section.trust.on_demand
        try:
            if looks_for_keys:
                make_world(loaded, section, time.time)
            elif not section.checks.are_off:
                make_resolver(loaded, time.time, section.policy.glue_addresses)
        except NoResolver as error:
            found += error.problems if looks_for_keys else ()
        except ConfigurationError as error:
            found += error.problems
    for child in loaded.configuration.children:
        try:
            make_resolver(loaded, time.time, child.parent.addresses)
        except ConfigurationError as error:
            found += error.problems
    # what is wrong with the resolver is wrong for everybody
    return list(dict.fromkeys(found))


async def _opening(loaded: Loaded) -> AsyncIterator[str]:
    try:
        async with session.open_store(loaded) as store:
            if store.restored:
                yield f"store.url: {store.restored.reason}"
    except StoreError as error:
        yield f"store.url: {error.reason}"
    for place, section in enumerate(loaded.configuration.parents):
        try:
            async with session.open_backend(loaded, section) as backend:
                for remark in backend.remarks():
                    yield f"parents[{place}].backend: {section.zone}: {remark}"
        except BackendError as error:
            yield f"parents[{place}].backend: {section.zone}: {error.reason}"
    for place, child in enumerate(loaded.configuration.children):
        async for reason in _of_child(loaded, child):
            yield f"children[{place}]: {child.zone}: {reason}"


async def _of_child(loaded: Loaded, child: ChildSection) -> AsyncIterator[str]:
    """What of a child zone's side cannot be read or written: the zone, the servers of its backends, its keys."""
    try:
        side = make_side(loaded, child)
    except ConfigurationError as error:
        yield "; ".join(error.problems)
        return
    except BackendError as error:
        yield f"backend: {error.reason}"
        return
    try:
        closed = await _within(side.doors.closed(), "its servers did not answer")
        zone = await _within(_of_zone(loaded, child, side.source), "it could not be read")
        # a zone that is read through its backend is away with it
        for reason in dict.fromkeys((*zone, *closed)):
            yield reason
    finally:
        await side.close()
    try:
        await asyncio.to_thread(side.keys.all)
    except UnusableKey as error:
        yield f"its key: {error.reason}"
    except OSError as error:
        yield f"its key: {error}"


async def _within(work: Coroutine[Any, Any, Sequence[str]], otherwise: str) -> Sequence[str]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await work
    except TimeoutError:
        return (f"{otherwise} within {PATIENCE:g} s",)


async def _of_zone(loaded: Loaded, child: ChildSection, source: Source) -> Sequence[str]:
    try:
        content = await source.content()
    except (SourceError, BackendError) as error:
        return (error.reason,)
    try:
        resolver = make_resolver(loaded, time.time, child.parent.addresses)
    except ConfigurationError:
        return ()  # said already
    told = await signed_unseen(resolver, content, child.ds)
    return () if told is None else (f"{told.reason}: {told.advice}",)
