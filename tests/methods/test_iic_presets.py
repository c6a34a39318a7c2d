"""The presets of IIC, line by line against the authors' command lines and code, and on images of any size."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.splits import Dataset, Split
from clusterbench.methods.iic import IIC
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.registry import methods

MNIST_VIEWS = {"size": 24, "crop": 20, "crops_transformed": [16, 20, 24], "central_share": 0.5, "rotation": 25,
               "rotation_probability": 0.5, "flip_probability": 0, "sobel": False, "include_rgb": False}  # fmt: skip
CIFAR_VIEWS = {"size": 32, "crop": 20, "crops_transformed": [20], "central_share": 0, "rotation": 0, "flip_probability": 0.5,
               "sobel": True, "include_rgb": False}  # fmt: skip
STL_VIEWS = {**CIFAR_VIEWS, "size": 64, "crop": 64, "crops_transformed": [64]}
EVERYWHERE = {"lr": 1e-4, "lr_schedule": "constant", "entropy_weight": 1, "auxiliary_entropy_weight": 1, "sub_heads": 5,
              "shuffle": False, "precision": "float32"}  # fmt: skip
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.125, "resampling": "pillow", "padding": 0,
          "crop_unit": "pixels"}  # fmt: skip
A, B = "auxiliary", "main"

# data set: settings, views, (trunk, two heads at 50 or 70 clusters) parameters, shape, images by role
TABLE1: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stl10": ({"network": "resnet", "passes": [A, B], "auxiliary_clusters": 70, "batch_pairs": 700, "repeats": 5,
               "batch_statistics": "running", "refresh_statistics": True, "epochs": 388}, STL_VIEWS),
    "cifar10": ({"network": "resnet", "passes": [A, B, B], "auxiliary_clusters": 70, "batch_pairs": 660, "repeats": 3,
                 "batch_statistics": "batch", "refresh_statistics": False, "epochs": 1446}, CIFAR_VIEWS),
    "cifar100-20": ({"network": "resnet", "passes": [B, A], "auxiliary_clusters": 140, "batch_pairs": 1000, "repeats": 5,
                     "batch_statistics": "running", "refresh_statistics": False, "epochs": 1050}, CIFAR_VIEWS),
    "mnist": ({"network": "vgg", "passes": [B, B, B], "batch_pairs": 700, "repeats": 5,
               "batch_statistics": "batch", "refresh_statistics": False, "epochs": 462}, MNIST_VIEWS),
}  # fmt: skip
FIGURE6: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "stl10": (140, {"network": "resnet", "batch_pairs": 1400, "repeats": 5}, STL_VIEWS),
    "cifar10": (140, {"network": "resnet", "batch_pairs": 1320, "repeats": 3}, CIFAR_VIEWS),
    "cifar100-20": (280, {"network": "vgg", "batch_pairs": 2800, "repeats": 5}, {**CIFAR_VIEWS, "size": 24, "include_rgb": True}),
    "mnist": (25, {"network": "vgg", "batch_pairs": 350, "repeats": 5}, MNIST_VIEWS),
}
SHAPES = {"stl10": (3, 96, 96), "cifar10": (3, 32, 32), "cifar100-20": (3, 32, 32), "mnist": (1, 28, 28)}


def built(dataset: str, preset: str, *changes: str) -> IIC:
    """The method as `bench run` makes it."""
    resolved = resolve("iic", dataset, preset, set_=changes)
    classes = resolved.n_clusters or datasets.card(dataset)["classes"]
    method = IIC(classes, **resolved.config)
    method.build(SHAPES[dataset])
    return method


def parameters(module: torch.nn.Module) -> list[int]:
    return [parameter.numel() for parameter in module.parameters()]


def steps(method: IIC, group: Any, images: int) -> int:
    pixels = Images(torch.empty(images, 1, 1, 1, dtype=torch.uint8))
    return len(method._order(pixels, group, generator("cpu", 0)))


@pytest.mark.parametrize("dataset", TABLE1)
def test_every_setting_of_table_1_is_the_authors_one(dataset: str) -> None:
    config = resolve("iic", dataset, "paper").config
    settings, views = TABLE1[dataset]
    assert {name: config[name] for name in EVERYWHERE | settings} == EVERYWHERE | settings
    assert {name: config["views"][name] for name in views | JITTER} == views | JITTER
    assert config["evaluation_batch"] == config["batch_pairs"]
    assert config["sub_head_loss"] == "pass"
    assert config["auxiliary_images"] == "auxiliary"
    assert config["idle_head_updates"] is (dataset != "mnist")  # MNIST trains one head only


@pytest.mark.parametrize("dataset", FIGURE6)
def test_every_setting_of_figure_6_is_the_authors_one(dataset: str) -> None:
    resolved = resolve("iic", dataset, "paper-semi-supervised")
    clusters, settings, views = FIGURE6[dataset]
    wanted = EVERYWHERE | settings | {"passes": ["main"], "batch_statistics": "running", "epochs": 3200}
    assert resolved.n_clusters == clusters
    assert {name: resolved.config[name] for name in wanted} == wanted
    assert {name: resolved.config["views"][name] for name in views | JITTER} == views | JITTER


def vgg(channels: int) -> list[int]:
    """Parameters of ClusterNet6c: convolutions of 5x5 without bias, each with the two vectors of its batch norm."""
    widths = (channels, 64, 128, 256, 512)
    return [n for before, after in pairwise(widths) for n in (25 * before * after, after, after)]


def resnet(channels: int) -> list[int]:
    """Parameters of ClusterNet5g: stem, then 3, 4, 6 and 3 blocks of two convolutions, the first of a stage with a shortcut."""
    counts, before = [9 * channels * 64, 64, 64], 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(blocks):
            counts += [9 * before * width, width, width, 9 * width * width, width, width]
            counts += [before * width, width, width] if before != width else []
            before = width
    return counts


@pytest.mark.parametrize(
    ("dataset", "preset", "trunk", "total", "heads"),
    [
        ("stl10", "paper", resnet(2), 21_276_416, {A: 70, B: 10}),
        ("cifar10", "paper", resnet(2), 21_276_416, {A: 70, B: 10}),
        ("cifar100-20", "paper", resnet(2), 21_276_416, {A: 140, B: 20}),
        ("mnist", "paper", vgg(1), 4_304_320, {B: 10}),
        ("stl10", "paper-semi-supervised", resnet(2), 21_276_416, {B: 140}),
        ("cifar10", "paper-semi-supervised", resnet(2), 21_276_416, {B: 140}),
        ("cifar100-20", "paper-semi-supervised", vgg(5), 4_310_720, {B: 280}),
        ("mnist", "paper-semi-supervised", vgg(1), 4_304_320, {B: 25}),
    ],
)
def test_the_networks_have_the_authors_parameters_layer_by_layer(
    dataset: str, preset: str, trunk: list[int], total: int, heads: dict[str, int]
) -> None:
    network = built(dataset, preset).network
    assert parameters(network.trunk) == trunk and sum(trunk) == total
    features = 512 if len(trunk) > 20 else 4608
    found = {name: parameters(head) for name, head in network.heads.items()}
    assert found == {name: [features * 5 * clusters, 5 * clusters] for name, clusters in heads.items()}


def test_both_heads_together_have_the_published_number_of_parameters() -> None:
    assert sum(parameters(built("stl10", "paper").network)) == 21_481_616
    with_text = built("mnist", "paper", "passes=[main, main, auxiliary]")
    assert sum(parameters(with_text.network)) == 5_687_020


@pytest.mark.parametrize(
    ("dataset", "changes", "counts"),
    [  # images of the head's data set, and the published iterations of one pass
        ("stl10", (), {A: (113_000, 808), B: (13_000, 93)}),
        ("cifar10", (), {A: (60_000, 273), B: (60_000, 273)}),
        ("cifar100-20", (), {A: (60_000, 300), B: (60_000, 300)}),
        ("mnist", (), {B: (70_000, 500)}),
        ("stl10", ("repeats=1",), {A: (113_000, 162), B: (13_000, 19)}),
    ],
)
def test_a_pass_has_the_published_number_of_iterations(
    dataset: str, changes: tuple[str, ...], counts: dict[str, tuple[int, int]]
) -> None:
    method = IIC(10, **resolve("iic", dataset, "paper", set_=changes).config)
    for group, (images, wanted) in counts.items():
        assert steps(method, group, images) == wanted


@pytest.mark.parametrize(
    ("dataset", "changes", "images", "wanted"),
    [("stl10", (), 105_000, 375), ("cifar10", (), 50_000, 114), ("cifar100-20", (), 50_000, 90), ("mnist", (), 60_000, 858),
     ("stl10", ("batch_pairs=700",), 105_000, 750)],
)  # fmt: skip
def test_an_epoch_of_figure_6_has_the_published_number_of_iterations(
    dataset: str, changes: tuple[str, ...], images: int, wanted: int
) -> None:
    method = IIC(10, **resolve("iic", dataset, "paper-semi-supervised", set_=changes).config)
    assert steps(method, "main", images) == wanted


def fake_stl10() -> Dataset:
    """STL-10's layout with one image in a thousand, whose grey value is its row."""
    sizes, start, splits = {"train": 5, "test": 8, "unlabeled": 100}, 0, {}
    for name, size in sizes.items():
        rows = np.arange(start, start + size).astype(np.uint8)
        labels = np.full(size, -1) if name == "unlabeled" else np.arange(size) % 10
        splits[name] = Split(np.broadcast_to(rows[:, None, None, None], (size, 3, 96, 96)).copy(), labels.astype(np.int64))
        start += size
    return Dataset("stl10", splits, tuple("abcdefghij"), card=datasets.card("stl10"))


def rows_seen(method: IIC, group: Any, images: Images) -> list[int]:
    order = method._order(images, group, generator("cpu", 0))
    return [int(value) for batch in images.batches(order) for value in batch[:, 0, 0, 0]]


def test_stl10_trains_its_auxiliary_head_on_everything_in_the_authors_order() -> None:
    method = IIC(10, **resolve("iic", "stl10", "paper").config)
    data = fake_stl10().under("full")
    train, test, unlabelled = list(range(5)), list(range(5, 13)), list(range(13, 113))
    turns = [row for n in range(5) for row in (train[n], *unlabelled[20 * n : 20 * n + 20])]
    assert rows_seen(method, "auxiliary", data.train) == turns + test
    assert rows_seen(method, "main", data.train) == train + test
    assert [int(value) for value in data.score.pixels[:, 0, 0, 0]] == train + test


def test_the_unlabelled_part_can_be_left_out_of_the_auxiliary_head() -> None:
    method = IIC(10, **resolve("iic", "stl10", "paper", set_=["auxiliary_images=main"]).config)
    data = fake_stl10().under("full")
    assert rows_seen(method, "auxiliary", data.train) == rows_seen(method, "main", data.train) == [*range(13)]
    assert steps(method, "auxiliary", 13_000) == 93  # run 695: as many as the main head


def test_semi_supervised_stl10_trains_on_train_and_unlabelled_images_in_turn() -> None:
    method = IIC(140, **resolve("iic", "stl10", "paper-semi-supervised").config)
    data = fake_stl10().under("semi-supervised")
    seen = rows_seen(method, "main", data.train)
    assert len(seen) == 105 and seen[0] == 0 and seen[21] == 1 and not set(seen) & set(range(5, 13))
    assert [int(value) for value in data.score.pixels[:, 0, 0, 0]] == [*range(5, 13)]


def test_refreshed_statistics_are_those_of_the_test_views_and_nothing_else_changes() -> None:
    pixels = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=generator("cpu", 0))
    settings = {"widths": (4,), "sub_heads": 1, "batch_pairs": 40, "repeats": 4, "epochs": 1, "evaluation_batch": 40}
    settings["views"] = {"size": 12, "crop": 8, "crops_transformed": [7, 8]}
    plain, refreshed = IIC(3, **settings), IIC(3, **settings, refresh_statistics=True)
    (before,), (after,) = plain.train(Images(pixels)), refreshed.train(Images(pixels))
    assert before.losses == after.losses and after.images == before.images + 40
    convolution, norm = refreshed.network.trunk[0], refreshed.network.trunk[1]
    assert torch.equal(convolution.weight, plain.network.trunk[0].weight)
    with torch.no_grad():
        mean = convolution(refreshed.views.test(pixels)).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, 0.9 * plain.network.trunk[1].running_mean + 0.1 * mean)


@pytest.mark.parametrize("preset", ["short", "smoke"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 300, 200), (4, 40, 64)])
def test_images_of_any_size_have_settings(preset: str, shape: tuple[int, int, int]) -> None:
    config = resolve("iic", "folder:photographs", preset).config
    method = IIC(3, **{**config, "epochs": 1, "batch_pairs": 12, "repeats": 3})
    images = Images(torch.randint(0, 256, (9, *shape), dtype=torch.uint8))
    (epoch,) = method.train(images)
    assert epoch.losses.keys() == set(config["passes"])
    assert method.predict(images).shape == (9,)


@pytest.mark.parametrize(
    "name", ["mnist", "fashion-mnist", "usps", "digits", "cifar10", "cifar100", "cifar100-20", "stl10", "tiny-imagenet"]
)
def test_every_image_data_set_has_short_settings_that_fit_its_images(name: str) -> None:
    card = datasets.card(name)
    resolved = resolve("iic", name, "short")
    assert name in methods.card("iic")["presets"]["short"]["datasets"]
    method = IIC(card["classes"], **resolved.config)
    images = Images(torch.randint(0, 256, (2, *card["shape"]), dtype=torch.uint8))
    method.build(images.shape)
    loss = method.pair_losses(images.pixels, "main", generator("cpu", 0))
    assert loss.shape == (resolved.config["sub_heads"],) and bool(torch.isfinite(loss).all())
    if "auxiliary" in resolved.config["passes"]:
        assert resolved.config["auxiliary_clusters"] >= 3 * card["classes"]


@pytest.mark.parametrize("dataset", TABLE1)
def test_half_an_hour_of_a_gpu_trains_the_published_network_on_the_published_views(dataset: str) -> None:
    half, paper = (resolve("iic", dataset, preset).config for preset in ("half-hour", "paper"))
    same = ("network", "passes", "auxiliary_clusters", "sub_heads", "batch_pairs", "repeats", "views")
    assert {name: half[name] for name in same} == {name: paper[name] for name in same}
    assert (half["precision"], half["lr_schedule"], half["batch_statistics"]) == ("bfloat16", "cosine", "running")
    assert half["epochs"] < paper["epochs"] / 4
