"""Key rolls as people do them, from beginning to end, with a secondary that is so many seconds late.

The servers keep to the times of their own policies, and the agent has to do its part between them.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent_world import CHILD
from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.process import until
from lab.zones import ParentZone, Signing
from rolls_world import TTL, RollsWorld

Case = Callable[[Path, int], None]
"""A roll with all its servers in a directory, and a secondary that is late by so many seconds."""

TWO_LOOKS = 3.0
"""Seconds within which a DS goes that nobody needs: two looks, a second apart, show it."""

KNOT = """\
  - id: parent
    address: 127.0.0.1@{port}
submission:
  - id: parent
    check-interval: 1
    parent: parent
    parent-delay: {ttl}
policy:
  - id: quick
    algorithm: ecdsap256sha256
    dnskey-ttl: 1
    zone-max-ttl: 1
    propagation-delay: {lag}
    rrsig-refresh: 3600
    ksk-submission: parent
"""
"""Knot's own way with CDS, `cds-cdnskey-publish: rollover`, and times to which it has to keep with a secondary."""

BIND = """
dnssec-policy "{name}" {{
  keys {{ ksk lifetime unlimited algorithm {algorithm}; zsk lifetime unlimited algorithm {algorithm}; }};
  dnskey-ttl PT1S; max-zone-ttl PT1S; zone-propagation-delay PT{lag}S;
  parent-ds-ttl PT{ttl}S; parent-propagation-delay PT{delay}S; publish-safety PT0S; retire-safety PT0S;
}};
"""
"""named counts the TTL of DS from the moment when it publishes CDS, whenever it hears that the parent has them:
until then is `parent-propagation-delay`."""


def knot(world: RollsWorld, zone: ParentZone) -> Knotd:
    policy = KNOT.format(port=world.parent_port, ttl=TTL, lag=world.lag + 1)
    return Knotd(world.directory / "child", zone, notified=world.notify_port, rolls=policy)


def knot_rolls_its_ksk(directory: Path, lag: int) -> None:
    with RollsWorld(directory, knot, lag=lag) as world:
        world.wait_for("in-sync")
        (old,) = world.key_tags()
        world.child.roll_ksk()
        until(lambda: len(world.key_tags()) == 2, timeout=5, what="a second key")
        until(lambda: old not in world.key_tags(), timeout=25 + 5 * lag, what="the old key is gone")
        world.until_ds(world.key_tags(), within=TWO_LOOKS)
        world.settled()


def knot_rolls_its_algorithm(directory: Path, lag: int) -> None:
    with RollsWorld(directory, knot, lag=lag) as world:
        world.wait_for("in-sync")
        assert isinstance(world.child, Knotd)
        world.child.reconfigure("ecdsap256sha256", "ed25519")
        until(lambda: len(world.key_tags(15)) == 1, timeout=15 + 2 * lag, what="a key of the other algorithm")
        until(lambda: not world.key_tags(13), timeout=30 + 5 * lag, what="the old keys are gone")
        world.until_ds(world.key_tags(), within=TWO_LOOKS)
        world.settled()


class RollingNamed(Named):
    """A named whose operator looks for the DS of its keys at the parent, and says so (`rndc dnssec -checkds`)."""

    def __init__(self, world: RollsWorld, zone: ParentZone) -> None:
        self._times = {"lag": world.lag + 1, "ttl": TTL, "delay": world.lag + 4}
        super().__init__(world.directory / "child", zone, notified=world.notify_port)

    def _configuration(self, directory: Path, options: str) -> str:
        policies = BIND.format(name="first", algorithm="ecdsap256sha256", **self._times)
        policies += BIND.format(name="other", algorithm="ed25519", **self._times)
        text = super()._configuration(directory, options)
        return policies + text.replace("dnssec-policy default;", "dnssec-policy first;")

    def has_ds(self, tag: int) -> None:
        self._tell(tag, "published")

    def has_no_ds(self, tag: int, *, since: float | None = None) -> None:
        when = [] if since is None else ["-when", time.strftime("%Y%m%d%H%M%S", time.gmtime(since))]
        self._tell(tag, *when, "withdrawn")

    def _tell(self, tag: int, *what: str) -> None:
        *when, event = what
        self.rndc("dnssec", "-checkds", "-key", str(tag), *when, event, CHILD)

    def until_known(self, state: str) -> None:
        """Wait until a key is in a state, as it calls it."""
        until(lambda: state in self.rndc("dnssec", "-status", CHILD), timeout=60, what=state)


def _ready(world: RollsWorld) -> tuple[RollingNamed, int]:
    """The primary, once it is sure that the parent has the DS of its key; and the tag of that."""
    world.wait_for("in-sync")
    assert isinstance(world.child, RollingNamed)
    (tag,) = world.key_tags()
    world.child.until_known("zone rrsig:     omnipresent")
    world.child.has_ds(tag)
    world.child.until_known("ds:             omnipresent")
    return world.child, tag


def bind_rolls_its_ksk(directory: Path, lag: int) -> None:
    with RollsWorld(directory, RollingNamed, lag=lag) as world:
        named, old = _ready(world)
        named.rndc("dnssec", "-rollover", "-key", str(old), CHILD)
        until(lambda: len(world.key_tags()) == 2, timeout=5, what="a second key")
        (new,) = set(world.key_tags()) - {old}
        world.until_ds([new], within=15 + 3 * lag)
        named.has_ds(new)
        named.has_no_ds(old)
        until(lambda: old not in world.key_tags(), timeout=25 + 3 * lag, what="the old key is gone")
        world.settled()


def bind_rolls_its_algorithm(directory: Path, lag: int) -> None:
    with RollsWorld(directory, RollingNamed, lag=lag) as world:
        named, old = _ready(world)
        named.reconfigure("dnssec-policy first;", "dnssec-policy other;")
        until(lambda: len(world.key_tags(15)) == 1, timeout=15, what="a key of the other algorithm")
        (new,) = world.key_tags(15)
        world.until_ds([new], within=15 + 3 * lag)
        named.has_ds(new)
        named.has_no_ds(old)
        until(lambda: not world.key_tags(13), timeout=25 + 3 * lag, what="the old key is gone")
        world.settled()


def bind_goes_insecure(directory: Path, lag: int) -> None:
    """Its policy for that gives an hour to DNSKEY in caches and a day to DS, unless it is told that they passed."""
    with RollsWorld(directory, RollingNamed, lag=lag, cache="  cache-max-ttl: 3\n") as world:
        named, tag = _ready(world)
        named.reconfigure("dnssec-policy first;", "dnssec-policy insecure;")
        world.until_ds([], within=15 + 2 * lag)
        time.sleep(lag + 4)
        named.has_no_ds(tag, since=time.time() - 7 * 86400)
        until(lambda: not world.key_tags(), timeout=30, what="the keys are gone")
        world.settled(secure=False)


def powerdns(world: RollsWorld, zone: ParentZone) -> PowerDns:
    return PowerDns(world.directory / "child", zone, notified=world.notify_port, rolls=True)


def powerdns_key_is_changed_by_hand(directory: Path, lag: int) -> None:
    """Both keys sign for a while; the old one goes when the new one's DS is at the parent, and in caches."""
    with RollsWorld(directory, powerdns, lag=lag) as world:
        world.wait_for("in-sync")
        assert isinstance(world.child, PowerDns)
        (old,) = world.key_tags()
        (first,) = world.child.api("GET", "/cryptokeys")
        world.child.api("POST", "/cryptokeys", {"keytype": "csk", "active": True, "algorithm": "ecdsa256"})
        world.child.pdnsutil("increase-serial", CHILD)
        until(lambda: len(world.key_tags()) == 2, timeout=5, what="a second key")
        (new,) = set(world.key_tags()) - {old}
        world.until_ds([old, new], within=15 + 2 * lag)
        time.sleep(lag + TTL + 2)
        world.child.api("DELETE", f"/cryptokeys/{first['id']}")
        world.child.pdnsutil("increase-serial", CHILD)
        world.until_ds([new], within=15 + 2 * lag)
        world.settled()


def powerdns_signs_for_the_first_time(directory: Path, lag: int) -> None:
    """DS go to the parent when nobody can have unsigned answers any more."""
    with RollsWorld(directory, powerdns, lag=lag, child_signing=Signing.NONE, bootstrap=["manual"]) as world:
        world.wait_for("bootstrapping")
        world.receiver.cli("key", "trust", CHILD)
        world.wait_for("in-sync")
        assert isinstance(world.child, PowerDns)
        world.child.pdnsutil("secure-zone", CHILD)
        world.child.pdnsutil("set-publish-cds", CHILD)
        world.child.pdnsutil("increase-serial", CHILD)
        until(lambda: len(world.key_tags()) == 1, timeout=5, what="the zone is signed")
        world.until_ds(world.key_tags(), within=20 + 3 * lag)
        world.settled()


CASES: Sequence[Case] = (
    knot_rolls_its_ksk,
    knot_rolls_its_algorithm,
    bind_rolls_its_ksk,
    bind_rolls_its_algorithm,
    bind_goes_insecure,
    powerdns_key_is_changed_by_hand,
    powerdns_signs_for_the_first_time,
)
