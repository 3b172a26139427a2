"""Pictures and measurements small enough to keep by the dozen, and a program that keeps some until its plug is pulled."""

import functools
import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.analysis.measurement import Density, Distribution, Hair, Measurement, Quality, ScaleReadingUsed, ScaleUsed, SegmentationTrust
from runtime.store.captures import CaptureStore
from runtime.store.records import CaptureFacts
from runtime.store.settings import StoreSettings

SIZE = (64, 48)
ROOT = Path(__file__).parents[2]


@functools.lru_cache(maxsize=64)
def picture(kind="JPEG", size=SIZE, seed=0):
    """An encoded picture of noise; `kind` is JPEG or PNG, `size` (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, kind)
    return encoded.getvalue()


def measurement(hair_count=3, size=SIZE):
    """A measurement that is valid and means nothing."""
    nothing = Distribution(n=0, mean=None, median=None, p25=None, p75=None, sd=None)
    hairs = [
        Hair(
            id=i, follicle_id=None, diameter_px=5.0, diameter_um=None, diameter_um_std=None, diameter_um_max=None, length_px=30.0,
            rooted=False, confidence=0.5, points=[(1.5, 2.5, None), (3.5, 4.5, 5.0)],
        )
        for i in range(hair_count)
    ]  # fmt: skip
    return Measurement(
        image="capture", width_px=size[0], height_px=size[1], scale=ScaleUsed(um_per_px=None, um_per_px_std=None, source="none"),
        quality=Quality(ok=True, reasons=[], sharpness=1.0, exposure=0.5, hair_coverage=0.1), field=None,
        segmentation=SegmentationTrust(reliability=1.0, unfamiliar=False), hair_count=hair_count, hair_count_std=0.5, rooted_hair_count=0,
        hair_count_in_frame=0, follicle_count=2, follicle_count_std=0.1, empty_follicle_count=None, hairs_per_follicle=[], area_cm2=None,
        density_per_cm2=None, follicle_density_per_cm2=None, diameter_px=nothing, diameter_um=None, terminal_vellus=None, hairs=hairs,
        follicles=[], paper=None, alopecia=None, conditions=None, models={"segmenter": "classical/1"}, calibration=None, version="0.1.0",
        timing_ms={"total": 1.0},
    )  # fmt: skip


def calibrated(calibration, um_per_px=None, hair_count=3, size=SIZE):
    """The measurement above as a profile of this id gives it: at so many µm per px, or without a scale."""
    px = measurement(hair_count, size)
    used = ScaleUsed(um_per_px=um_per_px, um_per_px_std=um_per_px and um_per_px / 100, source="fiducial" if um_per_px else "none")
    reading = ScaleReadingUsed(distance_mm=None, distance_std_mm=None, ring_um_per_px=um_per_px, ring_um_per_px_std=0.1, ring_mm=9.0)
    figures = {"diameter_um": None, "density_per_cm2": None}
    if um_per_px:
        um = 5.0 * um_per_px
        figures = {
            "diameter_um": Distribution(n=hair_count, mean=um, median=um, p25=um, p75=um, sd=0.0),
            "density_per_cm2": Density(value=1e4 / um_per_px**2, std_frame=1.0, std_site=2.0, rule="rooted"),
        }
    return px.model_copy(update={"scale": used, "scale_reading": reading, "calibration": calibration} | figures)


def facts(sequence=1):
    """Facts of a frame that came in just now."""
    return CaptureFacts(source="simulated:", frame_sequence=sequence, captured_ns=time.monotonic_ns(), site="vertex")


def store(folder, **settings):
    """A store in `folder`, not yet entered; without a reserve unless one is asked for."""
    return CaptureStore(folder, StoreSettings(**{"folder": folder, "reserve_mb": 0} | settings))


def keep(opened, count=1):
    """Keep `count` captures, each with another number of hairs; returns their rows."""
    return [opened.add(picture(seed=i % 8), ".jpg", measurement(hair_count=i % 5), facts(i)) for i in range(count)]


# adds captures for ever and prints the id of each that was acknowledged; the plug is pulled at STEP of the given capture
PLUGGED = """
import os, signal, sys
from pathlib import Path
from runtime.store.captures import CaptureStore
from runtime.store.settings import StoreSettings
from tests.runtime.store_samples import facts, measurement, picture
folder, step, capture = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
count = 0
def at_step(name):
    if name == step and count == capture:
        os.kill(os.getpid(), signal.SIGKILL)
with CaptureStore(folder, StoreSettings(folder=folder, reserve_mb=0), at_step) as opened:
    while True:
        count += 1
        print(opened.add(picture(seed=count % 8), ".jpg", measurement(count % 5), facts(count)).id, flush=True)
"""


def plugged(folder, step="", capture=0):
    """The program above, started; it ends by SIGKILL at the step of its n-th capture, or when the caller kills it."""
    command = [sys.executable, "-c", PLUGGED, str(folder), step, str(capture)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
