"""`zonecut change`: what was accepted, what waits for a person, and what is decided about it."""
