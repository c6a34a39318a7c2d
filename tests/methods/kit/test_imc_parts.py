"""The network, the views, the bank and the batch-norm averages of IMC-SwAV, each against torch or the published layout."""

import pytest
import torch
from torch import nn
from torchvision.transforms import functional

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.batch_statistics import other_statistics, running_statistics, set_running_statistics, warm_up
from clusterbench.methods.kit.imc_bank import FeatureBank, positions_in_batches
from clusterbench.methods.kit.imc_network import IMCNetwork, PooledTrunk, build_imc_trunk
from clusterbench.methods.kit.imc_views import IMCViews, IMCViewSettings
from clusterbench.methods.kit.randomness import generator


def network(clusters: int = 3) -> IMCNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return IMCNetwork(PooledTrunk(1, 8, (4, 6)), clusters, prototypes=5, projection=4, hidden=8)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_heads_have_the_published_layers() -> None:
    trunk = build_imc_trunk("resnet18", 3, 18, stem="cifar", widths=(1,))
    model = IMCNetwork(trunk, 10, prototypes=1000, projection=128, hidden=1024)
    assert [tuple(layer.weight.shape) for layer in model.projection] == [(512, 512), (128, 512)], "linear, nothing between"
    assert model.prototypes.weight.shape == (1000, 128) and model.prototypes.bias is None
    kinds = [type(layer).__name__ for layer in model.classifier]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert [layer.out_features for layer in model.classifier if isinstance(layer, nn.Linear)] == [1024, 1024, 10]


def test_similarities_are_cosines_to_the_normalised_prototypes() -> None:
    model, features = network(), noise(6, 6)
    model.normalise_prototypes()
    first, second = model.projection
    projected = features @ first.weight.T + first.bias
    projected = projected @ second.weight.T + second.bias
    expected = torch.cosine_similarity(projected[:, None], model.prototypes.weight[None], dim=-1)
    torch.testing.assert_close(model.similarities(features), expected)


def test_no_gradient_of_the_classifier_reaches_the_trunk() -> None:
    model = network().train()
    model(noise(4, 1, 8, 8)).sum().backward()
    moved = {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == {"classifier"}


def test_every_view_has_its_own_batch_statistics_unless_crops_go_together() -> None:
    model = network().train()
    views = [noise(4, 1, 8, 8), noise(4, 1, 8, 8, seed=1) * 3, noise(4, 1, 6, 6, seed=2)]
    features, similarities = model.views(views)
    assert features.shape == (3, 4, 6) and similarities.shape == (3, 4, 5)
    for view, found in zip(views, features, strict=True):
        torch.testing.assert_close(found, model.trunk(view))
    joint = model.views(views, together=True)[0]
    torch.testing.assert_close(joint[:2].flatten(0, 1), model.trunk(torch.cat(views[:2])))
    assert not torch.allclose(joint[:2], features[:2])
    torch.testing.assert_close(joint[2], features[2])


def test_a_network_that_pools_a_crop_away_is_refused() -> None:
    with pytest.raises(MethodError, match="too small"):
        build_imc_trunk("small", 1, 4, stem="cifar", widths=(4, 4, 4, 4))


def test_views_come_in_number_and_size_with_the_large_ones_first() -> None:
    views = IMCViews(IMCViewSettings(large_size=7, small_size=5, test_size=9), (3, 8, 8))
    batch = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert [tuple(crop.shape) for crop in views.crops(batch, generator("cpu", 0))] == [(4, 3, 7, 7)] * 2 + [(4, 3, 5, 5)] * 4
    assert views.test(batch).shape == (4, 3, 9, 9) and views.smallest == 5


def test_whole_images_are_resized_as_torchvision_does_and_left_alone_without_a_size() -> None:
    batch = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    settings = IMCViewSettings(test_size=13, mean=(0.5,), std=(0.25,))
    expected = functional.resize(batch / 255, [13, 13], antialias=True)
    torch.testing.assert_close(IMCViews(settings, (1, 8, 8)).test(batch), (expected - 0.5) / 0.25, rtol=1e-4, atol=1e-4)
    plain = IMCViews(IMCViewSettings(mean=(0.5,), std=(0.25,)), (1, 8, 8))
    torch.testing.assert_close(plain.test(batch), (batch / 255 - 0.5) / 0.25)


def test_turned_images_stay_within_the_given_angles() -> None:
    rows = torch.zeros(1, 1, 31, 31, dtype=torch.uint8)
    rows[:, :, 15] = 255  # a horizontal line through the centre
    views = IMCViews(IMCViewSettings(rotation=20, shear=0), (1, 31, 31))
    turned = views._turned(rows.repeat(64, 1, 1, 1), generator("cpu", 0))
    height = (turned[:, 0, :, 28].argmax(1) - turned[:, 0, :, 2].argmax(1)).float()
    angles = torch.atan2(height, torch.tensor(26.0)).rad2deg()
    assert angles.abs().max() <= 22 and angles.std() > 8
    assert IMCViews(IMCViewSettings(), (1, 31, 31))._turned(rows, generator("cpu", 0)) is rows, "the authors turn nothing"


def test_a_single_view_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        IMCViewSettings(large_crops=1, small_crops=0)


def test_the_bank_keeps_only_members_and_gives_them_in_order() -> None:
    bank = FeatureBank()
    features = torch.arange(12.0).view(1, 12, 1).repeat(2, 1, 3).requires_grad_()
    bank.add(features[:, :4], features[:, :4, :2], torch.tensor([1, 3]))
    bank.add(features[:, 4:8], features[:, 4:8, :2], torch.tensor([], dtype=torch.int64))
    bank.add(features[:, 8:], features[:, 8:, :2], None)
    assert len(bank) == 6
    taken, similarities = bank.take()
    assert taken[0, :, 0].tolist() == [1, 3, 8, 9, 10, 11] and similarities.shape == (2, 6, 2)
    assert not taken.requires_grad and len(bank) == 0


def test_positions_name_the_members_of_each_batch() -> None:
    order = [torch.tensor([5, 0, 3]), torch.tensor([1, 2, 4])]
    positions = positions_in_batches(order, torch.tensor([0, 4, 5]), 6)
    assert [found.tolist() for found in positions] == [[0, 1], [2]]


def test_warm_up_moves_averages_as_training_does_and_nothing_else() -> None:
    model, batches = network(), [noise(5, 1, 8, 8, seed=seed) + 2 for seed in range(3)]
    weights = [parameter.clone() for parameter in model.parameters()]
    first = model.trunk[0]
    mean = torch.zeros(4)
    for batch in batches:
        mean = 0.9 * mean + 0.1 * first(batch).mean((0, 2, 3))
    assert warm_up(model, iter(batches)) == 15 and not model.training
    torch.testing.assert_close(running_statistics(model)["trunk.1.running_mean"], mean)
    assert all(torch.equal(*pair) for pair in zip(weights, model.parameters(), strict=True))


def test_other_statistics_are_there_for_a_while_only() -> None:
    model, other = network(), {"trunk.1.running_mean": torch.full((4,), 7.0)}
    before = running_statistics(model)

    def broken_off() -> None:
        with other_statistics(model, other):
            assert running_statistics(model)["trunk.1.running_mean"].tolist() == [7.0] * 4
            warm_up(model, [noise(5, 1, 8, 8)])
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        broken_off()
    after = running_statistics(model)
    assert all(torch.equal(before[name], after[name]) for name in before) and len(before) == 12
    with pytest.raises(KeyError):
        set_running_statistics(model, {"nowhere": torch.zeros(1)})
