"""Some tests need the addresses 127.53.0.x with port 53: in one network, only one file of them can run at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_FILES = tuple(f"test_{name}" for name in ("agent", "checks", "child", "discovery", "doctor", "resolve", "trust"))
_LOCK = Path(tempfile.gettempdir()) / f"zonecut-127.53.{os.getuid()}.lock"


@pytest.fixture(autouse=True, scope="module")
def fixed_addresses(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait until no other test session of this user has these addresses. A conftest.py takes part by importing this.

    Not where `on-loopback` has given the session a network of its own.
    """
    if "OWN_NETWORK" in os.environ or not request.path.name.startswith(_FILES):
        yield
        return
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
