"""Real servers as processes on loopback: named, knotd, pdns_server, PostgreSQL, MariaDB, and what they share."""
