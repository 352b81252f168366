"""The parent as a child sees it: who announces what (RFC 9859), the receiver's key, and what its servers hand out.

The lowest of the agent's rooms: it knows neither the child's zone nor where an agent stands.
"""
