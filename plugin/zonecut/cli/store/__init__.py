"""`zonecut store`: whether the store is the one that the daemon left, and what to do where it is not."""
