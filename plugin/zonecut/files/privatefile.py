"""Files that hold a secret: read only if nobody but their owner can, and never quoted."""

import os
import pwd
from pathlib import Path

from zonecut.files.regularfile import open_regular

_LARGEST = 65536


class PrivateFileError(Exception):
    """The file cannot be used; the message names it and says what would be right, and holds nothing of it."""


def read_private(path: Path, what: str) -> bytes:
    """The content of a file, 64 KiB at most; `what` it is, for messages.

    Raises PrivateFileError if it cannot be read, is no file, or can be read by others than its owner.
    """
    try:
        with open_regular(path) as file:
            # Of the open file, not of the path: what is checked is what is read.
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise PrivateFileError(
                    f"{what} {path} can be read by others (mode {mode & 0o777:04o}): chmod 600 {path}"
                )
            return file.read(_LARGEST)
    except PermissionError as error:
        user = _user()
        raise PrivateFileError(
            f"{what} {path} cannot be read by {user} ({error.strerror}): chown {user} {path}, chmod 600, and let"
            f" {user} into its directory"
        ) from error
    except OSError as error:
        raise PrivateFileError(f"{what} {path} cannot be read: {error.strerror}") from error


def _user() -> str:
    """As whom files are read."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def read_word(path: Path, what: str, least: int = 1) -> str:
    """The one word of ASCII in a private file, of `least` to 4096 characters. Raises PrivateFileError."""
    word = read_private(path, what).strip()
    if not least <= len(word) <= 4096 or not all(0x21 <= octet <= 0x7E for octet in word):
        length = f" of {least} characters or more" if least > 1 else ""
        raise PrivateFileError(f"{what} {path} cannot be used: one word of ASCII{length} belongs there")
    return word.decode("ascii")
