"""Bundles out of parts: roles with their files, and the other roles of a bundle that is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from export.conversion.part import RolePart
from export.errors import ConversionError
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import Role, RoleName, Roles
from runtime.bundles.writer import Signer, write_bundle


def assemble(
    target: Path, parts: Sequence[RolePart], *, base: Bundle | None, name: str, release: int, minimum_version: str, signer: Signer | None
) -> Bundle:
    """Write `parts`, and the roles of `base` that none of them fills, as the bundle `target`.

    A file that a part carries beside what its role names (curves, a report) gets the role's name before its own where another has it.

    Raises:
        ConversionError: a role comes twice, none is filled, or two parts name different files alike.
        BundleError: see `write_bundle`; what is at `target` stays.
    """
    roles: dict[RoleName, Role] = {}
    content: dict[str, bytes] = {}
    for part in parts:
        if part.name in roles:
            raise ConversionError(f"{part.name}: two parts fill it: leave one out")
        roles[part.name] = part.role
        _add(content, part)
    if base is not None:
        present = base.manifest.roles.present()
        named = {file for role in present.values() for file in role.files()}
        beside = {file: data for file, data in base.content.items() if file not in named}
        for label, role in present.items():
            if label not in roles:
                roles[label] = role
                _add(content, RolePart(label, role, {file: base.content[file] for file in role.files()}))
        for file, data in beside.items():
            content.setdefault(file, data)
    try:
        filled = Roles.model_validate(roles)
    except ValidationError as problem:
        raise ConversionError(f"{target}: no role is filled: name at least one part, or a --base") from problem
    return write_bundle(target, content, name=name, release=release, minimum_version=minimum_version, roles=filled, signer=signer)


def _add(content: dict[str, bytes], part: RolePart) -> None:
    for file, data in part.content.items():
        if content.get(file, data) == data:
            content[file] = data
        elif file not in part.role.files() and f"{part.name}-{file}" not in content:
            content[f"{part.name}-{file}"] = data
        else:
            raise ConversionError(f"{part.name}: file {file!r} is another in another part: make one of them again with a name of its own")
