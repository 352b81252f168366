"""What goes over sockets, for whoever has one: it knows the protocol and nothing else of ours."""
