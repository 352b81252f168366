"""What the configuration says about a provisioning system."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from zonecut.files.absolutepath import AbsolutePath
from zonecut.net.base_url import check_base_url


class WebhookOptions(BaseModel):
    """Options of the adapter `webhook`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="Where the system serves this zone; the paths of README.md come after it.")
    key: AbsolutePath = Field(
        Path("/etc/zonecut/webhook.key"),
        description="File with the key that signs requests: a shared secret of 32 characters or more, or an Ed25519"
        " private key in PEM.",
    )
    key_id: str = Field(
        "zonecut", pattern=r"^[A-Za-z0-9._~-]{1,64}$", description="The key's name, by which the system finds it."
    )
    ca: AbsolutePath | None = Field(
        None, description="File with the certificates to trust instead of the system's, for https."
    )
    allow_plain_http: bool = Field(
        False, description="Take http beyond this machine, too: then anybody on the way can answer for the system."
    )
    timeout: float = Field(10.0, gt=0, le=120, description="Seconds to wait for an answer, connecting included.")
    write_timeout: float = Field(30.0, gt=0, le=600, description="The same for a request that changes something.")
    batch: int = Field(50, ge=1, le=1000, description="The most changes, and the most names to look up, in a request.")
    batch_octets: int = Field(
        1_000_000, ge=2048, le=100_000_000, description="The largest request; one change alone may be larger."
    )
    page: int = Field(500, ge=1, le=10_000, description="Delegations to ask for at once when the zone is listed.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return check_base_url(value, "https://registry.example/zonecut/parent.example")

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.url.startswith("http:") and not self.allow_plain_http and not _is_loopback(self.url):
            raise ValueError(
                f"url: {self.url} is not https, so that anybody on the way could answer for the system;"
                " `allow_plain_http: true` takes it all the same"
            )
        return self


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
