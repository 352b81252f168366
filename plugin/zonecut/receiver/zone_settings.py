"""How a parent zone takes changes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt


class ZoneSettings(BaseModel):
    """How a parent zone takes changes; part of its entry in `parents`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer_within: PositiveFloat = Field(
        2.0, description="Seconds that an answer waits for the backend; a child repeats after 3."
    )
    ordering: Literal["tolerant", "strict", "off"] = Field(
        "tolerant",
        description="Refuse messages dated before the newest change of their child: with a tolerance, without, or not.",
    )
    ordering_tolerance: NonNegativeInt = Field(
        300, description="Seconds by which a message may be older than the newest change; clients date back by chance."
    )
    consumers_within: PositiveFloat = Field(
        900.0,
        description="Seconds for which whoever makes the zone of the backend's tables, and says how far it is, may take"
        " up nothing of what is new there, before that is an alarm.",
    )
    max_batch: PositiveInt = Field(50, description="The most changes in one transaction.")
