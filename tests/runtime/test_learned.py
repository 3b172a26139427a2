from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.simulated.scene import render_frame
from runtime.analysis.learned import FIGURES, LearnedSegmenter, faint_hair, hair_pieces, uncertainty_figures
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import FACTORY, read_bundle
from runtime.bundles.roles import Roles
from tests.runtime.bundle_samples import MODEL, dark_is_hair, segmenter_role, write_sample


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("bundles") / "dark")


def _striped(height: int, width: int) -> np.ndarray:
    image = np.full((height, width, 3), 170, np.uint8)
    image[:, width // 3 : width // 3 + max(2, width // 20)] = 15
    return image


@settings(max_examples=40, deadline=None)
@given(height=st.integers(8, 420), width=st.integers(8, 420), flips=st.booleans())
def test_any_size_gives_planes_of_that_size(bundle, height, width, flips):
    image = _striped(height, width)
    with LearnedSegmenter(bundle, threads=1, flips=flips) as segmenter:
        found = segmenter.segment(image)
    assert found.mask.shape == (height, width)
    assert found.mask.dtype == bool
    for plane in (found.probability, found.ostium_probability):
        assert plane is not None
        assert plane.shape == (height, width)
        assert plane.dtype == np.float32
        assert 0 <= plane.min() <= plane.max() <= 1
    assert 0 <= found.reliability <= 1
    true = image[..., 0] < 100
    # a larger frame is reduced before the network: its borders come back to within a pixel of the working size
    assert np.mean(found.mask != true) <= (0.0 if max(height, width) <= 320 and not flips else 4 / width + 2 / height)


def test_the_mask_is_where_the_hair_is_and_the_picture_is_left_alone(bundle):
    image = _striped(96, 128)
    image.flags.writeable = False
    with LearnedSegmenter(bundle, threads=1) as segmenter:
        assert np.array_equal(segmenter.segment(image).mask, image[..., 0] < 100)
        assert segmenter.name == bundle.id


def test_specks_and_doubtful_pieces_are_no_hair():
    probability = np.zeros((120, 640), np.float32)
    probability[20:24, 10:300] = 0.9  # a hair
    probability[60:66, 10:16] = 0.99  # a speck
    probability[100:104, 10:300] = 0.6  # nowhere sure
    probability[22:24, 300:310] = 0.55  # the faint tip of the hair
    mask = hair_pieces(probability, 0.5)
    assert mask[20:24, 10:300].all()
    assert mask[22:24, 300:310].all()
    assert mask.sum() == 4 * 290 + 2 * 10
    assert not hair_pieces(np.zeros((8, 8), np.float32), 0.5).any()
    assert hair_pieces(np.ones((8, 8), np.float32), 0.5).all()


def test_hair_too_like_the_skin_is_told_apart_hair_by_hair():
    hair = np.zeros((120, 640), np.float32)
    hair[20:26, 10:600] = hair[80:86, 10:600] = 0.9
    faintness = np.full((60, 320), 0.95, np.float32)  # outside hair it means nothing
    faintness[35:50] = 0.1
    faintness[40:43, 100:104] = 1.0  # one spot of a hair does not decide for it
    faint = faint_hair(hair, faintness, 0.5)
    assert faint is not None
    assert faint[20:26, 14:596].all()
    assert not faint[78:88].any()
    assert faint_hair(hair, np.zeros_like(faintness), 0.5) is None
    assert faint_hair(np.zeros((3, 5), np.float32), np.ones((2, 3), np.float32), 0.5) is None


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 99))
def test_faintness_of_any_size_gives_a_plane_of_the_hair(height, width, seed):
    rng = np.random.default_rng(seed)
    hair = rng.uniform(0, 1, (height, width)).astype(np.float32)
    faint = faint_hair(hair, rng.uniform(0, 1, ((height + 1) // 2, (width + 1) // 2)).astype(np.float32), 0.3)
    assert faint is None or (faint.shape == hair.shape and faint.dtype == np.bool_)


def test_hair_that_does_not_count_is_kept_beside_the_mask(bundle, monkeypatch):
    image = _striped(96, 128)
    with LearnedSegmenter(bundle, threads=1) as segmenter:
        before = segmenter.segment(image)
        assert before.faint is not None
        assert not before.faint.any()
        monkeypatch.setattr("runtime.analysis.learned.faint_hair", lambda hair, faintness, threshold: np.ones(hair.shape, bool))
        after = segmenter.segment(image)
    assert not after.mask.any()
    assert np.array_equal(after.faint, before.mask)


def test_a_small_picture_is_looked_at_twice_as_large_too(bundle, monkeypatch):
    with LearnedSegmenter(bundle, threads=1) as segmenter:
        sizes = []
        once = segmenter._once
        monkeypatch.setattr(segmenter, "_once", lambda image: (sizes.append(image.shape[:2]), once(image))[1])
        small = segmenter.segment(_striped(96, 128))
        segmenter.segment(_striped(300, 280))
    assert sizes == [(96, 128), (192, 256), (300, 280)]
    assert np.array_equal(small.mask, _striped(96, 128)[..., 0] < 100)


def test_a_frame_unlike_the_known_ones_is_unfamiliar(bundle):
    with LearnedSegmenter(bundle, threads=1) as segmenter:
        assert not segmenter.segment(_striped(96, 128)).unfamiliar
        assert segmenter.segment(np.zeros((96, 128, 3), np.uint8)).unfamiliar


def test_doubt_lowers_the_reliability(bundle):
    clear = _striped(96, 128)
    doubtful = clear.copy()
    doubtful[40:80, 70:110] = 98  # near the level at which the network is undecided
    with LearnedSegmenter(bundle, threads=1) as segmenter:
        sure, unsure = segmenter.segment(clear).reliability, segmenter.segment(doubtful).reliability
    assert sure > 0.95
    assert unsure < sure - 0.1


def test_figures_of_certain_masks_are_near_zero():
    image = _striped(96, 128)
    certain = (image[..., 0] < 100).astype(np.float32)
    figures = uncertainty_figures(certain)
    assert figures.shape == (FIGURES,)
    assert np.all(figures[:-1] == 0)
    assert np.all(uncertainty_figures(np.zeros((96, 128), np.float32)) == 0)
    assert np.all(np.isfinite(uncertainty_figures(np.full((9, 9), 0.5, np.float32))))


def test_a_network_that_breaks_the_manifests_promise_is_refused(tmp_path):
    role = segmenter_role()
    few = role.trust.model_copy(update={"features": (1.0,), "feature_axes": ((1.0,),)})
    with pytest.raises(BundleError, match="features"):
        LearnedSegmenter(write_sample(tmp_path / "features", role=segmenter_role(trust=few)))
    weights = role.trust.model_copy(update={"weights": (1.0,)})
    with pytest.raises(BundleError, match="weights"):
        LearnedSegmenter(write_sample(tmp_path / "weights", role=segmenter_role(trust=weights)))
    good = write_sample(tmp_path / "good", model=dark_is_hair())
    assert MODEL in good.content
    other = segmenter_role(input=role.input.model_copy(update={"name": "photo"}))
    with pytest.raises(BundleError, match="its inputs are picture, photo are expected"):
        write_sample(tmp_path / "input", role=other)
    with pytest.raises(BundleError, match="install the bundle again"):
        LearnedSegmenter(replace(good, manifest=good.manifest.model_copy(update={"roles": Roles(segmenter=other)})))


class _Words:
    """A backend whose network answers in words where numbers were promised."""

    name = "words"

    def activate(self) -> None:
        pass

    def deactivate(self) -> None:
        pass

    def infer(self, inputs):
        side = next(iter(inputs.values())).shape[1]
        return {
            "hair": np.full((1, 1, side, side), "hair"),
            "marks": np.zeros((1, 3, side // 2, side // 2), np.float32),
            "features": np.zeros((1, 3), np.float32),
        }


def test_a_network_that_answers_in_words_is_refused(bundle):
    with pytest.raises(BundleError, match="'hair' is <U4"):
        LearnedSegmenter(bundle, backend=lambda model: _Words())


@pytest.mark.skipif(not FACTORY.is_dir(), reason="no factory bundle in this checkout")
def test_the_factory_bundle_is_whole_small_and_finds_hair():
    bundle = read_bundle(FACTORY)
    assert sum(map(len, bundle.content.values())) <= 14_000_000
    assert not bundle.manifest.roles.segmenter.card.validated_on_real_labels
    frame = render_frame(5, kind="realistic")
    with LearnedSegmenter(bundle, threads=1) as segmenter:
        found = segmenter.segment(frame.image)
    true = frame.mask
    assert 2 * np.sum(found.mask & true) / (found.mask.sum() + true.sum()) > 0.85
