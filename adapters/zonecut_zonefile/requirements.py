"""What the files of a parent zone have to be before anything is written: each complaint says how to mend it."""

import os
import re
from contextlib import suppress
from pathlib import Path

from zonecut.plugin import BackendMisconfigured
from zonecut.plugin.wholezone import ZONEMD, made_elsewhere
from zonecut.protocol import names
from zonecut_zonefile.master.reader import MasterFile

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
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
    """Raise BackendMisconfigured where no new file can take the place of one of these: its directory decides, and
    what is mounted at a file's own name stays there."""
    mounts = ""
    with suppress(OSError):  # a system without it has no mounts of single files either
        mounts = _MOUNTS.read_text(errors="surrogateescape")
    for path in paths:
        if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
            raise BackendMisconfigured(
                f"{path.parent}: a new {path.name} takes the place of the old one, so user {os.geteuid()} must be able"
                " to write this directory (under systemd, ReadWritePaths= as well)"
            )
        if (mounted := mounted_at(path, mounts)) is not None:
            raise BackendMisconfigured(
                f"{path} is a mount of its own ({mounted}), and a new file cannot take its place (Device or resource"
                f" busy): mount the directory {path.parent} instead"
            )


def mounted_at(path: Path, mounts: str) -> str | None:
    """What is mounted at this very path by the text of /proc/PID/mountinfo (proc(5)), for people; None for nothing."""
    found = None
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        words = [_OCTAL.sub(lambda octal: chr(int(octal.group(1), 8)), word) for word in fields.split(" ")]
        if len(words) >= 5 and words[4] == str(path):
            # the last one lies on top of the others
            found = f"of {words[3]} on {' '.join(rest.split(' ')[1:2])}"
    return found
