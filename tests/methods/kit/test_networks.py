"""Layer sizes and parameter counts of the authors' networks (reference: the released code), and what the kit adds."""

import math

import pytest
import torch

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.networks import ClusterNetwork, SubHeads, build_trunk, initialise


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_resnet_trunk_has_the_published_number_of_parameters() -> None:
    trunk = build_trunk("resnet", 2, 64)
    assert parameters(trunk) == 21_276_416
    assert parameters(ClusterNetwork(trunk, {"main": (10, 5), "auxiliary": (70, 5)})) == 21_481_616


def test_vgg_trunk_has_the_published_number_of_parameters() -> None:
    grey, colour = build_trunk("vgg", 1, 24), build_trunk("vgg", 5, 24)
    assert (parameters(grey), parameters(colour)) == (4_304_320, 4_310_720)
    assert parameters(ClusterNetwork(grey, {"main": (10, 5), "auxiliary": (50, 5)})) == 5_687_020


@pytest.mark.parametrize(
    ("size", "sides"), [(32, (32, 17, 17, 9, 5, 3)), (64, (64, 33, 33, 17, 9, 5)), (96, (96, 49, 49, 25, 13, 7))]
)
def test_resnet_trunk_has_the_published_map_sizes(size: int, sides: tuple[int, ...]) -> None:
    trunk = build_trunk("resnet", 2, size).eval()
    seen = []
    for stage in (trunk.stem[0], trunk.stem, trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        stage.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    with torch.inference_mode():
        assert trunk(torch.rand(1, 2, size, size)).shape == (1, 512)
    assert tuple(seen) == sides


@pytest.mark.parametrize(("size", "features"), [(24, 4608), (64, 32_768)])
def test_vgg_trunk_flattens_to_the_published_features(size: int, features: int) -> None:
    trunk = build_trunk("vgg", 1, size).eval()
    assert trunk.features == features
    with torch.inference_mode():
        assert trunk(torch.rand(2, 1, size, size)).shape == (2, features)


@pytest.mark.parametrize("name", ["small", "vgg", "resnet"])
def test_initial_weights_have_the_published_spread(name: str) -> None:
    torch.manual_seed(0)
    trunk = build_trunk(name, 2, 32)
    for layer in trunk.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.weight.numel() > 4000:
            fan = layer.weight[0].numel() if name != "resnet" else layer.weight[:, 0].numel()
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.05)


def test_sub_heads_equal_separate_linear_layers() -> None:
    torch.manual_seed(1)
    heads, features = SubHeads(12, 4, 3), torch.rand(5, 12)
    weight, bias = heads.linear.weight.view(3, 4, 12), heads.linear.bias.view(3, 4)
    separate = torch.stack([torch.nn.functional.linear(features, weight[h], bias[h]) for h in range(3)])
    torch.testing.assert_close(heads(features), separate)


def test_initial_heads_are_nearly_uniform() -> None:
    torch.manual_seed(2)
    network = ClusterNetwork(build_trunk("small", 1, 24), {"main": (10, 5)})
    initialise(network.heads)
    probabilities = network(torch.rand(8, 1, 24, 24), "main")
    assert probabilities.shape == (5, 8, 10)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(5, 8))
    assert (probabilities - 0.1).abs().max() < 0.1


def test_batch_statistics_make_a_prediction_depend_on_its_batch_and_running_ones_do_not() -> None:
    torch.manual_seed(3)
    images = torch.rand(6, 1, 24, 24)
    with torch.inference_mode():
        for statistics, depends in (("batch", True), ("running", False)):
            trunk = build_trunk("small", 1, 24, statistics=statistics).eval()
            assert torch.allclose(trunk(images)[:3], trunk(images[:3]), atol=1e-5) is not depends


def test_impossible_sizes_are_refused_with_a_way_out() -> None:
    with pytest.raises(MethodError, match="32, 64 or 96"):
        build_trunk("resnet", 2, 48)
    with pytest.raises(MethodError, match="too small"):
        build_trunk("small", 1, 4)
