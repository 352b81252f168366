"""What the files of a parent zone have to be before anything is written: each complaint says how to mend it."""

import os
from pathlib import Path

from zonecut.plugin import BackendMisconfigured
from zonecut.plugin.wholezone import ZONEMD, made_elsewhere
from zonecut.protocol import names
from zonecut_zonefile.reader import MasterFile

_UNSIGNED_FILE = (
    "make `zone_file` the unsigned file, and have the server that loads it sign (BIND: dnssec-policy and "
    "inline-signing; Knot: dnssec-signing)"
)


def check_content(file: MasterFile, apex: bytes, include_line: str) -> None:
    """Raise BackendMisconfigured for a zone file without SOA, or without the line that includes the delegations; and
    for one that was signed or digested, since a file makes nothing anew."""
    path = file.source.path
    if file.made is not None:
        rtype, where = file.made.rr.rtype, f"{file.made.file}, from line {file.made.line} on,"
        raise made_elsewhere(apex, rtype, where, cure="" if rtype == ZONEMD else _UNSIGNED_FILE)
    if file.serial is None:
        raise BackendMisconfigured(f"{path} holds no SOA of {names.to_text(apex)}, whose serial is to rise")
    if not file.ours:
        raise BackendMisconfigured(f"{path} does not include the delegations: add this line to it: {include_line}")
    for line in file.ours:
        if line.states_origin and line.origin != apex:
            raise BackendMisconfigured(
                f"{path}, line {line.line}: the origin is not the zone's; make the line: {include_line}"
            )


def check_replaceable(*paths: Path) -> None:
    """Raise BackendMisconfigured where no new file can take the place of one of these: its directory decides."""
    for path in paths:
        if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
            raise BackendMisconfigured(
                f"{path.parent}: a new {path.name} takes the place of the old one, so user {os.geteuid()} must be able"
                " to write this directory (under systemd, ReadWritePaths= as well)"
            )
