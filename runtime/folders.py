"""Folders that a configuration names: absolute, or from the home folder; where the program was started must not matter."""

from __future__ import annotations

from pathlib import Path


def named_folder(value: object, example: str) -> Path:
    """The folder that `value` of a configuration names; `example` is one for the person who is told to write another.

    Raises:
        ValueError: no text, relative, or from a home folder that nobody knows.
    """
    if not isinstance(value, (str, Path)):
        raise ValueError(f'give a path in quotation marks, for example "{example}"')
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("no home folder is known for ~: give an absolute path") from error
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError("give an absolute path, or one from ~: a relative one would depend on where the daemon was started")
    return path
