"""`zonecut key import`: take children's public keys in from files."""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from zonecut.cli import actor, owner, session
from zonecut.cli.failures import Exit, UsageFailure
from zonecut.cli.options import ConfigOption, JsonOption, ReasonOption
from zonecut.cli.terminal import output
from zonecut.cli.terminal.progress import ProgressLine
from zonecut.config import Loaded
from zonecut.files.keyfiles import read_ended, read_public
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keys import Key, UnusableKey, check_usable
from zonecut.receiver.change import policy
from zonecut.receiver.keys.trust import upload_of
from zonecut.store import InvalidTransition, KeyState, QuotaExceeded, Store, StoredKey

CHUNK = 200
"""Files whose keys the store commits together."""


def command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.key|DIR", help="Files with a KEY record each, or directories of them."),
    ],
    trust: Annotated[bool, typer.Option("--trust", help="The keys are trusted at once.")] = False,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in the public keys of children.

    The files are those that dnssec-keygen -T KEY -n HOST writes. Without --trust a key becomes known, which is worth
    nothing until somebody trusts it. One that is known already stays as it is; with --trust it becomes trusted. A file
    that cannot be used does not stop the rest.

    Example: zonecut key import --trust Kchild.parent.example.+015+46020.key
    """
    raise typer.Exit(session.run(_import(session.load(config), files, trust, reason, as_json)))


async def _import(loaded: Loaded, given: Sequence[Path], trust: bool, reason: str, as_json: bool) -> Exit:
    importer = _Importer(loaded, trust, reason)
    paths, count = importer.find(given)
    documents: list[dict[str, Any]] = []
    table = output.Table("OWNER", "TAG", "ALGORITHM", "STATE", "FINGERPRINT")
    async with session.open_store(loaded) as store:
        with ProgressLine("keys", count, wanted=count > 1) as progress, table:
            source = iter(paths)
            while chunk := list(islice(source, CHUNK)):
                for path, stored in await importer.take(store, chunk):
                    if as_json:
                        documents.append({"file": str(path), **stored.to_json()})
                    else:
                        _add_row(table, stored)
                progress.clear()
                table.flush()
                importer.complain()
                progress.advance(len(chunk))
    importer.complain()
    if as_json:
        output.say_json({"keys": documents, "errors": importer.errors, "warnings": importer.warnings})
    return Exit.FAILED if importer.errors else Exit.DONE


def _add_row(table: output.Table, stored: StoredKey) -> None:
    key = stored.key
    document = stored.to_json()
    table.add(document["owner"], key.tag, key.algorithm, stored.state.value, key.fingerprint())


class _Importer:
    """Takes files in; what is wrong with any of them is collected in `errors`, what is only odd in `warnings`."""

    def __init__(self, loaded: Loaded, trust: bool, reason: str) -> None:
        self._loaded = loaded
        self._codepoints = loaded.configuration.codepoints.to_codepoints()
        self._trust = trust
        self._reason = reason
        self._actor = actor.operator()
        self.errors: list[dict[str, str]] = []
        self.warnings: list[dict[str, str]] = []
        self._complained = self._warned = 0

    def find(self, given: Sequence[Path]) -> tuple[list[Path], int]:
        """The key files that were named, those in directories included, and how many they are."""
        with owner.as_caller():
            found = [path for each in given for path in self._files(each)]
        return found, len(found)

    def _files(self, path: Path) -> Iterator[Path]:
        try:
            if not path.is_dir():
                yield path
                return
            inside = sorted(each for each in path.iterdir() if each.name.startswith("K") and each.suffix == ".key")
        except OSError as error:
            self._error(path, error.strerror or str(error))
            return
        if not inside:
            self._error(path, "holds no file K*.key")
        yield from inside

    async def take(self, store: Store, paths: Sequence[Path]) -> list[tuple[Path, StoredKey]]:
        """Take the keys of some files in; those that are in the store now."""
        with owner.as_caller():
            keys = [(path, key) for path in paths if (key := self._read(path)) is not None]
        added = await asyncio.gather(*(self._add(store, path, key) for path, key in keys))
        return [(path, stored) for (path, _), stored in zip(keys, added, strict=True) if stored is not None]

    def _read(self, path: Path) -> Key | None:
        """The key in a file, if it may become a key of ours."""
        try:
            if path.suffix == ".private":
                raise UnusableKey("holds the private part, which stays with the child; give the .key file")
            key = read_public(path)
            check_usable(key, self._codepoints)
            policy.check_child(session.parent_of(self._loaded, key.owner).rules(), key.owner)
        except OSError as error:
            self._error(path, error.strerror or str(error))
        except UnusableKey as error:
            self._error(path, error.reason.removeprefix(f"{path}: "))
        except Refusal as refusal:
            self._error(path, f"{refusal.reason} ({refusal.rule})")
        except UsageFailure as failure:
            self._error(path, str(failure))
        else:
            if (ended := read_ended(path, time.time())) is not None:
                self.warnings.append({"file": str(path), "reason": f"taken in, though {ended}"})
            return key
        return None

    async def _add(self, store: Store, path: Path, key: Key) -> StoredKey | None:
        try:
            if not self._trust:
                return await self._begin(store, key)
            stored, added = await store.keys.add(key, KeyState.TRUSTED, "manual", self._actor, self._reason)
            return stored if added else await store.bootstraps.decide(stored.id, self._actor, self._reason)
        except (InvalidTransition, QuotaExceeded) as error:
            self._error(path, error.reason)
            return None

    async def _begin(self, store: Store, key: Key) -> StoredKey:
        """Take a key in as if it had been uploaded: the zone's methods run."""
        section = session.parent_of(self._loaded, key.owner)
        automatic = bool(self._loaded.methods[section.apex])
        now = time.time()
        upload = upload_of(key, section.apex, self._actor, section.trust, now, replaces=False, manual=not automatic)
        # what an operator imports is not what a stranger may fill the store with
        imported = replace(upload, max_per_source=sys.maxsize, actor=self._actor, method="import", reason=self._reason)
        return await store.bootstraps.begin(imported)

    def _error(self, path: Path, reason: str) -> None:
        self.errors.append({"file": str(path), "reason": reason})

    def complain(self) -> None:
        """Write the errors and warnings that are new to standard error."""
        for each in (*self.errors[self._complained :], *self.warnings[self._warned :]):
            output.complain(f"{each['file']}: {each['reason']}")
        self._complained, self._warned = len(self.errors), len(self.warnings)
