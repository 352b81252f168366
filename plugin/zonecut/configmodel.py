"""The whole configuration as pydantic models, but for what plugins bring: one YAML document, `version: 1`."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from zonecut.agent.settings import ChildSection
from zonecut.configcodepoints import CodePointSection
from zonecut.files.absolutepath import AbsolutePath
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import names
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import DEFAULT, CodePoints
from zonecut.protocol.keys import algorithm_number
from zonecut.protocol.keystate import Revision
from zonecut.receiver.announce.publication import Announcement, PublicationSettings
from zonecut.receiver.change.policy import Policy, Rules
from zonecut.receiver.checks import CheckSettings
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits
from zonecut.receiver.message.authentication import SignatureSettings
from zonecut.receiver.message.responder import ResponseSettings
from zonecut.receiver.zone_settings import ZoneSettings

DEFAULT_PATH = Path("/etc/zonecut/zonecut.yaml")
DEFAULT_STORE = "sqlite:////var/lib/zonecut/zonecut.db"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _listening(text: str) -> Endpoint:
    endpoint = Endpoint.parse(text)
    if ip_address(endpoint.address).is_unspecified:
        raise ValueError(f"{text!r}: name each address, so that an answer over UDP comes from where it was asked")
    return endpoint


class StoreSection(_Section):
    """`store`: where keys, the ledger and the audit trail are kept."""

    url: str = Field(DEFAULT_STORE, description="An SQLAlchemy URL: sqlite:////path/to/file.")


class KeySection(_Section):
    """`keys`: our own SIG(0) keys, the receiver's and those of the children whose agent we are."""

    directory: AbsolutePath | None = Field(None, description="Their place; default: `keys` beside the SQLite file.")
    algorithm: str = Field("ED25519", description="Of new keys.")

    @field_validator("algorithm")
    @classmethod
    def _supported(cls, algorithm: str) -> str:
        algorithm_number(algorithm, DEFAULT)
        return algorithm


class HookSection(_Section):
    """`receiver.hook`: where changes are taken in the form of the PowerDNS API."""

    listen: tuple[str, ...] = Field(("127.0.0.1:8082",), description="Addresses with ports, TCP.")
    api_keys: dict[str, AbsolutePath] = Field(description="Files with API keys, by the names that are recorded.")
    hosts: tuple[str, ...] = Field(
        (), description="Names under which it is reached, beside the addresses of `listen` and localhost."
    )
    certificate: AbsolutePath | None = Field(None, description="PEM: a certificate and what certifies it, for https.")
    private_key: AbsolutePath | None = Field(None, description="PEM file with its key.")

    @field_validator("api_keys")
    @classmethod
    def _named(cls, api_keys: dict[str, Path]) -> dict[str, Path]:
        if not api_keys:
            raise ValueError("at least one API key, as in {portal: /etc/zonecut/portal.key}")
        for name in api_keys:
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
                raise ValueError(f"{name!r}: the name of a key has letters, digits, and .-_ only")
        return api_keys

    @model_validator(mode="after")
    def _is_safe(self) -> "HookSection":
        if not self.listen:
            raise ValueError("listen: at least one address to listen on")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("`certificate` and `private_key` go together")
        for endpoint in self.endpoints:
            if self.certificate is None and not ip_address(endpoint.address).is_loopback:
                raise ValueError(
                    f"listen: {endpoint} needs `certificate` and `private_key`: API keys would be readable"
                )
        return self

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(_listening(text) for text in self.listen)

    @property
    def host_names(self) -> frozenset[str]:
        """What a request may have as its Host, in lower case."""
        found = set()
        for endpoint in self.endpoints:
            address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
            local = ("localhost",) if ip_address(endpoint.address).is_loopback else ()
            for host in (address, *local, *self.hosts):
                found |= {host.lower(), f"{host.lower()}:{endpoint.port}"}
        return frozenset(found)


class ReceiverSection(_Section):
    """`receiver`: where and how UPDATEs are taken."""

    listen: tuple[str, ...] = Field(("127.0.0.1:5354", "[::1]:5354"), description="Addresses with ports, UDP and TCP.")
    workers: int = Field(1, description="Worker processes.")
    cached_children: int = Field(8192, ge=1, description="Children whose keys are kept ready in memory.")
    limits: Limits = Field(default_factory=Limits)
    signatures: SignatureSettings = Field(default_factory=SignatureSettings)
    responses: ResponseSettings = Field(default_factory=ResponseSettings)
    keystate: Revision = Field(Revision.KEYSTATE_03, description="The revision of the KeyState draft that is spoken.")
    hook: HookSection | None = Field(None, description="Changes in the form of the PowerDNS API; without it, none.")

    @field_validator("listen")
    @classmethod
    def _endpoints(cls, listen: tuple[str, ...]) -> tuple[str, ...]:
        if not listen:
            raise ValueError("at least one address to listen on")
        for text in listen:
            _listening(text)
        return listen

    @field_validator("workers")
    @classmethod
    def _one_worker(cls, workers: int) -> int:
        if workers != 1:
            raise ValueError("1 is the only number of workers that this version knows")
        return workers

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(Endpoint.parse(text) for text in self.listen)


class VantagePointSection(_Section):
    """An entry of `resolver.vantage_points`: a further place from which unsigned children are looked at."""

    name: str = Field(description="How it is called in reasons.")
    resolver: str | None = Field(
        None,
        description="A resolver elsewhere, as tls://192.0.2.53#dns.example; with `source`, it says where servers are.",
    )
    source: str | None = Field(None, description="An address of this host to ask name servers from.")

    @model_validator(mode="after")
    def _one_of_them(self) -> "VantagePointSection":
        if self.resolver is None and self.source is None:
            raise ValueError("`resolver` or `source` says where it is, or both do")
        if self.resolver is not None:
            _nameserver(self.resolver)
        if self.source is not None:
            ip_address(self.source)
        return self


class ResolverSection(_Section):
    """`resolver`: how look-ups are made; answers are validated here, whatever the resolver says."""

    nameservers: tuple[str, ...] | None = Field(None, description="As 127.0.0.1:53; default: the system's.")
    trust_anchors: AbsolutePath | None = Field(
        None,
        description="A file of DS or DNSKEY records, or unbound's auto-trust-anchor-file (RFC 5011);"
        " default: the root's.",
    )
    trusted: bool = Field(False, description="Believe the AD bit of resolvers on loopback instead of validating.")
    vantage_points: tuple[VantagePointSection, ...] = Field(())

    @field_validator("nameservers")
    @classmethod
    def _usable(cls, nameservers: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for text in nameservers or ():
            _nameserver(text)
        return nameservers

    @model_validator(mode="after")
    def _independent(self) -> "ResolverSection":
        for point in self.vantage_points:
            if point.resolver is not None and point.resolver in (self.nameservers or ()):
                raise ValueError(
                    f"vantage_points: {point.name}: {point.resolver} is one of `nameservers`, and says what it says"
                    " there; name a resolver elsewhere"
                )
        return self


class ParentSection(ZoneSettings):
    """An entry of `parents`: a zone whose children we serve."""

    zone: str = Field(description="The parent zone.")
    target: str | None = Field(None, description="The receiver's own name; default: updater.<zone>.")
    bootstrap: tuple[str | dict[str, Any], ...] = Field(
        ("manual",),
        description="How a child's key comes to be trusted, in the order in which it is tried: names of methods, or"
        " {method: NAME} with the method's options; `manual` lets an operator decide.",
    )
    trust: TrustSettings = Field(default_factory=TrustSettings)
    addresses: tuple[str, ...] = Field((), description="The receiver's addresses as children reach it.")
    port: int | None = Field(
        None, ge=1, le=65535, description="Its port; default: that of the first address of `receiver.listen`."
    )
    checks: CheckSettings = Field(default_factory=CheckSettings)
    publish: bool = Field(False, description="Keep the records that announce the receiver in the zone.")
    publication: PublicationSettings = Field(default_factory=PublicationSettings)
    backend: dict[str, Any] = Field(description="`adapter` and the options of that adapter.")
    policy: Policy = Field(default_factory=Policy)

    @field_validator("zone", "target")
    @classmethod
    def _name(cls, text: str | None) -> str | None:
        if text is not None and names.from_text(text) == names.ROOT:
            raise ValueError("the root is no parent zone here")
        return text

    @field_validator("addresses")
    @classmethod
    def _usable(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for text in addresses:
            try:
                address = ip_address(text)
            except ValueError:
                raise ValueError(f"{text!r} is no IPv4 or IPv6 address, as 192.0.2.53 or 2001:db8::53") from None
            if address.is_unspecified or address.is_multicast or "%" in text:
                raise ValueError(f"{text!r}: nobody can send an UPDATE there")
        return addresses

    @field_validator("backend")
    @classmethod
    def _adapter(cls, backend: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(backend.get("adapter"), str):
            raise ValueError("`adapter` names the adapter, as in {adapter: bind, ...}")
        return backend

    @model_validator(mode="after")
    def _reserved_names(self) -> "ParentSection":
        self.rules()
        return self

    @property
    def apex(self) -> bytes:
        return names.from_text(self.zone)

    @model_validator(mode="after")
    def _announceable(self) -> "ParentSection":
        methods = self.bootstrap_names
        if not methods or len(set(methods)) != len(methods):
            raise ValueError("bootstrap: at least one method, and each once")
        announcement = self.announcement(1, DEFAULT)
        if announcement.target in announcement.dsync_names:
            raise ValueError(f"target: {names.to_text(announcement.target)} is where DSYNC records stand")
        if self.publish and announcement.holds_target and not self.addresses:
            target = names.to_text(announcement.target)
            raise ValueError(f"publish: {target} lies in the zone, so `addresses` has to say where the receiver is")
        announcement.check_host()
        return self

    @property
    def target_name(self) -> bytes:
        return names.from_text(self.target) if self.target else b"\x07updater" + self.apex

    @property
    def bootstrap_names(self) -> tuple[str, ...]:
        """The names of the methods, `manual` included."""
        return tuple(entry if isinstance(entry, str) else str(entry.get("method")) for entry in self.bootstrap)

    def announcement(self, default_port: int, codepoints: CodePoints) -> Announcement:
        """What the zone announces."""
        return Announcement(
            self.apex,
            self.target_name,
            self.port or default_port,
            tuple(ip_address(text) for text in self.addresses),
            tuple(Method(name) for name in self.bootstrap_names if name in set(Method)),
            self.publication,
            codepoints,
        )

    def rules(self, zones: Iterable[bytes] = ()) -> Rules:
        return Rules.of(self.apex, self.target_name, self.policy, zones)

    def settings(self) -> ZoneSettings:
        return ZoneSettings(**{name: getattr(self, name) for name in ZoneSettings.model_fields})


_Zones = TypeVar("_Zones", ParentSection, ChildSection)


class AgentSection(_Section):
    """`agent`: what the children's agents have in common."""

    listen: tuple[str, ...] = Field((), description="Addresses with ports at which NOTIFY is taken (RFC 1996).")
    lookups: int = Field(8, ge=1, le=256, description="How many zones are worked on at the same time.")

    @field_validator("listen")
    @classmethod
    def _endpoints(cls, listen: tuple[str, ...]) -> tuple[str, ...]:
        for text in listen:
            _listening(text)
        return listen

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(Endpoint.parse(text) for text in self.listen)


class MetricsSection(_Section):
    """`metrics`: where Prometheus may ask. Without this section nobody may."""

    listen: str = Field("127.0.0.1:9353", description="An address with a port, TCP; GET /metrics answers.")

    @field_validator("listen")
    @classmethod
    def _endpoint(cls, listen: str) -> str:
        Endpoint.parse(listen)
        return listen

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.parse(self.listen)


class Configuration(_Section):
    """The configuration file."""

    version: Literal[1] = Field(description="The version of this format.")
    store: StoreSection = Field(default_factory=StoreSection)
    keys: KeySection = Field(default_factory=KeySection)
    codepoints: CodePointSection = Field(default_factory=CodePointSection)
    resolver: ResolverSection = Field(default_factory=ResolverSection)
    receiver: ReceiverSection = Field(default_factory=ReceiverSection)
    parents: tuple[ParentSection, ...] = Field((), description="The zones whose children we serve.")
    agent: AgentSection = Field(default_factory=AgentSection)
    children: tuple[ChildSection, ...] = Field((), description="The zones whose delegations we keep right.")
    metrics: MetricsSection | None = Field(None, description="Numbers for Prometheus; off by default.")

    @field_validator("parents", "children")
    @classmethod
    def _distinct(cls, sections: tuple[_Zones, ...]) -> tuple[_Zones, ...]:
        seen: set[bytes] = set()
        for section in sections:
            if section.apex in seen:
                raise ValueError(f"{section.zone} is there twice")
            seen.add(section.apex)
        return sections

    @model_validator(mode="after")
    def _place_for_keys(self) -> "Configuration":
        if (self.parents or self.children) and self.key_directory is None:
            raise ValueError("keys.directory is required where the store is no SQLite file")
        return self

    @property
    def key_directory(self) -> Path | None:
        """Where our own keys are; None if neither `keys` nor the store says."""
        kind, _, file = self.store.url.partition("://")
        beside = Path(file[1:]).parent / "keys" if kind.partition("+")[0] == "sqlite" and file[1:] else None
        return self.keys.directory or beside

    def announcement(self, parent: ParentSection) -> Announcement:
        """What a parent zone announces."""
        return parent.announcement(self.receiver.endpoints[0].port, self.codepoints.to_codepoints())


def _nameserver(text: str) -> None:
    """Raises ValueError, as pydantic wants it, for a resolver that is none."""
    # only here: who never looks anything up is spared the code for it
    from zonecut.resolve import Nameserver, ResolveError

    try:
        Nameserver.from_text(text)
    except ResolveError as error:
        raise ValueError(str(error)) from None
