"""A folder with views of one head: which file is which view, and its pixels upright; nothing is decoded before its size is known."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from device.picturefile import FORMATS
from runtime.commands.pictures import read_picture
from runtime.errors import PictureError

VIEWS = ("front", "top", "back", "left", "right")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
MAX_FILES = 1000  # in the folder: five are wanted
MAX_MEGAPIXELS = 40.0  # a telephone's camera
MIN_SIDE_PX = 64
ORIENTATION = 274  # EXIF's tag of the turn of a picture, 1…8

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Views:
    """What a folder holds.

    Attributes:
        pictures: uint8 (height, width, 3) BGR, upright, by view.
        complaints: one line for each file that is no view or cannot be used.
        failed: the views whose file cannot be used.
    """

    pictures: Mapping[str, Image]
    complaints: tuple[str, ...] = ()
    failed: tuple[str, ...] = field(default=())


def find_views(folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The file of each view in `folder`, and a line for every other file. Names are front, top, back, left, right; .jpg or .png.

    Raises:
        PictureError: no such folder, one view in two files (nobody can say which is meant), no view at all, or far too many files.
    """
    try:
        if not folder.is_dir():
            raise PictureError(f"{folder}: no such folder: name a folder with {', '.join(VIEWS)} as .jpg or .png")
        paths = sorted(islice(folder.iterdir(), MAX_FILES + 1))
    except OSError as problem:
        raise PictureError(f"{folder}: cannot be read ({problem.strerror}): check its rights") from problem
    if len(paths) > MAX_FILES:
        raise PictureError(f"{folder}: more than {MAX_FILES} files: name a folder that holds the views of one head")
    found: dict[str, list[Path]] = {}
    complaints = []
    for path in paths:
        view = path.stem.lower()
        if path.suffix.lower() in SUFFIXES and view in VIEWS and path.is_file():
            found.setdefault(view, []).append(path)
        else:
            complaints.append(f"{path}: not a view: passed over; views are {', '.join(VIEWS)} as .jpg or .png")
    for view, files in found.items():
        if len(files) > 1:
            names = " and ".join(file.name for file in files)
            raise PictureError(f"{folder}: {names} are both the {view} view: leave one of them in the folder")
    if not found:
        raise PictureError(f"{folder}: no view of a head: give at least one of {', '.join(VIEWS)} as .jpg or .png")
    return {view: found[view][0] for view in VIEWS if view in found}, tuple(complaints)


def read_views(folder: Path) -> Views:
    """The views in `folder`. A file that cannot be used is named, and its view is not there.

    Raises:
        PictureError: as `find_views`, or no file can be used; the message names the first.
    """
    files, complaints = find_views(folder)
    pictures: dict[str, Image] = {}
    problems: dict[str, str] = {}
    for view, path in files.items():
        try:
            pictures[view] = read_upright(path)
        except PictureError as problem:
            problems[view] = str(problem)
    if not pictures:
        raise PictureError(next(iter(problems.values())))
    return Views(pictures, (*complaints, *problems.values()), tuple(problems))


def read_upright(path: Path) -> Image:
    """A picture file as uint8 (height, width, 3) BGR, turned as its EXIF orientation says.

    Raises:
        PictureError: no picture, damaged, larger than MAX_MEGAPIXELS, or a side under MIN_SIDE_PX.
    """
    image = read_picture(path, MAX_MEGAPIXELS)
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise PictureError(f"{path}: {image.shape[1]}×{image.shape[0]} px is too small for a head: give at least {MIN_SIDE_PX} px a side")
    return upright(image, _orientation(path))


def upright(image: Image, orientation: int) -> Image:
    """`image` turned and mirrored as an EXIF orientation 1…8 says (Exif 2.3, tag 274); as it is for any other number."""
    turned = image
    if orientation in (5, 6, 7, 8):
        turned = np.asarray(cv2.transpose(image), np.uint8)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)


def _orientation(path: Path) -> int:
    try:
        with Pillow.open(io.BytesIO(path.read_bytes()), formats=FORMATS) as picture:
            return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # odd EXIF raises many kinds, and is no reason to refuse a picture that was decoded
        return 1
