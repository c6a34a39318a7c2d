"""The presets of DeepCluster against the tables of what IIC's authors and its own ran."""

from typing import Any

import pytest
import torch

from clusterbench.bench.config import resolve
from clusterbench.datasets.catalogue import datasets
from clusterbench.methods.deepcluster import DeepCluster

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "cifar100-20": (3, 32, 32), "stl10": (3, 96, 96)}
# Of all rows: Adam, batches of 256, 20 iterations from a fixed start, training views for the clustering, frozen for an epoch.
EVERYWHERE: dict[str, Any] = {
    "optimiser": "adam", "top_lr": None, "batch": 256, "kmeans_iterations": 20, "kmeans_start": "same", "reassign": 1,
    "clustering_view": "training", "frozen_views": True, "sampling": "uniform", "dropout": 0.5, "feature_norm": False,
    "images": "all",
}  # fmt: skip
# data set: trunk, its features, outputs of the linear layer, channels that the trunk sees, training clusters
PAPER = {
    "mnist": ("vgg", 4608, 1000, 1, 100),
    "cifar10": ("resnet", 512, 4096, 2, 100),
    "cifar100-20": ("resnet", 512, 4096, 2, 200),
    "stl10": ("resnet", 512, 4096, 2, 100),
}
GREY_STILL = {"flip_probability": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
COLOUR_MOVED = {"flip_probability": 0.5, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.125}


@pytest.mark.parametrize("dataset", PAPER)
def test_paper_is_the_variant_of_iics_authors(dataset: str) -> None:
    config = resolve("deepcluster", dataset, "paper").config
    trunk, _, features, channels, clusters = PAPER[dataset]
    wanted = {**EVERYWHERE, "network": trunk, "features": features, "clusters": clusters}
    assert {name: config[name] for name in wanted} == wanted
    wanted = {"rotation": 0, "sobel": channels == 2, "mean": [], "area": None, **(GREY_STILL if channels == 1 else COLOUR_MOVED)}
    assert {name: config["views"][name] for name in wanted} == wanted
    assert config["kmeans"]["restarts"] == 1 and config["kmeans"]["iterations"] == 20
    assert config["views"]["size"] == {"mnist": 24, "stl10": 64}.get(dataset, 32)


@pytest.mark.parametrize("dataset", PAPER)
def test_the_papers_networks_are_built(dataset: str) -> None:
    method = DeepCluster(datasets.card(dataset)["classes"], **resolve("deepcluster", dataset, "paper").config)
    method.build(SHAPES[dataset])
    _, found, features, channels, _ = PAPER[dataset]
    assert (method.network.rank, method.views.channels) == (found, channels)
    assert sum(parameter.numel() for parameter in method.network.projection.parameters()) == (found + 1) * features


def test_upstream_is_the_authors_recipe() -> None:
    config = resolve("deepcluster", "imagenet", "upstream").config
    wanted = {
        "network": "alexnet", "features": 4096, "dropout": 0.0, "optimiser": "sgd", "lr": 0.05, "momentum": 0.9,
        "weight_decay": 1e-5, "top_lr": None, "batch": 256, "clusters": 10_000, "whiten": 256, "kmeans_iterations": 20,
        "kmeans_start": "new", "reassign": 1, "epochs": 500, "clustering_view": "central", "frozen_views": False,
        "sampling": "upstream",
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    views = {
        "size": 224,
        "crop": 224,
        "area": [0.08, 1.0],
        "sobel": True,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    still = {**GREY_STILL, "flip_probability": 0.5}
    assert {name: config["views"][name] for name in views | still} == views | still


def test_upstreams_network_takes_what_imagenet_stores() -> None:
    with torch.device("meta"):
        method = DeepCluster(1000, device="meta", **resolve("deepcluster", "imagenet", "upstream").config)
        method.build((3, 256, 256))
    network, images = method.network, torch.empty(2, 3, 224, 224, device="meta")
    assert network.projection(network.trunk(network.entry(images))).shape == (2, 4096)


@pytest.mark.parametrize(
    "dataset", ["mnist", "fashion-mnist", "usps", "cifar10", "cifar100-20", "cifar100", "stl10", "tiny-imagenet"]
)
def test_short_learns_ten_clusters_a_class_and_scores_on_about_two_axes_for_each(dataset: str) -> None:
    config, classes = resolve("deepcluster", dataset, "short").config, datasets.card(dataset)["classes"]
    assert config["clusters"] == 10 * classes
    assert config["evaluation_whiten"] == min(2 * classes, config["features"])
