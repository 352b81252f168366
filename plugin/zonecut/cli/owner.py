"""Root acts as whom the store's directory belongs to: who owns a directory decides where the names in it lead.

In a directory of the daemon's user, root would make, read and give away what that user's links point at. So a command
of root's takes that user's identity once it has read its configuration, and before it touches store, keys or servers.
Root stays the real user: the other one can neither stop such a command nor look into it.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zonecut.cli.failures import UsageFailure

if TYPE_CHECKING:
    from zonecut.config import Loaded

_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Owner:
    """An account other than root that has a say in where a path leads, and the file or directory by which it has."""

    uid: int
    gid: int
    place: Path

    @property
    def name(self) -> str:
        """The account's name; its number where it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def owner_of(path: Path, *, is_file: bool = False) -> Owner | None:
    """Who beside root decides where a path leads: the first owner on the way there; None if there is none.

    Of a path that is not there yet the part that is there counts. Raises UsageFailure where a group, or everybody, may
    replace what stands on the way, or, with `is_file`, beside the file.
    """
    rest, at, links = list(path.absolute().parts[1:]), Path("/"), 0
    while rest:
        part = rest.pop(0)
        entry = at / part if part != ".." else at.parent
        try:
            found = entry.lstat()
        except (FileNotFoundError, NotADirectoryError):
            break
        if found.st_uid != 0:
            return Owner(found.st_uid, found.st_gid, entry)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MAX_LINKS:
                raise UsageFailure(f"{path}: too many links on the way")
            target = entry.readlink()
            rest = [*(target.parts[1:] if target.is_absolute() else target.parts), *rest]
            at = Path("/") if target.is_absolute() else at
            continue
        # in a directory like /tmp, what is somebody's is replaced by nobody else; a new file is for whoever comes first
        if _is_shared(found) and not (found.st_mode & stat.S_ISVTX and len(rest) > is_file):
            raise UsageFailure(
                f"{entry} can be written by others than its owner, and root is not to be led by them: "
                f"chmod go-w {entry}, or give it to the user that zonecut runs as"
            )
        at = entry
    return None


def take_identity(loaded: "Loaded") -> None:
    """As root, act from now on as the owner of the directories of store and keys. Raises UsageFailure."""
    owner = _owner(loaded)
    if owner is None:
        return
    try:
        account = pwd.getpwuid(owner.uid)
        gid, groups = account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)
    except KeyError:
        gid, groups = owner.gid, [owner.gid]
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(owner.uid)


def refuse_root(loaded: "Loaded") -> None:
    """Raise UsageFailure where root would run a daemon in directories of somebody else: it cannot come back to read
    its configuration again, to listen on a port, or to open what was replaced."""
    owner = _owner(loaded)
    if owner is not None:
        raise UsageFailure(
            f"root is not to run a daemon in {owner.place}, which belongs to {owner.name}: start it as that user "
            f"(`User=` in the unit, or runuser -u {owner.name} -- zonecut serve), or give the directory to root"
        )


@contextmanager
def as_caller() -> Iterator[None]:
    """For a file that the caller named on the command line: who called is who reads or writes it."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == os.getuid():
        yield
        return
    os.seteuid(os.getuid())
    os.setegid(os.getgid())
    try:
        yield
    finally:
        os.setegid(gid)
        os.seteuid(uid)


def _owner(loaded: "Loaded") -> Owner | None:
    if os.geteuid() != 0:
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    found: list[Owner] = []
    try:
        url = make_url(loaded.configuration.store.url)
    except ArgumentError:
        return None  # opening it says what is wrong
    if url.get_backend_name() == "sqlite" and url.database:
        found += filter(None, [owner_of(Path(url.database), is_file=True)])
    if loaded.configuration.key_directory is not None:
        found += filter(None, [owner_of(loaded.configuration.key_directory)])
    if len({owner.uid for owner in found}) > 1:
        places = " and ".join(f"{owner.place} to {owner.name}" for owner in found)
        raise UsageFailure(f"root cannot act for two users: {places}; give both to the user that zonecut runs as")
    return found[0] if found else None


def _is_shared(found: os.stat_result) -> bool:
    """True for a directory in which others than its owner may make and replace files."""
    by_group = found.st_mode & stat.S_IWGRP and found.st_gid != 0
    return stat.S_ISDIR(found.st_mode) and bool(by_group or found.st_mode & stat.S_IWOTH)
