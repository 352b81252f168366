"""One running parent zone: requests come in, changes are accepted one a child, and a crash is taken up from."""
