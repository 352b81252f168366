"""`zonecut key`: the children's keys, and what an operator decides about them."""
