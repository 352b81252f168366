"""The PowerDNS API as zonecut offers it: whoever manages delegations there posts changes, and reads zones back.

An HTTP status belongs here and not in `receiver`, which judges what is posted. `serve` starts it; nobody else
imports it but the commands that check a configuration.
"""
