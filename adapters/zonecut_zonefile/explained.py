"""What the operating system and the reader say about a file, as errors of the plugin interface."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut_zonefile.master.lexer import MasterFileError, OtherZoneError

TRANSIENT = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EINTR,
    errno.EAGAIN,
)
"""What may be better soon without anybody's doing."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise BackendUnavailable or BackendMisconfigured for what goes wrong with a file, by default this one."""
    try:
        yield
    except OtherZoneError as error:
        raise BackendMisconfigured(str(error)) from error
    except MasterFileError as error:
        raise BackendUnavailable(str(error)) from error
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror or error}"
        if error.errno == errno.EBUSY:
            reason += "; is it a mount of its own? Mount the directory instead"
        kind = BackendUnavailable if error.errno is None or error.errno in TRANSIENT else BackendMisconfigured
        raise kind(reason) from error
