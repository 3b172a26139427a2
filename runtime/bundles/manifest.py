"""The schema of a bundle's `manifest.json`: which files it has, what they are for, how they are used, and where they come from."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, model_validator

from runtime.bundles.parts import FileEntry, Name, Part
from runtime.bundles.roles import Roles

SCHEMA: Final = "trichoscope/bundle/2"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MAX_MANIFEST_BYTES = 256 * 1024
MAX_BUNDLE_BYTES = 256 * 1024 * 1024


class Manifest(Part):
    """The whole of `manifest.json`."""

    schema_: Literal["trichoscope/bundle/2"] = Field(default=SCHEMA, alias="schema")
    name: Name
    release: Annotated[int, Field(ge=1, le=2**31)]
    minimum_version: Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,4}){1,3}$")]
    roles: Roles
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, max_length=64)]

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True, populate_by_name=True)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("a file is listed twice")
        if len({name.lower() for name in names}) != len(names):
            raise ValueError("two files differ in capital letters alone: some disks hold but one of them")
        if MANIFEST in names or SIGNATURE in names:
            raise ValueError("the manifest lists itself or its signature")
        for name, role in self.roles.present().items():
            for file in role.files():
                if file not in names:
                    raise ValueError(f"the {name}'s file {file!r} is not among the files")
        if sum(file.size for file in self.files) > MAX_BUNDLE_BYTES:
            raise ValueError("the files are larger together than a bundle may be")
        return self

    def to_json(self) -> str:
        """The file's content, for people too."""
        return self.model_dump_json(by_alias=True, indent=1, exclude_defaults=False) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `manifest.json`, made from the models above."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Manifest.model_json_schema(by_alias=True)
