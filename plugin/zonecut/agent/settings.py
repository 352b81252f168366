"""How the agent treats one child zone, as pydantic models: the configuration's `children` entries are made of them."""

from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from zonecut.agent.update_section import Style
from zonecut.files.absolutepath import AbsolutePath
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import names
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.dnssec import DIGESTS
from zonecut.protocol.keys import algorithm_number

FINGERPRINT_DIGITS = 32
"""Of a fingerprint as `Key.fingerprint` makes it, without the spaces."""


def _endpoint(text: str) -> str:
    return str(Endpoint.parse(text))


def _name(text: str) -> str:
    names.from_text(text)
    return text


EndpointText = Annotated[str, AfterValidator(_endpoint)]
NameText = Annotated[str, AfterValidator(_name)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PrimarySettings(_Section):
    """`primary` of a child: the DNS server that holds the zone, from which the agent reads it."""

    server: EndpointText = Field(description="Its address and port, as 127.0.0.1:53.")
    tsig: AbsolutePath | None = Field(None, description="A TSIG key as `tsig-keygen` writes it, to sign what is asked.")
    transfer: bool = Field(
        False, description="Read by zone transfer (AXFR, IXFR), as a secondary would, not by single queries."
    )
    without_tsig: bool = Field(
        False,
        description="Ask a server that is not on loopback without `tsig` all the same: whoever is on the way there then"
        " writes what the agent signs.",
    )

    @property
    def is_exposed(self) -> bool:
        """The answers travel, and nothing says whose they are."""
        return self.tsig is None and not ip_address(Endpoint.parse(self.server).address.partition("%")[0]).is_loopback

    @model_validator(mode="after")
    def _authentic(self) -> "PrimarySettings":
        if self.is_exposed and not self.without_tsig:
            raise ValueError(
                f"server: {self.server} is not on loopback, and without `tsig` anybody on the way there can write what"
                " the agent signs; `tsig` names a key as `tsig-keygen` makes it (`without_tsig: true` goes without, and"
                " is told at each start)"
            )
        return self


class ReceiverSettings(_Section):
    """`parent.receiver` of a child: an UPDATE Receiver that the parent does not announce."""

    target: NameText = Field(description="Its name: the owner of the KEY with which it signs.")
    addresses: tuple[EndpointText, ...] = Field(min_length=1, description="Where it is reached, as 192.0.2.53:5354.")


class ParentSettings(_Section):
    """`parent` of a child: what the agent believes of the parent's side."""

    zone: NameText | None = Field(None, description="The parent zone; default: found by look-ups.")
    receiver: ReceiverSettings | None = Field(None, description="Default: the one that the parent announces (DSYNC).")
    pins: tuple[str, ...] = Field(
        (),
        description="Fingerprints of the receiver's keys, as `zonecut parent status` prints them: no others count.",
    )
    insecure_key: Literal["accept-and-log", "reject"] = Field(
        "accept-and-log", description="What to do where DNSSEC proves that the receiver's key cannot be validated."
    )
    insecure_announcement: Literal["accept", "reject"] = Field(
        "accept", description="What to do where DNSSEC proves that DSYNC records cannot be validated."
    )
    addresses: Literal["global", "any"] = Field(
        "global", description="Addresses that are talked to: `global` leaves special-purpose ones out (RFC 6890)."
    )
    port: PositiveInt = Field(53, le=65535, description="Where the parent's name servers are asked what they publish.")

    @field_validator("pins")
    @classmethod
    def _fingerprints(cls, pins: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple("".join(pin.replace(":", " ").split()).upper() for pin in pins)
        for pin in plain:
            if len(pin) != 32 or not set(pin) <= set("0123456789ABCDEF"):
                raise ValueError(f"{pin!r} is no fingerprint: 32 hexadecimal digits, as 9F86 D081 ...")
        return plain

    @model_validator(mode="after")
    def _complete(self) -> "ParentSettings":
        if self.receiver is not None and self.zone is None:
            raise ValueError("receiver: `zone` has to name the parent zone, too")
        return self


class DsSettings(_Section):
    """`ds` of a child: where the DS records for the parent come from."""

    source: Literal["auto", "cds", "dnskey", "off"] = Field(
        "auto",
        description="`cds`: CDS and CDNSKEY records. `dnskey`: DNSKEY records with the SEP flag. `auto`: CDS if there"
        " are any, else DNSKEY while there never were any.",
    )
    digests: tuple[int, ...] = Field((2,), min_length=1, description="Digest types of DS made from DNSKEY records.")
    unsigned: Literal["keep", "remove"] = Field(
        "keep",
        description="Whether the parent's DS go when the child has neither CDS nor DNSKEY any more."
        " CDS 0 0 0 00 removes them in any case (RFC 8078), where it is signed.",
    )

    @field_validator("digests")
    @classmethod
    def _known(cls, digests: tuple[int, ...]) -> tuple[int, ...]:
        if unknown := set(digests) - DIGESTS:
            raise ValueError(f"digest types {sorted(unknown)}: 2 (SHA-256) and 4 (SHA-384) can be made")
        return digests


class LookSettings(_Section):
    """`looks` of a child: how often its name servers are looked at before what cannot be undone; times in seconds."""

    again: PositiveFloat = Field(
        60, description="The pause between two looks that have to agree, and between those for which servers wait."
    )
    signed_for: NonNegativeFloat = Field(
        3600,
        description="For how long the zone has to be seen signed at all its servers before its first DS; longer where"
        " the TTLs of its SOA and NS records, or of negative answers, are.",
    )
    silent_for: NonNegativeFloat = Field(
        900, description="For how long a change of DS or NS waits for a name server that does not answer."
    )
    port: PositiveInt = Field(53, le=65535, description="Where the zone's name servers are asked.")


class KeySettings(_Section):
    """`key` of a child: its own SIG(0) keys."""

    algorithm: str = Field("ED25519", description="Of new keys.")
    ttl: NonNegativeInt = Field(3600, le=2**31 - 1, description="The TTL, in seconds, of the KEY records published.")
    roll_every: PositiveFloat | None = Field(None, description="A new key after so many days; default: by command.")
    roll_wait: PositiveFloat = Field(
        7200, description="Seconds for which a new key is published and trusted before it signs and the old one goes."
    )

    @field_validator("algorithm")
    @classmethod
    def _supported(cls, algorithm: str) -> str:
        algorithm_number(algorithm, DEFAULT)
        return algorithm


class ChildSettings(_Section):
    """What of an entry of `children` can change while the agent runs; times in seconds."""

    primary: PrimarySettings | None = Field(
        None, description="The DNS server from which the zone is read; default: through `backend`."
    )
    parent: ParentSettings = Field(default_factory=ParentSettings)
    key: KeySettings = Field(default_factory=KeySettings)
    ds: DsSettings = Field(default_factory=DsSettings)
    looks: LookSettings = Field(default_factory=LookSettings)
    methods: tuple[Method, ...] = Field(
        (Method.AT_APEX, Method.AT_NS, Method.UNSIGNED, Method.MANUAL),
        min_length=1,
        description="Ways to have the key trusted that are good enough, the best first.",
    )
    style: Style = Field(Style.DELTA, description="Send what differs, or the whole RRsets that differ.")
    poll: PositiveFloat = Field(300, description="How often the zone's serial is looked at; NOTIFY makes it at once.")
    check: PositiveFloat = Field(3600, description="How often it is checked that the parent still publishes it all.")
    retry_first: PositiveFloat = Field(5, description="The pause before the second attempt of anything; it doubles.")
    retry_longest: PositiveFloat = Field(3600, description="The longest pause between two attempts.")
    serial: Literal["rising", "any"] = Field(
        "rising",
        description="`rising`: a version of the zone with a lower serial (RFC 1982) than the one acted on comes from a"
        " server that has not caught up, and is waited for; `any`: where serials mean nothing.",
    )
    patience: PositiveFloat = Field(
        14400, description="For how long a refusal is tried again before a person is asked (`held`)."
    )
    confirm: PositiveFloat = Field(
        600, description="For how long the parent's servers may take to publish an accepted change before it is said."
    )


class SignallingSection(_Section):
    """An entry of `signalling` of a child: a name server operator's zone that we can write to (RFC 9615 section 2)."""

    zone: NameText = Field(description="The zone that holds `_signal` names of name servers, as operator.example.")
    backend: dict[str, Any] = Field(description="`adapter` and the options of that adapter.")

    @field_validator("backend")
    @classmethod
    def _adapter(cls, backend: dict[str, Any]) -> dict[str, Any]:
        return _with_adapter(backend)

    @property
    def apex(self) -> bytes:
        return names.from_text(self.zone)


class ChildSection(ChildSettings):
    """An entry of `children`: a zone whose delegation we keep right at its parent."""

    zone: NameText = Field(description="The child zone.")
    backend: dict[str, Any] | None = Field(
        None, description="`adapter` and the options of that adapter: where KEY is published and the zone is read."
    )
    signalling: tuple[SignallingSection, ...] = Field(
        (), description="Zones of its name servers' names that we can write to: KEY is published there, too."
    )

    @field_validator("zone")
    @classmethod
    def _not_the_root(cls, text: str) -> str:
        if names.from_text(text) == names.ROOT:
            raise ValueError("the root has no parent")
        return text

    @field_validator("backend")
    @classmethod
    def _adapter(cls, backend: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if backend is None else _with_adapter(backend)

    @model_validator(mode="after")
    def _readable(self) -> "ChildSection":
        if self.backend is None and self.primary is None:
            raise ValueError("either `backend` or `primary` has to say where the zone is read")
        if len({entry.apex for entry in self.signalling}) != len(self.signalling):
            raise ValueError("signalling: a zone is there twice")
        if self.parent.zone is not None and not names.is_below(self.apex, names.from_text(self.parent.zone)):
            raise ValueError(f"parent.zone: {self.zone} is not below {self.parent.zone}")
        return self

    @property
    def apex(self) -> bytes:
        return names.from_text(self.zone)

    def settings(self) -> ChildSettings:
        return ChildSettings(**{name: getattr(self, name) for name in ChildSettings.model_fields})


def _with_adapter(backend: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(backend.get("adapter"), str):
        raise ValueError("`adapter` names the adapter, as in {adapter: bind, ...}")
    return backend
