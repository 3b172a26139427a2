import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402

from export.conversion.conditions import OUTPUTS, CameraGraph, conditions_onnx, conditions_parity  # noqa: E402
from export.errors import ConversionError, TrainingError  # noqa: E402
from export.networks.conditions import UNKNOWN  # noqa: E402
from export.networks.densenet import DenseNet  # noqa: E402
from export.networks.efficientformer import EfficientFormerV2  # noqa: E402
from export.networks.live import parameter_count  # noqa: E402
from export.networks.scalp_net import OrdinalHead, ScalpNet, conditions_loss, folded  # noqa: E402
from export.training.conditions.training import load_backbone  # noqa: E402

pytestmark = pytest.mark.export


def shaken(network):
    """The network with statistics and weights that make its answers differ from picture to picture."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        elif hasattr(module, "gamma"):
            module.gamma.data.fill_(0.5)
        elif hasattr(module, "attention_biases"):
            module.attention_biases.data.normal_(0, 1, generator=generator)
    for head in (network.presence, *network.grades):
        head[0].weight.data.mul_(6)
    return network.eval()


def test_the_published_backbones_have_the_published_sizes():
    """As timm counts them with a thousand classes: 14.15 M and 3.60 M."""
    assert parameter_count(DenseNet(classes=1000)) == 14_149_480
    assert parameter_count(EfficientFormerV2(classes=1000)) == 3_600_256
    assert parameter_count(ScalpNet("small", base=12)) < 600_000
    assert parameter_count(ScalpNet("small", base=16)) < 3_000_000


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (
            lambda: DenseNet(classes=10),
            {
                "features.conv0.weight": (64, 3, 7, 7),
                "features.norm0.running_var": (64,),
                "features.denseblock3.denselayer32.conv2.weight": (32, 128, 3, 3),
                "features.denseblock4.denselayer1.norm1.bias": (640,),
                "features.transition2.conv.weight": (256, 512, 1, 1),
                "features.norm5.weight": (1664,),
                "classifier.bias": (10,),
            },
        ),
        (
            lambda: EfficientFormerV2(classes=10),
            {
                "stem.conv1.conv.bias": (16,),
                "stem.conv2.bn.weight": (32,),
                "stages.1.downsample.conv.conv.weight": (48, 32, 3, 3),
                "stages.2.blocks.4.token_mixer.stride_conv.conv.weight": (96, 1, 3, 3),
                "stages.2.blocks.5.token_mixer.attention_biases": (8, 49),
                "stages.3.downsample.attn.q.local.weight": (96, 1, 3, 3),
                "stages.3.downsample.attn.attention_biases": (8, 196),
                "stages.3.blocks.3.token_mixer.talking_head2.weight": (8, 8, 1, 1),
                "stages.3.blocks.3.mlp.mid.conv.weight": (704, 1, 3, 3),
                "stages.0.blocks.1.ls2.gamma": (32,),
                "norm.running_mean": (176,),
                "head_dist.weight": (10, 176),
            },
        ),
    ],
    ids=["DenseNet-169", "EfficientFormerV2-S0"],
)
def test_parameters_are_named_as_timm_names_them(network, names):
    state = network().state_dict()
    assert {name: tuple(state[name].shape) for name in names if name in state} == names
    assert not any("attention_bias_idxs" in name for name in state)


@pytest.mark.parametrize(
    ("backbone", "ordinal", "size"),
    [
        ("small", False, (96, 128)),
        ("small", True, (64, 64)),
        ("densenet169", False, (32, 64)),
        ("efficientformerv2_s0", False, (96, 128)),
    ],
)
def test_the_graph_gives_the_networks_numbers_at_every_batch_length(backbone, ordinal, size):
    torch.manual_seed(1)
    network = shaken(ScalpNet(backbone, ordinal=ordinal, base=8, size=size))
    model = conditions_onnx(network)
    worst = conditions_parity(network, model, batches=(1, 2, 3))
    assert set(worst) == set(OUTPUTS)
    assert max(worst.values()) <= 1e-4
    proto = onnx.load_from_string(model)
    assert proto.ir_version <= 10
    assert {entry.domain for entry in proto.opset_import} == {""}
    assert proto.opset_import[0].version <= 18
    with torch.no_grad():
        pictures = torch.randint(0, 256, (3, *size, 3), dtype=torch.uint8) // torch.tensor([1, 2, 8])[:, None, None, None]
        presence, grades = CameraGraph(network)(pictures.to(torch.uint8))
    assert grades.sum(2).numpy() == pytest.approx(np.ones((3, 3)), abs=1e-5)
    assert float((grades[0] - grades[2]).abs().max()) > 1e-3, "answers that are all alike prove nothing"
    assert presence.shape == (3, 3)


def test_the_small_network_is_asked_about_a_picture_and_its_mirror_images():
    torch.manual_seed(1)
    network = shaken(ScalpNet("small", base=8, size=(64, 96)))
    picture = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    with torch.no_grad():
        one = torch.softmax(network(picture).grades, 2)
        grades, mirrored = (CameraGraph(network)(shown)[1] for shown in (picture, picture.flip(2)))
        looks = [torch.softmax(network(picture.flip(axes)).grades, 2) for axes in ((), (1,), (2,), (1, 2))]
    assert torch.allclose(grades, mirrored, atol=1e-6)
    assert torch.allclose(grades, torch.stack(looks).mean(0), atol=1e-6)
    assert not torch.allclose(grades, one, atol=1e-5)


def test_folding_keeps_every_pixel():
    pictures = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    blocks = folded(pictures)
    assert blocks.shape == (2, 12, 16, 24)
    assert torch.equal(blocks[1, 3:6, 5, 7], pictures[1, 10, 15]), "rows of a block before columns, colours together"
    unfolded = torch.nn.functional.pixel_shuffle(blocks.reshape(2, 4, 3, 16, 24).transpose(1, 2).reshape(2, 12, 16, 24), 2)
    assert torch.equal(unfolded.permute(0, 2, 3, 1), pictures)


def test_a_graph_of_another_network_is_found_out():
    torch.manual_seed(1)
    one = shaken(ScalpNet("small", base=8, size=(64, 64)))
    model = conditions_onnx(one)
    other = shaken(ScalpNet("small", base=8, size=(64, 64)))
    with pytest.raises(ConversionError, match=r"parity: .*above"):
        conditions_parity(other, model)
    with pytest.raises(ConversionError, match="nothing was compared"):
        conditions_parity(one, model, batches=())


def test_attention_counts_distances_on_grids_that_are_not_square():
    torch.manual_seed(0)
    network = EfficientFormerV2(64, 96).eval()
    assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 176, 2, 3)
    biases = network.stages[3].blocks[3].token_mixer
    assert biases.attention_bias_idxs[0].tolist() == [0, 1, 2, 3, 4, 5]  # from the first place of a grid of 2 × 3
    assert biases.attention_bias_idxs[4].tolist() == [4, 3, 4, 1, 0, 1]
    with pytest.raises(ValueError, match="multiples of 32"):
        EfficientFormerV2(100, 96)
    with pytest.raises(ValueError, match="no backbone"):
        ScalpNet("vgg")


def test_ordinal_grades_are_probabilities_whose_mode_rises_with_the_score():
    torch.manual_seed(0)
    head = OrdinalHead(1)
    head.score.weight.data.fill_(1.0)
    head.score.bias.data.zero_()
    found = torch.exp(head(torch.linspace(-8, 8, 60)[:, None]))
    assert torch.allclose(found.sum(1), torch.ones(60), atol=1e-5)
    modes = found.argmax(1).tolist()
    assert modes == sorted(modes)
    assert set(modes) == {0, 1, 2, 3}


def test_the_loss_is_the_sum_of_four():
    torch.manual_seed(0)
    network = ScalpNet("small", base=8, size=(64, 64)).eval()
    found = network(torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8))
    grades = torch.tensor([[0, 1, 2], [3, 0, 0], [1, 1, 3], [2, 3, 1]])
    bce = torch.nn.functional.binary_cross_entropy_with_logits(found.presence, (grades > 0).float())
    each = [torch.nn.functional.cross_entropy(found.grades[:, i], grades[:, i]) for i in range(3)]
    four = float((bce + sum(each)).detach())
    assert float(conditions_loss(found, grades).detach()) == pytest.approx(four, rel=1e-6)
    maps = torch.rand(4, 2, 4, 4)
    assert float(conditions_loss(found, grades, maps).detach()) > four
    assert float(conditions_loss(found, grades, torch.full_like(maps, UNKNOWN)).detach()) == pytest.approx(four, rel=1e-6)


def test_a_backbones_weights_load_by_timms_names_and_others_are_refused(tmp_path):
    torch.manual_seed(5)
    published = EfficientFormerV2(classes=7)
    torch.save(published.state_dict(), tmp_path / "timm.pt")
    network = ScalpNet("efficientformerv2_s0")
    load_backbone(network, tmp_path / "timm.pt")
    assert torch.equal(network.backbone.stem.conv1.conv.weight, published.stem.conv1.conv.weight)
    torch.save(DenseNet((1, 1)).state_dict(), tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04")
    for name in ("other.pt", "broken.pt", "missing.pt"):
        with pytest.raises(TrainingError, match="timm's names"):
            load_backbone(network, tmp_path / name)
