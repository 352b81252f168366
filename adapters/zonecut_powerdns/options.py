"""What the configuration says about a PowerDNS server, and the file with its API key."""

import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from zonecut.plugin.endpoint import Endpoint

_LARGEST_KEY = 4096


class PowerDnsOptions(BaseModel):
    """Options of the adapter `powerdns`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field("http://127.0.0.1:8081", description="Where the HTTP API is, without /api/v1.")
    api_key: Path = Field(Path("/etc/zonecut/powerdns.key"), description="File with the server's api-key.")
    server_id: str = Field("localhost", pattern=r"^[A-Za-z0-9._-]+$", description="The server's name in the API.")
    dns: str | None = Field(
        None, description="Address and port of the same server's DNS service, for cheap reads; IPv6 in brackets."
    )
    ca: Path | None = Field(None, description="File with the certificates to trust instead of the system's, for https.")
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

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        try:
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none
            usable = False
        if not usable or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{value!r} is no address of an API, such as http://127.0.0.1:8081")
        return value.rstrip("/").removesuffix("/api/v1")

    @field_validator("dns")
    @classmethod
    def _check_dns(cls, value: str | None) -> str | None:
        if value is not None:
            Endpoint.parse(value)
        return value


class KeyFileError(Exception):
    """The key file cannot be used; the message names it and says what would be right, and holds nothing of it."""


def load_key(path: Path) -> str:
    """The API key in a file: one line.

    Raises KeyFileError if the file cannot be read, can be read by others than its owner, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            # Of the open file, not of the path: what is checked is what is read.
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"API key {path} is not a file")
            if mode & 0o077:
                raise KeyFileError(f"API key {path} can be read by others (mode {mode & 0o777:04o}): chmod 600 {path}")
            content = file.read(_LARGEST_KEY + 1)
    except OSError as error:
        raise KeyFileError(f"API key {path} cannot be read: {error.strerror}") from error
    key = content.strip()
    if not key or len(content) > _LARGEST_KEY or not all(0x21 <= octet <= 0x7E for octet in key):
        raise KeyFileError(f"API key {path} cannot be used: it should hold the server's api-key, one word of ASCII")
    return key.decode("ascii")
