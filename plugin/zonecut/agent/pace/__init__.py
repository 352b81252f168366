"""How much an agent may do, and when again: after a failure, within a time, beside its other zones."""
