"""What is kept of a staging: its views with their faces hidden, one sheet of them with what each said, and the result. Nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.commands.files import output_folder, write_atomically, write_png
from runtime.errors import TrichoscopeError
from runtime.staging.faces import Hidden, hide_face
from runtime.staging.result import StageResult

LONGEST_PX = 1280
CELL_PX, BAR_PX, TEXT_PX = 240, 10, 64
RESULT, SHEET = "stage.json", "stage.png"

Image = NDArray[np.uint8]


def keep(result: StageResult, pictures: Mapping[str, Image], out: Path, *, source: Path) -> dict[str, Hidden]:
    """Write VIEW.png with its face hidden for each of `pictures`, stage.png and stage.json into the folder `out`; what was hidden.

    Raises:
        TrichoscopeError: `out` is the folder `source` of the pictures themselves, whose files would be replaced, or cannot be written to.
    """
    if out.resolve() == source.resolve():
        raise TrichoscopeError(f"{out}: the views themselves lie there: name another folder with --out")
    folder = output_folder(out)
    shown: dict[str, Image] = {}
    hidden: dict[str, Hidden] = {}
    for view, picture in pictures.items():
        shown[view], hidden[view] = hide_face(_reduced(picture), view)
    for view, picture in shown.items():
        write_png(folder / f"{view}.png", picture)
    write_png(folder / SHEET, sheet(result, shown))
    write_atomically(folder / RESULT, (result.to_json() + "\n").encode())
    return hidden


def sheet(result: StageResult, shown: Mapping[str, Image]) -> Image:
    """The views beside each other, uint8 BGR: under each its weight as a bar and what it said, above all the stage.

    `shown` are pictures whose faces are hidden already.
    """
    cells = [_cell(view, picture, result) for view, picture in shown.items()]
    table = np.concatenate(cells, axis=1)
    head = np.full((40, table.shape[1], 3), 255, np.uint8)
    said = f"stage {result.stage} ({result.probabilities[result.stage]:.0%})"
    _write(head, said if result.validated_on_real_labels else f"{said}, not validated on real labels", 26)
    return np.concatenate([head, table])


def _cell(view: str, picture: Image, result: StageResult) -> Image:
    height, width = picture.shape[:2]
    scale = CELL_PX / max(height, width)
    small = cv2.resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    cell = np.full((CELL_PX + TEXT_PX, CELL_PX, 3), 255, np.uint8)
    top, left = (CELL_PX - small.shape[0]) // 2, (CELL_PX - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    found = next((said for name, said in result.views.items() if name == view), None)
    if found is not None:
        cell[CELL_PX : CELL_PX + BAR_PX, : round(CELL_PX * found.attention)] = (160, 110, 30)
        said = "" if found.stage is None else f": {found.stage}"
        _write(cell, f"{view}{said}  weight {found.attention:.0%}", CELL_PX + BAR_PX + 24)
    return cell


def _reduced(picture: Image) -> Image:
    height, width = picture.shape[:2]
    scale = LONGEST_PX / max(height, width)
    if scale >= 1:
        return picture
    return np.asarray(cv2.resize(picture, (round(width * scale) or 1, round(height * scale) or 1), interpolation=cv2.INTER_AREA), np.uint8)


def _write(image: Image, text: str, baseline: int) -> None:
    cv2.putText(image, text, (6, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
