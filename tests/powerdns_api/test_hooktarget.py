"""What the target of a request to the hook is read as."""

import pytest

from zonecut.powerdns_api.target import OtherHost, Target, What, read_target
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType

HOSTS = frozenset(("localhost:8082", "zonecut.example"))
ZONES = "/api/v1/servers/localhost/zones"
PARENT = names.from_text("parent.example.")
SLASHED = names.from_text("0/25.2.0.192.in-addr.arpa.")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/api", Target(What.VERSIONS)),
        ("/api/v1", Target(What.DISCOVERY)),
        ("/api/v1/servers", Target(What.SERVERS)),
        ("/api/v1/servers/localhost", Target(What.SERVER)),
        (ZONES, Target(What.ZONES)),
        (f"{ZONES}?zone=parent.example.&dnssec=false", Target(What.ZONES, named=PARENT)),
        (f"{ZONES}/parent.example.", Target(What.ZONE, PARENT)),
        (f"{ZONES}/Parent.Example", Target(What.ZONE, PARENT)),
        (f"{ZONES}/parent.example.?rrsets=false", Target(What.ZONE, PARENT, with_rrsets=False)),
        (
            f"{ZONES}/parent.example.?rrset_name=a.parent.example.&rrset_type=NS",
            Target(What.ZONE, PARENT, owner=names.from_text("a.parent.example."), rtype=int(RRType.NS)),
        ),
        (f"{ZONES}/parent.example./notify", Target(What.NOTIFY, PARENT)),
        (f"{ZONES}/0%2F25.2.0.192.in-addr.arpa.", Target(What.ZONE, SLASHED)),
        (f"{ZONES}/0%2f25.2.0.192.in-addr.arpa/notify", Target(What.NOTIFY, SLASHED)),
        (f"{ZONES}/0=2F25.2.0.192.in-addr.arpa.", Target(What.ZONE, SLASHED)),
        (f"http://localhost:8082{ZONES}/parent.example.", Target(What.ZONE, PARENT)),
        (f"https://ZONECUT.example{ZONES}", Target(What.ZONES)),
    ],
)
def test_what_is_served_is_found(text: str, target: Target) -> None:
    assert read_target(text, HOSTS) == target


@pytest.mark.parametrize(
    "text",
    [
        "/",
        "/api/v2",
        "/api/v1/servers/other",
        "/api/v1/servers/other/zones/parent.example.",
        f"{ZONES}/",
        f"{ZONES}/a..b",
        f"{ZONES}/parent.example./",
        f"{ZONES}/parent.example./export",
        f"{ZONES}/parent.example./notify/",
        f"{ZONES}/../zones/parent.example.",
        f"{ZONES}/parent.example.?rrset_name=a..b",
        f"{ZONES}/parent.example.?rrset_name=a.&rrset_name=b.",
        f"{ZONES}/parent.example.?rrset_name=a.&rrset_type=NONSENSE",
        f"//localhost:8082{ZONES}",
        f"/{ZONES}",
    ],
)
def test_nothing_else_is_served(text: str) -> None:
    assert read_target(text, HOSTS) is None


@pytest.mark.parametrize(
    "text",
    [
        f"http://attacker.example{ZONES}/parent.example.",
        f"http://zonecut.example.attacker.example{ZONES}",
        f"http://user@localhost:8082{ZONES}",
        f"ftp://localhost:8082{ZONES}",
        "localhost:8082",
        "*",
    ],
)
def test_a_target_with_another_host_is_not_ours(text: str) -> None:
    """RFC 9112 section 3.2.2: such a host counts, whatever the field Host says."""
    with pytest.raises(OtherHost):
        read_target(text, HOSTS)
