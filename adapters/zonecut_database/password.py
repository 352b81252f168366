"""The password for a database server: one line of a file that nobody else can read."""

from pathlib import Path

from zonecut.files.privatefile import PrivateFileError, read_private
from zonecut.plugin import BackendMisconfigured


def read_password(file: Path) -> str:
    """The password, each time anew: one that changed is used without a restart. Raises BackendMisconfigured."""
    try:
        password = read_private(file, "the password for the database").rstrip(b"\r\n").decode()
    except PrivateFileError as error:
        raise BackendMisconfigured(str(error)) from error
    except UnicodeDecodeError:
        password = ""
    # without one, a driver would go and find some other, or try none
    if not password:
        raise BackendMisconfigured(f"the password for the database {file} is no line of text")
    return password
