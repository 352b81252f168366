"""What the configuration says about a parent zone that is kept in a master file."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from zonecut.files.absolutepath import AbsolutePath
from zonecut.net.endpoint import Endpoint
from zonecut_zonefile.commands import FILE


def _argv(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(
            'give a list of arguments, as in ["rndc", "reload", "parent.example."]: no shell splits a line'
        )
    if isinstance(value, list) and (not value or value[0] == ""):
        raise ValueError("names no program; leave it out where there is no need for one")
    return value


def _checking(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is not None and not any(FILE in word for word in value):
        raise ValueError(
            f'says nowhere which file: give {FILE} for it, as in ["named-checkzone", "-i", "local", "parent.example.", '
            f'"{FILE}"]'
        )
    return value


def _endpoint(value: str | None) -> str | None:
    if value is not None:
        Endpoint.parse(value)
    return value


class ZonefileOptions(BaseModel):
    """Options of `adapter: zonefile`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone_file: AbsolutePath
    """The operator's master file. It includes the generated one; its SOA serial and hand-written delegations that
    change are edited, the rest is kept byte for byte."""
    directory: AbsolutePath
    """Where the generated file is: ZONE.delegations."""
    reload: Annotated[tuple[str, ...] | None, BeforeValidator(_argv)] = None
    """The command, run without a shell, that makes the server load the zone again."""
    reload_timeout: float = Field(default=30, gt=0, le=3600)
    """Seconds after which that command is killed."""
    check: Annotated[tuple[str, ...] | None, BeforeValidator(_argv), AfterValidator(_checking)] = None
    """The command, run without a shell in the directory of `zone_file`, that has to take a new zone file, `{file}`,
    before it takes its place."""
    check_timeout: float = Field(default=30, gt=0, le=3600)
    """Seconds after which that command is killed."""
    dns: Annotated[str | None, AfterValidator(_endpoint)] = None
    """Address and port of the server that loads the file; what it does not serve in time is taken back."""
    served_within: float = Field(default=10, gt=0, le=3600)
    """Seconds after the reload within which that server serves the new serial."""
