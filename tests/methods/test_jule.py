"""JULE: its periods, its clusters and its learning on small images; and the presets against the authors' code."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.metrics.cluster import contingency_matrix

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.jule import JULE
from clusterbench.methods.kit.agglomeration import AgglomerationSettings, merged, merged_to
from clusterbench.methods.kit.jule_network import JuleNetwork, network_input
from clusterbench.methods.kit.neighbour_graph import chains, modularity, neighbour_graph

DATA = load_digits()
IMAGES = Images.of((DATA.images * 255 / 16).round().astype(np.uint8))
FEW = Images(IMAGES.pixels[:200])
TINY: dict[str, Any] = {"network_epochs": 2, "widths": (6,), "kernel": 3, "features": 8, "batch": 32, "lr": 0.1,
                        "merging": {"share": 0.3, "neighbours": 8}}  # fmt: skip


def accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    counts = contingency_matrix(truth, predicted)
    return counts[linear_sum_assignment(counts, maximize=True)].sum() / len(truth)


def through_disk(state: Any) -> Any:
    stored = io.BytesIO()
    torch.save(state, stored)
    return torch.load(io.BytesIO(stored.getvalue()), weights_only=True)


def pixels_of(images: Images) -> torch.Tensor:
    return torch.nn.functional.normalize(images.pixels.flatten(1).float(), dim=1)


def test_it_finds_digits_far_better_than_chance_in_seconds() -> None:
    method = JULE(10, **resolve("jule", "digits", "smoke").config).fit(IMAGES)
    assert accuracy(method.labels_, DATA.target) > 0.7


def test_clusters_merge_by_their_share_until_the_wanted_number_is_left() -> None:
    method = JULE(10, **TINY)
    first = int(chains(neighbour_graph(pixels_of(FEW), 1).nearest).max()) + 1
    wanted = [first]
    while wanted[-1] > 10:
        wanted.append(max(wanted[-1] - int(np.ceil(0.3 * wanted[-1])), 10))
    epochs = list(method.train(FEW))
    assert [epoch.losses["clusters"] for epoch in epochs] == wanted[1:] and len(epochs) >= 3
    assert [epoch.images for epoch in epochs] == [200 * 3] * len(epochs)
    assert list(method.train(FEW)) == [], "what is merged does not go on"


def test_how_many_periods_follow_is_told_once_the_first_clusters_are_known() -> None:
    method = JULE(10, **TINY)
    assert method.planned_epochs == 50
    told = [method.planned_epochs for _ in method.train(FEW)]
    assert told == [method.epochs_done] * len(told)
    assert len(list(JULE(10, **TINY, epochs=2).train(FEW))) == 2


def test_one_period_learns_even_if_the_first_clusters_are_few() -> None:
    method = JULE(150, **TINY)
    epochs = list(method.train(FEW))
    assert len(epochs) == 1 and epochs[0].losses["clusters"] < 150 and epochs[0].losses["triplet"] > 0


def test_what_is_reported_is_merged_anew_from_the_links_by_the_features_of_now() -> None:
    method, settings = JULE(10, **TINY), AgglomerationSettings(**TINY["merging"])
    labels = chains(neighbour_graph(pixels_of(FEW), 1).nearest)
    for epoch in method.train(FEW):
        method.network.eval()
        with torch.no_grad():
            features = torch.nn.functional.normalize(method.network(FEW.pixels.float() / 255), dim=1)
        graph = neighbour_graph(features, 8)
        labels = merged(graph, features.numpy(), labels, 10, settings)
        answer = merged_to(graph, features.numpy(), chains(graph.nearest), 10, settings)
        assert np.array_equal(method.labels, labels) and np.array_equal(method.predict(FEW), answer)
        assert epoch.criterion == pytest.approx(1 - modularity(graph, answer))


def test_a_step_is_that_of_torch_7s_solver_at_the_falling_rate() -> None:
    """Two steps by hand: the gradient of a step enters the memory at a tenth, but for the first one."""
    method = JULE(10, **{**TINY, "lr_gamma": 0.5, "weight_decay": 0.01})
    method.build(FEW.shape)
    labels, parameters = torch.arange(32) % 4, list(method.network.parameters())
    memory: list[torch.Tensor] = []
    method.network.train()
    for step in range(3):
        before = [parameter.detach().clone() for parameter in parameters]
        method._set_rate(step)
        method.train_step(FEW.pixels[:32], labels, torch.Generator().manual_seed(step))
        slopes = [p.grad + 0.01 * old for p, old in zip(parameters, before, strict=True) if p.grad is not None]
        memory = [0.9 * m + 0.1 * slope for m, slope in zip(memory, slopes, strict=True)] if step else slopes
        for parameter, old, m in zip(parameters, before, memory, strict=True):
            torch.testing.assert_close(parameter.detach(), old - 0.1 * (1 + 0.5 * step) ** -0.75 * m)


def test_the_rate_falls_over_the_steps_of_all_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    method, steps = JULE(10, **TINY, epochs=2), []
    monkeypatch.setattr(method, "_set_rate", steps.append)
    list(method.train(FEW))
    assert steps == [*range(2 * 2 * 7)]


def test_learning_makes_the_loss_of_the_same_clusters_fall() -> None:
    method = JULE(10, **{**TINY, "optimiser": "adam", "lr": 3e-3, "lr_gamma": 0.0})
    method.build(FEW.shape)
    method.labels = chains(neighbour_graph(pixels_of(FEW), 1).nearest)
    losses = [method._learn(FEW, torch.arange(200), number) for number in range(1, 6)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("order", ["uniform", "grouped"])
def test_an_interrupted_run_ends_as_an_undisturbed_one_to_the_last_bit(order: str) -> None:
    settings = {**TINY, "order": order, "sample": 150}
    whole, broken, onward = (JULE(10, **settings) for _ in range(3))
    epochs = list(whole.train(FEW))
    training = broken.train(FEW)
    before = [next(training), next(training)]
    onward.load_state_dict(through_disk(broken.state_dict()))
    assert np.array_equal(onward.predict(FEW), broken.predict(FEW))
    assert before + list(onward.train(FEW)) == epochs and len(epochs) > 2
    one, other = whole.state_dict(), onward.state_dict()
    for name in ("labels", "answer", "features"):
        assert torch.equal(one[name], other[name])
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert np.array_equal(whole.predict(IMAGES), onward.predict(IMAGES))


def test_clustered_images_keep_their_cluster_and_others_take_that_of_the_nearest_one() -> None:
    method = JULE(10, **TINY).fit(FEW)
    assert np.array_equal(method.predict(Images(FEW.pixels.clone())), method.labels_)
    others = Images(IMAGES.pixels[300:340])
    with torch.no_grad():
        seen, asked = (
            torch.nn.functional.normalize(method.network(images.pixels.float() / 255), dim=1) for images in (FEW, others)
        )
    assert np.array_equal(method.predict(others), method.labels_[torch.cdist(asked, seen).argmin(1).numpy()])


def test_of_a_sample_the_others_take_the_nearest_cluster() -> None:
    method = JULE(10, **TINY, sample=90)
    epochs = list(method.train(FEW))
    places = method._places(FEW)
    assert len(set(places.tolist())) == 90 == len(method.answer) and epochs[0].images == 90 * 3
    assert places.max() > 120 and torch.equal(places, JULE(10, **TINY, sample=90)._places(FEW))
    predicted = method.predict(FEW)
    assert np.array_equal(predicted[places.numpy()], method.answer) and predicted.shape == (200,)
    assert torch.equal(JULE(10, sample=5000)._places(FEW), torch.arange(200)), "a sample of more than all is all"


def test_only_the_main_images_are_clustered() -> None:
    roles = {"main": torch.arange(0, 200, 2)}
    method = JULE(10, **TINY)
    assert next(method.train(Images(FEW.pixels, roles))).images == 100 * 3 and len(method.answer) == 100


def test_progress_is_told_over_the_epochs_of_a_period() -> None:
    method, told = JULE(10, **TINY, epochs=1), []
    method.on_step = lambda done, total, images: told.append((done, total, images))
    list(method.train(FEW))
    assert told[0] == (1, 14, 32) and told[6] == (7, 14, 200) and told[-1] == (14, 14, 400)


def test_settings_and_images_that_cannot_work_are_refused() -> None:
    with pytest.raises(MethodError, match="jule needs at least as many images as clusters, got 3 for 10"):
        JULE(10, **TINY).fit(FEW.pixels[:3])
    with pytest.raises(MethodError, match="sample=5 images cannot make 10 clusters"):
        JULE(10, sample=5, widths=(4,), kernel=3).fit(FEW)
    with pytest.raises(MethodError, match="unknown setting 'merging.neighbors'. Did you mean 'merging.neighbours'?"):
        JULE(10, merging={"neighbors": 3})
    with pytest.raises(MethodError, match="Images of 8x8 are too small for these blocks; set size larger"):
        JULE(10, widths=(4, 4)).fit(FEW)


def test_a_loss_that_is_not_finite_is_told_before_anything_merges() -> None:
    with pytest.raises(Diverged, match="jule: the loss is not finite in epoch 1"):
        JULE(10, **{**TINY, "lr": 1e30, "lr_gamma": 0.0}).fit(FEW)


def test_bfloat16_layers_give_nearly_the_same_features() -> None:
    method = JULE(10, **TINY, precision="bfloat16", epochs=1).fit(FEW)
    half = method.learned.clone()
    method.arithmetic = type(method.arithmetic)("cpu", "float32")
    torch.testing.assert_close(half, method._all_features(FEW, torch.arange(200)), atol=0.03, rtol=0)
    assert half.dtype == torch.float32 and half.norm(dim=1).sub(1).abs().max() < 1e-5


def test_images_are_resized_only_if_asked() -> None:
    assert torch.equal(network_input(FEW.pixels, None), FEW.pixels.float() / 255)
    assert torch.equal(network_input(FEW.pixels, 8), FEW.pixels.float() / 255)
    smaller = network_input(FEW.pixels, 4)
    assert smaller.shape == (200, 1, 4, 4) and (smaller.mean() - FEW.pixels.float().mean() / 255).abs() < 0.02
    assert JULE(10, **{**TINY, "size": 6, "epochs": 1}).fit(FEW).labels_.shape == (200,)


@pytest.mark.parametrize(("dataset", "shape", "entering"), [
    ("mnist", (1, 28, 28), 3200), ("usps", (1, 16, 16), 1800), ("mnist", (1, 27, 26), 50 * 8 * 7),
])  # fmt: skip
def test_the_authors_networks_have_their_sizes(dataset: str, shape: tuple[int, int, int], entering: int) -> None:
    config = resolve("jule", dataset, "paper").config
    network = JuleNetwork(shape, tuple(config["widths"]), config["pooled"], config["kernel"], config["features"])
    linear = network[-1]
    assert isinstance(linear, torch.nn.Linear) and (linear.in_features, linear.out_features) == (entering, 160)
    assert network(torch.rand(2, *shape)).shape == (2, 160)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.02) and not linear.bias.any()
    assert all(norm.weight.min() >= 0 and norm.weight.max() <= 1 for norm in network if isinstance(norm, torch.nn.BatchNorm2d))


EVERYWHERE = {
    "network_epochs": 20, "epochs": 1000 // 20, "batch": 100, "negatives": 20, "gamma": 1.0, "margin": 0.2, "order": "uniform",
    "optimiser": "sgd", "lr": 0.01, "lr_gamma": 1e-4, "lr_power": 0.75, "momentum": 0.9, "dampening": 0.9, "weight_decay": 5e-5,
    "features": 160, "kernel": 5, "sample": None, "precision": "float32",
}  # fmt: skip
MERGING = {
    "neighbours": 20, "local": 5, "gap_weight": 1.0, "gap_above": 100, "strangers_above": 20, "smallest": 0.0, "update": "fast",
    "share": 0.9,
}  # fmt: skip


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "cifar100-20", "stl10", "somebody-elses"])
def test_every_setting_of_the_paper_is_the_authors_one(dataset: str) -> None:
    config = resolve("jule", dataset, "paper").config
    assert {name: config[name] for name in EVERYWHERE} == EVERYWHERE and config["merging"] == MERGING


@pytest.mark.parametrize("preset", ["paper", "short", "smoke"])
@pytest.mark.parametrize(("dataset", "shape"), [
    ("mnist", (1, 28, 28)), ("digits", (1, 8, 8)), ("usps", (1, 16, 16)), ("cifar10", (3, 32, 32)), ("cifar100-20", (3, 32, 32)),
    ("stl10", (3, 96, 96)), ("somebody-elses", (3, 40, 61)),
])  # fmt: skip
def test_presets_fit_the_images_of_every_data_set(dataset: str, shape: tuple[int, int, int], preset: str) -> None:
    method = JULE(10, **resolve("jule", dataset, preset).config)
    method.build(shape)
    method.network.eval()
    assert method._features(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, method.config.features)
