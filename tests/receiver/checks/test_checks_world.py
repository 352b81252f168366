"""The world behind the checks: whose addresses are asked, and that nothing is made of it where nothing is looked up."""

import socket
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from structlog.testing import capture_logs

from checks_support import CHILD_NAME, NS1, OUTSIDE, delegation
from zonecut import config
from zonecut.configfile import ConfigurationError
from zonecut.plugin.bootstrap import Presence
from zonecut.plugin.registry import create_manager
from zonecut.protocol import names
from zonecut.protocol.addresses import is_global_unicast
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.checks.lookups import MAX_ADDRESSES, ResolverLookups, ServerAddress, VantagePoint
from zonecut.resolve import Addresses, Answer, Direct, ResolveError, Resolver, Status, Verdict
from zonecut.resolve.nameserver import Nameserver, Transport
from zonecut.resolve.work import Limits
from zonecut.serve.lookups import Nowhere, make_world

SERVER = names.from_text(OUTSIDE)
OFF = {"ds_continuity": "off", "ns_consistency": "off"}


def answer(
    *addresses: str, status: Status | None = None, verdict: Verdict = Verdict.INSECURE, rtype: int = RRType.A
) -> Answer:
    status = status or (Status.FOUND if addresses else Status.NODATA)
    packed = tuple(ip_address(address).packed for address in addresses)
    return Answer(SERVER, rtype, verdict, status, f"said {status}", packed)


class Told:
    """A resolver that tells the same of every host."""

    def __init__(self, ipv4: Answer, ipv6: Answer) -> None:
        self.both = Addresses(ipv4, ipv6)

    async def addresses(self, name: bytes) -> Addresses:
        return self.both

    def may_ask(self, address: str) -> bool:
        return is_global_unicast(address)


def world(ipv4: Answer, ipv6: Answer) -> ResolverLookups:
    return ResolverLookups(cast(Resolver, Told(ipv4, ipv6)))


async def addresses(ipv4: Answer, ipv6: Answer) -> list[ServerAddress]:
    return list(await world(ipv4, ipv6).server_addresses(delegation(OUTSIDE)))


async def test_all_addresses_of_both_families_are_asked() -> None:
    found = await addresses(answer("1.1.1.1", "1.1.1.2"), answer("2610::1"))
    assert found == [ServerAddress(SERVER, address, is_secure=False) for address in ("1.1.1.1", "1.1.1.2", "2610::1")]


async def test_a_host_without_addresses_is_certain_and_one_that_cannot_be_looked_up_is_not() -> None:
    assert await addresses(answer(), answer()) == [ServerAddress(SERVER, None, "it has no address", certain=True)]
    unknown = replace(answer(status=Status.FAILED, verdict=Verdict.INDETERMINATE), is_silence=True)
    (found,) = set(await addresses(unknown, unknown))
    assert (found.address, found.certain) == (None, False)
    # how our own resolver is, is for the log and not for the child
    assert found.reason == "its addresses cannot be had: the resolver of this parent has no answer now"


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP, Transport.TLS])
async def test_nobody_is_told_where_our_resolver_is(transport: Transport, trusted: bool) -> None:
    """What a look found is told by KeyState to whoever asks. Nobody listens at that port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken, socket.socket(type=socket.SOCK_DGRAM) as silent:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        silent.bind(("127.0.0.1", port))
        resolver = Resolver(
            [Nameserver("127.0.0.1", port, transport, tls_name="inside.example")],
            trusted=trusted,
            limits=replace(Limits(), seconds=1.0, patience=0.2),
        )
        here = ResolverLookups(resolver)
        child = delegation(OUTSIDE)
        with capture_logs() as logs:
            seen = [await here.keys_at(child.child), await here.ds_at(child.child), await here.keys_under(child)]
            servers = await here.server_addresses(child)
    told = [*(f"{each.where} {each.reason}" for each in seen), *(each.reason for each in servers)]
    assert not [text for text in told if "127.0.0.1" in text or str(port) in text or "inside" in text], told
    assert any(str(port) in entry["reason"] for entry in logs if entry["event"] == "resolver.silent")


@pytest.mark.parametrize(
    "missing",
    [
        answer(status=Status.FAILED, verdict=Verdict.INDETERMINATE),
        answer(status=Status.FAILED),
        answer(verdict=Verdict.BOGUS),
    ],
    ids=["no answer", "insecure and no answer", "bogus"],
)
async def test_a_family_that_is_not_known_is_an_address_that_is_not_asked(missing: Answer) -> None:
    """Every address of every server; silence is failure."""
    first, second = await addresses(answer("1.1.1.1"), missing)
    assert first == ServerAddress(SERVER, "1.1.1.1", is_secure=False)
    assert (second.address, second.certain) == (None, False)


async def test_an_alias_is_certain_where_it_can_be_believed() -> None:
    (found,) = await addresses(answer(status=Status.ALIAS), answer(status=Status.ALIAS))
    assert found.certain
    assert "alias" in found.reason
    forged = answer(status=Status.ALIAS, verdict=Verdict.BOGUS)
    assert not any(each.certain for each in await addresses(forged, forged))


async def test_more_addresses_than_are_asked_are_certain_to_fail() -> None:
    (found,) = await addresses(answer(*(f"1.1.1.{number}" for number in range(MAX_ADDRESSES + 1))), answer())
    assert found.certain
    assert "65 addresses of its name servers, more than 64" in found.reason


async def test_glue_is_asked_for_servers_in_the_child_and_nobody_looks_them_up() -> None:
    here = world(answer(status=Status.ALIAS), answer(status=Status.ALIAS))
    (found,) = await here.server_addresses(delegation(NS1))
    assert found.address == "1.1.1.1"
    assert here.may_ask(found)
    assert not here.may_ask(ServerAddress(SERVER, "127.0.0.1"))
    assert not here.may_ask(ServerAddress(SERVER, None))
    without = Delegation(names.from_text(CHILD_NAME), (names.from_text(NS1),))
    (found,) = await here.server_addresses(without)
    assert found.certain


# What vantage points see


class Place:
    """A resolver, and the servers that it knows."""

    def __init__(self, host: Answer, keys: Answer | None = None, *, works: bool = True) -> None:
        self.host = host
        self.keys = keys
        self.asked: list[tuple[str, str | None]] = []
        self._works = works

    async def addresses(self, name: bytes) -> Addresses:
        return Addresses(self.host, answer())

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        assert self.keys is not None
        return self.keys

    async def works(self) -> bool:
        return self._works

    def may_ask(self, address: str) -> bool:
        return True

    async def ask(self, address: str, port: int, name: bytes, rtype: int, *, source: str | None = None) -> Direct:
        self.asked.append((address, source))
        return Direct(address, port, name, rtype, Status.FOUND, "", 0, authoritative=True, rdatas=(b"key",), ttl=9)


def placed(ours: Place, **places: tuple[Place | None, str | None]) -> ResolverLookups:
    points = {name: VantagePoint(cast(Resolver | None, place), source) for name, (place, source) in places.items()}
    return ResolverLookups(cast(Resolver, ours), points)


async def test_a_vantage_point_with_a_resolver_of_its_own_asks_where_that_one_says_the_servers_are() -> None:
    ours, theirs = Place(answer("1.1.1.1")), Place(answer("1.1.1.9"))
    here = placed(ours, far=(theirs, "192.0.2.7"))
    await here.keys_from_servers(delegation(OUTSIDE))
    (seen,) = await here.keys_from_servers(delegation(OUTSIDE), "far")
    assert ours.asked == [("1.1.1.1", None), ("1.1.1.9", "192.0.2.7")]
    assert (seen.presence, seen.ttl) == (Presence.FOUND, None)


async def test_a_vantage_point_without_one_takes_no_unsigned_address_from_the_resolver_that_we_ask() -> None:
    for verdict, presence in ((Verdict.INSECURE, Presence.FAILED), (Verdict.SECURE, Presence.FOUND)):
        ours = Place(answer("1.1.1.1", verdict=verdict))
        (seen,) = await placed(ours, far=(None, "192.0.2.7")).keys_from_servers(delegation(OUTSIDE), "far")
        assert (seen.presence, seen.is_ours) == (presence, False)
    (seen,) = await placed(ours, far=(None, "192.0.2.7")).keys_from_servers(delegation(NS1), "far")
    assert seen.presence is Presence.FOUND  # glue is the parent's word


async def test_an_answer_of_a_resolver_says_how_long_it_is_kept_there() -> None:
    keys = Answer(SERVER, RRType.KEY, Verdict.INSECURE, Status.FOUND, "", (b"key",), ttl=17)
    here = placed(Place(answer()), far=(Place(answer(), keys), None))
    (seen,) = await here.keys_from_servers(delegation(OUTSIDE), "far")
    assert (seen.ttl, seen.is_ours) == (17, False)


@pytest.mark.parametrize("works", [True, False])
async def test_a_resolver_that_answers_nothing_at_all_is_our_own_fault(works: bool) -> None:
    failed = Answer(SERVER, RRType.KEY, Verdict.INDETERMINATE, Status.FAILED, "silent")
    seen = await placed(Place(answer(), failed, works=works)).keys_at(SERVER)
    assert (seen.presence, seen.is_ours) == (Presence.FAILED, not works)
    bogus = Answer(SERVER, RRType.KEY, Verdict.BOGUS, Status.FAILED, "broken")
    assert not (await placed(Place(answer(), bogus, works=works)).keys_at(SERVER)).is_ours


async def test_an_address_that_cannot_be_looked_up_is_not_the_server_s_silence() -> None:
    unknown = answer(status=Status.FAILED, verdict=Verdict.INDETERMINATE)
    (seen,) = await placed(Place(unknown)).keys_from_servers(delegation(OUTSIDE))
    assert (seen.presence, seen.is_ours) == (Presence.FAILED, True)
    (seen,) = await placed(Place(answer())).keys_from_servers(delegation(OUTSIDE))
    assert (seen.presence, seen.is_ours) == (Presence.FAILED, False)


# What serve makes of the configuration


def loaded(directory: Path, further: dict[str, Any] | None = None, **parent: Any) -> config.Loaded:
    document = {
        "version": 1,
        "store": {"url": f"sqlite:///{directory}/zonecut.db"},
        "parents": [
            {
                "zone": "parent.example.",
                "backend": {"adapter": "zonefile", "zone_file": f"{directory}/zone", "directory": str(directory)},
                **parent,
            }
        ],
        **(further or {}),
    }
    path = directory / "zonecut.yaml"
    path.write_text(yaml.safe_dump(document))
    return config.load(path, create_manager())


def made(here: config.Loaded) -> ResolverLookups | None:
    return make_world(here, here.configuration.parents[0], lambda: 0.0)


@pytest.fixture
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise ResolveError("/etc/resolv.conf names no resolver")

    monkeypatch.setattr("zonecut.serve.resolvers.system_nameservers", none)


@pytest.mark.usefixtures("no_resolver")
def test_with_checks_alone_a_machine_without_a_resolver_says_so_once(tmp_path: Path) -> None:
    here = loaded(tmp_path)
    with capture_logs() as logs:
        assert made(here) is None
    (event,) = logs
    assert (event["event"], event["log_level"]) == ("checks.no-vantage", "warning")
    assert event["reason"] == "/etc/resolv.conf names no resolver"


@pytest.mark.usefixtures("no_resolver")
def test_a_bootstrap_method_without_a_resolver_is_a_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names no resolver"):
        made(loaded(tmp_path, checks=OFF, bootstrap=["at-apex"]))


@pytest.mark.usefixtures("no_resolver")
def test_where_nothing_is_looked_up_no_resolver_is_made_nor_missed(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert made(loaded(tmp_path, checks=OFF)) is None
    assert logs == []


def test_a_configured_resolver_is_used_and_the_policy_says_who_is_asked(tmp_path: Path) -> None:
    resolver = {"resolver": {"nameservers": ["127.0.0.1:53"]}}
    for glue, allowed in (("global", False), ("any", True)):
        world = made(loaded(tmp_path, resolver, policy={"glue_addresses": glue}))
        assert world is not None
        assert world.may_ask(ServerAddress(SERVER, "127.53.0.1")) is allowed


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"name": "far"}, "`resolver` or `source` says where it is"),
        ({"name": "far", "resolver": "127.0.0.1:53", "source": "192.0.2.1"}, "name a resolver elsewhere"),
    ],
)
def test_a_vantage_point_is_another_place(tmp_path: Path, point: dict[str, str], words: str) -> None:
    resolver = {"nameservers": ["127.0.0.1:53"], "vantage_points": [point]}
    with pytest.raises(ConfigurationError, match=words):
        loaded(tmp_path, {"resolver": resolver})


def test_a_bare_off_in_the_file_is_off(tmp_path: Path) -> None:
    path = tmp_path / "zonecut.yaml"
    path.write_text(
        f"version: 1\nstore: {{url: 'sqlite:///{tmp_path}/zonecut.db'}}\nparents:\n  - zone: parent.example.\n"
        f"    backend: {{adapter: zonefile, zone_file: {tmp_path}/zone, directory: {tmp_path}}}\n"
        "    checks: {ds_continuity: off, ns_consistency: off}\n"
    )
    assert config.load(path, create_manager()).configuration.parents[0].checks.are_off


def test_serving_without_look_ups_imports_none_of_the_code_for_them() -> None:
    code = (
        "import sys, zonecut.serve.daemon; "
        "print([name for name in sys.modules if name.startswith(('zonecut.resolve', 'zonecut.receiver.checks.c'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_from_nowhere_nothing_is_seen() -> None:
    nowhere = Nowhere()
    for sighting in await nowhere.keys_from_servers(delegation(OUTSIDE)):
        assert sighting.presence is Presence.FAILED
        assert not sighting.is_secure
