"""The refiner of kind "maps" over an honest network, and over networks that are not what their bundle promises."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundles.errors import BundleError
from runtime.bundles.parts import Part
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import Preprocessing
from runtime.inference.errors import InferenceError
from runtime.refining.maps import MapsRefiner
from runtime.refining.prompts import Prompts, automatic_prompts
from runtime.refining.refiner import open_refiner, why_refused
from tests.runtime.bundle_samples import write_sample
from tests.runtime.refiner_samples import REFINER, near_points_is_hair, refiner_role, write_refiner


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_refiner(tmp_path_factory.mktemp("bundles") / "near")


def forged(bundle: Bundle, model: bytes, **changes: object) -> Bundle:
    """The bundle with another network, past the check of its files."""
    role = refiner_role(**changes)
    roles: Part = bundle.manifest.roles.model_copy(update={"refiner": role})
    return replace(bundle, content={**bundle.content, REFINER: model}, manifest=bundle.manifest.model_copy(update={"roles": roles}))


def striped(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((height, width, 3), 170, np.uint8)
    image[:, width // 3 : width // 3 + max(2, width // 20)] = 15
    return image, image[..., 0] < 100


@settings(max_examples=25, deadline=None)
@given(height=st.integers(8, 400), width=st.integers(8, 400))
def test_any_size_gives_a_soft_mask_of_that_size(bundle, height, width):
    image, hair = striped(height, width)
    with MapsRefiner(bundle, threads=1) as refiner:
        found = refiner.refine(image, automatic_prompts(hair))
    assert found.probability.shape == (height, width)
    assert found.probability.dtype == np.float32
    assert found.predicted_iou == pytest.approx(0.9)
    assert why_refused(hair, found, 0.5) is None
    if min(height, width) >= 64:  # in smaller ones the discs of skin lie on hair, and this network denies those
        assert np.mean(found.mask(0.5) != hair) <= (0.02 if max(height, width) <= 320 else 0.02 + 4 / width)


def test_only_hair_that_is_pointed_at_is_found_and_the_picture_is_left_alone(bundle):
    image = np.full((100, 200, 3), 170, np.uint8)
    image[:, 40:46] = image[:, 140:146] = 20
    image.flags.writeable = False
    prompts = Prompts(np.array([[143.0, float(y)] for y in range(0, 100, 10)]), np.ones(10, bool))
    refiner = open_refiner(bundle, threads=1)
    mask = refiner.refine(image, prompts).mask(0.5)
    refiner.close()
    assert refiner.name == bundle.id
    assert mask[:, 140:146].all()
    assert mask.sum() == 6 * 100


def test_prompts_follow_a_picture_that_is_reduced(bundle):
    image = np.full((640, 640, 3), 170, np.uint8)  # half the size to the network
    image[:, 400:420] = image[:, 100:120] = 20
    prompts = Prompts(np.array([[409.5, float(y)] for y in range(0, 640, 15)]), np.ones(43, bool))
    with MapsRefiner(bundle, threads=1) as refiner:
        mask = refiner.refine(image, prompts).mask(0.5)
    assert mask[:, 402:418].all()
    assert not mask[:, :380].any()


@pytest.mark.parametrize(("iou", "planes", "hair"), [((0.9,), 1, True), ((0.9, 0.2), 2, False), ((0.1, 0.2, 0.15), 3, True)])
def test_the_mask_that_expects_most_of_itself_is_taken(bundle, iou, planes, hair):
    image, true = striped(64, 96)
    with MapsRefiner(forged(bundle, near_points_is_hair(iou=iou, planes=planes)), threads=1) as refiner:
        found = refiner.refine(image, automatic_prompts(true))
    assert found.predicted_iou == pytest.approx(max(iou))
    assert found.mask(0.5).any() == hair


def test_without_a_point_on_hair_it_is_not_asked(bundle):
    image, _ = striped(64, 96)
    with MapsRefiner(bundle, threads=1) as refiner:
        for prompts in (Prompts(np.zeros((0, 2)), np.zeros(0, bool)), Prompts(np.ones((3, 2)), np.zeros(3, bool))):
            with pytest.raises(InferenceError, match="not asked: no hair"):
                refiner.refine(image, prompts)
    with pytest.raises(InferenceError, match="not active"):
        refiner.refine(image, Prompts(np.ones((1, 2)), np.ones(1, bool)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (near_points_is_hair(masks="mask"), "output 'masks' is missing"),
        (near_points_is_hair(iou=(0.5, 0.5)), "3 masks and 2 predicted IoUs"),
        (near_points_is_hair(iou=(0.1,) * 17), r"'iou' is float32 \(1, 17\).*1 to 16"),
        (near_points_is_hair(iou=(0.2, 7.0, 0.1)), "'iou' is beyond 0 to 1"),
        (near_points_is_hair(root_of=-1.0), "beyond 0 to 1"),
        (b"no network", "cannot load"),
    ],
    ids=["no masks", "fewer ious", "many ious", "a large iou", "no numbers", "no network"],
)
def test_a_network_that_is_not_what_the_bundle_promises_is_refused_at_opening(bundle, model, words):
    with pytest.raises(BundleError, match=words):
        MapsRefiner(forged(bundle, model), threads=1)


def test_masks_beyond_one_are_refused_where_the_try_out_did_not_meet_them(bundle):
    image, hair = striped(64, 96)
    # the picture of the try-out is black: hair everywhere near its point
    with pytest.raises(BundleError, match="'masks' is beyond 0 to 1"):
        MapsRefiner(forged(bundle, near_points_is_hair(scale=3.0)), threads=1)
    with MapsRefiner(bundle, threads=1) as refiner:
        found = refiner.refine(image, automatic_prompts(hair))
    reason = why_refused(hair, replace(found, probability=found.probability * np.float32(3)), 0.5)
    assert reason is not None
    assert "no probabilities" in reason


def test_a_bundle_without_such_a_refiner(bundle, tmp_path):
    dark = write_sample(tmp_path / "dark")
    with pytest.raises(BundleError, match="it has no refiner: name another"):
        open_refiner(dark, threads=1)
    with pytest.raises(BundleError, match="no refiner of the kind 'maps'"):
        MapsRefiner(dark, threads=1)
    with pytest.raises(BundleError, match="no refiner of the kind 'maps'"):
        MapsRefiner(forged(bundle, near_points_is_hair(), kind="points"), threads=1)


def test_a_side_that_the_network_asks_for_at_least(bundle):
    role = refiner_role()
    large = role.input.model_copy(update={"min_side": 160})
    how = Preprocessing(longest_side=64, padding="reflect", normalised_in_graph=True)
    image, hair = striped(40, 200)
    with MapsRefiner(forged(bundle, near_points_is_hair(), input=large, preprocessing=how), threads=1) as refiner:
        found = refiner.refine(image, automatic_prompts(hair))
    assert found.probability.shape == (40, 200)
