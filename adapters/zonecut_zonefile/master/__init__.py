"""Master files (RFC 1035 section 5), read as far as delegations need them, each record with its place."""
