"""The child's operator: a SIG(0) key made by the stock dnssec-keygen, and dig. `lab.nsupdate` sends the updates."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.ports import LOOPBACK
from lab.process import find_command, run


@dataclass(frozen=True)
class ChildKey:
    """A SIG(0) key pair in BIND's two files. `public_file` is what a person hands to the parent."""

    name: str
    algorithm: str
    keyid: int
    public_file: Path
    private_file: Path


def make_key(directory: Path, name: str, algorithm: str = "ED25519", *, bits: int | None = None) -> ChildKey:
    """A new key for `name` from dnssec-keygen. algorithm is its mnemonic; bits matter to RSA only (default 2048)."""
    directory.mkdir(parents=True, exist_ok=True)
    size = ["-b", str(bits or 2048)] if algorithm.startswith("RSA") else []
    argv = [
        find_command("dnssec-keygen"),
        "-q",
        "-K",
        str(directory),
        "-T",
        "KEY",
        "-n",
        "HOST",
        "-a",
        algorithm,
        *size,
        name,
    ]
    stem = run(argv).strip()
    # The name of the files: K, the owner, the algorithm's number, the key tag.
    keyid = int(stem.rpartition("+")[2])
    return ChildKey(name, algorithm, keyid, directory / f"{stem}.key", directory / f"{stem}.private")


@dataclass(frozen=True)
class Dig:
    """What dig printed."""

    text: str

    @property
    def status(self) -> str | None:
        """The RCODE's mnemonic; None when nothing answered."""
        found = re.search(r"status: (\w+)", self.text)
        return found[1] if found else None

    @property
    def extended_errors(self) -> tuple[str, ...]:
        """The extended errors as dig prints them: `CODE (Meaning): (text)`."""
        return tuple(re.findall(r"^; EDE: (.*)$", self.text, re.MULTILINE))


def dig(name: str, rdtype: str, *options: str, port: int, server: str = LOOPBACK) -> Dig:
    """Ask with dig, without recursion unless `options` (such as "+dnssec", "+tcp") say so."""
    argv = [
        find_command("dig"),
        f"@{server}",
        "-p",
        str(port),
        "+norecurse",
        "+tries=1",
        "+time=5",
        *options,
        name,
        rdtype,
    ]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return Dig(done.stdout)
