"""The versioned text of intended use: for each profile a statement, the roles of a bundle that may load, and the words for results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.errors import TrichoscopeError
from runtime.toml_text import TomlTextError, parse_toml

ProfileName = Literal["wellness", "clinical"]
PACKAGED = Path(__file__).with_name("text.toml")
MAX_TEXT_BYTES = 256 * 1024
GRADED = ("severity", "dandruff", "sebum", "erythema")  # results of grades 0–3: every profile has four words for each

Words = Annotated[str, Field(min_length=1, max_length=200)]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class UseTextError(TrichoscopeError):
    """The program's own text of intended use is missing or damaged: nothing may be said about a result without it."""


class Part(BaseModel):
    """Base: immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ResultWords(Part):
    """What one result is called, and what its grades or classes are called, the lowest first; none where it has no grades."""

    name: Words
    grades: Annotated[tuple[Words, ...], Field(max_length=16, strict=False)] = ()


class ProfileText(Part):
    """One profile.

    Attributes:
        statement: of intended use, as an operator declares it.
        not_validated: what is said beside a result whose model was not validated on real labels.
        roles: of a bundle that may load.
        words: by key of the result.
    """

    statement: Annotated[str, Field(min_length=1, max_length=8000)]
    not_validated: Words
    roles: Annotated[tuple[Key, ...], Field(max_length=32, strict=False)]
    words: Annotated[dict[Key, ResultWords], Field(max_length=200)]

    @model_validator(mode="after")
    def _whole(self) -> ProfileText:
        for key in GRADED:
            if key not in self.words or len(self.words[key].grades) != 4:
                raise ValueError(f"{key} needs a name and four words for its grades")
        return self


class Profiles(Part):
    """The profiles that there are."""

    wellness: ProfileText
    clinical: ProfileText


class _File(Part):
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.-]{1,32}$")]
    profiles: Profiles


@dataclass(frozen=True)
class UseText:
    """The whole text. `sha256` is that of the file, in hexadecimal: what a declaration declares."""

    version: str
    sha256: str
    profiles: Profiles

    def of(self, profile: ProfileName) -> ProfileText:
        """The text of one profile."""
        return self.profiles.clinical if profile == "clinical" else self.profiles.wellness


def read_text(path: Path = PACKAGED) -> UseText:
    """The text in a TOML file, by default the program's own.

    Raises:
        UseTextError: it cannot be read, or is no such text.
    """
    remedy = "install the program anew"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
        if len(raw) > MAX_TEXT_BYTES:
            raise ValueError(f"larger than {MAX_TEXT_BYTES >> 10} KiB")
        found = _File.model_validate(parse_toml(raw.decode("utf-8")))
    except (OSError, ValueError, TomlTextError) as error:  # pydantic's and Unicode's errors are ValueErrors
        reason = " ".join(str(error).split())[:200]
        raise UseTextError(f"{path.name}: the text of intended use cannot be used ({reason}): {remedy}") from error
    return UseText(found.version, hashlib.sha256(raw).hexdigest(), found.profiles)


@lru_cache(maxsize=1)
def packaged_text() -> UseText:
    """The program's own text, read once. Raises UseTextError."""
    return read_text()
