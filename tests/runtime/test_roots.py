import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.courses import courses_of
from runtime.analysis.hairs import HairPath
from runtime.analysis.openings import Heat
from runtime.analysis.roots import EVIDENCE, HairEnds, darkening, hair_ends, root_evidence, root_probability
from tests.runtime.strokes import SKIN

SHAPE = (240, 320)


def _hair(*corners: tuple[float, float], width: float = 8.0) -> HairPath:
    steps = max(2, round(np.hypot(*np.subtract(corners[-1], corners[0])) / 4) + 1)
    points = np.stack(
        [np.interp(np.linspace(0, len(corners) - 1, steps), range(len(corners)), axis) for axis in zip(*corners, strict=True)], 1
    )
    return HairPath(points, np.full(steps, width), width, 0.1, float(np.hypot(*np.diff(points, axis=0).T).sum()), False, 1.0)


def _ends(*hairs: HairPath) -> HairEnds:
    return hair_ends(courses_of(hairs), SHAPE[1], SHAPE[0])


def _evidence(name: str, *hairs: HairPath) -> np.ndarray:
    skin = np.full((*SHAPE, 3), SKIN, np.uint8)
    return root_evidence(_ends(*hairs), skin, np.zeros(SHAPE, bool), None)[:, EVIDENCE.index(name)]


def test_ends_point_away_from_their_hair_and_know_the_border():
    ends = _ends(_hair((60, 120), (200, 120)), _hair((160, 60), (319, 60)))
    assert ends.outward == pytest.approx(np.array([[-1, 0], [1, 0], [-1, 0], [1, 0]], float))
    assert ends.inside.tolist() == [True, True, True, False]
    assert ends.usual_px == 8.0


def test_ends_that_meet_are_told_from_ends_that_face_each_other():
    meeting = _evidence("meeting", _hair((60, 120), (200, 100)), _hair((62, 124), (200, 190)), _hair((60, 20), (200, 20)))
    assert meeting.tolist() == [1, 0, 1, 0, 0, 0]
    beyond = _evidence("beyond", _hair((40, 120), (120, 120)), _hair((152, 120), (260, 120)))
    assert beyond == pytest.approx([12, 4, 4, 12])


def test_skin_that_a_hair_goes_on_below_is_darker():
    picture = np.full((*SHAPE, 3), SKIN, np.uint8)
    picture[110:131, 40:60] = SKIN - 24
    dark, plain = darkening(_ends(_hair((60, 120), (200, 120))), picture)
    assert dark == pytest.approx(24, abs=4)
    assert plain == 0


def test_the_heat_map_decides_and_a_hair_has_one_root_at_most():
    skin, mask = np.full((*SHAPE, 3), SKIN, np.uint8), np.zeros(SHAPE, bool)
    heat = np.zeros(SHAPE, np.float32)
    heat[110:131, 190:215] = 0.9
    ends = _ends(_hair((60, 120), (200, 120)))
    first, last = root_probability(ends, skin, mask, Heat.of(heat))
    assert last > 0.8 > 0.1 > first
    heat[110:131, 45:70] = 0.9
    assert root_probability(ends, skin, mask, Heat.of(heat)).sum() < 1


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.integers(-20, 340), st.integers(-20, 260)] * 2), min_size=1, max_size=12), st.booleans())
def test_any_hairs_have_defined_probabilities(hairs, told):
    paths = [_hair((a, b), (c, d)) for a, b, c, d in hairs]
    ends = _ends(*paths)
    heat = Heat.of(np.full(SHAPE, 0.5, np.float32)) if told else None
    likely = root_probability(ends, np.full((*SHAPE, 3), SKIN, np.uint8), np.ones(SHAPE, bool), heat)
    assert ((likely >= 0) & (likely < 1)).all()
    assert (likely[~ends.inside] == 0).all()
    assert (likely.reshape(-1, 2).sum(1) <= 1).all()
