"""The protocol as bytes and values: no socket, no clock, no store, no await; the time is an argument."""
