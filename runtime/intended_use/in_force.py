"""Which profile is in force: the one that the configuration asks for, clinical only where an operator has declared the text of today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.intended_use.declaration import Declaration, read_declaration
from runtime.intended_use.settings import UseSettings
from runtime.intended_use.text import ProfileName, ResultWords, UseText, packaged_text

REMEDY = "`trichoscope use declare --operator NAME`"


@dataclass(frozen=True)
class UseInForce:
    """What may be said and loaded.

    Attributes:
        words: by key of the result; a key that is missing must not be shown.
        roles: of a bundle that may load.
        notice: why the profile that was asked for is not in force, with the remedy; None where it is.
        declaration: behind a clinical profile.
    """

    profile: ProfileName
    version: str
    statement: str
    not_validated: str
    words: Mapping[str, ResultWords]
    roles: frozenset[str]
    notice: str | None
    declaration: Declaration | None

    def allows(self, role: str) -> bool:
        """Whether a role of a bundle may load."""
        return role in self.roles

    def word(self, key: str, grade: int) -> str | None:
        """The word for a grade of a result, None where this profile has none for it."""
        found = self.words.get(key)
        return found.grades[grade] if found is not None and 0 <= grade < len(found.grades) else None

    def as_api(self) -> dict[str, Any]:
        """All of it for the page, in plain dictionaries, lists and texts."""
        declared = self.declaration
        return {
            "profile": self.profile,
            "version": self.version,
            "statement": self.statement,
            "not_validated": self.not_validated,
            "words": {key: {"name": words.name, "grades": list(words.grades)} for key, words in self.words.items()},
            "roles": sorted(self.roles),
            "notice": self.notice,
            "declared": None
            if declared is None
            else {"operator": declared.operator, "declared_utc": declared.declared_utc.isoformat(timespec="seconds")},
        }


def profile_in_force(settings: UseSettings, state_folder: Path, text: UseText | None = None) -> UseInForce:
    """The profile for these settings and what was declared in this state folder; read anew at each call.

    Raises:
        UseTextError: the program's own text is damaged.
    """
    text = packaged_text() if text is None else text
    if settings.profile != "clinical":
        return _of(text, "wellness", None, None)
    found = read_declaration(state_folder)
    declaration = found.declaration
    if declaration is None:
        return _of(text, "wellness", f"clinical use is not in force: {found.problem or 'no operator has declared it'}: {REMEDY}", None)
    if (declaration.text_version, declaration.text_sha256) != (text.version, text.sha256):
        what = f"version {declaration.text_version} of the text of intended use was declared, this program has version {text.version}"
        if declaration.text_version == text.version:
            what = f"another text of intended use than this program's was declared as version {text.version}"
        return _of(text, "wellness", f"clinical use is not in force: {what}: read it and {REMEDY}", None)
    return _of(text, "clinical", None, declaration)


def _of(text: UseText, profile: ProfileName, notice: str | None, declaration: Declaration | None) -> UseInForce:
    found = text.of(profile)
    return UseInForce(
        profile, text.version, found.statement.strip(), found.not_validated, found.words, frozenset(found.roles), notice, declaration
    )
