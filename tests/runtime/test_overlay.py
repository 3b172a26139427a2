"""The client's picture: what it draws and where, what it leaves alone, what it says, and odd sizes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.lettering import text_width, write
from runtime.analysis.measurement import (
    Density,
    Distribution,
    Follicle,
    Hair,
    Measurement,
    Point,
    Quality,
    ScaleUsed,
    SegmentationTrust,
)
from runtime.analysis.overlay import caption_parts, draw_overlay, hair_colour, scale_bar

EMPTY = Distribution(n=0, mean=None, median=None, p25=None, p75=None, sd=None)


def hair(number: int, points: list[Point]) -> Hair:
    return Hair(
        id=number,
        follicle_id=None,
        diameter_px=None,
        diameter_um=None,
        diameter_um_std=None,
        diameter_um_max=None,
        length_px=100.0,
        rooted=False,
        confidence=1.0,
        points=points,
    )


def measured(
    width: int = 640,
    height: int = 480,
    hairs: list[Hair] | None = None,
    follicles: list[Follicle] | None = None,
    um_per_px: float | None = None,
    **changed: object,
) -> Measurement:
    hairs, follicles = hairs or [], follicles or []
    parts: dict[str, object] = {
        "image": "a.jpg",
        "width_px": width,
        "height_px": height,
        "scale": ScaleUsed(um_per_px=um_per_px, um_per_px_std=None, source="given" if um_per_px else "none"),
        "quality": Quality(ok=True, reasons=[], sharpness=1, exposure=0.5, hair_coverage=0.1),
        "field": None,
        "segmentation": SegmentationTrust(reliability=1, unfamiliar=False),
        "hair_count": len(hairs),
        "hair_count_std": 0,
        "rooted_hair_count": 0,
        "hair_count_in_frame": 0,
        "follicle_count": sum(bool(f.hair_ids) for f in follicles),
        "follicle_count_std": 0,
        "empty_follicle_count": sum(not f.hair_ids for f in follicles),
        "hairs_per_follicle": [],
        "area_cm2": None,
        "density_per_cm2": None,
        "follicle_density_per_cm2": None,
        "diameter_px": EMPTY,
        "diameter_um": None,
        "terminal_vellus": None,
        "hairs": hairs,
        "follicles": follicles,
        "paper": None,
        "alopecia": None,
        "conditions": None,
        "models": {},
        "calibration": None,
        "version": "0",
        "timing_ms": {},
    }
    return Measurement.model_validate(parts | changed)


def skin(width: int = 640, height: int = 480) -> np.ndarray:
    return np.random.default_rng(0).integers(90, 200, (height, width, 3), np.uint8)


def straight(number: int, width_px: float | None = 12.0) -> Hair:
    return hair(number, [(100.0 + 8 * i, 100.0 + 4 * i, width_px) for i in range(30)])


def changed_at(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.argwhere((before != after).any(axis=2))


def test_hair_is_drawn_over_its_width_and_nowhere_else() -> None:
    image = skin()
    bare = draw_overlay(image, measured())
    drawn = draw_overlay(image, measured(hairs=[straight(0)], hair_count=0))
    y, x = changed_at(bare, drawn).T
    off = np.abs((x - 100) * 4 - (y - 100) * 8) / np.hypot(4, 8)
    assert off.max() <= 6 + 2  # half the width and the softness of the strokes
    assert off.max() > 5
    assert x.min() > 90
    assert x.max() < 345
    middle = drawn[100 + 4 * 15, 100 + 8 * 15].astype(int)
    assert np.abs(middle - hair_colour(0)).max() < 40 or np.abs(middle - 255).max() < 40


def test_counts_and_scale_bar_stay_in_the_lower_corners() -> None:
    image = skin()
    y, _ = changed_at(image, draw_overlay(image, measured())).T
    assert len(y)
    assert y.min() > 0.85 * 480


def test_input_is_left_alone_and_the_result_has_its_shape_and_type() -> None:
    image = skin()
    image.flags.writeable = False
    before = image.copy()
    drawn = draw_overlay(image, measured(hairs=[straight(0)], follicles=[Follicle(id=0, x=100, y=100, hair_ids=[0])]))
    assert np.array_equal(image, before)
    assert (drawn.shape, drawn.dtype, drawn.flags.writeable) == (image.shape, np.uint8, True)
    assert np.array_equal(
        drawn, draw_overlay(before, measured(hairs=[straight(0)], follicles=[Follicle(id=0, x=100, y=100, hair_ids=[0])]))
    )


def test_ticks_stand_only_where_a_width_was_measured() -> None:
    """White lies beside the centre line where a width is known, and not where it is null."""
    image = np.full((480, 640, 3), 60, np.uint8)
    points: list[Point] = [(40.0 + 8 * i, 200.0, 20.0 if i < 35 else None) for i in range(70)]
    drawn = draw_overlay(image, measured(hairs=[hair(0, points)]))
    white = np.flatnonzero((drawn[207] > 230).all(axis=1))
    assert len(white) >= 8
    assert white.max() < 40 + 8 * 36
    assert not (drawn[213] > 230).all(axis=1).any()  # 20 px wide, so nothing 13 px beside the line


def test_ring_of_an_empty_follicle_is_broken() -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    one = measured(follicles=[Follicle(id=0, x=200, y=200, hair_ids=[1])])
    none = measured(follicles=[Follicle(id=0, x=200, y=200, hair_ids=[])])
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    x, y = (np.round(200 + 9 * f(angle)).astype(int) for f in (np.cos, np.sin))
    whole, broken = (draw_overlay(image, m)[y, x].min(axis=1) > 200 for m in (one, none))
    assert whole.mean() > 0.9
    assert 0.2 < broken.mean() < 0.8
    assert np.count_nonzero(np.diff(broken.astype(int)) == 1) == 6
    assert (draw_overlay(image, one)[200, 200] == 128).all()  # hollow


def test_field_outline_is_drawn() -> None:
    image = np.full((480, 640, 3), 60, np.uint8)
    drawn = draw_overlay(image, measured(field=[(50.0, 50.0), (600.0, 60.0), (300.0, 300.0)]))
    assert drawn[50, 50].min() > 200


@pytest.mark.parametrize(
    ("um_per_px", "width", "label", "length_px"),
    [
        (6.0, 640, "1 mm", 1000 / 6),
        (6.0, 128, "200 µm", 200 / 6),
        (2.0, 640, "200 µm", 100),
        (3.0, 640, "500 µm", 500 / 3),
        (15.0, 1920, "5 mm", 5000 / 15),
        (None, 640, "100 px, no scale", 100),
        (None, 128, "20 px, no scale", 20),
    ],
)
def test_scale_bar_is_a_round_length(um_per_px: float | None, width: int, label: str, length_px: float) -> None:
    bar = scale_bar(measured(width, um_per_px=um_per_px))
    assert bar is not None
    assert bar == (pytest.approx(length_px), label)


def test_scale_bar_is_as_long_as_it_says() -> None:
    image = np.full((480, 640, 3), 60, np.uint8)
    drawn = draw_overlay(image, measured(um_per_px=5.0))
    rows = (drawn[:, 400:] > 250).all(axis=2).sum(axis=1)
    assert abs(rows.max() - 500 / 5.0) <= 1.5


def test_absurd_scale_gives_no_bar() -> None:
    assert scale_bar(measured(um_per_px=1e-9)) is None
    image = skin()
    assert draw_overlay(image, measured(um_per_px=1e-9)).shape == image.shape


def test_caption_says_what_was_measured_and_nothing_else() -> None:
    assert caption_parts(measured()) == ["0 hairs", "0 follicles"]
    full = measured(
        hairs=[straight(0)],
        follicles=[Follicle(id=0, x=1, y=1, hair_ids=[0]), Follicle(id=1, x=9, y=9, hair_ids=[])],
        um_per_px=5.0,
        density_per_cm2=Density(value=117.6, std_frame=9.3, std_site=None, rule="rooted"),
        diameter_um=EMPTY.model_copy(update={"n": 1, "median": 63.7}),
    )
    assert caption_parts(full) == ["1 hair", "1 follicle, 1 empty", "118 ± 9 hairs/cm²", "median 64 µm"]
    in_px = measured(diameter_px=EMPTY.model_copy(update={"n": 1, "median": 9.26}))
    assert caption_parts(in_px)[-1] == "median 9.3 px"


def test_colours_of_hairs_differ() -> None:
    colours = [hair_colour(i) for i in range(60)]
    assert len(set(colours)) == 60
    steps = np.abs(np.diff(np.array(colours, int), axis=0)).sum(axis=1)
    assert steps.min() > 60


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (128, 128), (90, 700), (1920, 1080)], ids=str)
def test_every_size(size: tuple[int, int]) -> None:
    image = skin(*size)
    m = measured(*size, hairs=[straight(0), straight(1, None)], follicles=[Follicle(id=0, x=4, y=4, hair_ids=[])])
    assert draw_overlay(image, m).shape == image.shape


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.none() | st.floats(0, 1e9)),
        max_size=12,
    ),
    st.floats(-1e9, 1e9),
)
def test_wild_points_do_no_harm(points: list[Point], x: float) -> None:
    image = skin(160, 120)
    m = measured(160, 120, hairs=[hair(0, points)], follicles=[Follicle(id=0, x=x, y=-x, hair_ids=[])])
    assert draw_overlay(image, m).shape == image.shape


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((480, 640), np.uint8),
        np.zeros((640, 480, 3), np.uint8),
        np.zeros((480, 640, 4), np.uint8),
        np.zeros((480, 640, 3), np.float32),
    ],
    ids=["grey", "turned", "alpha", "float"],
)
def test_picture_other_than_the_one_measured_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="640"):
        draw_overlay(image, measured())


def test_micro_and_square_are_set_though_the_font_lacks_them() -> None:
    def drawn(text: str) -> np.ndarray:
        picture = np.zeros((60, 160, 3), np.uint8)
        write(picture, 5, 5, text, 30, (255, 255, 255))
        return picture[:, :, 0] > 128

    micro, u = drawn("µ"), drawn("u")
    assert (micro & u).sum() == u.sum()
    assert np.flatnonzero(micro.any(axis=1)).max() >= np.flatnonzero(u.any(axis=1)).max() + 4  # the descending stroke
    square, two = drawn("²"), drawn("2")
    assert np.flatnonzero(square.any(axis=1)).max() < np.flatnonzero(two.any(axis=1)).max() - 6  # raised
    assert square.sum() < 0.7 * two.sum()
    box = cv2.boundingRect(drawn("118 hairs/cm² 64 µm").astype(np.uint8))
    assert box[2] > 100
    assert text_width("cm²", 30) > text_width("cm", 30)
    assert text_width("", 30) == 0
