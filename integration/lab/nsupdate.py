"""The stock nsupdate and what it says."""

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab.ports import LOOPBACK
from lab.process import find_command

_FAILED = re.compile(r"^update failed: (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How one run of nsupdate ended.

    rcode is "NOERROR", the code of the last refused update, or None when no update was answered (silence, wrong input,
    a failed look-up of the zone: see `stderr`).
    """

    rcode: str | None
    exit_status: int
    stdout: str
    stderr: str
    seconds: float


def nsupdate(
    commands: str,
    *,
    port: int,
    server: str = LOOPBACK,
    zone: str | None = None,
    key_file: Path | None = None,
    tcp: bool = False,
    timeout: int = 10,
    udp_timeout: int | None = None,
    udp_retries: int | None = None,
    debug: bool = False,
) -> Outcome:
    """Run nsupdate with `commands` (lines as in its manual page; `server`, `zone` and `send` are added).

    timeout is the whole request's in seconds (`-t`), udp_timeout one try's (`-u`), udp_retries the tries after the
    first (`-r`). Without `zone`, nsupdate asks the server for it.
    """
    argv = [find_command("nsupdate"), "-t", str(timeout)]
    if key_file is not None:
        argv += ["-k", str(key_file)]
    if tcp:
        argv.append("-v")
    if udp_timeout is not None:
        argv += ["-u", str(udp_timeout)]
    if udp_retries is not None:
        argv += ["-r", str(udp_retries)]
    if debug:
        argv.append("-d")
    lines = [f"server {server} {port}"]
    if zone is not None:
        lines.append(f"zone {zone}")
    script = "\n".join([*lines, commands.strip(), "send", ""])
    began = time.monotonic()
    # nsupdate's own limit ends it; ours is for a nsupdate that hangs.
    done = subprocess.run(argv, input=script, capture_output=True, text=True, timeout=timeout * 2 + 30)
    return Outcome(
        rcode=_rcode(done),
        exit_status=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
        seconds=time.monotonic() - began,
    )


def _rcode(done: subprocess.CompletedProcess[str]) -> str | None:
    if refused := _FAILED.findall(done.stderr):
        return str(refused[-1])
    return "NOERROR" if done.returncode == 0 else None
