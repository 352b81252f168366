"""The parent's server in the tour: one that loads a zone file, or a real named, knotd or pdns_server on loopback."""
