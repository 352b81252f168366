"""The options of the adapter `powerdns`, and what a zone's settings have to be."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from zonecut.plugin import BackendMisconfigured
from zonecut.plugin.registry import adapters, create_manager
from zonecut.protocol import names
from zonecut_powerdns import settings
from zonecut_powerdns.options import PowerDnsOptions

APEX = names.from_text("parent.example.")


def test_the_adapter_registers_under_its_name() -> None:
    assert adapters(create_manager())["powerdns"].options is PowerDnsOptions


def test_the_defaults_are_the_documented_ones() -> None:
    assert PowerDnsOptions().model_dump() == {
        "url": "http://127.0.0.1:8081",
        "api_key": Path("/etc/zonecut/powerdns.key"),
        "server_id": "localhost",
        "dns": None,
        "ca": None,
        "timeout": 10.0,
        "write_timeout": 60.0,
        "batch_octets": 1_000_000,
        "rescan": 300.0,
        "keep_disabled": True,
    }


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
        ("https://pdns.example/api/v1", "https://pdns.example"),
        ("https://[2001:db8::1]:8443/behind/a/proxy/", "https://[2001:db8::1]:8443/behind/a/proxy"),
    ],
)
def test_a_url_is_kept_without_the_end_that_all_have(url: str, kept: str) -> None:
    assert PowerDnsOptions(url=url).url == kept


@pytest.mark.parametrize(
    "options",
    [
        {"url": ""},
        {"url": "127.0.0.1:8081"},
        {"url": "ftp://127.0.0.1"},
        {"url": "http://"},
        {"url": "http://127.0.0.1:x"},
        {"url": "http://127.0.0.1:8081/?a=b"},
        {"url": "http://user:secret@127.0.0.1:8081"},
        {"dns": "localhost:53"},
        {"dns": "127.0.0.1"},
        {"dns": "127.0.0.1:0"},
        {"dns": "::1:53"},
        {"server_id": "a/b"},
        {"server_id": ""},
        {"timeout": 0},
        {"write_timeout": 601},
        {"batch_octets": 1},
        {"rescan": 0},
        {"api-key": "x"},
    ],
)
def test_anything_else_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PowerDnsOptions.model_validate(options)


@pytest.mark.parametrize(
    ("zone", "wanted"),
    [
        ({"kind": "Native", "soa_edit_api": "", "dnssec": False}, {"soa_edit_api": "INCREASE"}),
        ({"kind": "Master", "soa_edit_api": "DEFAULT", "dnssec": False, "api_rectify": False}, {}),
        ({"kind": "Native", "soa_edit_api": "EPOCH", "dnssec": True, "api_rectify": True}, {}),
        (
            {"kind": "Native", "soa_edit_api": "EPOCH", "serial": 2026112901, "dnssec": False},
            {"soa_edit_api": "INCREASE"},
        ),
        ({"kind": "Native", "soa_edit_api": "increase", "dnssec": False}, {}),
        ({"kind": "Native", "soa_edit_api": "INCEPTION-INCREMENT", "dnssec": False}, {"soa_edit_api": "INCREASE"}),
        ({"kind": "Native", "soa_edit_api": "OFF", "dnssec": False}, {"soa_edit_api": "INCREASE"}),
        ({"kind": "Native", "soa_edit_api": "SOA-EDIT", "dnssec": False}, {"soa_edit_api": "INCREASE"}),
        ({"kind": "Native", "soa_edit_api": "NONSENSE", "dnssec": False}, {"soa_edit_api": "INCREASE"}),
        ({"kind": "Native", "dnssec": True, "api_rectify": False}, {"soa_edit_api": "INCREASE", "api_rectify": True}),
    ],
)
def test_what_a_zone_lacks_is_said(zone: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert settings.missing(zone, APEX, 1_796_000_000) == wanted


def test_a_serial_rises_within_half_of_all_numbers() -> None:
    assert settings.rises(1, 2)
    assert settings.rises(2**32 - 1, 3)
    assert not settings.rises(2, 2)
    assert not settings.rises(2, 1)
    assert not settings.rises(0, 2**31)


@pytest.mark.parametrize("zone", [{"kind": "Slave"}, {"kind": "Secondary"}, {"kind": "Native", "presigned": True}])
def test_a_zone_that_comes_from_elsewhere_is_no_place_to_write(zone: dict[str, Any]) -> None:
    with pytest.raises(BackendMisconfigured, match=r"parent\.example\."):
        settings.missing(zone, APEX, 1_796_000_000)


@pytest.mark.parametrize(
    ("rtypes", "signed", "refused"),
    [
        ({6, 2, 48}, False, None),
        ({6, 2, 46, 47, 48}, False, "RRSIG.*pdnsutil secure-zone"),
        ({6, 2, 51}, False, "NSEC3PARAM"),
        ({6, 2, 46, 47}, True, None),
        ({6, 2, 63}, True, "ZONEMD.*take the ZONEMD out"),
    ],
)
def test_what_powerdns_does_not_make_anew_is_refused(rtypes: set[int], signed: bool, refused: str | None) -> None:
    with pytest.raises(BackendMisconfigured, match=refused) if refused else nullcontext():
        settings.check_made(APEX, rtypes, signed=signed)


def test_settings_are_written_as_powerdns_does() -> None:
    assert settings.words({"soa_edit_api": "INCREASE", "api_rectify": True}) == (
        "soa_edit_api=INCREASE, api_rectify=true"
    )
