"""What a request to the hook is about: the target of its first line, read (RFC 9112 section 3.2). Pure."""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from urllib.parse import parse_qs, unquote, urlsplit

from zonecut.plugin.rtypes import rtype_number
from zonecut.powerdns_api.front_view import API, SERVER
from zonecut.protocol import names

_ZONES = f"{SERVER}/zones"
_NOTIFY = "notify"
_ESCAPED = re.compile(r"=([0-9A-Fa-f]{2})")


class What(Enum):
    """What is served."""

    VERSIONS = auto()
    DISCOVERY = auto()
    SERVERS = auto()
    SERVER = auto()
    ZONES = auto()
    ZONE = auto()
    NOTIFY = auto()


_AT = {
    "/api": What.VERSIONS,
    API: What.DISCOVERY,
    f"{API}/servers": What.SERVERS,
    SERVER: What.SERVER,
    _ZONES: What.ZONES,
}


class OtherHost(Exception):
    """The target names a host that is none of ours."""


@dataclass(frozen=True, slots=True)
class Target:
    """`zone` is that of the path; `named`, `owner`, `rtype` and `with_rrsets` are what the query asks for, if it does:
    `zone`, `rrset_name`, `rrset_type` and `rrsets`."""

    what: What
    zone: bytes = b""
    named: bytes | None = None
    owner: bytes | None = None
    rtype: int | None = None
    with_rrsets: bool = True


def read_target(text: str, hosts: frozenset[str]) -> Target | None:
    """What a target is, None for what is not served.

    Raises OtherHost for one in absolute form whose host is not among these: it counts, whatever the field Host says.
    """
    try:
        if not text.startswith("/"):
            parts = urlsplit(text)
            if parts.scheme not in ("http", "https") or parts.netloc.lower() not in hosts:
                raise OtherHost
            text = parts._replace(scheme="", netloc="").geturl()
        path, _, rest = text.partition("?")
        found = _at(path)
        return None if found is None else _asking(found, rest)
    except ValueError:
        return None


def _at(path: str) -> Target | None:
    """What a path names. Raises ValueError for a zone whose name is none."""
    if path in _AT:
        return Target(_AT[path])
    if not path.startswith(f"{_ZONES}/"):
        return None
    zone, slash, more = path.removeprefix(f"{_ZONES}/").partition("/")
    if more != (_NOTIFY if slash else ""):
        return None
    # percent-encoded, or with =2F for a slash, as PowerDNS writes it
    plain = unquote(zone, errors="surrogateescape")
    apex = names.from_text(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), plain))
    return Target(What.NOTIFY if slash else What.ZONE, apex)


def _asking(target: Target, query: str) -> Target:
    """With what a query asks for; keys that are not known make no difference. Raises ValueError."""
    asked = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
    if any(len(values) > 1 for values in asked.values()):
        raise ValueError("one thing is asked for twice")
    named, owner, rtype, rrsets = (asked.get(key, [None])[0] for key in ("zone", "rrset_name", "rrset_type", "rrsets"))
    return replace(
        target,
        named=None if named is None else names.from_text(named),
        owner=None if owner is None else names.from_text(owner),
        rtype=None if rtype is None else rtype_number(rtype),
        with_rrsets=rrsets != "false",
    )
