"""Looking after a running zonecut from outside: metrics."""
