"""A zone file shown to the operator's checking command before it takes its place: what a server would not load."""

from collections.abc import Sequence
from pathlib import Path

from zonecut.plugin import BackendMisconfigured, BackendRejected
from zonecut.plugin.told import fit_for_children
from zonecut_zonefile.commands import complaint
from zonecut_zonefile.files import Staged
from zonecut_zonefile.generated import Generated, include_line
from zonecut_zonefile.master.reader import MasterFile


class Check:
    """The command. Its methods block, and raise BackendError and OSError."""

    def __init__(self, argv: Sequence[str], timeout: float, apex: bytes) -> None:
        self._argv = argv
        self._timeout = timeout
        self._apex = apex

    def as_it_stands(self, file: MasterFile) -> None:
        """Raises BackendMisconfigured if the zone is refused as it is: nothing that children change is to blame."""
        path = file.source.path
        if (words := complaint(self._argv, self._timeout, path, path.parent)) is not None:
            raise BackendMisconfigured(f"{path} as it stands is refused by {self._argv[0]}: {words}")

    def change(self, file: MasterFile, edited: MasterFile, generated: Generated, staged: Path) -> None:
        """Raises BackendRejected if the zone is refused with a change in it, and is not as it is.

        `staged` is where the new generated file waits; the one that is looked at includes it from there.
        """
        path = file.source.path
        included = f"{include_line(staged, self._apex)}\n".encode()
        lines = edited.lines.replacing({line.line - 1: included for line in edited.ours})
        shown = Staged(path.with_name(f"{path.name}.check"), lines.content(), path)
        try:
            words = complaint(self._argv, self._timeout, shown.path, path.parent)
        finally:
            shown.discard()
        if words is None:
            return
        self.as_it_stands(file)
        for temporary, meant in ((shown.path, path), (staged, generated.source.path)):
            words = words.replace(str(temporary), str(meant))
        raise BackendRejected(
            f"{self._argv[0]} refuses the zone with this change: {words}",
            told=_told(words, path, generated.source.path),
        )


def _told(words: str, *paths: Path) -> str:
    """What a child may hear of it: without paths of ours, or nothing where one might be left."""
    for path in paths:
        words = words.replace(str(path), "the zone")
    return fit_for_children(f"the zone is refused with this change: {words}")
