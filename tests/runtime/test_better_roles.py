"""The roles of captured fields in a bundle: what a manifest may say of them, and that each of their networks is looked over and proven."""

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmenters import segmenter_asked_for
from runtime.bundles.errors import BundleError
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.interface import networks_of
from runtime.bundles.manifest import Manifest
from runtime.bundles.proof import prove
from runtime.bundles.reader import Bundle, read_bundle, read_for_use
from runtime.bundles.roles import PromptVariant, RefinerRole, Roles, SegmenterRole
from runtime.bundles.writer import entries, write_bundle
from runtime.inference.backend import Backend
from runtime.refining.prompts import Variant
from tests.runtime.better_samples import teacher_role, write_better
from tests.runtime.bundle_samples import forge, segmenter_role
from tests.runtime.drawn import FIVE, hairs_on_skin
from tests.runtime.points_samples import DECODER, DECODER_GOLDEN, ENCODER, decoder, points_content, points_role
from tests.runtime.refiner_samples import REFINER, near_points_is_hair, refiner_role


def made_with(role: RefinerRole, **changes: object) -> RefinerRole:
    return RefinerRole(**{name: getattr(role, name) for name in RefinerRole.model_fields} | changes)


def test_prompts_have_the_names_that_the_refiner_knows():
    assert get_args(PromptVariant) == get_args(Variant)


@pytest.mark.parametrize(
    ("role", "changes", "why"),
    [
        (refiner_role(), {"kind": "points"}, "needs a decoder"),
        (points_role(), {"decoder": None}, "needs a decoder"),
        (points_role(), {"decoder_golden": None}, "needs a decoder"),
        (points_role(), {"kind": "maps"}, "has no decoder"),
        (points_role(), {"input": points_role().input.model_copy(update={"stride": 32})}, "square"),
        (points_role(), {"preprocessing": refiner_role().preprocessing}, "mean colour"),
        (refiner_role(), {"preprocessing": points_role().preprocessing}, "mirror image"),
        (refiner_role(), {"prompts": "by hand"}, "prompts"),
        (refiner_role(), {"combination": "or"}, "combination"),
        (refiner_role(), {"threshold": 1.0}, "threshold"),
        (points_role(), {"decoder": "../decoder.onnx"}, "decoder"),
    ],
)
def test_what_no_manifest_may_say_of_a_refiner(role, changes, why):
    with pytest.raises(ValidationError, match=why):
        made_with(role, **changes)


def test_a_segmenters_pictures_are_mirrored_at_their_border():
    role = segmenter_role()
    fields = {name: getattr(role, name) for name in SegmenterRole.model_fields}
    with pytest.raises(ValidationError, match="mirror image"):
        SegmenterRole(**fields | {"preprocessing": points_role().preprocessing})


def test_all_roles_are_read_back_proven_and_the_teacher_runs_as_a_segmenter(tmp_path):
    written = write_better(tmp_path / "all", teacher=teacher_role(), refiner=refiner_role())
    bundle = read_bundle(tmp_path / "all")
    assert bundle.id == written.id
    assert set(bundle.manifest.roles.present()) == {"segmenter", "teacher", "refiner"}
    proof = prove(bundle)
    assert proof.passed, proof.failures()
    assert {row.role for row in proof.rows} == {"segmenter", "teacher", "refiner"}
    assert {end.metric: end.change for end in proof.ends if end.role == "teacher"} == {"dice": 0}
    picture = hairs_on_skin(FIVE)[0]
    with LearnedSegmenter(bundle) as live, LearnedSegmenter(bundle, role="teacher") as teacher:
        assert (live.segment(picture).mask == teacher.segment(picture).mask).all()
    with pytest.raises(BundleError, match="no teacher"):
        LearnedSegmenter(write_better(tmp_path / "plain"), role="teacher")


@pytest.mark.parametrize("metric", ["dice", "hair_count", "median_width"])
def test_a_refiners_end_figures_are_held(tmp_path, metric):
    golden = refiner_role().golden.model_copy(update={"end": {metric: 0.0}})
    bundle = write_better(tmp_path / "b", refiner=refiner_role(golden=golden))
    assert prove(bundle).passed
    other = write_better(tmp_path / "other", refiner=refiner_role(golden=golden), refining=near_points_is_hair(iou=(0.9, 0.2, 0.4)))
    (end,) = (end for end in prove(other).ends if end.role == "refiner")
    assert not end.passed  # the empty mask is read


def points_bundle(folder):
    return write_bundle(folder, points_content(), name="near", release=1, minimum_version="0.1.0", roles=Roles(refiner=points_role()))


def test_a_decoder_is_a_network_of_its_own_named_and_proven(tmp_path):
    bundle = points_bundle(tmp_path / "near")
    assert [(each.label, each.model) for each in networks_of(points_role())] == [("", ENCODER), ("decoder", DECODER)]
    assert set(points_role().files()) == set(bundle.content)
    proof = prove(bundle)
    assert {(row.role, row.output) for row in proof.rows} == {
        ("refiner", "embedding"),
        ("refiner decoder", "masks"),
        ("refiner decoder", "iou"),
    }
    assert set(proof.inference_ms) == {"refiner", "refiner decoder"}
    golden = points_role().decoder_golden.model_copy(update={"end": {"dice": 0.0}})
    held = write_bundle(
        tmp_path / "held",
        points_content(),
        name="near",
        release=1,
        minimum_version="0.1.0",
        roles=Roles(refiner=points_role(decoder_golden=golden)),
    )
    assert [(end.role, end.metric, end.change) for end in prove(held).ends] == [("refiner decoder", "dice", 0.0)]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({DECODER: decoder(points="places_asked")}, "the refiner's decoder: its inputs are"),
        ({DECODER: decoder(masks="areas")}, "masks is missing"),
        ({DECODER: decoder(side=128)}, r"takes an embedding \(1, 16, 32, 32\), the encoder gives \(1, 16, 16, 16\)"),
        ({DECODER: b"no network"}, DECODER),
        ({DECODER_GOLDEN: points_content()["encoder.npz"]}, DECODER_GOLDEN),
        ({DECODER_GOLDEN: b"nothing"}, DECODER_GOLDEN),
    ],
)
def test_a_decoder_that_is_none_is_refused_where_the_bundle_is_read(tmp_path, files, why):
    points_bundle(tmp_path / "near")
    forge(tmp_path / "near", files)
    with pytest.raises(BundleError, match=why):
        read_bundle(tmp_path / "near")


def test_a_decoder_that_was_changed_on_the_way_is_refused(tmp_path):
    points_bundle(tmp_path / "near")
    (tmp_path / "near" / DECODER).write_bytes(decoder(iou=(0.9, 0.2, 0.4)))
    with pytest.raises(BundleError, match="SHA-256"):
        read_bundle(tmp_path / "near")


def test_a_refiner_of_maps_without_its_prompts_is_refused(tmp_path):
    with pytest.raises(BundleError, match="masks is missing"):
        write_better(tmp_path / "b", refiner=refiner_role(), refining=near_points_is_hair(masks="areas"))
    assert REFINER not in [path.name for path in tmp_path.glob("b/*")]


def test_networks_for_better_masks_alone_are_a_part_and_none_to_use(tmp_path):
    for name, role in {"teacher": teacher_role(), "refiner": refiner_role()}.items():
        write_better(tmp_path / name, segmenter=False, **{name: role})
        assert read_bundle(tmp_path / name).manifest.roles.segmenter is None
        with pytest.raises(BundleError, match="needs the live segmenter beside it"):
            read_for_use(tmp_path / name)
        with pytest.raises(BundleError, match="needs the live segmenter beside it"):
            segmenter_asked_for("learned", tmp_path / name, threads=1)
    write_better(tmp_path / "all", teacher=teacher_role(), refiner=refiner_role())
    assert read_for_use(tmp_path / "all").manifest.roles.teacher is not None


class Anything(Backend):
    """Answers what it is told, whatever it is asked."""

    def __init__(self, outputs) -> None:
        super().__init__("anything")
        self.outputs = outputs

    def _activate(self) -> None:
        pass

    def _infer(self, inputs):
        return self.outputs

    def _deactivate(self) -> None:
        pass


@pytest.mark.parametrize(
    ("picture", "masks", "iou"),
    [
        ((1, 64, 96, 1), (1, 3, 64, 96), (1, 3)),
        ((1, 4, 4, 3), (1, 3, 4, 4), (1, 3)),
        ((1, 64, 96), (1, 3, 64, 96), (1, 3)),
        ((1, 64, 96, 3), (1, 3, 32, 48), (1, 3)),
        ((1, 64, 96, 3), (3, 64, 96), (1, 3)),
        ((1, 64, 96, 3), (1, 3, 64, 96), (1, 2)),
        ((1, 64, 96, 3), (1, 3, 64, 96), (3,)),
    ],
)
def test_golden_data_of_another_form_fail_the_proof_and_raise_nothing(picture, masks, iou):
    outputs = {"masks": np.full(masks, 0.9, np.float32), "iou": np.full(iou, 0.5, np.float32)}
    inputs = {"picture": np.full(picture, 99, np.uint8), "prompts": np.zeros((1, 2, 64, 96), np.float32)}
    role = refiner_role(golden=refiner_role().golden.model_copy(update={"end": {"dice": 0.0}}))
    content = {REFINER: b"any", role.golden.file: pack([GoldenCase(inputs, outputs)])}
    manifest = Manifest(name="odd", release=1, minimum_version="0.1.0", roles=Roles(refiner=role), files=entries(content))
    proof = prove(Bundle(manifest, content, "0" * 64), make_backend=lambda _: Anything(outputs))
    (end,) = proof.ends
    assert not end.passed
    assert end.problem
