"""What a look-up ends in: a verdict, a status and the records, with the reason in words (RFC 4035 section 4.3)."""

from dataclasses import dataclass
from enum import StrEnum

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, type_text
from zonecut.resolve.reply import Reply


class Verdict(StrEnum):
    """How far an answer can be believed (RFC 4033 section 5)."""

    SECURE = "secure"
    """A chain of signatures from a trust anchor to the answer, or to the proof that there is none."""
    INSECURE = "insecure"
    """Proven: no chain of signatures leads there, so anybody could have written this answer."""
    BOGUS = "bogus"
    """There should be a chain, and it is broken."""
    INDETERMINATE = "indeterminate"
    """None of these could be found out: no answer, no trust anchor, no proof, too much work."""


class Status(StrEnum):
    """What the answer says, whatever it is worth."""

    FOUND = "found"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    ALIAS = "alias"
    """A CNAME or DNAME stands there."""
    WILDCARD = "wildcard"
    """The records were synthesised from a wildcard."""
    FAILED = "failed"
    """There is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a look-up. Aliases are not followed and, like what a wildcard made, do not count as found.

    Records come with secure and insecure answers only.
    `name` and `signer` are lower-case wire-form names; `signer` is the zone that signed a secure answer. `rdatas` are
    in canonical wire form (RFC 4034 section 6.2), sorted; `ttl` is in seconds, at most as long as the signature
    lives. `rcode` is None where nothing was received. `soa` is the zone that a negative answer comes from: the one that
    proves it, or, where nothing can be proven, the owner of the SOA record that came along (RFC 2308 section 2).
    `target` is where a CNAME at this name leads, None for a DNAME above it.
    With `is_silence` the resolvers that were asked gave nothing of use: `reason` names them, and is for nobody else.
    """

    name: bytes
    rtype: int
    verdict: Verdict
    status: Status
    reason: str
    rdatas: tuple[bytes, ...] = ()
    ttl: int = 0
    signer: bytes | None = None
    rcode: int | None = None
    soa: bytes | None = None
    is_silence: bool = False
    target: bytes | None = None

    @property
    def is_proven(self) -> bool:
        """The records stand at this very name, and that is secure. The only thing on which trust may be built."""
        return self.verdict is Verdict.SECURE and self.status is Status.FOUND and bool(self.rdatas)

    @property
    def is_proven_absent(self) -> bool:
        """It is secure that there is no such record: this contradicts whoever says that there is one."""
        return self.verdict is Verdict.SECURE and self.status in (Status.NODATA, Status.NXDOMAIN)

    @property
    def says_nothing(self) -> bool:
        """Whether there are such records is not known, whatever is proven of the way there."""
        failed = self.status is Status.FAILED and self.verdict is not Verdict.BOGUS
        return failed or self.verdict is Verdict.INDETERMINATE

    def __str__(self) -> str:
        return f"{names.to_text(self.name)} {type_text(self.rtype)}: {self.status}, {self.verdict}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of a host: one answer for A, one for AAAA."""

    ipv4: Answer
    ipv6: Answer


@dataclass(frozen=True, slots=True)
class Direct:
    """What one server said when it was asked itself, without recursion.

    An answer counts as authoritative with the AA bit and NOERROR or NXDOMAIN. `reply` is for `Resolver.validate`; it
    is None, `rcode` too and the status FAILED, where nothing was received. The signatures are not checked yet.
    """

    address: str
    port: int
    name: bytes
    rtype: int
    status: Status
    reason: str
    rcode: int | None = None
    authoritative: bool = False
    rdatas: tuple[bytes, ...] = ()
    ttl: int = 0
    reply: Reply | None = None

    @property
    def is_answer(self) -> bool:
        """The server answered, and with authority."""
        return self.authoritative and self.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN)
