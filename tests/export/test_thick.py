"""The teacher, our own refiner and the student that learns on: networks, trainings on drawn scenes, and their parts."""

import json
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from typer.testing import CliRunner  # noqa: E402

from export.cli import app  # noqa: E402
from export.conversion import evidence  # noqa: E402
from export.conversion import segmenter as segmenter_conversion  # noqa: E402
from export.conversion import teacher as teacher_conversion  # noqa: E402
from export.conversion.half_weights import with_half_weights  # noqa: E402
from export.conversion.joined import CorrectingGraph, parity, refiner_onnx, teacher_onnx  # noqa: E402
from export.conversion.onnx_graph import live_onnx  # noqa: E402
from export.conversion.onnx_graph import parity as live_parity  # noqa: E402
from export.conversion.part import read_part, read_parts  # noqa: E402
from export.errors import ConversionError, TrainingError  # noqa: E402
from export.networks.live import LiveNet, parameter_count  # noqa: E402
from export.networks.thick import PROMPTS, ThickNet, logits_of  # noqa: E402
from export.training import checkpoint, distillation, refiner, segmenter, teacher  # noqa: E402
from export.training.distillation import DistillationTraining  # noqa: E402
from export.training.live_maps import LiveMaps  # noqa: E402
from export.training.live_weights import live_weights  # noqa: E402
from export.training.refiner import MASKS, RefinerTraining, begin_with, drawn_prompts, refiner_loss  # noqa: E402
from export.training.samples import CropSamples  # noqa: E402
from export.training.segmenter import Watcher  # noqa: E402
from export.training.teacher import NOTHING, SMOKE, TeacherSamples, TeacherTraining  # noqa: E402
from runtime.analysis.learned import LearnedSegmenter  # noqa: E402
from runtime.bundles.proof import prove  # noqa: E402
from runtime.bundles.reader import FACTORY, read_bundle  # noqa: E402
from runtime.inference.onnx import OnnxBackend  # noqa: E402
from runtime.refining.prompts import automatic_prompts  # noqa: E402
from runtime.refining.refiner import open_refiner  # noqa: E402
from tests.export.training_samples import drawn_bald_frames, drawn_frames, drawn_planes, drawn_scenes  # noqa: E402
from tests.runtime.better_samples import teacher_role, write_better  # noqa: E402
from tests.runtime.bundle_samples import write_sample  # noqa: E402

pytestmark = pytest.mark.export
LIVE = read_bundle(FACTORY)
LIVE_MODEL = LIVE.content[LIVE.manifest.roles.segmenter.model]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Trainings, and what their networks are measured on, on drawn scenes."""
    paths = drawn_scenes(tmp_path / "drawn")
    monkeypatch.setattr(segmenter, "render_scenes", lambda *_, **__: paths)
    monkeypatch.setattr(segmenter, "validation_frames", drawn_frames)
    for module in (segmenter_conversion, teacher_conversion, evidence):
        monkeypatch.setattr(module, "validation_frames", drawn_frames)
        monkeypatch.setattr(module, "bald_frames", drawn_bald_frames)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    torch.set_num_threads(1)
    return paths


def stirred(network):
    """The network with weights where it begins with zeros, so that its corrections show."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return network.eval()


def test_it_begins_by_saying_what_the_live_network_says():
    network = ThickNet(8).eval()
    picture, hair, marks = torch.rand(2, 3, 64, 96) * 255, torch.rand(2, 1, 64, 96), torch.rand(2, 3, 32, 48)
    found = network(picture, hair, marks)
    assert torch.allclose(torch.sigmoid(found.masks), hair.clamp(1e-3, 1 - 1e-3), atol=2e-3)
    assert torch.allclose(torch.sigmoid(found.marks), marks.clamp(1e-3, 1 - 1e-3), atol=2e-3)
    assert found.iou is None


def test_logits_are_bounded_and_undone():
    p = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
    assert torch.isfinite(logits_of(p)).all()
    assert torch.allclose(torch.sigmoid(logits_of(p)), p, atol=1.1e-3)


def test_sizes_are_within_what_was_planned():
    assert 1e6 <= parameter_count(ThickNet(32)) <= 3e6
    assert parameter_count(ThickNet(32, prompts=PROMPTS, masks=MASKS)) <= 5e6


def test_prompts_change_the_answer_only_where_there_are_some():
    network = stirred(ThickNet(8, prompts=PROMPTS, masks=MASKS))
    given = torch.rand(1, 3, 64, 64) * 255, torch.rand(1, 1, 64, 64), torch.rand(1, 3, 32, 32)
    none, some = torch.zeros(1, 2, 64, 64), torch.zeros(1, 2, 64, 64)
    some[0, 0, 20:24, 20:24] = 1
    with torch.no_grad():
        assert torch.equal(network(*given, none).masks, network(*given).masks)
        assert not torch.allclose(network(*given, some).masks, network(*given, none).masks)
        assert network(*given, some).iou.shape == (1, MASKS)


def test_alone_it_sees_the_picture_only_and_is_averaged_with_the_live_network():
    network = stirred(ThickNet(8, alone=True))
    picture, hair, marks = torch.rand(1, 3, 64, 96) * 255, torch.rand(1, 1, 64, 96), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        own, same = network(picture, hair, marks), network(picture, 1 - hair, marks * 0)
        assert torch.equal(own.masks, same.masks)
        assert torch.equal(own.marks, same.marks)
        assert not torch.allclose(own.masks, network(255 - picture, hair, marks).masks)
        both, both_marks = CorrectingGraph(network)(picture.byte().permute(0, 2, 3, 1), hair, marks)
        own = network(picture.byte().float(), hair, marks)
    assert torch.allclose(both, (torch.sigmoid(own.masks) + hair) / 2)
    assert torch.allclose(both_marks, (torch.sigmoid(own.marks) + marks) / 2)


@pytest.mark.parametrize("withheld", [0.0, 0.5, 1.0])
def test_live_maps_are_withheld_from_the_share_that_the_recipe_says(drawn, withheld):
    crops = CropSamples(drawn, 64, 3, 5, 24, 0.0)
    live = LiveMaps(FACTORY)
    samples = TeacherSamples(crops, live, withheld)
    nothing = [bool((samples[i][4] == NOTHING).all() and (samples[i][5] == NOTHING).all()) for i in range(24)]
    assert sum(nothing) == pytest.approx(24 * withheld, abs=0 if withheld in (0, 1) else 8)
    later = TeacherSamples(CropSamples(drawn, 64, 3, 9, 4, 0.0), live, withheld)
    assert all(torch.equal(a, b) for a, b in zip(samples[4], later[0], strict=True)), "the same whenever it is asked for"


@pytest.mark.parametrize(
    ("make", "more"), [(teacher_onnx, {}), (teacher_onnx, {"alone": True}), (refiner_onnx, {"prompts": PROMPTS, "masks": MASKS})]
)
def test_the_joined_graph_gives_the_networks_numbers_at_every_size(make, more):
    network = stirred(ThickNet(8, **more))
    model = make(network, LIVE_MODEL)
    assert max(parity(network, LIVE_MODEL, model, sizes=((64, 64), (96, 160))).values()) <= 1e-4
    with pytest.raises(ConversionError, match="above"):
        parity(stirred(ThickNet(8, **more).train().eval()).double().float(), LIVE_MODEL, make(ThickNet(8, **more).eval(), LIVE_MODEL))
    with pytest.raises(ConversionError, match="nothing was compared"):
        parity(network, LIVE_MODEL, model, sizes=())


def test_weights_kept_in_half_precision_halve_the_file_and_hardly_change_the_answer():
    model = teacher_onnx(stirred(ThickNet(16, alone=True)), LIVE_MODEL)
    small = with_half_weights(model)
    assert len(small) < 0.6 * len(model)
    picture = {"picture": np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)}
    with OnnxBackend(model, name="whole") as whole, OnnxBackend(small, name="half") as half:
        wanted, found = whole.infer(picture), half.infer(picture)
    worst = max(float(np.abs(wanted[name] - found[name]).max()) for name in ("hair", "marks"))
    assert 0 < worst < 0.02
    assert with_half_weights(small) == small


def test_the_live_networks_weights_are_had_back_from_its_graph():
    pictures = [np.ascontiguousarray(drawn_planes(place)[:128, 100:292, :3]) for place in (150, 200, 250)]
    network = live_weights(LIVE_MODEL, pictures)
    assert max(live_parity(network, LIVE_MODEL, sizes=((64, 64), (96, 160))).values()) <= 1e-5
    with pytest.raises(TrainingError, match="another"):
        live_weights(teacher_onnx(ThickNet(8).eval(), LIVE_MODEL), pictures)


def test_the_live_networks_weights_of_another_width_too():
    torch.manual_seed(3)
    pictures = [np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)]
    model = live_onnx(LiveNet(8).eval())
    assert max(live_parity(live_weights(model, pictures), model, sizes=((64, 64),)).values()) <= 1e-4


@pytest.mark.parametrize("kind", ["teacher", "refiner"])
def test_resumed_equals_uninterrupted(drawn, tmp_path, kind):
    made, recipe = (TeacherTraining, SMOKE) if kind == "teacher" else (RefinerTraining, refiner.SMOKE)
    whole = made(tmp_path / "whole", recipe, 3, live=FACTORY)
    whole.run(Watcher())
    made(tmp_path / "parts", recipe, 3, live=FACTORY).run(Watcher(), until=4)
    resumed = made.resumed(tmp_path / "parts", live=FACTORY)
    resumed.run(Watcher())
    assert resumed.progress.step == recipe.steps
    for a, b in zip(whole.average.state_dict().values(), resumed.average.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-5)
    assert json.loads((tmp_path / "whole" / segmenter.HISTORY).read_text())["loss"]


def test_the_best_mask_learns_most_and_its_iou_is_held_to_the_truth():
    hair = torch.zeros(1, 1, 32, 32)
    hair[..., 10:16] = 1
    none = torch.zeros_like(hair)
    good, bad = (hair * 2 - 1) * 8, (1 - hair * 2) * 8
    sure, wrong = torch.tensor([[8.0, -8.0]]), torch.tensor([[-8.0, 8.0]])
    both = torch.cat([good, bad], 1)
    assert refiner_loss(both, sure, hair, none, none) < refiner_loss(both, wrong, hair, none, none)
    assert refiner_loss(both, sure, hair, none, none) < refiner_loss(torch.cat([bad, bad], 1), sure, hair, none, none)
    several = both.clone().requires_grad_()
    refiner_loss(several, sure, hair, none, none).backward()
    assert several.grad[0, 1].abs().sum() > 0  # the other one is not forgotten


def test_prompts_of_a_training_lie_where_they_say():
    truth, live = np.zeros((64, 64), np.bool_), np.zeros((64, 64), np.bool_)
    truth[:, 10:16], live[:, 40:46] = True, True
    rng = np.random.default_rng(2)
    drawn = [drawn_prompts(truth, live, rng) for _ in range(60)]
    columns = np.concatenate([p.points[p.positive, 0] for p in drawn])
    assert all(9 <= column <= 16 or 39 <= column <= 46 for column in columns)
    assert np.mean(columns < 30) == pytest.approx(0.3, abs=0.2)
    assert min(len(p) for p in drawn) == 0


def test_a_refiner_begins_with_its_teacher(drawn, tmp_path):
    TeacherTraining(tmp_path / "teacher", SMOKE, 1, live=FACTORY).run(Watcher())
    taught, _ = teacher_conversion.trained_thick(tmp_path / "teacher")
    network = ThickNet(8, prompts=PROMPTS, masks=MASKS).eval()
    begin_with(network, tmp_path / "teacher")
    given = torch.rand(1, 3, 64, 64) * 255, torch.rand(1, 1, 64, 64), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        found = network(*given, torch.rand(1, 2, 64, 64))
        for index in range(MASKS):
            wider = refiner.APART * (index - 1)  # so that no two masks are alike
            assert torch.allclose(found.masks[:, index] - wider, taught(*given).masks[:, 0], atol=1e-5)
    with pytest.raises(TrainingError, match="as wide"):
        begin_with(ThickNet(16, prompts=PROMPTS, masks=MASKS), tmp_path / "teacher")
    RefinerTraining(tmp_path / "refiner", refiner.SMOKE, 1, live=FACTORY).run(Watcher())
    with pytest.raises(TrainingError, match="teacher"):
        begin_with(network, tmp_path / "refiner")
    with pytest.raises(TrainingError, match="does not fit"):
        teacher_conversion.trained_thick(tmp_path / "refiner")


def test_a_bundle_without_the_network_is_told(tmp_path):
    write_sample(tmp_path / "live")
    with pytest.raises(TrainingError, match="no teacher in this bundle"):
        LiveMaps(tmp_path / "live", role="teacher").of(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(TrainingError, match="another bundle"):
        LiveMaps(tmp_path / "absent").of(np.zeros((64, 64, 3), np.uint8))


def test_both_arms_of_the_distillation_begin_alike(drawn, tmp_path):
    recipe = distillation.SMOKE
    arms = [DistillationTraining(tmp_path / name, recipe, 1, live=FACTORY, teacher=None) for name in ("one", "two")]
    for arm in arms:
        arm.begin(drawn)
    for a, b in zip(arms[0].network.state_dict().values(), arms[1].network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert max(live_parity(arms[0].average.eval().cpu(), LIVE_MODEL, sizes=((64, 64),)).values()) <= 1e-5


def test_the_arm_with_a_teacher_learns_its_soft_masks(drawn, tmp_path):
    write_better(tmp_path / "taught", teacher=teacher_role(), segmenter=False)
    arms = [DistillationTraining(tmp_path / "x", distillation.SMOKE, 1, live=FACTORY, teacher=t) for t in (None, tmp_path / "taught")]
    told, taught = (torch.utils.data.default_collate([arm._dataset(drawn, 2, 2)[index] for index in range(2)]) for arm in arms)
    for one, other in zip(told, taught, strict=False):  # the same crops
        assert torch.equal(one, other)
    assert len(taught) == len(told) + 2
    arms[1].network.load_state_dict(arms[0].network.state_dict())
    with torch.no_grad():
        alone, beside = (float(arm._loss(*batch)) for arm, batch in zip(arms, (told, taught), strict=True))
        flipped = float(arms[1]._loss(*taught[:4], 1 - taught[4], taught[5]))
    assert beside > alone + 0.01
    assert flipped != pytest.approx(beside, abs=1e-3)


@pytest.mark.parametrize("name", ["teacher", "refiner", "student"])
def test_a_training_goes_on_with_the_networks_that_it_began_with(drawn, tmp_path, monkeypatch, name):
    for module, made in (("teacher", "teacher_part"), ("refiner", "refiner_part"), ("segmenter", "segmenter_part")):
        monkeypatch.setattr(f"export.conversion.{module}.{made}", lambda *_, **__: (None, {}))
    monkeypatch.setattr("export.conversion.part.write_part", lambda *_: None)
    other = tmp_path / "other"
    write_better(other, teacher=teacher_role())
    if name == "refiner":  # named by the folder of its training
        TeacherTraining(tmp_path / "taught", SMOKE, 1, live=FACTORY).run(Watcher())
        write_better(tmp_path / "taught" / "part", teacher=teacher_role(), segmenter=False)
    else:
        write_better(tmp_path / "taught", teacher=teacher_role(), segmenter=False)
    teacher_named = [] if name == "teacher" else ["--teacher", str(tmp_path / "taught")]

    def train(*more):
        result = CliRunner().invoke(app, ["train", name, "--out", str(tmp_path / "out"), *more])
        return result.exit_code, " ".join(result.output.split())

    assert train("--recipe", "smoke", *teacher_named)[0] == 0
    assert train("--resume", *teacher_named)[0] == 0
    code, said = train("--resume", "--live", str(other), *teacher_named)
    assert code == 1
    assert "began with another live network" in said
    if teacher_named:
        code, said = train("--resume")
        assert code == 1
        assert "began with a teacher network: name the same one with --teacher" in said
    else:
        state = checkpoint.load(tmp_path / "out")
        assert set(state.pop("sources")) == {"live"}
        checkpoint.save(tmp_path / "out", state)  # as before they were kept
        assert train("--resume")[0] == 0


def test_from_trainings_to_parts_that_captures_can_use(drawn, tmp_path):
    def command(name, *more):
        arguments = ["train", name, "--recipe", "smoke", "--out", str(tmp_path / name), *map(str, more)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return read_part(tmp_path / name / "part")

    role = command("teacher").role
    assert role.card.validated_on_real_labels is False
    assert {"dice_live_classical_hard", "dice_teacher_classical_hard", "count_error_teacher_classical_hard"} <= set(role.metrics)
    assert {"dice_hard", "false_area_without_hair", "parity_hair"} <= set(role.metrics)
    part = command("refiner", "--teacher", tmp_path / "teacher")
    assert {"dice_prompting", "dice_refined", "dice_both", "dice_weighed"} <= set(part.role.metrics)
    assert "--teacher TEACHER" in part.role.card.repeat
    command("student", "--teacher", tmp_path / "teacher" / "part")
    for name in ("teacher", "refiner", "student"):
        prove(read_parts(tmp_path / name / "part")).require()
    image = next(iter(drawn_frames(2, 1))).image
    with LearnedSegmenter(read_parts(tmp_path / "teacher" / "part"), role="teacher", threads=1) as found:
        mask = found.segment(image).mask
    asked = open_refiner(read_parts(tmp_path / "refiner" / "part"), threads=1)
    mask = mask if mask.any() else np.eye(*image.shape[:2], dtype=np.bool_)
    assert asked.refine(image, automatic_prompts(mask)).probability.shape == image.shape[:2]
    asked.close()
    again = CliRunner().invoke(app, ["train", "teacher", "--recipe", "smoke", "--out", str(tmp_path / "teacher")])
    assert again.exit_code == 1
    assert "--resume" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["teacher", "--recipe", "other"], "no recipe"),
        (["teacher", "--live", "ABSENT", "--recipe", "smoke"], "no such bundle"),
        (["refiner", "--teacher", "ABSENT", "--recipe", "smoke"], "ABSENT"),
        (["student", "--resume"], "checkpoint"),
    ],
)
def test_what_cannot_be_trained_says_why(tmp_path, arguments, said):
    named = [str(tmp_path / "ABSENT") if a == "ABSENT" else a for a in arguments]
    result = CliRunner().invoke(app, ["train", *named, "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert teacher.RECIPES.keys() == {"cpu", "gpu", "smoke"}
