"""Records by which a receiver is found and says what it takes: DSYNC, SVCB, and the names of signalling zones."""
