"""The flags of a message's header (RFC 1035 section 4.1.1, RFC 4035 section 3), and the one of an OPT record."""

QUERY_RESPONSE = 0x8000
"""QR: this is a response."""
AUTHORITATIVE = 0x0400
"""AA: from a server of the zone."""
TRUNCATED = 0x0200
"""TC: the rest is to be had over TCP."""
RECURSION_DESIRED = 0x0100
RECURSION_AVAILABLE = 0x0080
AUTHENTIC_DATA = 0x0020
"""AD: who answers has validated it; in a query, who asks wants to know (RFC 6840 section 5.7)."""
CHECKING_DISABLED = 0x0010
"""CD: what does not validate is wanted as well."""

DNSSEC_OK = 0x8000
"""DO, in the TTL of an OPT record: DNSSEC records are wanted (RFC 3225)."""
