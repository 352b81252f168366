"""A captured message in a file: raw octets, or those as hexadecimal digits or base64."""

import re
import sys
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from pathlib import Path

from zonecut.cli.failures import Failure
from zonecut.protocol.envelope import MAX_MESSAGE, walk
from zonecut.protocol.errors import MalformedMessage

_LARGEST = 4 * (MAX_MESSAGE + 2)
"""Octets of a file that can hold a message: each of the message's may be two digits, a blank and more."""

_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}[\s:]*)+")


def read_capture(path: Path) -> bytes:
    """The message in a file, `-` for standard input; a length prefix as TCP has it is taken off.

    Raises Failure for a file that holds no octets or far too many, and OSError.
    """
    if str(path) == "-":
        data = sys.stdin.buffer.read(_LARGEST + 1)
    else:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    if not data:
        raise Failure(f"{path}: is empty")
    if len(data) > _LARGEST:
        raise Failure(f"{path}: larger than any message")
    forms = list(_forms(data))
    for form in forms:
        if _is_message(form):
            return form
    # nothing of it is a message: what it most likely was meant to be is explained as the receiver would see it
    return forms[-1]


def _forms(data: bytes) -> Iterator[bytes]:
    """What the file may mean, the most literal first."""
    for octets in (data, _from_hex(data), _from_base64(data)):
        if octets:
            yield octets
            if len(octets) > 2 and int.from_bytes(octets[:2]) == len(octets) - 2:
                yield octets[2:]


def _from_hex(data: bytes) -> bytes | None:
    digits = data.strip()
    return bytes.fromhex(digits.replace(b":", b" ").decode()) if _HEX.fullmatch(digits) else None


def _from_base64(data: bytes) -> bytes | None:
    if _HEX.fullmatch(data.strip()):
        return None
    try:
        return a2b_base64(b"".join(data.split()), strict_mode=True)
    except Base64Error:
        return None


def _is_message(octets: bytes) -> bool:
    try:
        walk(octets)
    except MalformedMessage:
        return False
    return True
