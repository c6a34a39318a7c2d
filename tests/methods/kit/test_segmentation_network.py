"""IIC's segmentation network against the published sizes and parameter counts."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.segmentation_network import (
    PUBLISHED_WIDTHS,
    SegmentationNetwork,
    SegmentationNetworkSettings,
    SegmentationTrunk,
    build_network,
    probability_maps,
)
from clusterbench.methods.kit.segmentation_views import SegmentationView, SegmentationViewSettings

PUBLISHED = SegmentationNetworkSettings(widths=PUBLISHED_WIDTHS)
SMALL = SegmentationNetworkSettings(widths=(2, 3, 4, 5, 6, 7))


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("channels", "count"), [(5, 4_503_744), (4, 4_503_168)])
def test_trunk_has_the_published_number_of_parameters(channels: int, count: int) -> None:
    assert parameters(SegmentationTrunk(channels, PUBLISHED)) == count


def test_two_heads_add_one_matrix_each() -> None:
    network = SegmentationNetwork(5, {"main": (3, 2), "auxiliary": (15, 2)}, PUBLISHED)
    assert parameters(network) == 4_503_744 + 2 * 512 * (3 + 15)


@pytest.mark.parametrize("settings", [PUBLISHED, SMALL], ids=["published", "small"])
@pytest.mark.parametrize(
    ("size", "layers", "head"), [(128, [128, 128, 64, 64, 62, 60], 62), (200, [200, 200, 100, 100, 98, 96], 98)]
)
def test_maps_have_the_published_sizes(settings: SegmentationNetworkSettings, size: int, layers: list[int], head: int) -> None:
    network = SegmentationNetwork(5, {"main": (3, 1)}, settings).to("meta")
    sides, heads = [], []
    for layer in network.trunk:
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda layer, given, found: sides.append(found.shape[-1]))
    network.heads["main"].register_forward_hook(lambda layer, given, found: heads.append(found.shape))
    found = network(torch.empty(2, 5, size, size, device="meta"), "main")
    assert sides == layers and heads == [(1, 2, 3, head, head)] and found.shape == (1, 2, 3, size, size)


def test_a_pixel_sees_thirty_by_thirty() -> None:
    network = SegmentationTrunk(1, SMALL).double().eval()
    image = torch.rand(1, 1, 90, 90, dtype=torch.float64, requires_grad=True)
    for layer in network:  # without ReLU and with a mean for the maximum, every path from the input counts
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.abs_()
    linear = torch.nn.Sequential(
        *(
            torch.nn.AvgPool2d(2) if isinstance(layer, torch.nn.MaxPool2d) else layer
            for layer in network
            if not isinstance(layer, torch.nn.ReLU)
        )
    )
    linear(image)[0, :, 20, 20].sum().backward()
    assert image.grad is not None
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (30, 30)


def test_published_padding_leaves_a_ring_of_undecided_pixels_and_the_corrected_head_does_not() -> None:
    features = torch.rand(2, 7, 9, 9)
    for padding, ring in ((1, True), (0, False)):
        network = SegmentationNetwork(3, {"main": (4, 1)}, SMALL.model_copy(update={"head_padding": padding}))
        maps = network.heads["main"](features)
        rim = torch.cat([maps[..., 0, :], maps[..., -1, :], maps[..., 0], maps[..., -1]], dim=-1)
        assert torch.equal(rim, torch.full_like(rim, 0.25)) is ring
        assert not (maps[..., 1:-1, 1:-1] == 0.25).all()


def test_corrected_paddings_keep_half_the_size() -> None:
    settings = SMALL.model_copy(update={"head_padding": 0, "dilation_padding": 2})
    network = SegmentationNetwork(3, {"main": (4, 1)}, settings)
    assert network.heads["main"](network.trunk(torch.rand(1, 3, 32, 48))).shape == (1, 1, 4, 16, 24)


def test_probabilities_are_enlarged_after_the_softmax() -> None:
    network = SegmentationNetwork(3, {"main": (4, 2), "auxiliary": (6, 2)}, SMALL).eval()
    images = torch.rand(2, 3, 24, 20)
    features = network.trunk(images)
    for head in range(2):
        weight = network.heads["auxiliary"].convolution.weight[head * 6 : (head + 1) * 6]
        chances = functional.conv2d(features, weight, padding=1).softmax(1)
        wanted = functional.interpolate(chances, (24, 20), mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(images, "auxiliary")[head], wanted)


def test_weights_follow_from_the_seed_and_have_the_authors_scale() -> None:
    first, again, other = (
        build_network(5, (32, 32), {"main": (3, 1)}, PUBLISHED, seed).state_dict()["trunk.13.weight"] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.std().item() == pytest.approx((2 / (first.shape[1] * 9)) ** 0.5, rel=0.01)


def test_images_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(MethodError, match="11x40 pixels are too small: the network needs at least 12"):
        build_network(3, (11, 40), {"main": (3, 1)}, SMALL, 0)
    network = build_network(3, (12, 12), {"main": (3, 1)}, SMALL, 0)
    assert network(torch.rand(1, 3, 12, 12), "main").shape == (1, 1, 3, 12, 12)


def test_maps_come_in_batches_in_the_order_of_the_images() -> None:
    images = Images(torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8))
    view = SegmentationView(SegmentationViewSettings(), (3, 16, 16), (16, 16))
    network = build_network(3, (16, 16), {"main": (3, 1)}, SMALL, 0)
    parts = list(probability_maps(network, view, images, 2))
    assert [part.shape[1] for part in parts] == [2, 2, 1]
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(parts, dim=1), network.eval()(images.pixels / 255, "main"))
