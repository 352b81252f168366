"""What the configuration says about a PowerDNS server."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from zonecut.files.absolutepath import AbsolutePath
from zonecut.net.base_url import check_base_url
from zonecut.net.endpoint import Endpoint


class PowerDnsOptions(BaseModel):
    """Options of the adapter `powerdns`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field("http://127.0.0.1:8081", description="Where the HTTP API is, without /api/v1.")
    api_key: AbsolutePath = Field(Path("/etc/zonecut/powerdns.key"), description="File with the server's api-key.")
    server_id: str = Field("localhost", pattern=r"^[A-Za-z0-9._-]+$", description="The server's name in the API.")
    dns: str | None = Field(
        None,
        description="Address and port of the same server's DNS service, for cheap reads; IPv6 in brackets. Not of a "
        "cache before it: what it shows counts only as long as it is what the API shows.",
    )
    ca: AbsolutePath | None = Field(
        None, description="File with the certificates to trust instead of the system's, for https."
    )
    timeout: float = Field(10.0, gt=0, le=120, description="Seconds to wait for an answer, connecting included.")
    write_timeout: float = Field(
        60.0, gt=0, le=600, description="The same for a write: in a large signed zone each takes seconds to rectify."
    )
    batch_octets: int = Field(
        1_000_000, ge=2048, le=100_000_000, description="Largest PATCH; webserver-max-bodysize of the server is 2 MB."
    )
    rescan: float = Field(
        300.0, ge=1, description="Seconds after which to look again for delegations that lie below others."
    )
    keep_disabled: bool = Field(
        True,
        description="Look for records that are switched off, at start, every `rescan` seconds and when the serial "
        "number says that somebody else has written, and keep them when their RRset changes. It takes the "
        "server a second for ten thousand delegations.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return check_base_url(value, "http://127.0.0.1:8081").removesuffix("/api/v1")

    @field_validator("dns")
    @classmethod
    def _check_dns(cls, value: str | None) -> str | None:
        if value is not None:
            Endpoint.parse(value)
        return value
