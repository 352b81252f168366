"""What a parent zone announces of its receiver (DSYNC, addresses, KEY, SVCB), and the key that signs its answers."""
