"""What needs a look-up before a change is believed: each check off, a warning or a condition (RFC 7344, 7477, 9975)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

Mode = Literal["off", "warn", "enforce"]


class CheckSettings(BaseModel):
    """`checks` of a parent zone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ds_continuity: Mode = Field("warn", description="Does the child's DNSKEY RRset validate with the resulting DS?")
    ns_consistency: Mode = Field("warn", description="Do the resulting name servers serve the child, all alike?")
    time_limit: PositiveFloat = Field(10, description="Seconds that the checks of one change may take.")
