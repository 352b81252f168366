"""What `zonecut explain` is made of: a message from any kind of file, and the receiver's own steps on it."""
