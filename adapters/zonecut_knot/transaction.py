"""Transactions of a zone on knotd: begun, marked as ours, committed or aborted; those that a crash left are ended.

A transaction belongs to the zone, not to the connection: it outlives both, refuses every other one, and keeps DNS
UPDATEs waiting. That it is ours can be seen from a record which it sets first, and unsets before the commit. While we
are served, no other zonecut is, since knotd serves one client at a time: a marked one that we meet is left over. One of
a zonecut that was killed just before its commit bears no mark any more; but it does what we, who took over its ledger,
are about to do.
"""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from zonecut.plugin import BackendError, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.delegation import RR
from zonecut_knot.answers import ABSENT, NO_TRANSACTION, PRESENT, TOO_MANY_TRANSACTIONS, failure
from zonecut_knot.control import Command, Connect, Control, Item, Reply
from zonecut_knot.text import DELEGATION_TYPES, any_rdata, name, type_number

_LOG = logging.getLogger("zonecut.knot")
_MARK = b"\x14_zonecut-transaction"
_GRACE = 1.0
"""Seconds for which a marked transaction may still be somebody's: with knotc, each command is a connection."""
_TAKEN_OVER = 2.0
"""Seconds without a change after which an unmarked transaction that does what we are about to do is taken for left
over by a predecessor."""
_ABANDONED = 600.0
"""Seconds without a change after which an unmarked transaction of nothing but our types is taken for left over."""
_PAUSE = 0.05

Doing = Collection[tuple[str, RR]]
"""Records that are about to be added (+) or removed (-)."""

_OUR_TYPES = frozenset((*DELEGATION_TYPES, "KEY", "SVCB", "TYPE66", "DSYNC"))


class Transaction:
    """An open transaction of ours. Raises the errors of `failure`."""

    def __init__(self, control: Control, zone: str, mark: Command) -> None:
        self._control = control
        self._zone = zone
        self._mark = mark
        self._soa = Command("read", zone, rtype="SOA")
        self._is_marked = False
        self.committed = False
        self.serial = ""
        """Of the zone as it is served, at the last reading or commit; empty where knotd did not say."""

    def read(self, owners: Sequence[bytes]) -> list[tuple[bytes, tuple[Item, ...]]]:
        """The records at these owners, as the transaction has them."""
        *replies, soa = self._run([*_commands("get", owners), self._soa])
        self.serial = _serial(soa)
        return _nodes(self._zone, "get", owners, replies)

    def change(self, commands: Sequence[Command]) -> None:
        """Set and unset records."""
        for command, reply in zip(commands, self._run(commands), strict=True):
            tolerated = PRESENT if command.name == "set" else ABSENT
            if reply.error and reply.error not in tolerated:
                error = failure(self._zone, command.name, reply.error)
                raise type(error)(f"{error.reason} ({' '.join(filter(None, command[1:]))})")

    def commit(self) -> None:
        unset = Command("unset", self._mark.owner, rtype=self._mark.rtype)
        _, reply, soa = self._run([unset, Command("commit"), self._soa])
        if reply.error:
            raise failure(self._zone, "commit", reply.error)
        self.committed = True
        self.serial = _serial(soa)

    def abort(self) -> None:
        (reply,) = self._control.run([Command("abort")])
        if reply.error and reply.error != NO_TRANSACTION:
            raise failure(self._zone, "abort", reply.error)

    def _run(self, commands: Sequence[Command]) -> list[Reply]:
        """Carry commands out, the first after the mark that makes the transaction known as ours.

        What is sent together costs one wait for knotd.
        """
        if self._is_marked:
            return self._control.run(commands)
        marked, *replies = self._control.run([self._mark, *commands])
        if marked.error and marked.error not in PRESENT:
            raise failure(self._zone, "set", marked.error)
        self._is_marked = True
        return replies


class Transactions:
    """What begins transactions of one zone, one at a time."""

    def __init__(self, connect: Connect, zone: bytes, patience: float) -> None:
        self._connect = connect
        self._zone = names.to_text(zone)
        self._patience = patience
        owner = names.to_text(_MARK + zone) if len(_MARK + zone) <= names.MAX_NAME else f"_zc.{self._zone}"
        self._mark = Command("set", owner, "0", "TXT", '"zonecut"')
        self._idle: tuple[Sequence[Item], float] | None = None
        """The last unmarked transaction that was met, and since when it has been as it is."""
        self._uncertain = False
        """There may be an open transaction of ours: the session of one was lost."""

    @contextmanager
    def begin(self, doing: Doing = ()) -> Iterator[Transaction]:
        """A transaction in a session of its own; aborted at the end unless it was committed.

        By `doing`, what is to be done in it, one is known that a predecessor left open.
        """
        with closing(self._begun(doing)) as control:
            transaction = Transaction(control, self._zone, self._mark)
            try:
                yield transaction
            except BaseException:
                # of a lost one nobody knows; whatever is left is ended when the next one begins
                if not control.is_lost:
                    with suppress(BackendError):
                        transaction.abort()
                        self._uncertain = False
                raise
            if not transaction.committed:
                transaction.abort()
            self._uncertain = False

    def end_stale(self) -> None:
        """End a transaction that a predecessor left open. One that is somebody else's, as it seems, stays open."""
        try:
            with self.begin():
                pass
        except BackendUnavailable as error:
            _LOG.warning("%s", error.reason)

    def _begun(self, doing: Doing) -> Control:
        """A session in which a transaction was begun."""
        met: float | None = None
        while True:
            with ExitStack() as stack:
                control = stack.enter_context(closing(self._connect()))
                try:
                    (reply,) = control.run([Command("begin")])
                except BackendError:
                    self._uncertain = True
                    raise
                if not reply.error:
                    self._uncertain = True
                    stack.pop_all()
                    return control
                if reply.error != TOO_MANY_TRANSACTIONS:
                    raise failure(self._zone, "begin", reply.error)
                now = time.monotonic()
                met = now if met is None else met
                self._look_at_other(control, doing, now - met)
            time.sleep(_PAUSE)

    def _look_at_other(self, control: Control, doing: Doing, waited: float) -> None:
        """End the open transaction if it was left over; raise BackendUnavailable if we have waited enough."""
        if waited < _GRACE and not self._uncertain:
            return
        (diff,) = control.run([Command("diff")])
        marked = any(item.owner.lower() == self._mark.owner for item in diff.items)
        like_ours = all(self._is_like_ours(item) for item in diff.items)
        if marked or (like_ours and (self._uncertain or self._is_abandoned(diff.items, doing, waited))):
            self._end(control, diff.items)
        elif waited >= self._patience:
            raise BackendUnavailable(
                f"somebody else's transaction of {self._zone} has been open for {waited:.0f} s: end it with "
                f"`knotc zone-commit {self._zone}` or `knotc zone-abort {self._zone}`"
            )

    def _is_like_ours(self, item: Item) -> bool:
        """True for what a zonecut may leave unmarked, when it is killed within the microseconds around its mark."""
        return item.owner != self._zone and item.rtype in _OUR_TYPES

    def _is_abandoned(self, items: Sequence[Item], doing: Doing, waited: float) -> bool:
        """True for an unmarked transaction at which nobody works any more.

        An empty one holds nothing that could be lost; a person gets time to go on with another.
        """
        if not items:
            return waited >= self._patience
        now = time.monotonic()
        if self._idle is None or self._idle[0] != items:
            self._idle = items, now
        return now - self._idle[1] >= (_TAKEN_OVER if any(_does(item) in doing for item in items) else _ABANDONED)

    def _end(self, control: Control, items: Sequence[Item]) -> None:
        _LOG.warning(
            "ending a transaction of %s with %d differences that was left open, by a zonecut as it seems",
            self._zone,
            len(items),
        )
        (reply,) = control.run([Command("abort")])
        if reply.error and reply.error != NO_TRANSACTION:
            raise failure(self._zone, "abort", reply.error)
        self._uncertain = False


def _does(item: Item) -> tuple[str, RR] | None:
    """What a difference does to the zone; None for one that we cannot read, which is none of ours."""
    try:
        rtype = type_number(item.rtype)
        return item.sign, RR(name(item.owner), rtype, any_rdata(rtype, item.data))
    except (ValueError, OSError):
        return None


def read(control: Control, zone: str, owners: Sequence[bytes]) -> list[tuple[bytes, tuple[Item, ...]]]:
    """The records at each of these owners; none where there is no such name."""
    return _nodes(zone, "read", owners, control.run(_commands("read", owners)))


def _commands(name: str, owners: Sequence[bytes]) -> list[Command]:
    return [Command(name, names.to_text(owner)) for owner in owners]


def _nodes(
    zone: str, command: str, owners: Sequence[bytes], replies: Sequence[Reply]
) -> list[tuple[bytes, tuple[Item, ...]]]:
    for reply in replies:
        if reply.error and reply.error not in ABSENT:
            raise failure(zone, command, reply.error)
    return [(owner, reply.items) for owner, reply in zip(owners, replies, strict=True)]


def _serial(soa: Reply) -> str:
    """The serial in the answer to a reading of the zone's SOA; empty if there is none."""
    fields = [field for item in soa.items for field in item.data.split()]
    return fields[2] if not soa.error and len(fields) > 2 else ""
