"""Sockets: UDP and TCP listeners that hand octets to the receiver or the agents (RFC 7766)."""
