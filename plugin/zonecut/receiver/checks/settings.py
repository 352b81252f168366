"""`checks` of a parent zone."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat


def _off(value: Any) -> Any:
    # YAML 1.1 reads a bare `off` as a boolean
    return "off" if value is False else value


Mode = Annotated[
    Literal["off", "warn", "enforce"],
    BeforeValidator(_off, json_schema_input_type=Literal["off", "warn", "enforce", False]),
]


DsMode = Annotated[
    Literal["off", "auto", "warn", "enforce"],
    BeforeValidator(_off, json_schema_input_type=Literal["off", "auto", "warn", "enforce", False]),
]


class CheckSettings(BaseModel):
    """`checks` of a parent zone. Each is `off` (or `false`, which is what YAML makes of off), `warn` or `enforce`.

    `auto` enforces what changes the DS set (RFC 10026), and warns of what else may break its chain of trust.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ds_continuity: DsMode = Field(
        "auto",
        description="Does the child's DNSKEY RRset validate with the resulting DS? `auto`: enforced for changes of DS.",
    )
    ns_consistency: Mode = Field("warn", description="Do the resulting name servers serve the child, all alike?")
    time_limit: PositiveFloat = Field(10, description="Seconds that the checks of one change may take.")

    @property
    def are_off(self) -> bool:
        """Nothing is ever looked up."""
        return self.ds_continuity == self.ns_consistency == "off"
