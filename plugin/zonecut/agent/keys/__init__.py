"""A child's own SIG(0) keys: its files, its KEY records in DNS, and whether the world sees them.

What the parent thinks of a key is not its business: `bootstrap` and `rollover` are.
"""
