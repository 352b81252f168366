"""The control socket through libknot: one connection, commands sent ahead of their answers."""

import importlib
import math
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zonecut.plugin import BackendUnavailable
from zonecut_knot.answers import failure, unreachable
from zonecut_knot.control import Command, Item, Reply

_SONAMES = (None, "libknot.so.16", "libknot.so.15", "libknot.so.14", "libknot.so.13", "libknot.so.12")
"""libknot as the Python package knows it, and those of other releases of Knot: their control functions are the same."""

_AHEAD = 64
"""How many commands are sent before the first answer is read. More gains nothing, and all of it fits into the socket's
buffers: neither side ever waits for the other to read."""

_FLAGS, _ERROR, _OWNER, _TTL, _TYPE, _DATA, _FILTERS = 1, 2, 7, 8, 9, 10, 11
"""Places in a data unit (knot_ctl_idx_t). The sign of a difference is a flag on 3.2, a filter on 3.4."""
_UNIT_DATA, _UNIT_EXTRA = 1, 2


def load() -> Any:
    """The module libknot.control with the shared library loaded; None where either is missing."""
    try:
        libknot = importlib.import_module("libknot")
        control = importlib.import_module("libknot.control")
    except ImportError:
        return None
    for soname in _SONAMES:
        try:
            libknot.Knot(soname)
        except (OSError, AttributeError, ValueError):
            continue
        return control
    return None


class LibraryControl:
    """A session over one connection, which is closed at its end: knotd serves one client at a time."""

    def __init__(self, module: Any, path: Path, zone: str, timeout: float) -> None:
        self._module = module
        self._zone = zone
        self._timeout = timeout
        self._path = path
        self.is_lost = False
        self._lost = (module.KnotCtlErrorSend, module.KnotCtlErrorReceive)
        self._control = module.KnotCtl()
        # whole seconds are all that the package takes
        self._control.set_timeout(math.ceil(timeout))
        try:
            self._control.connect(str(path))
        except module.KnotCtlErrorConnect as error:
            raise unreachable(path, error.message) from error

    def close(self) -> None:
        if not self.is_lost:
            with suppress(self._module.KnotCtlError):
                self._control.send(self._module.KnotCtlType.END)
        self._control.close()

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        deadline = time.monotonic() + self._timeout
        replies: list[Reply] = []
        sent = 0
        try:
            while len(replies) < len(commands):
                while sent < len(commands) and sent - len(replies) < _AHEAD:
                    self._send(commands[sent])
                    sent += 1
                replies.append(self._reply())
                if time.monotonic() > deadline and len(replies) < len(commands):
                    self.is_lost = True
                    raise BackendUnavailable(f"knotd at {self._path} is too slow: {self._timeout:g} s are over")
        except self._lost as error:
            raise self._unavailable(error) from error
        return replies

    def stream(self, command: Command, rtypes: Collection[str]) -> Iterator[Item]:
        try:
            self._send(command)
            wanted = {rtype.encode() for rtype in rtypes}
            receive, new = self._control.receive, self._module.KnotCtlData
            error = ""
            while receive(unit := new()) in (_UNIT_DATA, _UNIT_EXTRA):
                if unit.data[_ERROR]:
                    error = _text(unit.data[_ERROR])
                elif unit.data[_TYPE] in wanted:
                    yield _item(unit.data)
        except self._lost as lost:
            raise self._unavailable(lost) from lost
        if error:
            raise failure(self._zone, command.name, error)

    def status(self) -> dict[str, str]:
        (reply,) = self.run([Command("status")])
        if reply.error:
            raise failure(self._zone, "status", reply.error)
        return {item.rtype: item.data for item in reply.items}

    def setting(self, section: str, identifier: str, item: str) -> str:
        try:
            self._control.send_block("conf-read", section=section, identifier=identifier, item=item)
            reply = self._reply()
        except self._lost as error:
            raise self._unavailable(error) from error
        return reply.items[0].data if reply.items and not reply.error else ""

    def _send(self, command: Command) -> None:
        name, owner, ttl, rtype, data = command
        self._control.send_block(
            f"zone-{name}",
            zone=self._zone,
            owner=owner or None,
            ttl=ttl or None,
            rtype=rtype or None,
            data=data or None,
        )

    def _reply(self) -> Reply:
        items = []
        error = ""
        receive, new = self._control.receive, self._module.KnotCtlData
        while receive(unit := new()) in (_UNIT_DATA, _UNIT_EXTRA):
            if unit.data[_ERROR]:
                error = _text(unit.data[_ERROR])
            else:
                items.append(_item(unit.data))
        return Reply(tuple(items), error)

    def _unavailable(self, error: Any) -> BackendUnavailable:
        self.is_lost = True
        return BackendUnavailable(f"knotd at {self._path}: {error.message}; another client may hold the socket")


def _item(data: Any) -> Item:
    sign = data[_FLAGS] or (data[_FILTERS] if len(data) > _FILTERS else None)
    return Item(_text(data[_OWNER]), _text(data[_TTL]), _text(data[_TYPE]), _text(data[_DATA]), _text(sign))


def _text(octets: bytes | None) -> str:
    return octets.decode("ascii", "backslashreplace") if octets else ""
