"""Files that the configuration names: what is none is an error at once, whoever would have written to it."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from zonecut.configfile import ConfigurationError, read_document
from zonecut.files import keyfiles
from zonecut.files.privatefile import PrivateFileError, read_private
from zonecut.files.regularfile import read_regular
from zonecut.plugin import BackendMisconfigured
from zonecut.plugin.tls import client_context
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT
from zonecut.receiver.announce.key_directory import KeyDirectory
from zonecut.resolve import ResolveError
from zonecut.resolve.anchors import TrustAnchors
from zonecut_zonefile import files

KINDS = ("directory", "FIFO", "socket", "device")


def place(directory: Path, kind: str) -> Path:
    path = directory / "Kupdater.example.identity.json"
    match kind:
        case "directory":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path, 0o600)
        case "socket":
            with closing(socket.socket(socket.AF_UNIX)) as listener:
                listener.bind(str(path))
        case "device":
            path.symlink_to("/dev/full")
    return path


def in_time(read: Callable[[], object]) -> BaseException:
    """What it raises; it is a daemon thread's matter that it may block."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            read()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(5)
    assert raised, "it waits, or takes it for a file"
    return raised[0]


READERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "any": (read_regular, OSError),
    "configuration": (read_document, ConfigurationError),
    "secret": (lambda path: read_private(path, "API key"), PrivateFileError),
    "key file": (lambda path: keyfiles._read(path, secret=False), OSError),
    "identity": (
        lambda path: KeyDirectory(path.parent, DEFAULT).find(names.from_text("updater.example.")),
        OSError,
    ),
    "trust anchors": (TrustAnchors.from_file, ResolveError),
    "certificates": (client_context, BackendMisconfigured),
    "zone file": (files.read, OSError),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_told_at_once(tmp_path: Path, kind: str, reader: str) -> None:
    read, error = READERS[reader]
    path = place(tmp_path, kind)
    raised = in_time(lambda: read(path))
    assert type(raised) is error or (error is OSError and isinstance(raised, OSError))
    assert f"it is a {kind}, and a file belongs there" in str(raised)
    assert path.name in str(raised)


def test_a_link_to_a_file_is_one_and_a_file_may_have_any_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == bytes(100_000)
    assert read_regular(tmp_path / "link", 7) == bytes(7)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
