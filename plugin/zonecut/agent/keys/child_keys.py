"""The SIG(0) keys of a child zone whose agent we are: BIND key files in a directory of the zone's own.

Which of them signs, and which are published, is the agent's to say; here they are made, found, and put away.
"""

from dataclasses import dataclass
from pathlib import Path

from zonecut.files import keyfiles
from zonecut.files.keyfiles import name_in_files
from zonecut.files.keyfolder import KeyFolder
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import Key, KeyPair, UnusableKey, algorithm_number

_CHILDREN = "children"


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key of ours, and the path of its `.key` file."""

    pair: KeyPair
    file: Path

    @property
    def key(self) -> Key:
        return self.pair.key

    @property
    def fingerprint(self) -> str:
        return self.pair.key.fingerprint()


class ChildKeys:
    """The keys of one zone, below the directory that holds all our own keys.

    All methods block, and raise UnusableKey, naming the file, or OSError.
    """

    def __init__(self, directory: Path, zone: bytes, codepoints: CodePoints) -> None:
        """`directory` is the one of all keys of ours; the zone's are in `children/ZONE` in it."""
        self.zone = zone
        self._codepoints = codepoints
        self._above = (KeyFolder(directory, codepoints), KeyFolder(directory / _CHILDREN, codepoints))
        self._folder = KeyFolder(directory / _CHILDREN / name_in_files(zone), codepoints)

    @property
    def path(self) -> Path:
        return self._folder.path

    def all(self) -> tuple[OwnKey, ...]:
        """The keys that are not retired, the oldest first."""
        with self._folder.reading():
            return self._all()

    def find(self, fingerprint: str) -> OwnKey | None:
        """The key with this fingerprint, written in any way; None if there is none, or it is retired."""
        wanted = _digits(fingerprint)
        return next((own for own in self.all() if _digits(own.fingerprint) == wanted), None)

    def ensure(self, algorithm: str, ttl: int | None = None) -> tuple[OwnKey, ...]:
        """All keys; a new one if there was none. Two processes that do so at the same time make one."""
        self._make_folders()
        with self._folder.changing():
            return self._all() or (self._make(algorithm, ttl),)

    def make(self, algorithm: str, ttl: int | None = None) -> OwnKey:
        """A new key. `algorithm` is its mnemonic or number; `ttl`, in seconds, is written into the record in its file.

        Raises ValueError for an algorithm that is not supported.
        """
        self._make_folders()
        with self._folder.changing():
            return self._make(algorithm, ttl)

    def beside(self, own: OwnKey, algorithm: str, ttl: int | None = None) -> OwnKey:
        """The newest key made after `own`; a new one if there is none. Two processes that roll at once make one."""
        self._make_folders()
        with self._folder.changing():
            newest = self._all()[-1:]
            if newest and newest[0].fingerprint != own.fingerprint:
                return newest[0]
            return self._make(algorithm, ttl)

    def retire(self, own: OwnKey) -> None:
        """Move a key into `retired`, where it stays; nothing happens to one that is there already."""
        with self._folder.changing():
            if own.file.exists():
                self._folder.retire(own.key)

    def retired(self) -> tuple[Key, ...]:
        """The public halves of the keys that were retired: what may still stand in a zone, and must not."""
        with self._folder.reading():
            return tuple(keyfiles.read_public(path) for path in self._folder.retired.files(self.zone))

    def is_retired(self, fingerprint: str) -> bool:
        """Whether the key with this fingerprint was put aside: only then are its files rightly not with the others."""
        wanted = _digits(fingerprint)
        return any(_digits(key.fingerprint()) == wanted for key in self.retired())

    def remark(self, own: OwnKey, now: float) -> str | None:
        """What is to be said against a key at the time `now` (seconds): its files say that it is done with."""
        if (ended := keyfiles.read_ended(own.file, now)) is None:
            return None
        return f"key {own.key.tag}: {ended} ({own.file}): zonecut child roll {names.to_text(self.zone)} makes a new one"

    def ever(self) -> tuple[Key, ...]:
        """All keys that we ever had: of these, those that are not wanted are taken out of the zone."""
        return (*(own.key for own in self.all()), *self.retired())

    def _all(self) -> tuple[OwnKey, ...]:
        found = [(path.stat().st_mtime_ns, self._read(path)) for path in self._folder.files(self.zone)]
        return tuple(own for _, own in sorted(found, key=lambda each: (each[0], each[1].file)))

    def _read(self, path: Path) -> OwnKey:
        try:
            pair = keyfiles.read_pair(path, self._codepoints)
        except FileNotFoundError as error:
            raise UnusableKey(f"{path}: the other file of the key is missing: {error.filename}") from None
        if pair.key.owner != self.zone:
            raise UnusableKey(f"{path}: the key is of {names.to_text(pair.key.owner)}")
        return OwnKey(pair, path)

    def _make(self, algorithm: str, ttl: int | None) -> OwnKey:
        file, pair = self._folder.new_pair(self.zone, algorithm_number(algorithm, self._codepoints), ttl)
        return OwnKey(pair, file)

    def _make_folders(self) -> None:
        for folder in (*self._above, self._folder):
            folder.make()


def _digits(fingerprint: str) -> str:
    return "".join(fingerprint.replace(":", " ").split()).upper()
