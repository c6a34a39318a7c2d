"""The residual networks against torchvision's, and the map sizes and parameters that SCAN and IMC-SwAV name."""

import pytest
import torch
from torchvision.models import resnet18, resnet50

from clusterbench.methods.kit.resnets import ResNet


@pytest.mark.parametrize(("name", "reference"), [("resnet18", resnet18), ("resnet50", resnet50)])
def test_with_the_imagenet_stem_it_is_torchvisions_without_its_classifier(name: str, reference) -> None:
    torch.manual_seed(0)
    theirs = reference(weights=None).eval()
    ours = ResNet(name, 3, "imagenet").eval()
    weights = {key: tensor for key, tensor in theirs.state_dict().items() if not key.startswith("fc.")}
    ours.load_state_dict(weights)
    theirs.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)
    assert ours.features == ours(images).shape[1]


@pytest.mark.parametrize(
    ("stem", "size", "sides"),
    [("cifar", 32, [32, 16, 8, 4]), ("stl", 96, [49, 25, 13, 7]), ("stl-unpadded", 96, [48, 24, 12, 6])],
)
def test_the_stems_give_the_maps_that_the_papers_networks_have(stem: str, size: int, sides: list[int]) -> None:
    network, seen = ResNet("resnet18", 1, stem).eval(), []
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        layer.register_forward_hook(lambda module, given, maps: seen.append(maps.shape[-1]))
    with torch.no_grad():
        assert network(torch.zeros(1, 1, size, size)).shape == (1, 512)
    assert seen == sides


def test_its_size_is_that_of_a_resnet_18_with_a_small_stem() -> None:
    blocks = 11_689_512 - 513_000 - 64 * 3 * 49  # torchvision's, without classifier and first convolution
    assert sum(each.numel() for each in ResNet("resnet18", 3).parameters()) == blocks + 64 * 3 * 9


def test_convolutions_start_kaiming_normal_by_fan_out_and_batch_norms_at_one() -> None:
    torch.manual_seed(0)
    network = ResNet("resnet18", 3)
    for conv in (network.conv1, network.layer3[1].conv2):
        fan_out = conv.out_channels * 9
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert all(block.bn2.weight.eq(1).all() and block.bn2.bias.eq(0).all() for block in network.layer4)
