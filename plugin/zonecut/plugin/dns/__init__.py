"""DNS messages for adapters: TSIG (RFC 8945), its key files, and the serial that a server serves."""
