"""TSIG keys for the lab's servers, in files as zonecut reads them."""

import re
from pathlib import Path

import dns.tsig

from lab.process import LabError, find_command, run

UPDATE_KEY = "update.lab."
"""The name of the key that may update and transfer a zone."""


def generate_key(file: Path, name: str = UPDATE_KEY) -> dns.tsig.Key:
    """The key in a file, which is made if it is not there."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(run([find_command("tsig-keygen"), "-a", "hmac-sha256", name]))
    secret = re.search(r'secret "([^"]+)"', file.read_text())
    if secret is None:
        raise LabError(f"{file} holds no key")
    return dns.tsig.Key(name, secret[1], dns.tsig.HMAC_SHA256)
