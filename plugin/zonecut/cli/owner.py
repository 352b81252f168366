"""Root acts as whom the store's directory belongs to: who owns a directory decides where the names in it lead.

In a directory of the daemon's user, root would make, read and give away what that user's links point at. So a command
of root's takes that user's identity once it has read its configuration, and before it touches store, keys or servers.
Root stays the real user: the other one can neither stop such a command nor look into it.
"""

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from zonecut.cli.failures import UsageFailure
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
        if _is_shared(entry, found) and not (found.st_mode & stat.S_ISVTX and len(rest) > is_file):
            raise UsageFailure(
                f"{entry} can be written by others than its owner, and root is not to be led by them: "
                f"chmod go-w {entry}, or give it to the user that zonecut runs as"
            )
        at = entry
    return None


def take_identity(loaded: Loaded) -> None:
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


def refuse_root(loaded: Loaded) -> None:
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


@contextmanager
def as_writer(path: Path) -> Iterator[None]:
    """For a file that the caller named to be written: who called; where root did, whom its directory belongs to.

    Raises UsageFailure where others may replace what stands there, and for a link that is neither root's nor theirs.
    """
    with as_caller():
        # of a name that nobody has taken: in a directory like /tmp whose file it is decides no more than that
        other = owner_of(path.with_name(f".{path.name}.{os.getpid()}.new")) if os.geteuid() == 0 else None
        uid = os.geteuid() if other is None else other.uid
        if path.is_symlink() and path.lstat().st_uid not in (0, uid):
            raise UsageFailure(f"{path} is a link of somebody else's, and is not followed: remove it, or name the file")
        if other is None:
            yield
            return
        gid, groups = os.getegid(), os.getgroups()
        os.setgroups([other.gid])
        os.setegid(other.gid)
        os.seteuid(other.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(gid)
            os.setgroups(groups)


def _owner(loaded: Loaded) -> Owner | None:
    if os.geteuid() != 0:
        return None

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


def _is_shared(path: Path, found: os.stat_result) -> bool:
    """True for a directory in which others than its owner may make and replace files."""
    if not stat.S_ISDIR(found.st_mode):
        return False
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and (found.st_gid != 0 or _has_access_list(path))


def _has_access_list(path: Path) -> bool:
    """Whether there is an access control list: then the group's bits are the most that anybody in it may."""
    try:
        os.getxattr(path, "system.posix_acl_access", follow_symlinks=False)
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    return True
