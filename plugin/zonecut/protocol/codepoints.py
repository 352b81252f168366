"""Every number that goes over the wire: the assigned ones as enumerations, the experimental ones as settings.

IANA has not assigned the members of `CodePoints` yet; an operator can override each of them in the configuration.
Nothing else in zonecut spells one of these numbers.
"""

from dataclasses import dataclass
from enum import IntEnum


class RRType(IntEnum):
    """RR types that zonecut handles (RFC 1035, 1995, 2535, 3596, 4034, 6891, 7344, 7477, 8945, 9460, 9859)."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    SIG = 24
    KEY = 25
    AAAA = 28
    DNAME = 39
    OPT = 41
    DS = 43
    DNSKEY = 48
    CDS = 59
    CDNSKEY = 60
    CSYNC = 62
    SVCB = 64
    DSYNC = 66
    TSIG = 250
    IXFR = 251
    AXFR = 252
    ANY = 255

    @property
    def text(self) -> str:
        """The mnemonic, as in a zone file."""
        return self.name


OTHER_TYPES = {
    12: "PTR",
    13: "HINFO",
    15: "MX",
    16: "TXT",
    17: "RP",
    29: "LOC",
    33: "SRV",
    35: "NAPTR",
    37: "CERT",
    44: "SSHFP",
    46: "RRSIG",
    47: "NSEC",
    50: "NSEC3",
    51: "NSEC3PARAM",
    52: "TLSA",
    53: "SMIMEA",
    61: "OPENPGPKEY",
    63: "ZONEMD",
    65: "HTTPS",
    99: "SPF",
    256: "URI",
    257: "CAA",
}
"""Types that zonecut does nothing with, and that people know by mnemonics (IANA, "Resource Record (RR) TYPEs")."""


def type_text(rtype: int) -> str:
    """The mnemonic of a well-known type, else its RFC 3597 form."""
    try:
        return RRType(rtype).text
    except ValueError:
        return OTHER_TYPES.get(rtype, f"TYPE{rtype}")


class RRClass(IntEnum):
    """Classes (RFC 1035 section 3.2.4; NONE and ANY as RFC 2136 uses them)."""

    IN = 1
    NONE = 254
    ANY = 255


class Opcode(IntEnum):
    """Opcodes (RFC 1035, 1996, 2136)."""

    QUERY = 0
    NOTIFY = 4
    UPDATE = 5


class Rcode(IntEnum):
    """Response codes (RFC 1035, 2136, 8945). Those above 15 need an OPT RR in the response."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    YXRRSET = 7
    NXRRSET = 8
    NOTAUTH = 9
    NOTZONE = 10
    BADVERS = 16
    BADSIG = 16
    BADKEY = 17
    BADTIME = 18


def rcode_text(rcode: int, *, of_signed: bool = False) -> str:
    """The mnemonic of an RCODE, or RCODE and its number.

    16 has two (RFC 6891 section 9, RFC 8945 section 5.3): BADSIG in the answer to a signed message, else BADVERS.
    """
    if of_signed and rcode == Rcode.BADSIG:
        return "BADSIG"
    return Rcode(rcode).name if rcode in Rcode.__members__.values() else f"RCODE{rcode}"


class Algorithm(IntEnum):
    """SIG(0) algorithms with assigned numbers (RFC 5702, 6605, 8080). ML-DSA's are in `CodePoints`."""

    RSASHA256 = 8
    RSASHA512 = 10
    ECDSAP256SHA256 = 13
    ECDSAP384SHA384 = 14
    ED25519 = 15
    ED448 = 16


class EdeCode(IntEnum):
    """Extended DNS errors with assigned codes that zonecut sends (RFC 8914)."""

    OTHER = 0
    PROHIBITED = 18
    NOT_SUPPORTED = 21
    RATE_LIMITED = 31
    OVER_QUOTA = 32


class DsyncScheme(IntEnum):
    """DSYNC schemes with assigned numbers (RFC 9859 section 6.2). UPDATE and SCANNER are in `CodePoints`."""

    NULL = 0
    NOTIFY = 1


class ChildState(IntEnum):
    """KEY-STATE codes that a child sends; the first two in draft-berra-dnsop-keystate-02 only."""

    BOOTSTRAP_AUTO = 0
    BOOTSTRAP_MANUAL = 1
    INQUIRE = 2


class ReceiverState(IntEnum):
    """KEY-STATE codes that a receiver sends (draft-berra-dnsop-keystate-03; the first two are not in -02)."""

    REQUEST_MALFORMED = 0
    TEMPORARY_FAILURE = 1
    TRUSTED = 4
    UNKNOWN = 5
    INVALID = 6
    REFUSED = 7
    VALIDATION_FAILED = 8
    BOOTSTRAP_AUTO = 9
    BOOTSTRAP_MANUAL = 10


EDNS_OPTION_EDE = 15
"""EDNS option code of extended DNS errors (RFC 8914 section 2)."""


@dataclass(frozen=True, slots=True)
class CodePoints:
    """Numbers that IANA has not assigned yet, with the values in use among implementations."""

    signature_type: int = RRType.SIG
    """RR type that carries a transaction signature; a revision of RFC 2931 may bring another one."""
    ml_dsa_44: int = 199
    ml_dsa_65: int = 200
    ml_dsa_87: int = 201
    ede_key_known_not_trusted: int = 49160
    ede_key_validation_failed: int = 49161
    ede_manual_bootstrap_required: int = 49162
    ede_tdns_key_unknown: int = 513
    """Extended errors of the prototype `tdns`, as it has numbered them since August 2026: the `ede_tdns_*`. Before, 514
    and 515 stood for the first two, with the same texts."""
    ede_tdns_key_not_trusted: int = 514
    ede_tdns_no_delegation_sync: int = 515
    ede_tdns_validation_failed: int = 541
    ede_tdns_manual_bootstrap: int = 542
    ede_tdns_incoherent: int = 543
    ede_tdns_unverified: int = 544
    ede_tdns_upload_not_taken: int = 545
    keystate_option: int = 65002
    """EDNS option code of KeyState (draft-berra-dnsop-keystate)."""
    dsync_update: int = 2
    """DSYNC scheme UPDATE (draft-ietf-dnsop-delegation-mgmt-via-ddns)."""
    dsync_scanner: int = 3
    """DSYNC scheme SCANNER (draft-berra-dnsop-announce-scanner)."""
    svcb_bootstrap: int = 65282
    """SvcParamKey `bootstrap`, from the private range (RFC 9460 section 14.3.2)."""
    svcb_interval: int = 65283
    """SvcParamKey `interval` (draft-berra-dnsop-announce-scanner); the draft names no number: this one is ours."""


DEFAULT = CodePoints()
"""The code points in use where the configuration overrides none."""
