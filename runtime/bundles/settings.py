"""What a person can set about the bundles that are installed on the device."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from runtime.bundles.errors import BundleError
from runtime.bundles.signing import MAX_KEYS, TrustedKeys, parse_public_line, read_trusted_keys


class ModelsSettings(BaseModel):
    """The `[models]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    trusted_keys: list[str] = Field(
        default_factory=list,
        max_length=MAX_KEYS,
        description="public keys whose bundles may be installed: lines of `bundle keygen`, or absolute paths of files of such lines",
    )
    kept_slots: int = Field(
        default=3, ge=0, le=50, description="installed bundles that are kept beside the active and the previous one; the oldest go first"
    )
    trial_s: float = Field(
        default=120.0, ge=5, le=86_400, description="seconds that a new bundle must serve without a crash before it is kept for good"
    )
    trial_starts: int = Field(
        default=3, ge=1, le=20, description="starts or failed checks that a new bundle has until it is rolled back by itself"
    )

    @field_validator("trusted_keys")
    @classmethod
    def _keys(cls, entries: list[str]) -> list[str]:
        for entry in entries:
            if not entry.startswith("/"):  # files are read when they are needed
                try:
                    parse_public_line(entry, "a trusted key")
                except BundleError as problem:
                    raise ValueError(str(problem)) from problem
        return entries

    def trusted(self) -> TrustedKeys:
        """The keys. Raises BundleError where a file of them cannot be read or holds something else."""
        return read_trusted_keys(self.trusted_keys)
