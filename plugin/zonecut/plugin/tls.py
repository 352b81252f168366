"""TLS towards a backend."""

import ssl
from pathlib import Path

from zonecut.files.regularfile import check_regular
from zonecut.plugin.backend import BackendMisconfigured


def client_context(ca: Path | None) -> ssl.SSLContext:
    """Certificates are trusted that one in the file `ca` vouches for; None means the system's.

    Raises BackendMisconfigured for a file that cannot be used.
    """
    try:
        if ca is not None:
            check_regular(ca)
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise BackendMisconfigured(f"{ca} holds no certificates that could be used: {error}") from error
