"""What the configuration says about a BIND server."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class BindOptions(BaseModel):
    """Options of the adapter `bind`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str = Field("127.0.0.1:53", description="Address and port of named's DNS service; IPv6 in brackets.")
    tsig: Path = Field(Path("/etc/zonecut/tsig.key"), description="File with a TSIG key as tsig-keygen writes it.")
    timeout: float = Field(5.0, gt=0, le=60, description="Seconds to wait for an answer, connecting included.")
    batch_octets: int = Field(60_000, ge=512, le=64_000, description="Size of the largest UPDATE to send, in octets.")
    rescan: float = Field(300.0, ge=1, description="Seconds between looks for delegations below other delegations.")

    @field_validator("server")
    @classmethod
    def _is_address_and_port(cls, server: str) -> str:
        split_address(server)
        return server

    @property
    def address(self) -> tuple[str, int]:
        """Address and port of `server`."""
        return split_address(self.server)


def split_address(server: str) -> tuple[str, int]:
    """Address and port of a server written as `192.0.2.1:53` or `[2001:db8::1]:53`.

    Raises ValueError for anything else; a host name too: it would have to be looked up, and where our writes go is
    nothing for a look-up to decide.
    """
    host, _, port = server.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    valid_port = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if address is None or not valid_port or bracketed != (address.version == 6):
        raise ValueError(f"{server!r} is no address and port such as 127.0.0.1:53 or [::1]:53")
    return str(address), int(port)
