"""`zonecut explain` and the receiver run the same steps: they agree on every message, refused or not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refusal_cases import REFUSED
from refusals import KEYS, REFUSAL_ZONE, TARGET
from signer import AAAA, NS, A, Signer, address, another_ds, ds, name, unsigned
from zonecut import config
from zonecut.cli.explaining.pipeline import Findings, Verdict, examine
from zonecut.plugin import BackendContext
from zonecut.plugin.registry import create_manager
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, Rcode, RRClass, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import read_options, walk
from zonecut.protocol.keystate import KeyStateOption, inquire, state_text
from zonecut.receiver.keys.keystate import Inquiries
from zonecut.receiver.message.admission import Source
from zonecut.receiver.message.counters import Counters
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.receiver import Receiver
from zonecut.receiver.refusals import Refusals
from zonecut.receiver.requests import Requests
from zonecut.serve.assembly import ZoneParts, make_zone
from zonecut.serve.daemon import open_identities
from zonecut.store import KeyState, Store

CHILD, OTHER, KNOWN = Signer.generate("child0"), Signer.generate("child1"), Signer.generate("child2")
SECOND, FRESH, GONE = (Signer.generate("child1") for _ in range(3))
STATES = {state: Signer.generate("child3") for state in KeyState if state is not KeyState.KNOWN}
SOURCE = Source("127.0.0.1", 5300, udp=False)
FAST = {"source_burst": 1_000_000, "child_burst": 1_000_000, "upload_burst": 1_000_000}


@dataclass
class Both:
    """A receiver, and what `explain` works with, of one configuration, one store and one zone file."""

    receiver: Receiver
    loaded: config.Loaded
    store: Store

    async def answered(self, wire: bytes) -> tuple[str, bytes | None]:
        """The rule by which a message ended, and the response if there is one."""
        before = self.receiver.tally.results.copy()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.receiver.handle(wire, SOURCE, answer.set_result)
        dropped = "dropped" in {rule for _, rule in self.receiver.tally.results - before}
        response = None if dropped else await asyncio.wait_for(answer, 10)
        rules = {rule for _, rule in self.receiver.tally.results - before}
        return "".join(rules), response

    async def agree(self, wire: bytes) -> tuple[str, Findings]:
        """Have a message explained, then handled; the rule that the receiver names."""
        findings = await examine(wire, time.time(), self.loaded)
        rule, response = await self.answered(wire)
        if response is None:
            assert findings.verdict is Verdict.IGNORED
            return rule, findings
        envelope = walk(response)
        assert (findings.verdict is Verdict.REFUSED) == bool(envelope.rcode), (findings, envelope.rcode)
        if findings.verdict is Verdict.REFUSED:
            assert findings.rule == rule, findings
        assert findings.verdict in (Verdict.ACCEPTED, Verdict.REFUSED)
        sent = (findings.rcode or "").partition("sent as ")[2] or (findings.rcode or "")
        assert Rcode[sent.partition(":")[0]] == envelope.rcode, findings
        error = _option(response, 15)
        told = None if error is None else ExtendedError.from_data(error)
        if findings.verdict is Verdict.REFUSED:
            assert (findings.ede or "").partition(" ")[0] == ("" if told is None else str(told.code)), (findings, told)
        return rule, findings


def _option(response: bytes, code: int) -> bytes | None:
    envelope = walk(response)
    if envelope.opt is None:
        return None
    return dict(read_options(envelope.rdata(envelope.opt))).get(code)


def write_configuration(directory: Path, **parent: Any) -> Path:
    zone_file = directory / "parent.test.zone"
    zone_file.write_text(f"{REFUSAL_ZONE.master_file}\n$INCLUDE {directory}/parent.test.delegations\n")
    (directory / "parent.test.delegations").touch()
    entry = {
        "zone": "parent.test.",
        "target": TARGET,
        "backend": {"adapter": "zonefile", "zone_file": str(zone_file), "directory": str(directory)},
        "checks": {"ds_continuity": "off", "ns_consistency": "off"},
        "bootstrap": ["manual"],
        **parent,
    }
    document = {
        "version": 1,
        "store": {"url": f"sqlite:///{directory}/zonecut.db"},
        "keys": {"directory": str(directory / "keys")},
        "receiver": {"limits": FAST},
        "parents": [entry],
    }
    path = directory / "zonecut.yaml"
    path.write_text(json.dumps(document))
    return path


@asynccontextmanager
async def both(directory: Path, keys: Mapping[Signer, KeyState], **parent: Any) -> AsyncIterator[Both]:
    loaded = config.load(write_configuration(directory, **parent), create_manager())
    (section,) = loaded.configuration.parents
    codepoints, receiver = loaded.configuration.codepoints.to_codepoints(), loaded.configuration.receiver
    async with Store.open(loaded.configuration.store.url) as store:
        for signer, state in keys.items():
            await store.keys.add(signer.pair.key, state, "manual", "test")
        await store.ring.start()
        looked_up, replay, tally = KeyLookup(store.ring), ReplayMemory(), Counters()
        identities = open_identities(loaded)
        identities.ensure([section.rules().target])
        adapter, options = loaded.backends[section.apex]
        backend = adapter.create(BackendContext(section.apex, section.policy.ttl.to_ttls(), directory), options)
        clocks = time.time, time.monotonic
        parts = ZoneParts(loaded, section, store, replay, looked_up, identities, lambda: (section.apex,), *clocks)
        zone = make_zone(parts, backend)
        await zone.delegations.resume()
        tasks = [asyncio.create_task(zone.delegations.run()), asyncio.create_task(store.ring.run())]
        requests = Requests(
            replay, looked_up, receiver.limits, receiver.signatures.fudge, codepoints, tally, time.monotonic
        )
        made = Receiver(
            {section.apex: zone},
            Refusals(store),
            looked_up,
            requests,
            Inquiries(receiver.keystate, receiver.signatures, codepoints),
            receiver.limits,
            receiver.signatures,
            codepoints,
            tally,
            clock=time.time,
            monotonic=time.monotonic,
        )
        try:
            yield Both(made, loaded, store)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await zone.delegations.close(1)
            await made.close(1)


async def test_every_refusal_of_a_change_is_explained_as_the_receiver_gives_it(tmp_path: Path) -> None:
    async with both(tmp_path, KEYS, policy={"min_ns": 2}, trust={"gone_at_most": len(KEYS)}) as here:
        for number, (what, refused) in enumerate(REFUSED.items()):
            rule, findings = await here.agree(refused.make(number % 3 > 0))  # with EDNS, or without
            assert rule == refused.rule, what
            assert (findings.rcode or "").partition(" ")[0] == refused.rcode, what
        for signer in KEYS:
            update = message.add(signer.owner, NS, 60, name("ns.elsewhere.test."))
            await here.agree(signer.update(update))


def upload(signer: Signer, *others: Signer, replace: bool = False) -> bytes:
    deleted = [message.delete_rrset(signer.owner, RRType.KEY)] if replace else []
    added = [message.add(signer.owner, RRType.KEY, 60, each.pair.key.rdata) for each in (signer, *others)]
    return signer.update(*deleted, *added)


def rolled(signer: Signer, *added: Signer, deleted: tuple[Signer, ...] = ()) -> bytes:
    return signer.update(
        *(message.add(signer.owner, RRType.KEY, 60, each.pair.key.rdata) for each in added),
        *(message.delete_record(signer.owner, RRType.KEY, each.pair.key.rdata) for each in deleted),
    )


def asked(signer: Signer, tag: int, *, signed: bool = True, state: bytes | None = None) -> bytes:
    data = inquire(tag).to_data() if state is None else state
    opt = message.opt_record(message.option(DEFAULT.keystate_option, data))
    query = message.query(1, signer.owner, RRType.KEY, additional=[opt])
    return signer.sign(query) if signed else query


STRANGER, ELSEWHERE = Signer.generate("child0"), Signer.generate("child.elsewhere.test.")
FOREIGN_TSIG = message.record(name("key"), RRType.TSIG, RRClass.ANY, 0, name("hmac-sha256.") + bytes(16))
MESSAGES: dict[str, Callable[[], bytes]] = (
    {
        "short": lambda: b"\0" * 11,
        "a response": lambda: b"\0\1\xa8\0" + bytes(8),
        "octets after the message": lambda: CHILD.fresh() + b"\0",
        "another opcode": lambda: b"\0\1\x20\0" + bytes(8),
        "another EDNS version": lambda: CHILD.sign(
            message.update(1, name("parent.test."), (), another_ds(CHILD.owner), [message.opt_record(flags=1 << 16)])
        ),
        "a foreign TSIG key": lambda: message.update(1, name("parent.test."), (), (), [FOREIGN_TSIG]),
        "an UPDATE of another zone": lambda: CHILD.update(*another_ds(CHILD.owner), zone=name("elsewhere.test.")),
        "an UPDATE that is not signed": lambda: unsigned(*another_ds(CHILD.owner)),
        "a signer that is no child": lambda: ELSEWHERE.update(*another_ds(CHILD.owner)),
        "a query for the SOA": lambda: message.query(1, CHILD.owner, RRType.SOA),
        "a query for an SOA elsewhere": lambda: message.query(1, name("elsewhere.test."), RRType.SOA),
        "a query for NS": lambda: message.query(1, CHILD.owner, NS),
        "a query for KEY": lambda: message.query(1, CHILD.owner, RRType.KEY, additional=[message.opt_record()]),
        "KeyState of a trusted key": lambda: asked(CHILD, CHILD.tag),
        "KeyState of another key of the child": lambda: asked(OTHER, SECOND.tag),
        "KeyState of a known key": lambda: asked(KNOWN, KNOWN.tag),
        "KeyState of an unknown key": lambda: asked(STRANGER, STRANGER.tag),
        "KeyState without a signature": lambda: asked(CHILD, CHILD.tag, signed=False),
        "KeyState that is malformed": lambda: asked(CHILD, CHILD.tag, state=b"\0\1\x09\0"),
        "KeyState with a wrong signature": lambda: asked(CHILD, CHILD.tag)[:-1] + b"\0",
        "KeyState from another time": lambda: CHILD.sign(asked(CHILD, CHILD.tag, signed=False), age=4000),
        "KeyState elsewhere": lambda: asked(ELSEWHERE, 1),
        "an unknown key": lambda: STRANGER.fresh(),
        "a wrong signature": lambda: CHILD.fresh()[:-1] + b"\0",
        "a signature from another time": lambda: CHILD.fresh(age=4000),
        "a change under a known key": lambda: KNOWN.fresh(),
        "a message under a known key that cannot be read": lambda: KNOWN.update(message.add(KNOWN.owner, A, 60, b"")),
        "an upload": lambda: upload(FRESH),
        "the same upload again": lambda: upload(FRESH),
        "an upload that replaces": lambda: upload(FRESH, replace=True),
        "an upload of two keys": lambda: upload(GONE, SECOND),
        "an upload below a name that is not delegated": lambda: upload(Signer.generate("ghost")),
        "an upload at the receiver's name": lambda: upload(Signer.generate(TARGET)),
        "an upload with an address": lambda: GONE.update(
            message.add(GONE.owner, RRType.KEY, 60, GONE.pair.key.rdata),
            message.add(name("ns1.child1"), A, 60, address("11.1.1.1")),
        ),
        "a roll under a key that is only brought": lambda: rolled(GONE, GONE, deleted=(OTHER,)),
        "an upload of a trusted key": lambda: upload(OTHER),
        "a roll": lambda: rolled(OTHER, SECOND),
        "a roll by a key and its successor": lambda: upload(OTHER, FRESH),
        "a roll that deletes": lambda: rolled(OTHER, deleted=(SECOND,)),
        "a roll that leaves none": lambda: rolled(OTHER, deleted=(OTHER, FRESH)),
        "a roll with a prerequisite": lambda: OTHER.update(
            message.add(OTHER.owner, RRType.KEY, 60, GONE.pair.key.rdata),
            prerequisites=[message.name_in_use(OTHER.owner)],
        ),
        "a roll to a key that nobody may sign with": lambda: OTHER.update(
            message.add(OTHER.owner, RRType.KEY, 60, b"\x02\x00\x03\xc8" + bytes(32))
        ),
        "a change that is good": lambda: CHILD.fresh(),
        "a change that was signed long before another": lambda: CHILD.fresh(age=330, validity=600),
        "a change with an AAAA record": lambda: CHILD.update(
            message.add(CHILD.owner, NS, 60, name("ns9.child0")),
            message.add(name("ns9.child0"), AAAA, 60, address("2610::9")),
        ),
        "a change that makes no difference": lambda: CHILD.update(message.add(CHILD.owner, NS, 60, name("ns9.child0"))),
    }
    | {f"a change under a key that is {state.value}": lambda key=key: key.fresh() for state, key in STATES.items()}
    | {f"an upload of a key that is {state.value}": lambda key=key: upload(key) for state, key in STATES.items()}
    | {f"KeyState of a key that is {state.value}": lambda key=key: asked(key, key.tag) for state, key in STATES.items()}
)


async def test_each_kind_of_message_is_explained_as_the_receiver_ends_it(tmp_path: Path) -> None:
    trusted = dict.fromkeys((CHILD, OTHER), KeyState.TRUSTED)
    keys = {**trusted, KNOWN: KeyState.KNOWN, **{key: state for state, key in STATES.items()}}
    ended = {}
    async with both(tmp_path, keys) as here:
        for what, make in MESSAGES.items():
            wire = make()
            try:
                ended[what], _ = await here.agree(wire)
            except AssertionError as error:
                raise AssertionError(what) from error
            if ended[what] == "accepted":
                await here.agree(wire)  # a repetition
    # no kind of end is missed
    assert {"accepted", "uploaded", "soa-query", "keystate", "keystate-unverified", "dropped"} <= set(ended.values())


async def test_key_state_is_explained_with_the_words_of_the_answer(tmp_path: Path) -> None:
    keys = {CHILD: KeyState.TRUSTED, KNOWN: KeyState.KNOWN, **{key: state for state, key in STATES.items()}}
    async with both(tmp_path, keys) as here:
        for signer in (*keys, STRANGER):
            wire = asked(signer, signer.tag)
            findings = await examine(wire, time.time(), here.loaded)
            _, response = await here.answered(wire)
            assert response is not None
            data = _option(response, DEFAULT.keystate_option)
            assert data is not None
            assert state_text(KeyStateOption.from_data(data).key_state) in (findings.reason or "")


@pytest.mark.parametrize(("policy", "reason"), [("deny", "rollover"), ("allow", "accepted")])
async def test_a_policy_without_rollover_is_explained(tmp_path: Path, policy: str, reason: str) -> None:
    async with both(tmp_path, {OTHER: KeyState.TRUSTED}, policy={"rollover": policy}) as here:
        assert (await here.agree(rolled(OTHER, SECOND)))[0] == reason


async def test_ds_that_somebody_else_took_out_are_explained(tmp_path: Path) -> None:
    async with both(tmp_path, {CHILD: KeyState.TRUSTED}) as here:
        assert (await here.agree(CHILD.fresh()))[0] == "accepted"
        included = tmp_path / "parent.test.delegations"
        zone_file = tmp_path / "parent.test.zone"
        for path in (included, zone_file):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if not (line.startswith("child0") and "DS" in line.split())))
        await asyncio.sleep(1.1)  # what is signed in one second is told apart from what was accepted in it
        wire = CHILD.update(message.add(CHILD.owner, RRType.DS, 60, ds()))
        assert (await here.agree(wire))[0] == "foreign-ds"
