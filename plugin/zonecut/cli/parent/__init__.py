"""`zonecut parent`: what a parent zone announces, and the receiver's own keys."""
