"""Commands to knotd and what it answers, whoever carries them: the interface of `library` and `knotc`."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Command(NamedTuple):
    """One command about the zone (knotc(8)): `zone-` is left out of its name, and an empty field is not sent."""

    name: str
    owner: str = ""
    ttl: str = ""
    rtype: str = ""
    data: str = ""


class Item(NamedTuple):
    """One record of an answer, in presentation form. `sign` is + or - in the answer to `zone-diff`, else empty."""

    owner: str
    ttl: str
    rtype: str
    data: str
    sign: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one command: records, or for `zone-status` its fields; and knotd's words if it failed."""

    items: tuple[Item, ...] = ()
    error: str = ""


class Control(Protocol):
    """A session on the control socket about one zone. It blocks, and belongs to one thread.

    Every method raises BackendUnavailable when knotd cannot be reached or does not answer in time, and
    BackendMisconfigured when it never will: no socket, no permission.
    """

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Carry out these commands in their order; a failed one does not keep the next from being carried out."""
        ...

    def stream(self, command: Command, rtypes: Collection[str]) -> Iterator[Item]:
        """The records of these types in one long answer, as they come. Raises the error of `failure`."""
        ...

    def status(self) -> dict[str, str]:
        """The fields of `zone-status`: role, serial, transaction, ... Raises the error of `failure`."""
        ...

    def setting(self, section: str, identifier: str, item: str) -> str:
        """A value of knotd's configuration (conf-read); empty where it is not set, or cannot be read."""
        ...

    @property
    def is_lost(self) -> bool:
        """True once knotd did not answer: nothing more comes of this session."""
        ...

    def close(self) -> None:
        """End the session; never raises."""
        ...


class Connect(Protocol):
    """What opens sessions about one zone. Raises as `Control` does."""

    def __call__(self) -> Control: ...
