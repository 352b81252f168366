"""The adapter `rfc2136`: any server that takes UPDATEs signed with TSIG and gives transfers."""
