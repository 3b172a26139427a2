"""Networks of the SAM family: published names and sizes, checkpoints from anywhere, and the pair of graphs with PyTorch's numbers."""

import json
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from torch.nn import functional  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from device.simulated.scene import render_frame  # noqa: E402
from export.cli import app  # noqa: E402
from export.conversion import sam as conversion  # noqa: E402
from export.conversion.part import as_bundle, read_part  # noqa: E402
from export.conversion.sam import Pair, half_pair, sam_pair, sam_parity  # noqa: E402
from export.conversion.sam_weights import read_checkpoint  # noqa: E402
from export.errors import ConversionError  # noqa: E402
from export.networks.sam import vit  # noqa: E402
from export.networks.sam.model import KINDS, MEAN, STD, Sam, kind_of, shapes_of  # noqa: E402
from export.networks.sam.tiny_vit import WindowAttention  # noqa: E402
from export.networks.sam.vit import RelativeAttention, ViTSizes  # noqa: E402
from runtime.bundles.errors import BundleError  # noqa: E402
from runtime.bundles.proof import prove  # noqa: E402
from runtime.refining.points import PointFiles, PointsRefiner, in_square, point_groups  # noqa: E402
from runtime.refining.prompts import automatic_prompts  # noqa: E402
from runtime.refining.refiner import open_refiner  # noqa: E402

pytestmark = pytest.mark.export

SIDE = 256
CLASSIFIER = ("image_encoder.head.", "image_encoder.norm_head.")
THIN, THIN_SIDE = ViTSizes(96, 3, 3, (1,)), 320


def shaken(network: Sam, seed: int = 1) -> Sam:
    """Seeded weights that let the input through: fresh ones have norms and biases that do nothing."""
    torch.manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point() or "gaussian" in name:
            continue
        if "running_var" in name:
            tensor.copy_(0.75 + 0.5 * torch.rand_like(tensor))
        elif tensor.ndim >= 2 and not any(word in name for word in ("rel_pos", "pos_embed", "biases")):
            fan = tensor[0].numel() if tensor.shape[0] > 1 else 1
            tensor.copy_(torch.randn_like(tensor) * fan**-0.5)
        else:
            tensor.copy_((1.0 if name.endswith("weight") else 0.0) + 0.15 * torch.randn_like(tensor))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def mobile():
    return shaken(Sam("mobile", side=SIDE, classes=1000))


@pytest.fixture(scope="module")
def checkpoint(mobile, tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "mobile_sam.pt"
    torch.save(mobile.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def part(checkpoint, tmp_path_factory):
    """What the command makes of the whole of MobileSAM, for small pictures."""
    out = tmp_path_factory.mktemp("parts") / "refiner"
    result = run(checkpoint, "--out", out, "--side", SIDE, "--precision", "fp16", "--combination", "weighed")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["kind"] == "mobile"
    assert max(told["parity"].values()) <= 1e-4
    return read_part(out)


@pytest.fixture(scope="module")
def thin():
    """A vision transformer of a reduced depth, and its pair."""
    network = shaken(Sam("vit_b", side=THIN_SIDE, sizes=THIN))
    begun: list[str] = []
    pair = sam_pair(network, told=begun.append)
    assert len(begun) < conversion.STEPS
    return network, pair


def run(*arguments: object):
    return CliRunner().invoke(app, ["convert", "sam", *map(str, arguments)])


def test_every_kind_has_the_published_number_of_parameters():
    with torch.device("meta"):
        networks = {kind: Sam(kind, classes=1000 if kind == "mobile" else 0) for kind in KINDS}
    counts = {kind: sum(p.numel() for p in network.parameters()) for kind, network in networks.items()}
    assert counts == {"vit_b": 93_735_472, "vit_l": 312_342_832, "vit_h": 641_090_608, "mobile": 10_130_092}
    encoders = {kind: sum(p.numel() for p in network.image_encoder.parameters()) for kind, network in networks.items()}
    assert encoders == {"vit_b": 89_670_912, "vit_l": 308_278_272, "vit_h": 637_026_048, "mobile": 6_065_532}
    assert {counts[kind] - encoders[kind] for kind in KINDS} == {4_064_560}


BOTH = {
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, 128),
    "prompt_encoder.point_embeddings.3.weight": (1, 256),
    "prompt_encoder.not_a_point_embed.weight": (1, 256),
    "prompt_encoder.mask_downscaling.0.weight": (4, 1, 2, 2),
    "prompt_encoder.mask_downscaling.1.bias": (4,),
    "prompt_encoder.mask_downscaling.3.weight": (16, 4, 2, 2),
    "prompt_encoder.mask_downscaling.6.weight": (256, 16, 1, 1),
    "prompt_encoder.no_mask_embed.weight": (1, 256),
    "mask_decoder.transformer.layers.0.self_attn.q_proj.weight": (256, 256),
    "mask_decoder.transformer.layers.1.cross_attn_token_to_image.k_proj.weight": (128, 256),
    "mask_decoder.transformer.layers.1.cross_attn_image_to_token.out_proj.weight": (256, 128),
    "mask_decoder.transformer.layers.1.mlp.lin1.weight": (2048, 256),
    "mask_decoder.transformer.layers.0.norm4.bias": (256,),
    "mask_decoder.transformer.final_attn_token_to_image.v_proj.bias": (128,),
    "mask_decoder.transformer.norm_final_attn.weight": (256,),
    "mask_decoder.iou_token.weight": (1, 256),
    "mask_decoder.mask_tokens.weight": (4, 256),
    "mask_decoder.output_upscaling.0.weight": (256, 64, 2, 2),
    "mask_decoder.output_upscaling.1.weight": (64,),
    "mask_decoder.output_upscaling.3.weight": (64, 32, 2, 2),
    "mask_decoder.output_hypernetworks_mlps.3.layers.2.weight": (32, 256),
    "mask_decoder.iou_prediction_head.layers.2.weight": (4, 256),
}
OF_KIND = {
    "vit_b": {
        "image_encoder.pos_embed": (1, 64, 64, 768),
        "image_encoder.patch_embed.proj.weight": (768, 3, 16, 16),
        "image_encoder.blocks.0.attn.rel_pos_h": (27, 64),
        "image_encoder.blocks.2.attn.rel_pos_w": (127, 64),
        "image_encoder.blocks.11.attn.qkv.bias": (2304,),
        "image_encoder.blocks.11.mlp.lin2.weight": (768, 3072),
        "image_encoder.neck.0.weight": (256, 768, 1, 1),
        "image_encoder.neck.3.bias": (256,),
    },
    "vit_l": {"image_encoder.blocks.23.attn.rel_pos_h": (127, 64), "image_encoder.blocks.22.attn.rel_pos_h": (27, 64)},
    "vit_h": {"image_encoder.blocks.31.attn.rel_pos_h": (127, 80), "image_encoder.blocks.6.norm2.weight": (1280,)},
    "mobile": {
        "image_encoder.patch_embed.seq.2.c.weight": (64, 32, 3, 3),
        "image_encoder.layers.0.blocks.1.conv2.bn.running_mean": (256,),
        "image_encoder.layers.0.downsample.conv2.c.weight": (128, 1, 3, 3),
        "image_encoder.layers.1.blocks.0.attn.attention_biases": (4, 49),
        "image_encoder.layers.2.blocks.5.attn.attention_biases": (5, 196),
        "image_encoder.layers.2.downsample.conv1.c.weight": (320, 160, 1, 1),
        "image_encoder.layers.3.blocks.1.attn.qkv.weight": (960, 320),
        "image_encoder.layers.3.blocks.0.local_conv.c.weight": (320, 1, 3, 3),
        "image_encoder.layers.3.blocks.0.mlp.norm.weight": (320,),
        "image_encoder.neck.2.weight": (256, 256, 3, 3),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_named_as_in_the_published_packages(kind):
    wanted, shapes = BOTH | OF_KIND[kind], shapes_of(kind)
    assert {name: shapes[name] for name in wanted if name in shapes} == wanted
    assert len(shapes) == {"vit_b": 314, "vit_l": 482, "vit_h": 594, "mobile": 435}[kind]
    assert kind_of({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}) == kind


def test_relative_attention_is_the_papers_formula(monkeypatch):
    torch.manual_seed(3)
    side, width, heads = 4, 12, 3
    layer = RelativeAttention(width, heads, side).requires_grad_(False)
    layer.rel_pos_h.normal_()
    layer.rel_pos_w.normal_()
    x = torch.randn(2, side, side, width)
    q, k, v = layer.qkv(x).reshape(2, side * side, 3, heads, 4).unbind(2)
    wanted = torch.zeros(2, side * side, heads, 4)
    for picture, head in np.ndindex(2, heads):
        a, b, c = q[picture, :, head], k[picture, :, head], v[picture, :, head]
        weights = torch.empty(side * side, side * side)
        for i, j in np.ndindex(side * side, side * side):
            down, across = i // side - j // side, i % side - j % side
            weights[i, j] = a[i] @ b[j] / 2 + a[i] @ layer.rel_pos_h[down + side - 1] + a[i] @ layer.rel_pos_w[across + side - 1]
        wanted[picture, :, head] = weights.softmax(1) @ c
    wanted = layer.proj(wanted.reshape(2, side, side, width))
    assert torch.allclose(layer(x), wanted, atol=1e-5)
    monkeypatch.setattr(vit, "MOST_WEIGHTS", 2 * side**4)  # two attention maps at a time
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_window_attention_is_biased_by_distances():
    torch.manual_seed(3)
    layer = WindowAttention(6, 2, 3).requires_grad_(False)
    layer.attention_biases.normal_()
    x = torch.randn(1, 3, 3, 6)
    q, k, v = layer.qkv(layer.norm(x)).reshape(9, 2, 9).split(3, 2)
    wanted = torch.zeros(9, 2, 3)
    for head in range(2):
        bias = torch.tensor(
            [[float(layer.attention_biases[head, abs(i // 3 - j // 3) * 3 + abs(i % 3 - j % 3)]) for j in range(9)] for i in range(9)]
        )
        wanted[:, head] = (q[:, head] @ k[:, head].T * 3**-0.5 + bias).softmax(1) @ v[:, head]
    assert torch.allclose(layer(x), layer.proj(wanted.reshape(1, 3, 3, 6)), atol=1e-5)


def test_the_whole_of_mobilesam_becomes_a_part_that_proves_itself(part):
    assert part.name == "refiner"
    role = part.role
    assert (role.kind, role.input.min_side, role.combination, role.use) == ("points", SIDE, "weighed", False)
    assert max(role.metrics.values()) <= 1e-4
    assert not role.card.validated_on_real_labels
    assert len(role.card.recipe["checkpoint_sha256"]) == 64
    assert [variant.precision for variant in role.variants] == ["fp16"]
    assert len(part.content[role.variants[0].model]) < 0.55 * len(part.content[role.model])
    for precision in ("fp32", "fp16"):
        proof = prove(as_bundle(part), precision=precision)
        assert proof.passed, proof.failures()
        assert "embedding" in {row.output for row in proof.rows}
    for file in (role.model, role.decoder):
        graph = onnx.load_from_string(part.content[file])
        assert graph.ir_version <= 10
        assert [(entry.domain, entry.version <= 18) for entry in graph.opset_import] == [("", True)]


@torch.no_grad()
def test_the_refiner_answers_as_the_network_does(part, mobile):
    frame = render_frame(8, width=320, height=200, kind="realistic")
    prompts = automatic_prompts(frame.mask)
    assert len(prompts) > 64
    refiner = open_refiner(as_bundle(part), threads=1)
    found = refiner.refine(frame.image, prompts)
    refiner.close()
    square, rows, columns = in_square(frame.image, SIDE)
    rgb = torch.from_numpy(square[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    embedding = mobile.embed((rgb - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])
    best, expected = [], []
    for coords, labels in point_groups(prompts.scaled(columns / 320, rows / 200)):
        masks, iou = mobile.decode(embedding, torch.from_numpy(coords), torch.from_numpy(labels))
        best.append(masks[0, iou[0].argmax()])
        expected.append(float(iou.max()))
    assert len(best) >= 2
    joined = torch.stack(best).amax(0)[None, None]
    whole = functional.interpolate(joined, (SIDE, SIDE), mode="bilinear")[..., :rows, :columns]
    wanted = functional.interpolate(whole, (200, 320), mode="bilinear").sigmoid()[0, 0].numpy()
    assert np.abs(found.probability - wanted).max() <= 1e-3
    assert found.predicted_iou == pytest.approx(np.clip(np.mean(expected), 0, 1), abs=1e-4)
    assert wanted.std() > 0.01, "an answer that is the same everywhere proves nothing"


def test_a_vision_transformer_becomes_a_pair_with_its_numbers(thin):
    _, pair = thin
    assert set(pair.parity) == {"embedding", "masks", "iou"}
    assert max(pair.parity.values()) <= 1e-4
    with pytest.raises(ConversionError, match=r"parity: .*above"):
        sam_parity(shaken(Sam("vit_b", side=THIN_SIDE, sizes=THIN), seed=2), pair.encoder, pair.decoder)


def test_a_pair_in_half_precision_is_half_as_large_and_is_run(thin):
    _, pair = thin
    halves = half_pair(pair)
    assert len(halves.encoder) + len(halves.decoder) < 0.6 * (len(pair.encoder) + len(pair.decoder))
    assert 0 < halves.parity["fp16_embedding"] < conversion.HALF_APART
    frame = render_frame(8, width=160, height=120, kind="easy")
    with PointsRefiner(PointFiles("thin", halves.encoder, halves.decoder), threads=1) as refiner:
        assert refiner.side == THIN_SIDE
        assert refiner.refine(frame.image, automatic_prompts(frame.mask)).probability.shape == (120, 160)


def test_a_decoder_of_another_side_does_not_fit(part, thin):
    with pytest.raises(BundleError, match=r"gives an embedding \(1, 256, 16, 16\), the decoder takes \(1, 256, 20, 20\)"):
        PointsRefiner(PointFiles("odd", part.content[part.role.model], thin[1].decoder), threads=1)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda s: {"model": s, "epoch": 3},
        lambda s: {f"module.{name}": tensor for name, tensor in s.items()},
        lambda s: {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in s.items()},
        lambda s: {name: tensor for name, tensor in s.items() if not name.startswith(CLASSIFIER)} | {"pixel_mean": torch.ones(3, 1, 1)},
    ],
    ids=["under a key", "parallel", "halves", "without classifier"],
)
def test_checkpoints_are_read_as_they_are_saved(tmp_path, mobile, wrapped):
    torch.save(wrapped(mobile.state_dict()), tmp_path / "c.pt")
    read = read_checkpoint(tmp_path / "c.pt")
    assert read.kind == "mobile"
    name = "layers.2.blocks.5.attn.qkv.weight"
    found = read.network.image_encoder.state_dict()[name]
    assert found.dtype == torch.float32
    assert torch.allclose(found, mobile.image_encoder.state_dict()[name], atol=1e-3)
    assert not any(tensor.is_meta for tensor in read.network.state_dict().values())


class Code:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"features.conv0.weight": torch.ones(3)}, "no checkpoint of SAM or MobileSAM (it holds features.conv0.weight)"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith("mask_decoder.iou")}, "it lacks mask_decoder.iou_prediction_head"),
        (lambda s: s | {"mask_decoder.hf_token.weight": torch.ones(1, 256)}, "mobile lacks mask_decoder.hf_token.weight"),
        (lambda s: s | {"mask_decoder.mask_tokens.weight": torch.ones(3, 256)}, "mask_tokens.weight (3, 256) for (4, 256)"),
        (lambda s: s | {"image_encoder.neck.3.bias": torch.full((256,), torch.nan)}, "image_encoder.neck.3.bias holds NaN"),
        (lambda s: s | {"image_encoder.neck.3.bias": torch.ones(256).to_sparse()}, "neck.3.bias is sparse_coo): save it again"),
        (lambda s: s | {"image_encoder.neck.3.bias": torch.ones(256, dtype=torch.int64)}, "neck.3.bias is int64): save it again"),
        (lambda s: s | {"image_encoder.neck.3.bias": torch.ones(256, dtype=torch.complex64)}, "neck.3.bias is complex64)"),
        (lambda s: {"image_encoder.pos_embed": torch.ones(1, 64, 64, 384)}, "no checkpoint of SAM or MobileSAM"),
        (lambda s: {"state_dict": Code()}, "a pickle that would run posix.mkdir"),
        (lambda s: [1, 2], "no weights"),
    ],
    ids=[
        "another network",
        "a part less",
        "a name more",
        "another shape",
        "NaN",
        "sparse",
        "whole",
        "complex",
        "another width",
        "code",
        "a list",
    ],
)
def test_what_is_no_checkpoint_of_the_family_is_refused(tmp_path, monkeypatch, mobile, change, message):
    monkeypatch.chdir(tmp_path)
    torch.save(change(mobile.state_dict()), tmp_path / "c.pt")
    result = run("c.pt", "--out", "part")
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_a_damaged_or_missing_checkpoint_is_refused(tmp_path, checkpoint):
    whole = checkpoint.read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.pt").write_bytes(whole[:5_000_000] + bytes([whole[5_000_000] ^ 1]) + whole[5_000_001:])
    (tmp_path / "none.pt").write_bytes(b"")
    os.truncate(tmp_path / "none.pt", 0)
    with (tmp_path / "huge.pt").open("wb") as file:
        file.truncate(2_564_550_879)  # as large as that of SAM's vit_h
    os.mkfifo(tmp_path / "pipe.pt")
    for name, message in (
        ("cut", "damaged"),
        ("flipped", "checksum"),
        ("none", "none.pt"),
        ("huge", "take a checkpoint of vit_l, vit_b or mobile"),
        ("pipe", "no plain file"),
        ("missing", "No such file"),
    ):
        result = run(tmp_path / f"{name}.pt", "--out", tmp_path / "part")
        assert result.exit_code == 1, name
        assert message in " ".join(result.output.split()), name
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kind", "vit_h", "--out", "pair.onnx"), "one ONNX file can hold 2.1 GB: take vit_l, vit_b or mobile"),
        (("--kind", "vit_b", "--out", "part"), "convert MobileSAM for a bundle, or name --out NAME.onnx"),
        (("--kind", "vit_l", "--out", "pair.onnx"), "it is of the kind mobile, not vit_l: take --kind mobile"),
        (("--side", "500", "--out", "part"), "no multiple of 16 from 256 to 1024"),
        (("--kind", "vit_b", "--side", "512", "--out", "pair.onnx"), "has learnt positions for 1024 px alone"),
        (("--out", "full"), "exists and is no part of a bundle"),
        (("--out", "nowhere/pair.onnx"), "name one in a folder that exists"),
    ],
    ids=["beyond ONNX", "beyond a bundle", "another kind", "an odd side", "a side of its own", "a full folder", "no folder"],
)
def test_what_cannot_be_is_told_before_anything_is_computed(tmp_path, monkeypatch, checkpoint, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    result = run(checkpoint, *arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "letter.txt"]


def test_the_pair_alone_is_two_files(tmp_path, monkeypatch, checkpoint, part):
    made = Pair(part.content[part.role.model], part.content[part.role.decoder], {"embedding": 1e-6})
    monkeypatch.setattr(conversion, "sam_pair", lambda network, told: made)  # takes its time, and was made once already
    result = run(checkpoint, "--out", tmp_path / "pair.onnx", "--side", SIDE)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pair.decoder.onnx", "pair.encoder.onnx"]
    assert json.loads(result.stdout)["parity"] == {"embedding": 1e-6}
    files = PointFiles("pair", *((tmp_path / f"pair.{name}.onnx").read_bytes() for name in ("encoder", "decoder")))
    PointsRefiner(files, threads=1).close()
