"""What the configuration says about a server that takes UPDATEs."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from zonecut.files.absolutepath import AbsolutePath
from zonecut.net.endpoint import Endpoint


class ServerOptions(BaseModel):
    """What all of these adapters have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str = Field("127.0.0.1:53", description="Address and port of the DNS service; IPv6 in brackets.")
    timeout: float = Field(5.0, gt=0, le=60, description="Seconds to wait for an answer, connecting included.")

    @field_validator("server")
    @classmethod
    def _is_address_and_port(cls, server: str) -> str:
        return str(Endpoint.parse(server))

    @property
    def address(self) -> Endpoint:
        """Address and port of `server`."""
        return Endpoint.parse(self.server)


class UpdateOptions(ServerOptions):
    """What those have in common that write by UPDATE."""

    tsig: AbsolutePath = Field(
        Path("/etc/zonecut/tsig.key"), description="File with a TSIG key as tsig-keygen writes it."
    )
    batch_octets: int = Field(60_000, ge=512, le=64_000, description="Size of the largest UPDATE to send, in octets.")
    rescan: float = Field(300.0, ge=1, description="Seconds between looks for delegations below other delegations.")


class BindOptions(UpdateOptions):
    """Options of the adapter `bind`."""


_TransferTimeout = Annotated[
    float,
    Field(
        gt=0, le=600, description="Seconds that a transfer may stand still; PowerDNS reads the zone before it sends."
    ),
]


class Rfc2136Options(UpdateOptions):
    """Options of the adapter `rfc2136`."""

    transfer_timeout: _TransferTimeout = 30.0


class ManualOptions(ServerOptions):
    """Options of the adapter `manual`."""

    tsig: AbsolutePath | None = Field(
        None, description="File with a TSIG key as tsig-keygen writes it, if the server wants one."
    )
    transfer_timeout: _TransferTimeout = 30.0
    look: float = Field(60.0, ge=1, description="Seconds between looks at whether a change that waits has been made.")
    rescan: float = Field(
        300.0, ge=1, description="Seconds after which the zone is transferred although its serial is the same."
    )
