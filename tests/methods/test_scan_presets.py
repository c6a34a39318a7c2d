"""The presets of SCAN against the authors' configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clusterbench.bench.config import resolve
from clusterbench.methods.scan import SCAN

# The tables of the authors' configurations, by data set.
ADAM = {"name": "adam", "lr": 1e-4, "weight_decay": 1e-4}
PAPER: dict[str, dict[str, Any]] = {
    "cifar10": {"network.stem": "cifar", "epochs": 50, "semantic.batch": 128, "self_label.epochs": 200, "strong.cutout": 16,
                "views.std": [0.2023, 0.1994, 0.2010]},
    "cifar100-20": {"network.stem": "cifar", "epochs": 100, "semantic.batch": 512, "self_label.epochs": 200, "strong.cutout": 16,
                    "views.std": [0.2675, 0.2565, 0.2761]},
    "stl10": {"network.stem": "stl", "epochs": 100, "semantic.batch": 128, "self_label.epochs": 100, "strong.cutout": 32,
              "views.std": [0.229, 0.224, 0.225]},
}  # fmt: skip
SMALL = {
    "network.name": "resnet18", "start": "simclr", "pretext.epochs": 500, "pretext.batch": 512, "pretext.lr": 0.4,
    "pretext.lr_floor": 0.001, "pretext.momentum": 0.9, "pretext.weight_decay": 1e-4, "pretext.temperature": 0.1,
    "pretext.anchors": "first", "pretext.dimensions": 128, "neighbours": 20, "selection_neighbours": 5,
    "mining_layer": "projection", "semantic.entropy_weight": 5.0, "semantic.augmentation": "strong",
    "semantic.frozen": False, "sub_heads": 1,
    "self_label.batch": 1000, "self_label.threshold": 0.99, "self_label.balanced": True, "self_label.averaging": None,
    "selection_images": "scored", "selection_sample": None, "strong.operations": 4, "views.scale": [0.2, 1.0],
    "views.jitter_probability": 0.8, "views.hue": 0.1, "views.grey_probability": 0.2, "precision": "float32",
}  # fmt: skip
IMAGENET = {
    "network.name": "resnet50", "network.stem": "imagenet", "start": "weights", "neighbours": 50, "mining_layer": "backbone",
    "selection_neighbours": 5, "epochs": 100, "sub_heads": 10, "semantic.frozen": True, "semantic.augmentation": "simclr",
    "semantic.entropy_weight": 5.0, "self_label.batch": 512, "self_label.balanced": False, "self_label.averaging": 0.999,
    "self_label.augmentation": "strong", "self_label.threshold": 0.99, "views.size": 224, "strong.size": 224, "strong.cutout": 75,
}  # fmt: skip


def values(dataset: str, preset: str, names: Any) -> dict[str, Any]:
    config: Any = resolve("scan", dataset, preset).config
    found = {}
    for name in names:
        value = config
        for part in name.split("."):
            value = value[part]
        found[name] = value
    return found


@pytest.mark.parametrize("dataset", PAPER)
def test_every_setting_of_the_small_data_sets_is_the_authors_one(dataset: str) -> None:
    wanted = {**SMALL, **PAPER[dataset]}
    assert values(dataset, "paper", wanted) == wanted
    config = resolve("scan", dataset, "paper").config
    for stage in ("semantic", "self_label"):
        assert {name: config[stage]["optimiser"][name] for name in ADAM} == ADAM
    assert config["strong"]["mean"] == config["views"]["mean"] and config["strong"]["std"] == config["views"]["std"]


@pytest.mark.parametrize(("dataset", "batch"), [("imagenet-50", 512), ("imagenet-100", 1024), ("imagenet-200", 1024)])
def test_every_setting_of_imagenets_subsets_is_the_authors_one(dataset: str, batch: int) -> None:
    wanted = {**IMAGENET, "semantic.batch": batch, "self_label.epochs": 25}
    assert values(dataset, "paper", wanted) == wanted
    config = resolve("scan", dataset, "paper").config
    assert config["semantic"]["optimiser"] == {"name": "sgd", "lr": 5.0, "momentum": 0.9, "weight_decay": 0.0}
    assert config["self_label"]["optimiser"] == {"name": "sgd", "lr": 0.03, "momentum": 0.9, "weight_decay": 0.0}


def test_all_of_imagenet_is_clustered_in_large_batches_and_not_self_labelled() -> None:
    wanted = {**IMAGENET, "semantic.batch": 4096, "self_label.epochs": 0}
    assert values("imagenet", "paper", wanted) == wanted


@pytest.mark.parametrize(("dataset", "clusters"), [("cifar10", 20), ("cifar100-20", 40), ("stl10", 20)])
def test_overclustering_is_the_paper_with_twice_the_clusters(dataset: str, clusters: int) -> None:
    resolved = resolve("scan", dataset, "overclustering")
    assert resolved.n_clusters == clusters and resolved.config == resolve("scan", dataset, "paper").config


@pytest.mark.parametrize(("dataset", "size"), [("cifar10", 32), ("stl10", 96)])
def test_the_published_networks_are_built_for_their_images(dataset: str, size: int) -> None:
    method = SCAN(10, **resolve("scan", dataset, "paper").config)
    method.build((3, size, size))
    heads = sum(parameter.numel() for parameter in method.network.heads.parameters())
    assert sum(parameter.numel() for parameter in method.network.parameters()) == 11_168_832 + heads and heads == 513 * 10
    projection = [layer for layer in method.pretext.network.projection if isinstance(layer, torch.nn.Linear)]
    assert [layer.weight.shape for layer in projection] == [(512, 512), (128, 512)]
