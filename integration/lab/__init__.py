"""Real servers and real clients on loopback, started and stopped by tests.

`process` runs any program; `named` and `zonecut` are the two servers; `child` and `nsupdate` play the child's operator
with the stock tools.
"""
