"""How a parent zone takes changes."""

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class ZoneSettings(BaseModel):
    """How a parent zone takes changes; part of its entry in `parents`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer_within: PositiveFloat = Field(
        2.0, description="Seconds that an answer waits for the backend; a child repeats after 3."
    )
    ordering: str = Field("strict", pattern="^(strict|off)$")
    max_batch: PositiveInt = Field(50, description="The most changes in one transaction.")
