"""Resolvers that may be asked: an address, a port and a transport each."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import dns.exception
import dns.resolver

from zonecut.resolve.failures import ResolveError


class Transport(StrEnum):
    """How a resolver is talked to."""

    UDP = "udp"
    """Do53 over UDP; over TCP where an answer is truncated."""
    TCP = "tcp"
    TLS = "tls"
    """DoT (RFC 7858), with the server's certificate checked."""
    HTTPS = "https"
    """DoH (RFC 8484), with the server's certificate checked."""

    @property
    def port(self) -> int:
        return {Transport.TLS: 853, Transport.HTTPS: 443}.get(self, 53)


@dataclass(frozen=True, slots=True)
class Nameserver:
    """A resolver. Raises ResolveError for an address or port that is none.

    `tls_name` is the name on the certificate (default: the address), `ca_file` holds the certificates of those who may
    sign it (default: the system's), `path` is where DoH is served.
    """

    address: str
    port: int = 53
    transport: Transport = Transport.UDP
    tls_name: str | None = None
    ca_file: Path | None = None
    path: str = "/dns-query"

    def __post_init__(self) -> None:
        try:
            ip_address(self.address)
        except ValueError:
            raise ResolveError(
                f"resolver {self.address!r}: an IP address belongs here, since no name can be looked up before it"
            ) from None
        if not 0 < self.port < 65536:
            raise ResolveError(f"resolver {self.address}: there is no port {self.port}")

    @classmethod
    def from_text(cls, text: str, ca_file: Path | None = None) -> Self:
        """`ADDRESS[:PORT]`, or `udp|tcp|tls|https://ADDRESS[:PORT][/PATH][#NAME]`, an IPv6 address in brackets.

        NAME is the one on the certificate. Raises ResolveError.
        """
        try:
            parts = urlsplit(text if "://" in text else f"udp://{text}")
            transport = Transport(parts.scheme)
            port = parts.port or transport.port
        except ValueError as error:
            raise ResolveError(
                f"resolver {text!r}: {error}; right would be 127.0.0.1:53, [::1]:53 or tls://192.0.2.53#dns.example"
            ) from None
        if parts.path and transport is not Transport.HTTPS:
            raise ResolveError(f"resolver {text!r}: only https has a path")
        return cls(
            address=parts.hostname or "",
            port=port,
            transport=transport,
            tls_name=parts.fragment or None,
            ca_file=ca_file,
            path=parts.path or "/dns-query",
        )

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.address).is_loopback

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.transport}://{host}:{self.port}"


def system_nameservers(path: str = "/etc/resolv.conf") -> tuple[Nameserver, ...]:
    """The resolvers of this machine. ResolveError when none is named."""
    configured = dns.resolver.Resolver(configure=False)
    try:
        configured.read_resolv_conf(path)
    except (OSError, dns.exception.DNSException, ValueError) as error:
        raise ResolveError(f"{path} names no resolver: {error or type(error).__name__}") from None
    found = tuple(Nameserver(server, configured.port) for server in configured.nameservers if isinstance(server, str))
    if not found:
        raise ResolveError(f"{path} names no resolver")
    return found
