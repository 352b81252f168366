"""What bounds a sender: token buckets, turns, samples, replay memory; each in bounded memory."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonecut.receiver.message.admission import TokenBuckets, source_key
from zonecut.receiver.message.counters import SAMPLE_INTERVAL, Counters
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.zone.child_locks import ChildLocks, TooManyWaiting, TurnTimeout

CHILD, OTHER = b"\5child\0", b"\5other\0"


@given(st.integers(1, 20), st.floats(0.1, 10), st.lists(st.floats(0, 5), max_size=60))
def test_a_bucket_gives_its_burst_and_then_its_rate(burst: int, rate: float, pauses: list[float]) -> None:
    buckets = TokenBuckets(burst, rate)
    now, taken = 0.0, 0
    for pause in pauses:
        now += pause
        taken += buckets.take("source", now)
        assert taken <= burst + now * rate + 1e-6
    assert all(TokenBuckets(burst, rate).take("source", 0.0) for _ in range(1))


def test_a_bucket_of_one_does_not_take_from_another_s() -> None:
    buckets = TokenBuckets(1, 1)
    assert buckets.take("one", 0.0)
    assert not buckets.take("one", 0.5)
    assert buckets.take("other", 0.5)
    assert buckets.take("one", 1.6)


def test_buckets_cost_bounded_memory_whatever_comes() -> None:
    buckets = TokenBuckets(2, 0.001, capacity=100)
    for number in range(10_000):
        buckets.take(str(number), 0.0)
    assert len(buckets._buckets) <= 100


def test_an_ipv6_source_is_its_64_bit_network() -> None:
    assert source_key("2001:db8:1:2:3::4") == source_key("2001:db8:1:2::") != source_key("2001:db8:1:3::")
    assert source_key("fe80::1%eth0") == source_key("fe80::2")
    assert source_key("192.0.2.1") != source_key("192.0.2.2")


def test_one_sample_stands_for_all_since_the_last() -> None:
    tally = Counters()
    assert [tally.count("rule", 100.0) for _ in range(1000)] == [1] + [0] * 999
    assert tally.count("rule", 100.0 + SAMPLE_INTERVAL) == 1000
    assert tally.count("another", 100.0) == 1
    assert tally.counts["rule"] == 1001


async def test_children_take_turns_in_order_and_others_do_not_wait() -> None:
    turns = ChildLocks(8)
    order: list[int] = []

    async def work(number: int) -> None:
        await turns.take(CHILD, 5)
        order.append(number)
        await asyncio.sleep(0)
        turns.give_back(CHILD)

    assert await turns.take(CHILD, 5) is False
    waiting = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert await turns.take(OTHER, 5) is False
    turns.give_back(OTHER)
    turns.give_back(CHILD)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3, 4]
    assert turns._locks == {}
    assert turns._waiting == {}


async def test_who_waits_too_long_or_one_too_many_is_told() -> None:
    turns = ChildLocks(1)
    await turns.take(CHILD, 5)
    waiting = asyncio.create_task(turns.take(CHILD, 0.05))
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaiting):
        await turns.take(CHILD, 5)
    with pytest.raises(TurnTimeout):
        await waiting
    turns.give_back(CHILD)
    assert await turns.take(CHILD, 0) is False
    turns.give_back(CHILD)
    assert turns._locks == {}


async def test_replay_memory_remembers_until_the_signature_has_expired() -> None:
    memory = ReplayMemory([(b"stored", 100.0)])
    memory.accept(b"new", 200.0)
    assert memory.answer(b"stored", 100.0)
    assert memory.answer(b"new", 100.0)
    assert not memory.answer(b"stored", 100.1)
    assert not memory.answer(b"never", 0.0)
    memory.reject(b"new")
    assert not memory.answer(b"new", 100.0)
    memory.accept(b"new", 300.0)
    assert memory.answer(b"new", 250.0)
    assert not memory.answer(b"new", 301.0)


async def test_what_is_in_work_is_found_until_it_ends() -> None:
    memory = ReplayMemory()
    future = memory.begin(b"one")
    assert memory.in_work(b"one") is future
    future.set_result(Outcome())
    memory.end(b"one")
    assert memory.in_work(b"one") is None
