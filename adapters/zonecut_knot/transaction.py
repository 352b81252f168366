"""Transactions of a zone on knotd: begun, marked as ours, committed or aborted; those that a crash left are ended.

A transaction belongs to the zone, not to the connection: it outlives both, refuses every other one, and keeps DNS
UPDATEs waiting. That it is ours can be seen from a record which it sets first, and unsets before the commit; in the
moments without it, a note of what we were about to do proves it. While we are served, no other zonecut is, since knotd
serves one client at a time: one of ours that we meet is left over. Whatever is not proved to be ours is somebody
else's: it is waited for, never ended.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from zonecut.plugin import BackendError, BackendUnavailable
from zonecut.protocol import names
from zonecut_knot.answers import ABSENT, NO_TRANSACTION, PRESENT, TOO_MANY_TRANSACTIONS, failure, not_loaded
from zonecut_knot.control import Command, Connect, Control, Item, Reply
from zonecut_knot.note import Note

_LOG = logging.getLogger("zonecut.knot")
_MARK = b"\x14_zonecut-transaction"
_GRACE = 1.0
"""Seconds for which one of ours may still be somebody's: with knotc, each command is a connection."""
_PAUSE = 0.05
_NAMED = 3
"""How many RRsets of somebody else's transaction are named."""


class Transaction:
    """An open transaction of ours. Raises the errors of `failure`."""

    def __init__(self, control: Control, zone: str, mark: Command, note: Note) -> None:
        self._control = control
        self._zone = zone
        self._mark = mark
        self._note = note
        self._changes: list[Command] = []
        self._is_marked = False
        self.committed = False
        self.serial = ""
        """Of the zone as it is served, at the last reading or commit; empty where knotd did not say."""

    def read(self, owners: Sequence[bytes]) -> list[tuple[bytes, tuple[Item, ...]]]:
        """The records at these owners, as the transaction has them.

        Raises BackendUnavailable if that is a zone without SOA: then nothing that is missing says anything.
        """
        soa, *replies = self._run([Command("get", self._zone, rtype="SOA"), *_commands("get", owners)])
        self.serial = loaded(self._zone, soa)
        return _nodes(self._zone, "get", owners, replies)

    def change(self, commands: Sequence[Command]) -> None:
        """Set and unset records."""
        self._changes += commands
        for command, reply in zip(commands, self._run(commands), strict=True):
            tolerated = PRESENT if command.name == "set" else ABSENT
            if reply.error and reply.error not in tolerated:
                error = failure(self._zone, command.name, reply.error)
                raise type(error)(f"{error.reason} ({' '.join(filter(None, command[1:]))})")

    def commit(self) -> None:
        unset = Command("unset", self._mark.owner, rtype=self._mark.rtype)
        self._note.commits(self.serial, self._changes)
        _, reply, soa = self._run([unset, Command("commit"), Command("read", self._zone, rtype="SOA")])
        if reply.error:
            raise failure(self._zone, "commit", reply.error)
        self.committed = True
        self._note.restore()
        self.serial = loaded(self._zone, soa)

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

    def __init__(self, connect: Connect, zone: bytes, patience: float, note: Note) -> None:
        self._connect = connect
        self._zone = names.to_text(zone)
        self._patience = patience
        self._note = note
        owner = names.to_text(_MARK + zone) if len(_MARK + zone) <= names.MAX_NAME else f"_zc.{self._zone}"
        self._mark = Command("set", owner, "0", "TXT", '"zonecut"')

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """A transaction in a session of its own; aborted at the end unless it was committed."""
        with self._in_turn(), closing(self._begun()) as control:
            transaction = Transaction(control, self._zone, self._mark, self._note)
            try:
                yield transaction
            except BaseException:
                # of a lost one nobody knows; whatever is left is ended when the next one begins
                if not control.is_lost:
                    with suppress(BackendError):
                        self._abort_ours(control)
                raise
            if not transaction.committed:
                self._abort_ours(control)

    def end_stale(self) -> None:
        """End a transaction that a predecessor left open. Somebody else's stays open."""
        try:
            with self.begin():
                pass
        except BackendUnavailable as error:
            _LOG.warning("%s", error.reason)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """While no other zonecut has a transaction of the zone, if it uses the same directory."""
        limit = time.monotonic() + self._patience
        while not self._note.take():
            if time.monotonic() > limit:
                raise BackendUnavailable(f"another zonecut has been changing {self._zone} for {self._patience:g} s")
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            self._note.leave()

    def _begun(self) -> Control:
        """A session in which a transaction was begun."""
        met: float | None = None
        while True:
            with ExitStack() as stack:
                control = stack.enter_context(closing(self._connect()))
                before = self._note.begins()
                (reply,) = control.run([Command("begin")])
                if not reply.error:
                    stack.pop_all()
                    return control
                self._note.restore(before)
                if reply.error != TOO_MANY_TRANSACTIONS:
                    raise failure(self._zone, "begin", reply.error)
                now = time.monotonic()
                met = now if met is None else met
                self._look_at_other(control, now - met)
            time.sleep(_PAUSE)

    def _look_at_other(self, control: Control, waited: float) -> None:
        """End the open transaction if it is ours, left over; raise BackendUnavailable if we have waited enough."""
        if waited < _GRACE:
            return
        diff, soa = control.run([Command("diff"), Command("read", self._zone, rtype="SOA")])
        if diff.error:
            return  # it was ended meanwhile
        if self._is_ours(diff, soa):
            _LOG.warning(
                "ending a transaction of %s with %d differences that a zonecut left open", self._zone, len(diff.items)
            )
            self._abort(control)
        elif waited >= self._patience:
            raise BackendUnavailable(
                f"somebody else's transaction of {self._zone} is open, for {waited:.0f} s or more: "
                f"{_described(diff.items)}; nothing is written until somebody ends it with "
                f"`knotc zone-commit {self._zone}` or `knotc zone-abort {self._zone}`"
            )

    def _is_ours(self, diff: Reply, soa: Reply) -> bool:
        marked = any(item.owner.lower() == self._mark.owner for item in diff.items)
        return marked or self._note.proves(diff.items, _serial(soa))

    def _abort_ours(self, control: Control) -> None:
        """End what is open and ours: if somebody ended it meanwhile, what is open now is theirs."""
        diff, soa = control.run([Command("diff"), Command("read", self._zone, rtype="SOA")])
        if not diff.error and self._is_ours(diff, soa):
            self._abort(control)

    def _abort(self, control: Control) -> None:
        (reply,) = control.run([Command("abort")])
        if reply.error and reply.error != NO_TRANSACTION:
            raise failure(self._zone, "abort", reply.error)
        self._note.restore()


def _described(diff: Sequence[Item]) -> str:
    """What somebody else's transaction is about, so that who began it knows it again."""
    if not diff:
        return "it changes nothing yet"
    rrsets = list(dict.fromkeys(f"{item.owner} {item.rtype}" for item in diff))
    more = f" and {len(rrsets) - _NAMED} more" if len(rrsets) > _NAMED else ""
    return f"it changes {', '.join(rrsets[:_NAMED])}{more}"


def read(control: Control, zone: str, owners: Sequence[bytes]) -> list[tuple[bytes, tuple[Item, ...]]]:
    """The records at each of these owners; none where there is no such name.

    knotd says the same of a zone that it has not loaded (yet): so where something is missing, it is looked for again
    between two looks at the zone's SOA. Raises BackendUnavailable where that is not there.
    """
    commands = _commands("read", owners)
    replies = control.run(commands)
    if not all(reply.items for reply in replies):
        soa = Command("read", zone, rtype="SOA")
        before, *replies, after = control.run([soa, *commands, soa])
        loaded(zone, before)
        loaded(zone, after)
    return _nodes(zone, "read", owners, replies)


def loaded(zone: str, soa: Reply) -> str:
    """The serial in the answer to a reading of the zone's SOA. Raises BackendUnavailable if there is none."""
    if soa.error and soa.error not in ABSENT:
        raise failure(zone, "read", soa.error)
    serial = _serial(soa)
    if not serial:
        raise not_loaded(zone)
    return serial


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
