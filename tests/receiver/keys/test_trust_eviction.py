"""Nobody evicts a trusted key who may not: a machine that tries every sequence of messages, findings and restarts.

A key that is trusted stays trusted unless an operator rejected or revoked it, a trusted key's own signature deleted it
while another remained, another key of the child was accepted with a validated RRset that lacks it after an upload that
asked to replace (or an operator trusted such an upload), the delegation was away at every look of the period, or it
came back with other name servers that were seen over a period. Only these make a key trusted: an operator, an accepted
bootstrap, a trusted key's signature. Whatever is sent to a zone of ours or seen in it, a child of another one that is
nearer keeps its keys. A store that is put back from a backup makes nobody trusted, and ends nobody's trust, before an
operator accepts it: then those are trusted who were trusted in it.
"""

import asyncio
import logging
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from receiver_support import CHILD, NOW, ZONE, Site, replace_ns, site
from trust_support import Scripted, World, accepts, delete_keys, key_record, new_pair, states, stored_of, upload
from zonecut.plugin.bootstrap import Candidate, Conclusion, Finding
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits
from zonecut.store import Bootstrap, InvalidTransition, KeyState

KNOWN, TRUSTED = KeyState.KNOWN, KeyState.TRUSTED
PAIRS = [new_pair() for _ in range(5)]
"""The first two belong to the owner; who holds the others makes no difference to what is right."""
GONE_AFTER = 40.0
FUDGE = 300
"""Seconds by which clocks may differ: for so long after a restore nothing counts that was signed."""
SETTINGS = TrustSettings(
    attempts=3,
    retry_first=5,
    pending_expires=100,
    trusted_per_child=4,
    gone_after=GONE_AFTER,
    gone_at_most=1,
    suspend_after=5,
)
INNER = names.from_text("inner.parent.example.")
"""Another parent zone of ours, which the outer one does not delegate."""
INNER_PAIR = new_pair(names.from_text("child.inner.parent.example."))
LIMITS = Limits(source_burst=100_000, child_burst=100_000, upload_burst=100_000)
NUMBERS = st.integers(0, len(PAIRS) - 1)
SETS = st.sets(NUMBERS, max_size=3)

T = TypeVar("T")


def rdata(number: int) -> bytes:
    return PAIRS[number].key.rdata


def replace_file(path: Path, text: str) -> None:
    """As an editor does: who reads it meanwhile sees the old one or the new one."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


class NonEviction(RuleBasedStateMachine):
    """A whole receiver with a real store and zone file, and a method that finds what the machine says."""

    @initialize(trusted=st.sets(NUMBERS, min_size=1, max_size=2))
    def open(self, trusted: set[int]) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="zonecut-eviction-"))
        self.clock = float(NOW)
        self.trusted: set[bytes] = set()
        """What is trusted, by what the rules say."""
        self.delegated = True
        self.vanished_at = 0.0
        self.holders = 0
        self.before: tuple[str, str] = ("", "")
        """The zone's files when the delegation was there."""
        self.stack = AsyncExitStack()
        self.here = self.run(self.start())
        for number in trusted:
            self.run(self.here.add(PAIRS[number].key, TRUSTED))
            self.trusted.add(rdata(number))
            self.here.pairs[CHILD] = PAIRS[number]
        self.run(self.here.add(INNER_PAIR.key, TRUSTED))
        self.run(self.sweep())

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.stack.aclose())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.directory)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def start(self) -> Site:
        self.method = Scripted(self.finds)
        opened = await self.stack.enter_async_context(
            site(
                self.directory,
                methods=[("at-apex", self.method)],
                lookups=World(),
                trust=SETTINGS,
                limits=LIMITS,
                zones=(ZONE, INNER),
            )
        )
        opened.clock.now = self.clock
        if opened.store.restored is None:
            await opened.zone.look_at(CHILD)
        return opened

    def finds(self, candidate: Candidate) -> Finding:
        """Nothing is accepted but in a step that says so."""
        return Finding(Conclusion.UNDECIDED, "nothing yet", again_in=1)

    async def send(self, wire: bytes) -> int:
        self.clock += 1
        answer = await self.here.ask(wire)
        await self.here.store.ring.fetch([CHILD])
        return answer.rcode

    def signed(self, number: int, *updates: bytes) -> bytes:
        self.here.clock.now = self.clock
        return self.here.signed(*updates, pair=PAIRS[number], identity=random.randrange(65536))

    def state(self) -> dict[bytes, KeyState]:
        return self.run(states(self.here))

    # messages that anybody can send

    @rule(number=NUMBERS, replace=st.booleans())
    def a_key_is_uploaded(self, number: int, replace: bool) -> None:
        self.here.clock.now = self.clock
        before = self.state().get(rdata(number))
        rcode = self.run(self.send(upload(self.here, PAIRS[number], replace=replace, identity=int(self.clock) % 65536)))
        if before is TRUSTED:
            assert rcode == Rcode.NOERROR

    @rule(signer=NUMBERS, victim=NUMBERS, forge=st.booleans(), form=st.integers(0, 3))
    def a_message_wants_keys_deleted(self, signer: int, victim: int, forge: bool, form: int) -> None:
        """By its own signature or with one that is broken; bare, or beside an upload."""
        own = key_record(PAIRS[signer].key)
        one = message.delete_record(CHILD, RRType.KEY, rdata(victim))
        updates = ([delete_keys()], [one], [one, own], [delete_keys(), own])[form]
        wire = self.signed(signer, *updates)
        if forge:
            wire = wire[:-1] + bytes([wire[-1] ^ 1])
        rcode = self.run(self.send(wire))
        if rdata(signer) in self.trusted and not forge and form in (1, 2):
            # as a trusted key it may, but for the last one; deleted and added again in one message it stays
            after = self.trusted - {rdata(victim)}
            if form == 2:
                after.add(rdata(signer))
            assert (rcode == Rcode.NOERROR) == bool(after)
            self.trusted = after or self.trusted

    @rule(signer=NUMBERS, added=SETS, deleted=SETS, everything=st.booleans(), forge=st.booleans())
    def a_roll(self, signer: int, added: set[int], deleted: set[int], everything: bool, forge: bool) -> None:
        updates = [delete_keys()] if everything else []
        updates += [message.delete_record(CHILD, RRType.KEY, rdata(number)) for number in sorted(deleted)]
        updates += [key_record(PAIRS[number].key) for number in sorted(added - {signer})]
        if not updates:
            return
        held = self.state()
        wire = self.signed(signer, *updates)
        if forge:
            wire = wire[:-1] + bytes([wire[-1] ^ 1])
        rcode = self.run(self.send(wire))
        if rcode:
            return
        assert rdata(signer) in self.trusted
        assert not forge
        remaining = set() if everything else self.trusted - {rdata(number) for number in deleted}
        new = {rdata(number) for number in added - {signer}}
        assert not any(held.get(each) in (KeyState.REVOKED, KeyState.REFUSED) for each in new)
        self.trusted = remaining | new
        assert self.trusted

    @rule(number=NUMBERS)
    def a_change_of_the_delegation(self, number: int) -> None:
        """What trust is for: whoever is trusted may, nobody else."""
        rcode = self.run(self.send(self.signed(number, *replace_ns(CHILD, f"ns{number}.ns.example."))))
        self.take_ended()
        assert (rcode == Rcode.NOERROR) == (rdata(number) in self.trusted and self.delegated)

    # what the receiver finds

    async def look(self, number: int, finding: Finding) -> None:
        """The bootstrap of this key is looked at and finds this; others that are due find nothing."""

        stored = next(
            (each for each in await self.here.store.keys.find(CHILD) if each.key.rdata == rdata(number)), None
        )
        if stored is None or stored.state is not KNOWN:
            return
        asked = False

        def finds(candidate: Candidate) -> Finding:
            nonlocal asked
            if candidate.key != PAIRS[number].key:
                return Finding(Conclusion.UNDECIDED, "nothing yet", again_in=1)
            asked = True
            return finding

        bootstrapper = self.here.served_zone.bootstrapper
        self.method.finding = finds
        async with asyncio.timeout(10):
            while not asked or stored.id in bootstrapper._running:
                bootstrap = await self.here.store.bootstraps.get(stored.id)
                if not asked and (bootstrap is None or bootstrap.manual):
                    break
                if bootstrap is not None and not asked:
                    self.clock = self.here.clock.now = max(self.clock, bootstrap.next_at)
                bootstrapper.wake()
                await asyncio.sleep(0.001)
        self.method.finding = self.finds
        await self.here.store.ring.fetch([CHILD])

    def pending(self, choice: int) -> tuple[int, Bootstrap] | None:
        """One of the bootstraps that are looked at, not about to expire, and the number of its key."""
        if not self.delegated:
            return None
        found = [each for each in self.run(self.here.store.bootstraps.list(CHILD)) if not each.manual]
        found = [each for each in found if each.expires_at > max(self.clock, each.next_at) + 10]
        if not found:
            return None
        bootstrap = found[choice % len(found)]
        keys = {stored.id: stored.key for stored in self.run(self.here.store.keys.find(CHILD))}
        return [pair.key for pair in PAIRS].index(keys[bootstrap.key_id]), bootstrap

    @rule(choice=NUMBERS, published=SETS)
    def a_bootstrap_is_accepted(self, choice: int, published: set[int]) -> None:
        if (pending := self.pending(choice)) is not None:
            self.accept(*pending, published)

    @rule(number=NUMBERS, replace=st.booleans(), published=SETS, accepted=st.booleans())
    def a_key_is_uploaded_and_looked_at(self, number: int, replace: bool, published: set[int], accepted: bool) -> None:
        self.a_key_is_uploaded(number, replace)
        for choice in range(len(PAIRS)):
            pending = self.pending(choice)
            if pending is not None and pending[0] == number:
                if accepted:
                    self.accept(*pending, published)
                else:
                    self.refuse(number, Conclusion.ACCEPTED, published)
                return

    def accept(self, number: int, bootstrap: Bootstrap, published: set[int]) -> None:
        validated = accepts(PAIRS[number].key, *(PAIRS[other].key for other in published))
        self.run(self.look(number, validated))
        stay = self.trusted & validated.validated if bootstrap.replaces else self.trusted
        if len(stay) < max(SETTINGS.trusted_per_child, len(self.trusted)):
            self.trusted = stay | {rdata(number)}
        self.run(self.sweep())

    @rule(choice=NUMBERS, conclusion=st.sampled_from(list(Conclusion)), published=SETS)
    def a_bootstrap_is_not_accepted(self, choice: int, conclusion: Conclusion, published: set[int]) -> None:
        if (pending := self.pending(choice)) is not None:
            self.refuse(pending[0], conclusion, published)

    def refuse(self, number: int, conclusion: Conclusion, published: set[int]) -> None:
        rdatas = frozenset(rdata(other) for other in published)
        if conclusion is Conclusion.ACCEPTED:
            rdatas -= {rdata(number)}  # a method that is broken
        self.run(self.look(number, Finding(conclusion, "so it is", validated=rdatas)))

    @rule(seconds=st.sampled_from([1, 10, 101]))
    def time_passes(self, seconds: int) -> None:
        self.clock += seconds
        self.here.clock.now = self.clock
        self.here.served_zone.bootstrapper.wake()
        self.run(asyncio.sleep(0.01))

    @rule()
    def the_receiver_is_restarted(self) -> None:
        self.run(self.stack.aclose())
        self.again()
        # it looks at the start
        self.take_ended()

    def again(self) -> None:
        self.stack = AsyncExitStack()
        self.here = self.run(self.start())

    @rule(number=NUMBERS, added=SETS, deleted=SETS, happens=st.sampled_from(["nothing", "roll", "trusts", "revokes"]))
    def the_store_is_put_back_from_a_backup(
        self, number: int, added: set[int], deleted: set[int], happens: str
    ) -> None:
        """What happened since is lost, and who was trusted then is trusted again: by an operator's word, not before."""
        if not self.delegated:
            return
        database, copy = self.directory / "zonecut.db", self.directory / "copy"
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        then, revoked = set(self.trusted), set[bytes]()
        match happens:
            case "roll":
                self.a_roll(number, added, deleted, everything=False, forge=False)
            case "trusts":
                self.an_operator_trusts(number)
            case "revokes":
                self.an_operator_rejects(number, KeyState.REVOKED)
                revoked = {rdata(number)}
        self.run(self.stack.aclose())
        # what was under way is recorded by the end, and may be younger than the copy as well
        same = newest_entry(database) == newest_entry(copy)
        for suffix in ("", "-wal", "-shm"):
            database.with_name(f"zonecut.db{suffix}").unlink(missing_ok=True)
        copy.rename(database)
        self.again()
        assert (self.here.store.restored is None) == same
        if not same:
            self.nothing_goes_through()
            upload_of_another = upload(self.here, PAIRS[number], replace=True, identity=int(self.clock) % 65536)
            assert self.run(self.send(upload_of_another)) != Rcode.NOERROR
            assert {key for key, state in self.state().items() if state is TRUSTED} == then
            self.run(self.accepts_the_store(revoked))
            # what was signed before is stale, however far a child's clock is ahead
            self.clock = max(self.clock, self.here.clock.now) + 2 * FUDGE
            self.run(self.stack.aclose())
            self.again()
            self.trusted = then - revoked
        self.take_ended()

    async def accepts_the_store(self, revoked: set[bytes]) -> None:
        """An operator does, who knows which keys were revoked since."""
        for stored in await self.here.store.keys.find(CHILD):
            if stored.key.rdata in revoked and stored.state is not KeyState.REVOKED:
                await self.here.store.keys.set_state(stored.id, KeyState.REVOKED, "ann", "lost")
        await self.here.store.restores.accept("ann", [], [], FUDGE)

    # operators, and the parent

    @rule(number=NUMBERS)
    def an_operator_trusts(self, number: int) -> None:
        if not self.delegated or rdata(number) not in self.state():
            return  # without a delegation it would end with the next reading
        stored = self.run(stored_of(self.here, PAIRS[number].key))
        bootstrap = self.run(self.here.store.bootstraps.get(stored.id))
        self.clock = self.here.clock.now = self.clock + 1
        try:
            self.run(self.here.store.bootstraps.decide(stored.id, "ann", "compared"))
        except InvalidTransition:
            assert stored.state is KeyState.REVOKED
            return
        if bootstrap is not None and bootstrap.replaces:
            self.trusted.clear()
        self.trusted.add(rdata(number))
        self.run(self.refresh())
        self.run(self.sweep())

    @rule(number=NUMBERS, state=st.sampled_from([KeyState.REFUSED, KeyState.REVOKED]))
    def an_operator_rejects(self, number: int, state: KeyState) -> None:
        held = self.state().get(rdata(number))
        if held is None or held is KeyState.REVOKED:
            return
        stored = self.run(stored_of(self.here, PAIRS[number].key))
        self.run(self.here.store.keys.set_state(stored.id, state, "ann", "lost"))
        self.trusted.discard(rdata(number))
        self.run(self.refresh())

    async def refresh(self) -> None:
        await self.here.store.ring.fetch([CHILD])

    @rule(looks=st.lists(st.sampled_from([0, 1, 9, 15, 50]), max_size=8), other=st.booleans(), comes_back=st.booleans())
    def the_delegation_is_away(self, looks: list[int], other: bool, comes_back: bool) -> None:
        """A file that is saved in two writes, an old copy, or the end; looked at after these pauses, in seconds."""
        if self.delegated:
            self.vanishes()
        for pause in looks:
            self.a_sweep(pause)
        if comes_back:
            self.comes_back(other)

    def vanishes(self) -> None:
        zone_file, include = self.files
        self.before = zone_file.read_text(), include.read_text() if include.exists() else ""
        self.delegated, self.vanished_at = False, self.clock
        self.write(*map(_without_child, self.before))

    def comes_back(self, other: bool) -> None:
        self.delegated = True
        if not other:
            self.write(*self.before)
        else:
            self.holders += 1
            zone_text, included = map(_without_child, self.before)
            head, last = zone_text.split("$INCLUDE")
            self.write(f"{head}child NS ns.holder{self.holders}.example.\n$INCLUDE{last}", included)
        self.a_sweep(1)
        if other:
            # with all new name servers, it may be another holder's: one look does not prove that
            self.nothing_goes_through()
            self.a_sweep(5)
            assert {*self.state().values()}.isdisjoint({TRUSTED})
            self.trusted.clear()

    def nothing_goes_through(self) -> None:
        """Nobody changes a delegation that may be somebody else's."""
        for number in range(len(PAIRS)):
            rcode = self.run(self.send(self.signed(number, *replace_ns(CHILD, f"ns{number}.ns.example."))))
            assert rcode != Rcode.NOERROR

    @rule(pause=st.sampled_from([0, 1, 9, 50]), many=st.booleans())
    def a_wrong_copy_is_there_for_one_look(self, pause: int, many: bool) -> None:
        """Or for some at one time: with other name servers, of a staging system or of another zone."""
        if not self.delegated:
            return
        before = tuple(file.read_text() if file.exists() else "" for file in self.files)
        zone_text, included = map(_without_child, before)
        head, last = zone_text.split("$INCLUDE")
        self.write(f"{head}child NS ns.staging.example.\n$INCLUDE{last}", included)
        self.a_sweep(pause)
        if many:
            self.a_sweep(0)
        if self.trusted:
            self.nothing_goes_through()
        self.write(*before)
        self.a_sweep(pause)

    @property
    def files(self) -> tuple[Path, Path]:
        return self.directory / "parent.zone", self.directory / "parent.example.delegations"

    def write(self, zone_text: str, included: str) -> None:
        zone_file, include = self.files
        replace_file(zone_file, zone_text)
        if include.exists():
            replace_file(include, included)

    @rule(seconds=st.sampled_from([0, 1, 9, 15, 50]))
    def a_sweep(self, seconds: int) -> None:
        self.clock += seconds
        self.here.clock.now = self.clock
        self.run(self.sweep())
        self.take_ended()

    async def sweep(self) -> None:
        sweep = self.here.served_zone.sweep
        await sweep.once()
        await sweep.absent()
        await self.refresh()

    def take_ended(self) -> None:
        """Trust may have ended, for all keys of the child, if its delegation was away for all of the period."""
        held = self.state()
        ended = {key for key in self.trusted if held[key] is KeyState.ENDED}
        if ended:
            assert not self.delegated
            assert self.clock - self.vanished_at >= GONE_AFTER
            assert ended == self.trusted
            self.trusted.clear()

    @rule(number=NUMBERS, broken=st.sampled_from(["no zone", "", "$INCLUDE nothing\n"]))
    def readings_fail(self, number: int, broken: str) -> None:
        zone_file, _ = self.files
        text = zone_file.read_text()
        replace_file(zone_file, broken)
        self.a_sweep(50)
        self.here.clock.now = self.clock
        self.run(self.send(upload(self.here, PAIRS[number], identity=int(self.clock) % 65536)))
        replace_file(zone_file, text)

    @rule(replace=st.booleans())
    def a_stranger_uploads_a_key_for_a_child_of_the_inner_zone(self, replace: bool) -> None:
        pair = new_pair(INNER_PAIR.key.owner)
        self.here.clock.now = self.clock
        wire = upload(self.here, pair, replace=replace, identity=int(self.clock) % 65536)
        assert self.run(self.send(wire)) == Rcode.REFUSED

    # what must hold

    @invariant()
    def what_is_trusted_is_what_the_rules_say(self) -> None:
        if hasattr(self, "here"):
            held = {key for key, state in self.state().items() if state is TRUSTED}
            assert held == self.trusted

    @invariant()
    def the_outer_zone_says_nothing_of_the_inner_one_s_child(self) -> None:
        if hasattr(self, "here"):
            assert self.run(states(self.here, INNER_PAIR.key.owner)) == {INNER_PAIR.key.rdata: TRUSTED}


def newest_entry(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()[0])


def _without_child(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if "child" not in line)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """A machine says too much, and captured output slows it down."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


TestNonEviction = NonEviction.TestCase
TestNonEviction.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
