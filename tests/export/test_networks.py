import pytest

torch = pytest.importorskip("torch")

from export.networks.live import MARKS, STRIDE, LiveNet, parameter_count  # noqa: E402

pytestmark = pytest.mark.export


def test_the_live_network_is_thin_and_speaks_at_full_size():
    network = LiveNet().eval()
    assert 100_000 <= parameter_count(network) <= 400_000
    with torch.no_grad():
        found = network(torch.zeros(2, 3, 3 * STRIDE, 2 * STRIDE))
    assert found.hair.shape == (2, 1, 3 * STRIDE, 2 * STRIDE)
    assert found.marks.shape == (2, MARKS, 3 * STRIDE // 2, STRIDE)
    assert found.features.ndim == 2
    assert len(found.features) == 2


def test_a_pixel_of_the_picture_moves_the_logits_where_it_is():
    # sub-pixel logits must land on their own pixels: a shifted picture shifts the answer with it
    torch.manual_seed(0)
    network = LiveNet().eval()
    picture = torch.rand(1, 3, 128, 128) * 255
    changed = picture.clone()
    changed[:, :, 40:42, 80:82] = 255 - changed[:, :, 40:42, 80:82]
    with torch.no_grad():
        moved = (network(changed).hair - network(picture).hair).abs()[0, 0]
    row, column = divmod(int(moved.argmax()), moved.shape[1])
    assert abs(row - 40) <= 4
    assert abs(column - 80) <= 4
