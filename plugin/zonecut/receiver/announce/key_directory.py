"""The receiver's keys on disk: BIND key files, and one small JSON file a target name that says which of them count.

Whatever process changes them, it holds the directory's lock, and the JSON file is replaced as a whole: it is the only
thing that says where a roll stands, and by its time stamp others notice within their period of looking.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

from zonecut.files import keyfiles
from zonecut.files.keyfiles import file_stem
from zonecut.files.keyfolder import KeyFolder, file_prefix, sync
from zonecut.files.regularfile import read_regular
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import Key, KeyPair, UnusableKey
from zonecut.receiver.announce.identity import Identity

_VERSION = 1

_log = structlog.get_logger(__name__)

Stamp = tuple[int, int, int] | None
"""Tells one state of a file from another; None for no file."""


class RollUnderWay(Exception):
    """A roll was asked for while another one is not at its end."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(f"a roll of the key of {names.to_text(identity.owner)} is under way")
        self.identity = identity


class LostKey(UnusableKey):
    """A target name had a key of which the directory knows nothing: no other one takes its place in silence."""

    def __init__(self, directory: Path, had: Key, instead: str) -> None:
        super().__init__(
            f"{directory} holds {instead} of {names.to_text(had.owner)}, and by the store it had the key with tag "
            f"{had.tag}, with which children verify what we answer; put that directory back as it was "
            "(`keys.directory` says where it is looked for), or, if the key is lost, have another one take its place "
            "with `zonecut parent publish ZONE --new-key`"
        )


class KeyDirectory:
    """All methods block, and raise UnusableKey, naming the file, or OSError."""

    def __init__(self, path: Path, codepoints: CodePoints) -> None:
        self.path = path
        self._codepoints = codepoints
        self._folder = KeyFolder(path, codepoints)

    def find(self, owner: bytes) -> Identity | None:
        """The identity at a target name, None if there is none yet; nothing is made."""
        with self._folder.reading():
            return self._find(owner)

    def check(self, had: Key) -> None:
        """Raise LostKey if the directory does not show that the keys at a target name follow from one that it had."""
        with self._folder.reading():
            if self._find(had.owner) is None:
                raise LostKey(self.path, had, "no key")
            # what a roll has replaced is kept, too: an older copy of the directory has none of what came later
            files = [each.path / f"{file_stem(had)}.key" for each in (self._folder, self._folder.retired)]
            if not any(path.exists() and keyfiles.read_public(path) == had for path in files):
                raise LostKey(self.path, had, "another key")

    def ensure(self, owner: bytes, algorithm: int, had: Key | None = None) -> Identity:
        """The identity at a target name, made with a new key of that algorithm if there is none.

        `had`: the key that it is known to have had, or to have rolled from. Raises LostKey, and makes nothing then.
        """
        if had is not None:
            self.check(had)
        self._folder.make()
        with self._folder.changing():
            identity = self._find(owner)
            if identity is None:
                identity = Identity(owner, self._folder.new_pair(owner, algorithm)[1])
            if not self._state_file(owner).exists():
                self._save(identity)
            return identity

    def begin_roll(self, owner: bytes, algorithm: int, ttl: int) -> Identity:
        """Make a new key, to be published beside the one there is. Raises RollUnderWay."""
        with self._folder.changing():
            identity = self._there(owner)
            if identity.coming is not None:
                raise RollUnderWay(identity)
            identity = identity.rolling(self._folder.new_pair(owner, algorithm)[1], ttl)
            self._save(identity)
            return identity

    def update(self, owner: bytes, change: Callable[[Identity], Identity]) -> Identity:
        """Replace the identity by what `change` makes of it."""
        with self._folder.changing():
            before = self._there(owner)
            after = change(before)
            if after != before:
                self._save(after)
                if after.current != before.current:
                    self._folder.retire(before.current.key)
            return after

    def stamp(self, owner: bytes) -> Stamp:
        """What differs when the identity has changed."""
        try:
            status = self._state_file(owner).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _there(self, owner: bytes) -> Identity:
        identity = self._find(owner)
        if identity is None:
            raise UnusableKey(f"{self.path}: the key of {names.to_text(owner)} is gone")
        return identity

    def _find(self, owner: bytes) -> Identity | None:
        state = self._state_file(owner)
        try:
            return self._loaded(owner, state, json.loads(read_regular(state)))
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, KeyError) as error:
            raise UnusableKey(f"{state}: not what zonecut writes there ({error})") from None
        # keys that somebody put there, or a first start that was cut off after the key was made
        pairs = [keyfiles.read_pair(path, self._codepoints) for path in self._folder.files(owner)]
        if len(pairs) > 1:
            raise UnusableKey(f"{self.path} holds {len(pairs)} keys of {names.to_text(owner)}: leave the one to use")
        return Identity(owner, pairs[0]) if pairs else None

    def _loaded(self, owner: bytes, state: Path, document: Mapping[str, Any]) -> Identity:
        coming = document["coming"]
        seen_at, ttl = document["seen_at"], int(document["ttl"])
        return Identity(
            owner,
            self._pair(owner, state, document["current"]),
            None if coming is None else self._pair(owner, state, coming),
            None if seen_at is None else float(seen_at),
            ttl,
        )

    def _pair(self, owner: bytes, state: Path, stem: str) -> KeyPair:
        try:
            pair = keyfiles.read_pair(self.path / f"{stem}.key", self._codepoints)
        except FileNotFoundError as error:
            raise UnusableKey(f"{state} names a key whose file is missing: {error.filename}") from None
        if pair.key.owner != owner:
            raise UnusableKey(f"{state} names a key of {names.to_text(pair.key.owner)}")
        return pair

    def _state_file(self, owner: bytes) -> Path:
        return self.path / f"{file_prefix(owner)}identity.json"

    def _save(self, identity: Identity) -> None:
        document = {
            "version": _VERSION,
            "current": file_stem(identity.current.key),
            "coming": None if identity.coming is None else file_stem(identity.coming.key),
            "seen_at": identity.seen_at,
            "ttl": identity.ttl,
        }
        target = self._state_file(identity.owner)
        temporary = target.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(document, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
        sync(self.path)


class Identities:
    """The identities of a running receiver, in memory; `refresh` takes in what other processes did."""

    def __init__(self, directory: KeyDirectory, algorithm: int) -> None:
        self.directory = directory
        self._algorithm = algorithm
        self._known: dict[bytes, Identity] = {}
        self._stamps: dict[bytes, Stamp] = {}
        self._trouble: dict[bytes, str] = {}

    def ensure(self, owners: Iterable[bytes], had: Mapping[bytes, Key] = MappingProxyType({})) -> None:
        """Have these ready and no others; keys are made where there are none, and were none.

        `had`: the key that each name is known to have had. Blocks; raises as KeyDirectory does.
        """
        owners = set(owners)
        new = owners - self._known.keys()
        for owner in new & had.keys():  # before any is made: in the place of a lost directory there is to be none
            self.directory.check(had[owner])
        for owner in new:
            made = self.directory.ensure(owner, self._algorithm, had.get(owner))
            # the stamp before what is read: what changes in between is noticed by the next refresh
            self._stamps[owner] = self.directory.stamp(owner)
            self._known[owner] = self.directory.find(owner) or made
        for owner in self._known.keys() - owners:
            del self._known[owner], self._stamps[owner]

    def of(self, owner: bytes) -> Identity:
        """The identity at a target name, which `ensure` made ready."""
        return self._known[owner]

    def all(self) -> list[Identity]:
        """Those that `ensure` made ready."""
        return list(self._known.values())

    def signer(self, owner: bytes, now: float) -> KeyPair:
        """The pair with which responses are signed now (seconds since the epoch)."""
        return self._known[owner].signer(now)

    def signers(self, now: float) -> list[tuple[bytes, KeyPair]]:
        """Each target name with the pair that signs now."""
        return [(owner, identity.signer(now)) for owner, identity in sorted(self._known.items())]

    def begin_roll(self, owner: bytes, ttl: int) -> Identity:
        """As KeyDirectory's, with the algorithm that new keys have here."""
        return self.directory.begin_roll(owner, self._algorithm, ttl)

    def refresh(self) -> set[bytes]:
        """Read those that changed on disk, and return their names. Blocks for a few system calls.

        What cannot be read is logged once; the identity as it was goes on.
        """
        changed = set()
        for owner, stamp in list(self._stamps.items()):
            try:
                now = self.directory.stamp(owner)
                if now == stamp:
                    continue
                identity = self.directory.find(owner)
                if identity is None:
                    raise UnusableKey(f"{self.directory.path}: the key of {names.to_text(owner)} is gone")
            except (OSError, UnusableKey) as error:
                if self._trouble.get(owner) != str(error):
                    self._trouble[owner] = str(error)
                    _log.error("identity.unreadable", target=names.to_text(owner), reason=str(error))
                continue
            self._trouble.pop(owner, None)
            self._stamps[owner], self._known[owner] = now, identity
            changed.add(owner)
        return changed
