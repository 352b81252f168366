"""What a configuration names, opened: the store, the servers of parent zones, the children's sources, and what else a
daemon needs at its start. Nothing is written."""

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from zonecut.cli import session

if TYPE_CHECKING:
    from zonecut.agent.settings import ChildSection
    from zonecut.config import Loaded
    from zonecut.plugin.endpoint import Endpoint

PATIENCE = 20.0
"""Seconds in which a child zone has to be read."""


async def problems(loaded: "Loaded") -> list[str]:
    """What cannot be opened, one line each, with the key of the configuration that names it."""
    found = [*_listening(loaded), *_looking(loaded)]
    async for problem in _opening(loaded):
        found.append(problem)
    return found


def _listening(loaded: "Loaded") -> list[str]:
    from time import monotonic

    from zonecut.receiver.tally import Tally
    from zonecut.serve.hook import Hook
    from zonecut.serve.listeners import CannotListen

    receiver = loaded.configuration.receiver
    found: list[str] = []
    try:
        Hook(Tally(), monotonic).prepare(receiver.hook, receiver.limits)
    except CannotListen as error:
        found.append(str(error))
    found += [
        f"receiver.listen: {endpoint}: {endpoint.address} is no address of this machine"
        for endpoint in receiver.endpoints
        if _is_foreign(endpoint)
    ]
    return found


def _is_foreign(endpoint: "Endpoint") -> bool:
    """Whether nobody could listen there; that somebody does is as it should be beside a daemon."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((endpoint.address, 0))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False


def _looking(loaded: "Loaded") -> list[str]:
    """What look-ups need: resolvers, trust anchors. Without any resolver, keys are not looked for, and no more."""
    from zonecut.configfile import ConfigurationError
    from zonecut.serve.resolvers import NoResolver, make_resolver
    from zonecut.serve.worlds import make_world

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


async def _opening(loaded: "Loaded") -> AsyncIterator[str]:
    from zonecut.plugin import BackendError
    from zonecut.store import StoreError

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
        reason = await _unreadable(loaded, child)
        if reason is not None:
            yield f"children[{place}]: {child.zone}: {reason}"


async def _unreadable(loaded: "Loaded", child: "ChildSection") -> str | None:
    """Why a child zone cannot be read; None if it can."""
    from zonecut.agent.content import SourceError
    from zonecut.configfile import ConfigurationError
    from zonecut.plugin import BackendError
    from zonecut.serve.children import make_side

    try:
        side = make_side(loaded, child)
    except ConfigurationError as error:
        return "; ".join(error.problems)
    except BackendError as error:
        return f"backend: {error.reason}"
    try:
        async with asyncio.timeout(PATIENCE):
            await side.source.content()
    except (SourceError, BackendError) as error:
        return error.reason
    except TimeoutError:
        return f"it could not be read within {PATIENCE:g} s"
    finally:
        await side.close()
    return None
