"""RR types by their names in a server's text."""

import dns.exception
import dns.rdatatype


def rtype_number(text: str) -> int:
    """The number of a type by its mnemonic or as `TYPE66` (RFC 3597 section 5). Raises ValueError for none."""
    try:
        return int(dns.rdatatype.from_text(text))
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"{text!r} is no RR type") from None
