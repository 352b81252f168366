"""Real servers and real clients on loopback, started and stopped by tests.

`process` runs any program; `named`, `knotd` and `pdns` are what a parent's server may be, `server` what tests may
expect of any of them, and `zonecut` what stands before it; `child` and `nsupdate` play the child's operator with the
stock tools.
"""
