"""The clustering and the self-labelling stage of SCAN: what they draw, what they move, and what they leave alone."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.arithmetic import Arithmetic, OptimiserSettings, whole_batches
from clusterbench.methods.kit.networks import build_trunk
from clusterbench.methods.kit.scan_stages import (
    ScanNetwork,
    SelfLabelSettings,
    SelfLabelStage,
    SemanticSettings,
    SemanticStage,
    WrittenBackAverage,
)


def images(count: int = 30) -> Images:
    return Images(torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))


def network(heads: int = 1) -> ScanNetwork:
    torch.manual_seed(0)
    return ScanNetwork(build_trunk("small", 1, 4, widths=(6, 8)), 3, heads)


def as_float(batch: torch.Tensor) -> torch.Tensor:
    return batch.float() / 255 - 0.5


def noisy(batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    return as_float(batch) + 0.1 * torch.randn(batch.shape, generator=random)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def ignore(done: int, total: int, seen: int) -> None: ...


def test_every_image_meets_one_of_its_neighbours_or_itself_evenly_drawn() -> None:
    given, met = images(), []
    given.pixels[:, 0, 0, 0] = torch.arange(30)
    indices = torch.arange(5, 25)  # a role within the images
    neighbours = torch.stack([torch.arange(20), (torch.arange(20) + 1) % 20, (torch.arange(20) + 7) % 20], dim=1)

    def watched(batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        met.append(batch[:, 0, 0, 0].long().view(2, -1))
        return noisy(batch, random)

    stage = SemanticStage(SemanticSettings(batch=10), network(), watched, Arithmetic("cpu"))
    for epoch in range(60):
        stage.train_epoch(given, indices, neighbours, torch.Generator().manual_seed(epoch), ignore)
    anchors, partners = torch.cat(met, dim=1)
    assert torch.equal(anchors.view(60, 20).sort().values, indices.expand(60, 20)), "each image once an epoch"
    steps = (partners - anchors) % 20
    counts = np.array([(steps == step).sum().item() for step in (0, 1, 7)])
    assert counts.sum() == 1200 and (np.abs(counts - 400) < 4 * np.sqrt(1200 * 2 / 9)).all()


def test_the_reported_losses_are_those_of_the_steps_before_they_move_the_network() -> None:
    given, net = images(20), network(heads=2)
    before = copy.deepcopy(net).train()
    stage = SemanticStage(
        SemanticSettings(batch=20, entropy_weight=2.0), net, lambda batch, _: as_float(batch), Arithmetic("cpu")
    )
    self_only = torch.arange(20).unsqueeze(1)
    loss, seen = stage.train_epoch(given, torch.arange(20), self_only, seeded(), ignore)
    p = before(as_float(given.pixels)).softmax(-1)
    consistency, share = -(p * p).sum(-1).log().mean(-1), p.mean(1)
    entropy = -(share * share.log()).sum(-1)
    assert torch.allclose(loss.consistency, consistency, atol=1e-5) and torch.allclose(loss.entropy, entropy, atol=1e-5)
    assert torch.allclose(loss.total, consistency - 2 * entropy, atol=1e-5) and seen == 40


def test_a_frozen_network_trains_its_heads_and_nothing_else() -> None:
    given, net = images(), network(heads=3)
    before = copy.deepcopy(net)
    settings = SemanticSettings(batch=10, frozen=True, optimiser=OptimiserSettings(name="sgd", lr=1.0))
    stage = SemanticStage(settings, net, noisy, Arithmetic("cpu"))
    stage.train_epoch(given, torch.arange(30), torch.arange(30).unsqueeze(1), seeded(), ignore)
    assert same(before.trunk, net.trunk), "weights and the running averages of batch norm"
    moved = (before.heads.linear.weight != net.heads.linear.weight).view(3, 3, -1).any(-1)
    assert moved.all(), "every head learns"


def test_the_heads_of_one_network_learn_as_if_each_were_alone() -> None:
    given, both = images(), network(heads=2)
    alone = [both.with_head(head) for head in range(2)]
    settings = SemanticSettings(batch=10, frozen=True, optimiser=OptimiserSettings(name="sgd", lr=1.0))
    for net in (both, *alone):
        stage = SemanticStage(settings, net, noisy, Arithmetic("cpu"))
        stage.train_epoch(given, torch.arange(30), torch.arange(30).unsqueeze(1), seeded(), ignore)
    assert torch.allclose(both.heads.linear.weight, torch.cat([net.heads.linear.weight for net in alone]), atol=1e-6)


def test_a_chosen_head_gives_what_it_gave_among_the_others() -> None:
    net, views = network(heads=3).eval(), as_float(images().pixels)
    assert torch.allclose(net.with_head(2)(views)[0], net(views)[2], atol=1e-6)


def self_labelling(net: ScanNetwork, **settings) -> SelfLabelStage:
    how = SelfLabelSettings(**{"batch": 15, "threshold": 0.5, **settings})
    return SelfLabelStage(how, net, as_float, noisy, Arithmetic("cpu"))


def test_without_a_sure_image_the_weights_stay_where_they_are() -> None:
    net = network()
    before = copy.deepcopy(net)
    loss, confident, seen = self_labelling(net, threshold=0.9999).train_epoch(images(), torch.arange(30), seeded(), ignore)
    assert (loss, confident, seen) == (0.0, 0.0, 60)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), net.parameters(), strict=True))


def test_labels_are_taken_in_training_mode_and_move_the_running_averages() -> None:
    net, given = network(), images(15)
    literal = copy.deepcopy(net).train()
    loss, confident, _ = self_labelling(net, threshold=0.35, balanced=False).train_epoch(
        given, torch.arange(15), seeded(), ignore
    )
    random = seeded()
    batch = given.pixels[torch.randperm(15, generator=random)]
    with torch.no_grad():
        weak = literal(as_float(batch))[0].softmax(-1)
    surest, label = weak.max(-1)
    strong = literal(noisy(batch, random))[0]
    sure = surest > 0.35
    assert 0 < sure.sum() < 15 or sure.all()
    assert confident == pytest.approx(sure.float().mean().item())
    assert loss == pytest.approx(functional.cross_entropy(strong[sure], label[sure]).item(), rel=1e-4)
    buffers = zip(net.buffers(), literal.buffers(), strict=True)
    assert all(torch.allclose(a, b) for a, b in buffers), "two forward passes, weak and strong"


def test_a_written_back_average_takes_a_share_of_the_step_and_restores_the_buffers() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    shadow = {name: tensor.clone() for name, tensor in net.state_dict().items()}  # the authors' code, in their words
    names = [name for name, _ in net.named_parameters()]
    average = WrittenBackAverage(net, 0.9)
    for _ in range(3):
        net(torch.randn(8, 3))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        for name in names:
            shadow[name].mul_(0.9).add_(net.state_dict()[name], alpha=0.1)
        average.write_back()
        found = net.state_dict()
        assert all(torch.allclose(found[name], tensor, atol=1e-6) for name, tensor in shadow.items())


def test_the_third_stage_on_imagenet_moves_by_a_thousandth_and_leaves_batch_norm_alone() -> None:
    net = network()
    before = copy.deepcopy(net)
    plain = copy.deepcopy(net)
    sgd = OptimiserSettings(name="sgd", lr=0.03, weight_decay=0.0)
    for each, averaging in ((net, 0.999), (plain, None)):
        stage = self_labelling(each, threshold=0.0, averaging=averaging, optimiser=sgd, batch=30)
        stage.train_epoch(images(), torch.arange(30), seeded(), ignore)
    assert all(torch.equal(a, b) for a, b in zip(before.buffers(), net.buffers(), strict=True))
    at, averaged, whole = (each.heads.linear.weight for each in (before, net, plain))
    assert torch.allclose(averaged - at, (whole - at) / 1000, atol=1e-7) and not torch.equal(whole, at)


def test_whole_batches_leave_out_a_short_last_one_unless_it_is_the_only_one() -> None:
    assert [len(batch) for batch in whole_batches(torch.arange(25), 10)] == [10, 10]
    assert [len(batch) for batch in whole_batches(torch.arange(20), 10)] == [10, 10]
    assert [len(batch) for batch in whole_batches(torch.arange(7), 10)] == [7]
    with pytest.raises(MethodError, match="at least two images, got 1"):
        whole_batches(torch.arange(1), 10)
