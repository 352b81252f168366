"""`codepoints` of the configuration: the numbers themselves stand in `protocol.codepoints`, and may be others here."""

from pydantic import BaseModel, ConfigDict, Field

from zonecut.protocol.codepoints import DEFAULT, CodePoints


class CodePointSection(BaseModel):
    """`codepoints`: numbers that IANA has not assigned yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ml_dsa_44: int = Field(DEFAULT.ml_dsa_44, ge=0, le=255)
    ml_dsa_65: int = Field(DEFAULT.ml_dsa_65, ge=0, le=255)
    ml_dsa_87: int = Field(DEFAULT.ml_dsa_87, ge=0, le=255)
    ede_key_known_not_trusted: int = Field(DEFAULT.ede_key_known_not_trusted, ge=0, le=65535)
    ede_key_validation_failed: int = Field(DEFAULT.ede_key_validation_failed, ge=0, le=65535)
    ede_manual_bootstrap_required: int = Field(DEFAULT.ede_manual_bootstrap_required, ge=0, le=65535)
    ede_tdns_key_unknown: int = Field(DEFAULT.ede_tdns_key_unknown, ge=0, le=65535)
    ede_tdns_key_not_trusted: int = Field(DEFAULT.ede_tdns_key_not_trusted, ge=0, le=65535)
    ede_tdns_no_delegation_sync: int = Field(DEFAULT.ede_tdns_no_delegation_sync, ge=0, le=65535)
    ede_tdns_validation_failed: int = Field(DEFAULT.ede_tdns_validation_failed, ge=0, le=65535)
    ede_tdns_manual_bootstrap: int = Field(DEFAULT.ede_tdns_manual_bootstrap, ge=0, le=65535)
    ede_tdns_incoherent: int = Field(DEFAULT.ede_tdns_incoherent, ge=0, le=65535)
    ede_tdns_unverified: int = Field(DEFAULT.ede_tdns_unverified, ge=0, le=65535)
    ede_tdns_upload_not_taken: int = Field(DEFAULT.ede_tdns_upload_not_taken, ge=0, le=65535)
    keystate_option: int = Field(DEFAULT.keystate_option, ge=0, le=65535)
    dsync_update: int = Field(DEFAULT.dsync_update, ge=0, le=255)
    dsync_scanner: int = Field(DEFAULT.dsync_scanner, ge=0, le=255)
    svcb_bootstrap: int = Field(DEFAULT.svcb_bootstrap, ge=0, le=65535)
    svcb_interval: int = Field(DEFAULT.svcb_interval, ge=0, le=65535)

    def to_codepoints(self) -> CodePoints:
        return CodePoints(**self.model_dump())
