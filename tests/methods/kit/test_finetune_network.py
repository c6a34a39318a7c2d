"""The fine-tuning network against the facts of the authors' `SupHead5`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.finetune_network import Classifier, ThirdStage, feature_count, feature_layer
from clusterbench.methods.kit.networks import ResNetTrunk, build_trunk


def resnet(size: int) -> ResNetTrunk:
    trunk = build_trunk("resnet", 2, size)
    assert isinstance(trunk, ResNetTrunk)
    return trunk


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "features"), [(64, 20_736), (32, 6_400), (96, 43_264)])
def test_the_third_stage_has_the_published_number_of_features(size: int, features: int) -> None:
    stage = ThirdStage(resnet(size))
    assert stage.eval()(torch.rand(2, 2, size, size)).shape == (2, features)
    assert feature_count(stage, 2, size) == features
    assert feature_count(resnet(size), 2, size) == 512


def test_the_published_network_has_the_parameters_of_its_layers() -> None:
    trunk = resnet(64)
    network = Classifier(feature_layer(trunk, "third-stage"), 20_736, 10, 2048)
    convolution, norm = 512 * 512 * 9, 2 * 512
    layer4 = (256 * 512 * 9 + convolution + 256 * 512 + 3 * norm) + 2 * (2 * convolution + 2 * norm)
    head = (20_736 * 2048 + 2048) + 2 * 2048 + (2048 * 10 + 10)
    assert parameters(trunk) == 21_276_416  # the authors' trunk for two input channels
    assert parameters(network) == 21_276_416 - layer4 + head
    assert [type(layer) for layer in network.head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]


def test_the_classifiers_layers_begin_as_the_authors_do() -> None:
    torch.manual_seed(0)
    first, _, _, last = Classifier(nn.Identity(), 3000, 10, 2048).head
    for layer in (first, last):
        assert isinstance(layer, nn.Linear)
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02) and not layer.bias.any()


def test_the_texts_classifier_is_one_linear_layer_on_all_of_the_trunk() -> None:
    network = Classifier(feature_layer(resnet(32), "trunk"), 512, 10, 0)
    assert parameters(network.head) == 512 * 10 + 10
    assert network.eval()(torch.rand(3, 2, 32, 32)).shape == (3, 10)


def test_only_a_resnet_has_a_third_stage() -> None:
    with pytest.raises(MethodError, match="features=third-stage is for the resnet trunk"):
        feature_layer(build_trunk("small", 1, 16, widths=(4, 8)), "third-stage")


def test_a_frozen_trunk_keeps_weights_and_statistics() -> None:
    trunk = build_trunk("small", 1, 8, widths=(4, 4))
    network = Classifier(trunk, trunk.features, 3, 5, frozen=True).train()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    network(torch.rand(6, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is None for parameter in trunk.parameters())
    assert all(parameter.grad is not None for parameter in network.head.parameters())
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    assert network.head.training and not trunk.training
