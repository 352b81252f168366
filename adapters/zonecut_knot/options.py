"""What the configuration says about a Knot DNS server."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from zonecut.files.absolutepath import AbsolutePath

_SOCKET_OCTETS = 107
"""Linux takes no longer path for a socket (unix(7))."""


class Client(StrEnum):
    """By what the control socket is reached."""

    AUTO = "auto"
    """libknot, and knotc where that is missing."""
    LIBKNOT = "libknot"
    KNOTC = "knotc"


def _socket_path(path: Path) -> Path:
    if len(str(path).encode()) > _SOCKET_OCTETS:
        raise ValueError(f"{path}: the path of a socket has at most {_SOCKET_OCTETS} octets")
    return path


class KnotOptions(BaseModel):
    """Options of the adapter `knot`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    socket: Annotated[AbsolutePath, AfterValidator(_socket_path)] = Field(
        Path("/run/knot/knot.sock"), description="Knot's control socket (`control: listen` in knot.conf)."
    )
    timeout: float = Field(10.0, ge=1, le=600, description="Seconds to wait for knotd, for each step of an operation.")
    client: Client = Field(Client.AUTO, description="What talks to the socket: auto, libknot or knotc.")
    knotc: str = Field("knotc", min_length=1, description="The program knotc, for where libknot is missing.")
    rescan: float = Field(300.0, ge=1, description="Seconds between looks for delegations below other names.")
