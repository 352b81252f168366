"""What a parent announces: planned as values, and configured."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from zonecut import config
from zonecut.configfile import ConfigurationError
from zonecut.plugin.registry import create_manager
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import DEFAULT, Algorithm, CodePoints, RRType
from zonecut.protocol.keys import Key, KeyPair
from zonecut.protocol.rrset import RRset, RRsetDifference
from zonecut.receiver.announce.publication import (
    Announcement,
    PublicationSettings,
    Unpublishable,
    plan,
    plan_keys,
    plan_withdrawal,
)

ZONE = names.from_text("parent.example.")
TARGET = names.from_text("updater.parent.example.")
APEX_DSYNC = names.from_text("_dsync.parent.example.")
WILDCARD = names.from_text("*._dsync.parent.example.")
KEY = KeyPair.generate(TARGET, Algorithm.ED25519, DEFAULT).key
OLD_KEY = KeyPair.generate(TARGET, Algorithm.ED25519, DEFAULT).key
OURS = Announcement(
    ZONE,
    TARGET,
    5354,
    (ip_address("192.0.2.53"), ip_address("2001:db8::53")),
    (Method.AT_APEX, Method.MANUAL),
    PublicationSettings(ttl=600),
)
NOTIFY = "CDS NOTIFY 53 notify.parent.example."


def with_settings(**settings: object) -> Announcement:
    return replace(OURS, settings=PublicationSettings.model_validate({"ttl": 600, **settings}))


def dsync(*records: str, owner: bytes = APEX_DSYNC, ttl: int = 600) -> RRset:
    return RRset(owner, RRType.DSYNC, ttl, tuple(Dsync.from_text(text).to_wire() for text in records))


def carried_out(held: Iterable[RRset], difference: RRsetDifference) -> tuple[RRset, ...]:
    """What a server holds afterwards, which held what the difference says."""
    zone = {rrset.key: rrset for rrset in held}
    for rrset in difference.before:
        assert zone.pop(rrset.key) == rrset
    assert not zone.keys() & {rrset.key for rrset in difference.after}
    return (*zone.values(), *difference.after)


def published(announcement: Announcement = OURS, held: Iterable[RRset] = (), key: Key = KEY) -> tuple[RRset, ...]:
    held = tuple(held)
    return carried_out(held, plan(announcement, held, [key]))


def lines(rrsets: Iterable[RRset]) -> set[str]:
    return {line for rrset in rrsets for line in rrset.to_text().splitlines()}


def test_an_empty_zone_gets_all_that_announces_the_receiver() -> None:
    assert lines(published()) == {
        "_dsync.parent.example. 600 IN DSYNC ANY UPDATE 5354 updater.parent.example.",
        "updater.parent.example. 600 IN A 192.0.2.53",
        "updater.parent.example. 600 IN AAAA 2001:db8::53",
        KEY.to_text(600),
        'updater.parent.example. 600 IN SVCB 1 . key65282="at-apex,manual"',
    }


def test_what_is_published_needs_no_change() -> None:
    held = published()
    assert not plan(OURS, held, [KEY])


def test_everything_that_is_published_is_withdrawn() -> None:
    held = published(with_settings(names=["apex", "wildcard", "child.parent.example."], dsync=[NOTIFY]))
    announcement = with_settings(names=["apex", "wildcard", "child.parent.example."], dsync=[NOTIFY])
    assert carried_out(held, plan_withdrawal(announcement, held, [KEY])) == ()


def test_the_numbers_that_an_operator_set_are_published() -> None:
    announcement = replace(OURS, codepoints=CodePoints(dsync_update=130, svcb_bootstrap=65400))
    text = "".join(rrset.to_text() for rrset in published(announcement))
    assert "DSYNC ANY 130 5354" in text
    assert 'SVCB 1 . key65400="at-apex,manual"' in text
    assert not plan(announcement, published(announcement), [KEY])


def test_the_priority_of_the_svcb_record_is_a_setting() -> None:
    assert 'updater.parent.example. 600 IN SVCB 0 . key65282="at-apex,manual"' in lines(
        published(with_settings(svcb_priority=0))
    )


def test_outside_the_zone_only_the_dsync_record_is_ours() -> None:
    announcement = replace(OURS, target=names.from_text("updater.example.net."))
    assert lines(published(announcement)) == {
        "_dsync.parent.example. 600 IN DSYNC ANY UPDATE 5354 updater.example.net."
    }
    assert announcement.names == (APEX_DSYNC, WILDCARD)


def test_without_addresses_those_of_the_target_are_left_alone() -> None:
    by_hand = RRset(TARGET, RRType.A, 5, (b"\1\2\3\4",))
    announcement = replace(OURS, addresses=())
    held = published(announcement, [by_hand])
    assert by_hand in held
    assert carried_out(held, plan_withdrawal(announcement, held, [KEY])) == (by_hand,)


def test_without_a_key_the_key_rrset_is_left_alone() -> None:
    held = published()
    assert not plan(OURS, held, [])


def test_dsync_records_stand_where_the_setting_says() -> None:
    announcement = with_settings(names=["wildcard", "child.parent.example.", "a.b.parent.example."])
    owners = {rrset.owner for rrset in published(announcement) if rrset.rtype == RRType.DSYNC}
    assert owners == {
        WILDCARD,
        names.from_text("child._dsync.parent.example."),
        names.from_text("a.b._dsync.parent.example."),
    }


def test_records_of_an_earlier_setting_are_removed_and_those_of_others_there_stay() -> None:
    foreign = dsync(NOTIFY, owner=WILDCARD, ttl=77)
    held = published(with_settings(names=["apex", "wildcard"]), [foreign])
    after = published(OURS, held)
    assert [rrset.rdatas for rrset in after if rrset.owner == WILDCARD] == [foreign.rdatas]


def test_records_that_the_operator_adds_go_along() -> None:
    announcement = with_settings(dsync=[NOTIFY, "ANY SCANNER 0 ."])
    assert {line for line in lines(published(announcement)) if "DSYNC" in line} == {
        "_dsync.parent.example. 600 IN DSYNC ANY UPDATE 5354 updater.parent.example.",
        "_dsync.parent.example. 600 IN DSYNC CDS NOTIFY 53 notify.parent.example.",
        "_dsync.parent.example. 600 IN DSYNC ANY SCANNER 0 .",
    }


def test_dsync_records_of_other_schemes_are_kept() -> None:
    foreign = dsync(NOTIFY, "CSYNC 200 9 x.parent.example.")
    odd = RRset(APEX_DSYNC, RRType.DSYNC, 600, (*foreign.rdatas, b"\0"))
    held = published(OURS, [odd])
    assert [rrset.rdatas for rrset in carried_out(held, plan_withdrawal(OURS, held, [KEY]))] == [odd.rdatas]


def test_another_receiver_of_updates_is_replaced_and_not_withdrawn() -> None:
    other = dsync("ANY UPDATE 53 elsewhere.example.", "ANY UPDATE 9 updater.parent.example.")
    (rrset,) = [rrset for rrset in published(OURS, [other]) if rrset.rtype == RRType.DSYNC]
    assert rrset == dsync("ANY UPDATE 5354 updater.parent.example.")
    assert carried_out([other], plan_withdrawal(OURS, [other], [KEY])) == (dsync("ANY UPDATE 53 elsewhere.example."),)


def test_other_types_at_our_names_are_left_alone() -> None:
    text = [RRset(owner, 16, 5, (b"\4mine",)) for owner in (TARGET, APEX_DSYNC)]
    service = RRset(TARGET, RRType.SVCB, 600, (Svcb(5, names.ROOT, ((3, b"\0\1"),)).to_wire(),))
    held = published(OURS, [*text, service])
    assert {*text} <= set(held)
    assert service.rdatas[0] in next(rrset.rdatas for rrset in held if rrset.rtype == RRType.SVCB)
    assert set(carried_out(held, plan_withdrawal(OURS, held, [KEY]))) == {*text, service}


@pytest.mark.parametrize("rtype", [RRType.A, RRType.KEY, RRType.SVCB, RRType.DSYNC])
def test_a_ttl_alone_is_repaired(rtype: RRType) -> None:
    held = [replace(rrset, ttl=5) if rrset.rtype == rtype else rrset for rrset in published()]
    difference = plan(OURS, held, [KEY])
    assert {rrset.rtype for rrset in difference.before} == {rtype}
    assert set(carried_out(held, difference)) == set(published())


def test_old_keys_and_addresses_are_replaced() -> None:
    held = published(replace(OURS, addresses=(ip_address("192.0.2.9"),)), key=OLD_KEY)
    assert lines(published(OURS, held)) == lines(published())


def test_for_a_roll_the_key_rrset_alone_is_planned() -> None:
    difference = plan_keys(OURS, (), [OLD_KEY, KEY])
    assert difference.after == (RRset(TARGET, RRType.KEY, 600, (OLD_KEY.rdata, KEY.rdata)),)
    assert not plan_keys(replace(OURS, target=names.from_text("updater.example.net.")), (), [KEY])


def test_a_withdrawal_leaves_keys_that_are_not_ours() -> None:
    held = [RRset(TARGET, RRType.KEY, 9, (OLD_KEY.rdata, KEY.rdata))]
    after = carried_out(held, plan_withdrawal(OURS, held, [KEY]))
    assert after == (RRset(TARGET, RRType.KEY, 9, (OLD_KEY.rdata,)),)


@pytest.mark.parametrize("owner", [TARGET, APEX_DSYNC])
@pytest.mark.parametrize("rtype", [RRType.CNAME, RRType.DNAME])
def test_nothing_is_published_beside_an_alias(owner: bytes, rtype: RRType) -> None:
    with pytest.raises(Unpublishable, match=f"{names.to_text(owner)} is a {rtype.text}: nothing can be published"):
        plan(OURS, [RRset(owner, rtype, 5, (TARGET,))], [KEY])


# The configuration

RIGHT = """\
version: 1
store: {{url: "sqlite:////tmp/zonecut.db"}}
receiver: {{listen: ["127.0.0.1:5399", "[::1]:5354"]}}
parents:
  - zone: parent.example.
    backend: {{adapter: zonefile, zone_file: /tmp/parent.zone, directory: /tmp}}
    {keys}
"""


def configured(tmp_path: Path, keys: str) -> config.Configuration:
    path = tmp_path / "zonecut.yaml"
    path.write_text(RIGHT.format(keys=keys))
    return config.load(path, create_manager()).configuration


def test_the_defaults_of_an_announcement(tmp_path: Path) -> None:
    configuration = configured(tmp_path, "policy: {}")
    announcement = configuration.announcement(configuration.parents[0])
    assert (announcement.target, announcement.port, announcement.addresses) == (TARGET, 5399, ())
    assert announcement.settings == PublicationSettings()
    assert configuration.key_directory == Path("/tmp/keys")
    assert configuration.parents[0].publish is False


def test_what_is_configured_is_announced(tmp_path: Path) -> None:
    configuration = configured(tmp_path, 'addresses: ["192.0.2.53", "2001:db8::53"]\n    port: 53\n    publish: true')
    announcement = configuration.announcement(configuration.parents[0])
    assert (announcement.port, announcement.addresses) == (53, OURS.addresses)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("publish: true", "publish: updater.parent.example. lies in the zone, so `addresses` has to say where"),
        ("addresses: [updater.example.]", "'updater.example.' is no IPv4 or IPv6 address"),
        ('addresses: ["0.0.0.0"]', "'0.0.0.0': nobody can send an UPDATE there"),
        ("bootstrap: []", "bootstrap: at least one method, and each once"),
        ("bootstrap: [manual, manual]", "bootstrap: at least one method, and each once"),
        ("port: 0", "parents[0].port: input should be greater than or equal to 1, not 0"),
        ("target: _dsync.parent.example.", "target: _dsync.parent.example. is where DSYNC records stand"),
        (
            'target: "up_dater.parent.example."\n    addresses: ["192.0.2.53"]',
            "target: up_dater.parent.example. is no host name, and servers refuse addresses there; set `target` to",
        ),
        ("publication: {names: [child.example.]}", "child.example. is not below parent.example."),
        ("publication: {names: []}", "parents[0].publication.names: "),
        ("publication: {tll: 5}", "parents[0].publication.tll: unknown key; did you mean `ttl`?"),
        ("publication: {ttl: 0}", "parents[0].publication.ttl: input should be greater than or equal to 1, not 0"),
        ('publication: {dsync: ["CDS NOTIFY 53"]}', "DSYNC data is a type, a scheme, a port and a target"),
        ('publication: {dsync: ["ANY UPDATE 53 x."]}', "the record with the scheme UPDATE is made from `target`"),
        ("policy: {}\nkeys: {algorithm: RSAMD5}", "keys.algorithm: 'RSAMD5' is no supported algorithm; there is"),
    ],
)
def test_what_cannot_be_announced_is_said(tmp_path: Path, keys: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        configured(tmp_path, keys)
    assert problem in str(wrong.value)


def test_a_target_outside_the_zone_needs_no_addresses(tmp_path: Path) -> None:
    assert configured(tmp_path, "publish: true\n    target: updater.example.net.").parents[0].publish


def test_a_zone_below_a_name_that_is_no_host_s_needs_another_target() -> None:
    """RFC 2317: the zone's own name is in the default target."""
    zone = names.from_text("0/25.2.0.192.in-addr.arpa.")
    announcement = replace(OURS, zone=zone, target=b"\x07updater" + zone)
    with pytest.raises(ValueError, match=r"set `target` .* such as updater\.2\.0\.192\.in-addr\.arpa\.$"):
        announcement.check_host()
    replace(announcement, target=names.from_text("updater.2.0.192.in-addr.arpa.")).check_host()
    replace(announcement, addresses=()).check_host()
