"""The refiner of kind "points" over an honest pair of networks, and over pairs that are not what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundles.errors import BundleError
from runtime.bundles.proof import prove
from runtime.bundles.reader import read_bundle
from runtime.bundles.roles import RefinerRole, Roles
from runtime.bundles.writer import write_bundle
from runtime.inference.errors import InferenceError
from runtime.refining.points import FILLED, GROUP, MOST_GROUPS, NO_POINT, PointFiles, PointsRefiner, in_square, point_groups, shapes_of
from runtime.refining.prompts import Prompts, automatic_prompts
from runtime.refining.refiner import open_refiner, why_refused
from tests.runtime.points_samples import SIDE, decoder, encoder, pair, points_content, points_role

SKIN = 180


@pytest.fixture(scope="module")
def refiner():
    with PointsRefiner(pair(), threads=1) as made:
        yield made


def asked(on: int, off: int = 0, *, at: float = 10.0) -> Prompts:
    points = np.full((on + off, 2), at) + np.arange(on + off)[:, None] * 1e-3
    return Prompts(points, np.arange(on + off) < on)


def striped(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((height, width, 3), SKIN, np.uint8)
    image[:, width // 3 : width // 3 + max(3, width // 12)] = 15
    return image, image[..., 0] < 100


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(8, 300))
def test_any_size_gives_a_soft_mask_of_that_size(refiner, height, width):
    image, hair = striped(height, width)
    image.flags.writeable = False
    rows, columns = np.nonzero(hair)
    every = slice(None, None, max(1, len(rows) // 900))
    found = refiner.refine(image, Prompts(np.column_stack((columns, rows))[every].astype(float), np.ones(len(rows[every]), bool)))
    assert found.probability.shape == (height, width)
    assert found.probability.dtype == np.float32
    assert found.predicted_iou == pytest.approx(0.9)
    assert 0 <= found.probability.min() <= found.probability.max() <= 1
    if max(3, width // 12) * SIDE / max(height, width) >= 3:  # thinner hair is mixed with skin where the picture is reduced
        assert why_refused(hair, found, 0.5) is None
        assert np.mean(found.mask(0.5) != hair) <= 0.04


def test_automatic_prompts_find_the_hair_and_bald_skin_is_not_asked(refiner):
    image, hair = striped(120, 160)
    found = refiner.refine(image, automatic_prompts(hair))
    assert np.mean(found.mask(0.5) != hair) <= 0.04
    for nothing in (automatic_prompts(np.zeros((120, 160), bool)), asked(0, 5)):
        with pytest.raises(InferenceError, match="not asked"):
            refiner.refine(image, nothing)


def test_only_hair_that_is_pointed_at_is_found_whichever_batch_asks(refiner):
    image = np.full((64, 64, 3), SKIN, np.uint8)
    image[:, 6:9] = image[:, 30:33] = image[:, 54:57] = 10
    down = np.arange(0, 64, 4.0)
    points = np.concatenate([np.column_stack((np.full(16, x), down)) for x in (7.0, 55.0)])
    many = np.repeat(points, 5, 0)  # 160 points: three batches
    assert len(list(point_groups(Prompts(many, np.ones(160, bool))))) == 3
    mask = refiner.refine(image, Prompts(many, np.ones(160, bool))).mask(0.5)
    assert mask[:, 7].all()
    assert mask[:, 55].all()
    assert not mask[:, 31].any()
    assert not mask[:, 15:50].any()


@settings(max_examples=60, deadline=None)
@given(on=st.integers(1, 5000), off=st.integers(0, 300))
def test_points_are_asked_in_bounded_batches(on, off):
    prompts = Prompts(np.arange(2.0 * (on + off)).reshape(-1, 2), np.arange(on + off) < on)
    groups = list(point_groups(prompts))
    assert 1 <= len(groups) <= MOST_GROUPS
    seen: list[float] = []
    against: set[float] = set()
    for coords, labels in groups:
        assert coords.shape == (1, labels.shape[1], 2)
        assert coords.dtype == labels.dtype == np.float32
        assert labels[0, -1] == NO_POINT
        assert np.count_nonzero(labels == NO_POINT) == 1
        ours, theirs = coords[labels == 1], coords[labels == 0]
        assert 1 <= len(ours) <= GROUP
        assert len(theirs) == min(off, GROUP)
        assert ours[:, 0].max() < 2 * on
        assert len(theirs) == 0 or theirs[:, 0].min() >= 2 * on
        seen += ours[:, 0].tolist()
        against |= set(theirs[:, 0].tolist())
    assert len(seen) == len(set(seen)) == min(on, GROUP * MOST_GROUPS)
    assert len(against) >= min(off, GROUP)


def test_a_thousand_prompts_are_sixteen_questions(refiner, monkeypatch):
    calls = []
    infer = refiner._decoder.infer
    monkeypatch.setattr(refiner._decoder, "infer", lambda given: calls.append(given["point_coords"].shape) or infer(given))
    image, _ = striped(100, 100)
    refiner.refine(image, asked(1000, 1000))
    assert len(calls) == 16
    assert max(n for _, n, _ in calls) <= 2 * GROUP + 1


def test_what_is_cancelled_between_two_questions_asks_no_more_until_it_is_resumed(monkeypatch):
    calls = []
    image, _ = striped(100, 100)
    with PointsRefiner(pair(), threads=1) as refiner:
        infer = refiner._decoder.infer

        def cancelled(given):
            calls.append(given)
            found = infer(given)
            refiner.cancel()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(refiner._decoder, "infer", cancelled)
            with pytest.raises(InferenceError, match="cancelled"):
                refiner.refine(image, asked(1000))
        assert len(calls) == 2  # the second of sixteen was refused
        refiner.resume()
        assert refiner.refine(image, asked(3)).probability.shape == (100, 100)


def test_the_fewest_and_the_most_points_are_tried_out(monkeypatch):
    calls = []
    answer = PointsRefiner._answer
    monkeypatch.setattr(PointsRefiner, "_answer", lambda self, e, c, n: calls.append(c.shape[1]) or answer(self, e, c, n))
    PointsRefiner(pair(), threads=1).close()
    assert calls == [2, 2 * GROUP + 1]


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 500), width=st.integers(1, 500), side=st.sampled_from([64, 256]))
def test_a_picture_lies_in_the_corner_of_its_square(height, width, side):
    image = np.full((height, width, 3), 7, np.uint8)
    square, rows, columns = in_square(image, side)
    assert square.shape == (1, side, side, 3)
    assert square.dtype == np.uint8
    assert max(rows, columns) == side
    assert min(rows, columns) == max(1, int(min(height, width) * side / max(height, width) + 0.5))
    assert (square[0, :rows, :columns] == 7).all()
    assert (square[0, rows:] == FILLED).all()
    assert (square[0, :, columns:] == FILLED).all()


@pytest.mark.parametrize(("iou", "expected"), [((0.2, 0.9, 0.4), "pointed"), ((0.95, 0.9, 0.4), "other"), ((0.1, 0.2, 3.0), "all")])
def test_the_mask_that_expects_most_of_itself_is_taken(iou, expected):
    image, hair = striped(64, 64)
    with PointsRefiner(pair(iou=iou), threads=1) as refiner:
        found = refiner.refine(image, Prompts(np.array([[22.0, 4.0]]), np.ones(1, bool)))
    mask = found.mask(0.5)
    assert found.predicted_iou == pytest.approx(min(1.0, max(iou)))
    assert {"pointed": mask[:30].any() and not mask[30:].any(), "other": mask[:, 40:].all(), "all": (mask == hair).all()}[expected]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (PointFiles("odd", encoder(), decoder(side=128)), r"gives an embedding \(1, 16, 16, 16\), the decoder takes \(1, 16, 32, 32\)"),
        (PointFiles("odd", encoder(embedding="other"), decoder()), r"an embedding none, the decoder takes \(1, 16, 16, 16\)"),
        (PointFiles("odd", decoder(), encoder()), "the encoder gives an embedding none, the decoder takes none"),
        (PointFiles("odd", encoder(), decoder(), "image"), "a picture"),
        (PointFiles("odd", encoder(), decoder(points="places_asked")), "point_coords is none"),
        (PointFiles("odd", encoder(), b"PK"), "odd decoder"),
        (PointFiles("odd", encoder()[:-40], decoder()), "odd encoder"),
        (pair(masks="mask"), "output 'masks' is missing"),
        (pair(planes=1), r"output 'masks' is float32 \(1, 1, 64, 64\)"),
        (pair(root_of=-1.0), "no numbers"),
    ],
    ids=["another square", "no embedding", "changed round", "no picture", "no points", "no graph", "cut", "no masks", "too few", "NaN"],
)
def test_a_pair_that_does_not_fit_is_refused_when_it_is_opened(files, message):
    with pytest.raises(BundleError, match=message):
        PointsRefiner(files, threads=1)


def test_an_encoder_that_answers_with_no_numbers_is_told():
    image, _ = striped(64, 64)
    refiner = PointsRefiner(PointFiles("odd", encoder(root_of=-1.0), decoder()), threads=1)
    with refiner, pytest.raises(InferenceError, match="'embedding' holds values that are no numbers"):
        refiner.refine(image, asked(3))


def test_a_bundle_of_points_is_opened_by_its_kind_and_proves_both_networks(tmp_path):
    made = {"name": "near", "release": 1, "minimum_version": "0.1.0"}
    write_bundle(tmp_path / "near", points_content(), roles=Roles(refiner=points_role()), **made)
    bundle = read_bundle(tmp_path / "near")
    proof = prove(bundle)
    assert proof.passed, proof.failures()
    assert {row.output for row in proof.rows} == {"embedding", "masks", "iou"}
    refiner = open_refiner(bundle, threads=1)
    assert isinstance(refiner, PointsRefiner)
    assert refiner.name == bundle.id
    image, hair = striped(90, 120)
    assert np.mean(refiner.refine(image, automatic_prompts(hair)).mask(0.5) != hair) <= 0.05
    refiner.close()
    refiner.close()
    with pytest.raises(InferenceError, match="not active"):
        refiner.refine(image, automatic_prompts(hair))
    spec = points_role().input.model_copy(update={"stride": 128, "min_side": 128})
    other = write_bundle(tmp_path / "other", points_content(), roles=Roles(refiner=points_role(input=spec)), **made)
    with pytest.raises(BundleError, match="of 64 px, the manifest says 128"):
        PointsRefiner(other, threads=1)


def test_a_manifest_may_say_the_side_of_published_networks():
    spec = points_role().input.model_dump() | {"stride": 1024, "min_side": 1024}
    role = RefinerRole.model_validate(points_role().model_dump() | {"input": spec})
    assert role.input.min_side == 1024


def test_shapes_are_told_without_running_anything():
    shapes = shapes_of(pair())
    assert (shapes.side, shapes.channels, shapes.grid) == (SIDE, 16, 16)
