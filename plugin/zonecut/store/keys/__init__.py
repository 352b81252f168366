"""The tables of keys: the children's, those on their way to trust, what was seen of them, and the receiver's own."""
